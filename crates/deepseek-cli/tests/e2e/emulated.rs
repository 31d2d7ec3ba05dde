//! The program on an Ascend NPU that an emulator of CANN stands in for, and on machines without either.

use std::fs;

use serde_json::Value;

use crate::embedded::{assets, question};
use crate::program::{deepseek, emulate, run};

const NOTE: &str = "note: EMULATED: an emulator computes, not a device\n";

fn samples() -> Vec<Value> {
    let items = fs::read_to_string(assets("samples/demo.jsonl")).expect("the samples");
    let items = items.lines().map(serde_json::from_str);
    items.collect::<Result<_, _>>().expect("items")
}

#[test]
fn it_answers_the_samples_in_the_words_of_the_host() {
    let items = samples();
    assert!(items.len() >= 4);
    for item in items {
        let line = ["run", "--device", "ascend"].map(str::to_owned).to_vec();
        let ran = emulate(&[line, question(&item)].concat());
        assert_eq!(ran.err, NOTE, "{item}");
        assert_eq!(ran.done().trim_end(), item["answer"], "{item}");
    }
}

#[test]
fn it_says_that_it_is_emulated_and_never_how_fast_it_is() {
    let ask = |flags: &[&str]| {
        let line = ["run", "--device", "ascend:0", "What is 12 + 30?"];
        let ran = emulate(&[&line[..], flags].concat());
        assert!(ran.err.starts_with(NOTE), "{ran:?}");
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran
    };
    let ran = ask(&["--stats"]);
    assert!(
        ran.err.contains("\ndevice       ascend:0 EMULATED\n"),
        "{ran:?}"
    );
    for rate in ["tokens/s", "first token", " s,"] {
        assert!(!ran.err.contains(rate), "{rate} in {ran:?}");
    }
    let json: Value = serde_json::from_str(&ask(&["--json"]).out).expect("JSON");
    assert_eq!(json["device"], "ascend:0 EMULATED");
    assert_eq!(json["seconds"], Value::Null);
    emulate(&["bench", "--device", "ascend"]).failed(
        2,
        "--device ascend:0: an emulator has no speed",
        "measure a device",
    );
}

#[test]
fn it_is_listed_as_what_it_is() {
    let page = emulate(&["devices"]).done();
    let line = page.lines().find(|line| line.contains(" ascend:0 "));
    let line = line.expect("a device");
    assert!(
        line.contains("Ascend910B3-EMU, family A2, CANN 9.1.0"),
        "{line}"
    );
    assert!(line.ends_with("EMULATED: no device computes"), "{line}");
    let json: Value = serde_json::from_str(&emulate(&["devices", "--json"]).done()).expect("JSON");
    for device in json.as_array().expect("a list") {
        let is_emulated = device["name"] == "ascend:0";
        assert_eq!(device["is_emulated"], is_emulated, "{device}");
    }
}

#[test]
fn the_doctor_tries_every_operation_and_writes_a_report() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let file = folder.path().join("report.json");
    let path = file.to_str().expect("text");
    let ran = emulate(&["doctor", "--device", "ascend", "--report", path]);
    assert_eq!(ran.err, NOTE, "{ran:?}");
    let page = ran.done();
    for name in [
        "fills",
        "roundings",
        "products",
        "visits",
        "self-check",
        "model",
    ] {
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        let line = line.unwrap_or_else(|| panic!("{name} in {page}"));
        assert!(line.trim_start().starts_with("ok: "), "{name}: {line}");
    }
    let verbs = "attend, route, experts composed: no fused operator is called yet";
    assert!(page.contains(verbs), "{page}");
    assert!(page.contains("EMULATED: no device computes"), "{page}");
    let report = fs::read_to_string(&file).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(
        (&report["report"], &report["is_emulated"]),
        (&1.into(), &true.into())
    );
    assert_eq!(report["failed"].as_array().map(Vec::len), Some(0));
    assert_eq!(
        report["page"].as_array().map(Vec::len),
        Some(page.lines().count())
    );
    let operations = report["operations"].as_array().expect("operations");
    assert_eq!(operations.len(), 12);
    assert!(
        operations
            .iter()
            .all(|case| case["results"].as_u64() > Some(0))
    );
    let symbols = report["symbols"].as_array().expect("symbols");
    assert!(symbols.iter().any(|symbol| symbol["name"] == "aclrtMalloc"));
}

#[test]
fn a_chip_tells_of_every_operation_without_a_device() {
    for soc in ["Ascend910B3", "Ascend910_9392", "Ascend950"] {
        let chip = format!("ascend:{soc}");
        let page = run(&["inspect", "--device", &chip]).done();
        let (_, page) = page.split_once("\noperations on ").expect("a list");
        assert!(page.starts_with(soc), "{page}");
        for verb in [
            "hc_pre",
            "hc_post",
            "index_topk",
            "attend",
            "route",
            "experts",
        ] {
            let line = format!("\n  {verb:<10} composed: no fused operator is called yet\n");
            assert!(page.contains(&line), "{verb} in {page}");
        }
    }
    let json = emulate(&["inspect", "--json", "--device", "ascend"]).done();
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["chip"]["name"], "Ascend910B3-EMU, family A2");
    assert_eq!(json["chip"]["verbs"].as_array().map(Vec::len), Some(6));
    run(&["inspect", "--device", "ascend:Ascend310P3"]).failed(2, "want ascend[:SOC]", "--help");
}

#[test]
fn a_machine_without_cann_says_what_was_looked_for() {
    if std::path::Path::new("/usr/local/Ascend").exists() {
        return;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let home = folder.path().to_str().expect("text");
    let looked = format!("no CANN runtime, tried: {home}/lib64/libascendcl.so, ");
    let ask = |line: &[&str]| {
        let output = deepseek(line).env("ASCEND_HOME_PATH", home).output();
        crate::program::Ran::from(output.expect("it starts"))
    };
    for command in [&["run", "x"][..], &["doctor"], &["inspect"]] {
        let hint = if command[0] == "inspect" {
            "name a chip"
        } else {
            "ASCEND_HOME_PATH"
        };
        let ran = ask(&[command, &["--device", "ascend"]].concat());
        ran.failed(1, &looked, hint);
    }
    let page = ask(&["devices"]).done();
    assert!(
        page.contains(&format!("\n- ascend      {looked}")),
        "{page}"
    );
    let ran = deepseek(&["run", "--device", "ascend", "x"])
        .env("DEEPSEEK_ASCEND_LIB", "libascend_emu.so")
        .output();
    let ran = crate::program::Ran::from(ran.expect("it starts"));
    ran.failed(1, "the path of an emulator is absolute", "");
}
