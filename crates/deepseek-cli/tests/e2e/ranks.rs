//! A model that is divided among devices.

use std::fs;

use serde_json::Value;

use crate::embedded::{assets, question};
use crate::logits::table;
use crate::program::{Checkpoint, run};
use crate::run::figure;

const WAYS: [&[&str]; 3] = [&["--tp", "2"], &["--ep", "2"], &["--tp", "2", "--ep", "2"]];

#[test]
fn ranks_answer_the_samples_in_the_words_of_one() {
    let items = fs::read_to_string(assets("samples/demo.jsonl")).expect("the samples");
    let items: Vec<Value> = items
        .lines()
        .map(|item| serde_json::from_str(item).expect("an item"))
        .collect();
    assert!(items.len() >= 4);
    for (item, way) in items.iter().zip(WAYS.into_iter().cycle()) {
        let line = ["run"].iter().chain(way).map(|word| (*word).to_owned());
        let ran = run(&[line.collect(), question(item)].concat());
        assert_eq!(ran.done().trim_end(), item["answer"], "{item} {way:?}");
    }
}

#[test]
fn their_logits_are_those_of_one_but_for_the_order_of_sums() {
    let checkpoint = Checkpoint::new();
    let logits = |more: &[&str]| {
        let flags = ["--ids", "0,5,9,200,17,4,4,30", "--numerics", "exact"];
        checkpoint.logits(&[&flags[..], more].concat()).done();
        table(checkpoint.file("out.safetensors").as_ref()).1
    };
    let want = logits(&[]);
    let largest = want.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    for way in WAYS {
        let got = logits(way);
        let pairs = got.iter().zip(&want);
        let apart = pairs.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(
            apart > 0.0,
            "{way:?}: nothing was added up in another order"
        );
        assert!(apart <= 1e-5 * largest, "{way:?}: {apart} apart");
    }
}

#[test]
fn it_tells_that_there_are_several() {
    let ran = run(&["run", "--tp", "2", "--stats", "What is 12 + 30?"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let device = figure(&ran.err, "device");
    assert!(device.starts_with("cpu:"), "{device}");
    assert!(
        device.ends_with(", 2 ranks (tensor 2, expert 1)"),
        "{device}"
    );
    // What was kept by one is not gone on from by two: their sums have another order.
    let bench = run(&[
        "bench", "--ep", "2", "-p", "8", "-n", "2", "-r", "1", "--json",
    ]);
    let rows: Value = serde_json::from_str(&bench.done()).expect("JSON");
    let device = rows[0]["device"].as_str().expect("a device");
    assert!(
        device.ends_with(", 2 ranks (tensor 1, expert 2)"),
        "{device}"
    );
}

#[test]
fn inspect_shows_what_each_rank_holds() {
    let config = assets("configs/v4-flash/config.json");
    let config = config.to_str().expect("a path in text");
    let line = ["inspect", "--json", "--tp", "8", "--ep", "4"];
    let json = run(&[&line[..], &[config]].concat()).done();
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let ranks = &json["ranks"];
    assert_eq!((&ranks["tensor"], &ranks["expert"]), (&8.into(), &4.into()));
    let bytes: Vec<f64> = ranks["weight_bytes"]
        .as_array()
        .expect("bytes")
        .iter()
        .map(|bytes| bytes.as_f64().expect("bytes"))
        .collect();
    assert_eq!(bytes.len(), 8);
    let whole = json["weights"]["bytes"].as_f64().expect("bytes");
    for rank in &bytes {
        // An eighth, and what every rank has.
        assert!((0.125..0.2).contains(&(rank / whole)), "{rank} of {whole}");
    }
    let text = run(&["inspect", "--tp", "2", config]).done();
    assert!(
        text.contains("\nweights of each of 2 ranks (tensor 2, expert 1)\n"),
        "{text}"
    );
    assert!(!run(&["inspect", config]).done().contains("ranks"));
}

#[test]
fn numbers_that_do_not_divide_are_refused() {
    let hint = "--tensor-parallel-size";
    run(&["run", "--tp", "4", "x"]).failed(
        3,
        "2 groups of heads cannot be divided among 4 ranks",
        hint,
    );
    run(&["run", "--tp", "2", "--ep", "4", "x"]).failed(
        3,
        "2 ranks for heads and 4 for experts",
        hint,
    );
    run(&["inspect", "--ep", "64"]).failed(3, "8 experts cannot be divided among 64 ranks", hint);
    run(&["run", "--tp", "0", "x"]).failed(
        2,
        "want a whole number from 1 to 64",
        "deepseek run --help",
    );
}
