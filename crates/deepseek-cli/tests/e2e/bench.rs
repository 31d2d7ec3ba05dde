//! Speed, measured: how many rows there are, and what stands in them. How fast anything is, is no test's
//! business.

use serde_json::Value;

use crate::program::{Checkpoint, run};

fn measure(checkpoint: &Checkpoint, more: &[&str]) -> String {
    let line = [&["bench", "--model", checkpoint.path()], more].concat();
    run(&line).done()
}

#[test]
fn each_combination_is_a_row() {
    let checkpoint = Checkpoint::new();
    let lists = [
        "-p", "9,0", "-n", "2,3", "-d", "0,5", "-r", "2", "-t", "1,2",
    ];
    let json: Value =
        serde_json::from_str(&measure(&checkpoint, &[&lists[..], &["--json"]].concat()))
            .expect("JSON");
    let rows = json.as_array().expect("a list");
    let number = |row: &Value, name: &str| row[name].as_u64().expect(name);
    let got: Vec<[u64; 4]> = rows
        .iter()
        .map(|row| ["threads", "n_depth", "n_prompt", "n_gen"].map(|name| number(row, name)))
        .collect();
    let mut want = Vec::new();
    for threads in [1, 2] {
        for depth in [0, 5] {
            want.extend([[9, 0], [0, 2], [0, 3]].map(|[p, n]| [threads, depth, p, n]));
        }
    }
    assert_eq!(got, want);
    for row in rows {
        let samples = row["samples"].as_array().expect("samples");
        let samples: Vec<f64> = samples.iter().filter_map(Value::as_f64).collect();
        assert_eq!(samples.len(), 2);
        let [mean, deviation] = ["mean", "deviation"].map(|name| row[name].as_f64().expect(name));
        assert!((mean - f64::midpoint(samples[0], samples[1])).abs() <= 1e-9 * mean);
        let apart = (samples[0] - samples[1]).abs();
        assert!((deviation - apart / 2.0_f64.sqrt()).abs() <= 1e-9 * mean);
        let [share, roof] = ["share", "roof"].map(|name| row[name].as_f64().expect(name));
        assert!(samples.iter().all(|rate| *rate > 0.0) && (share - mean / roof).abs() < 1e-9);
        assert_eq!(row["numerics"], "released");
        assert!(number(row, "model_bytes") > 1_000_000);
    }
}

#[test]
fn text_and_values_with_commas_say_the_same() {
    let checkpoint = Checkpoint::v41();
    let flags = [
        "-p",
        "70",
        "-n",
        "2",
        "-r",
        "1",
        "-d",
        "40",
        "--device",
        "cpu:plain",
    ];
    let text = measure(&checkpoint, &flags);
    for words in [
        "device    cpu:plain",
        "numerics  released",
        "pp70 @ d40",
        "tg2 @ d40",
        "% of reading",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let drawing = checkpoint.file("speed.svg");
    let csv = measure(
        &checkpoint,
        &[&flags[..], &["--csv", "--svg", &drawing]].concat(),
    );
    let svg = String::from_utf8(checkpoint.read("speed.svg")).expect("text");
    assert!(svg.starts_with("<svg ") && svg.contains(">tg2, "), "{svg}");
    let lines: Vec<&str> = csv.lines().collect();
    assert!(
        lines[0].starts_with("model,model_bytes,device,") && lines.len() == 3,
        "{csv}"
    );
    let cells = |line: &str| line.split(',').count();
    assert!(
        lines.iter().all(|line| cells(line) == cells(lines[0])),
        "{csv}"
    );
    let plain = measure(
        &checkpoint,
        &["-p", "5", "-n", "0", "-r", "1", "--device", "cpu-plain"],
    );
    assert!(
        plain.contains("pp5") && !plain.contains("tg") && !plain.contains("% of"),
        "{plain}"
    );
}

#[test]
fn what_cannot_be_measured_is_told() {
    let checkpoint = Checkpoint::new();
    let refuse = |more: &[&str], code, error: &str, hint: &str| {
        let line = [&["bench", "--model", checkpoint.path()], more].concat();
        run(&line).failed(code, error, hint);
    };
    refuse(
        &["-p", "0", "-n", "0"],
        2,
        "-p 0 -n 0: nothing to measure",
        "",
    );
    refuse(
        &["-d", "2048", "-p", "1"],
        3,
        "context",
        "--context 2048 at most",
    );
}
