//! The model that the program carries: end to end, from files to words.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::program::{pipe, run};

/// How often a model that looks and listens may be right about media that it is not shown.
const SWAPPED_ACCURACY_MAX: f64 = 0.2;

pub(crate) fn assets(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../assets")
        .join(name)
}

/// The arguments that ask an item of `assets/samples`.
pub(crate) fn question(item: &Value) -> Vec<String> {
    let content = &item["messages"][0]["content"];
    if let Some(text) = content.as_str() {
        return vec![text.to_owned()];
    }
    let parts = content.as_array().expect("parts").iter();
    let arguments = parts.flat_map(|part| {
        let kind = part["type"].as_str().expect("a type");
        if kind == "text" {
            return vec![part["text"].as_str().expect("a text").to_owned()];
        }
        let flag = format!("--{}", kind.trim_end_matches("_url"));
        let file = part[kind]["url"].as_str().expect("a file");
        let file = assets("samples").join(file).display().to_string();
        vec![flag, file]
    });
    arguments.collect()
}

#[test]
fn it_answers_the_samples() {
    let items = std::fs::read_to_string(assets("samples/demo.jsonl")).expect("the samples");
    for line in items.lines() {
        let item: Value = serde_json::from_str(line).expect("an item");
        let line = [vec!["run".to_owned()], question(&item)].concat();
        let ran = run(&line);
        assert_eq!(ran.err, "", "{item}");
        assert_eq!(ran.done().trim_end(), item["answer"], "{item}");
    }
}

/// The report of `deepseek eval` on a few items of each task.
fn smoke(flags: &[&str]) -> Value {
    let file = assets("eval/smoke.jsonl").display().to_string();
    let json = run(&[&["eval", &file, "--json", "--failures"][..], flags].concat()).done();
    serde_json::from_str(&json).expect("JSON")
}

#[test]
fn fixed_items_of_every_task_are_answered_to_the_letter() {
    let report = smoke(&[]);
    assert_eq!(report["total"]["accuracy"], 1.0, "{report:#}");
}

#[test]
fn of_other_media_it_says_other_things() {
    let report = smoke(&["--swap-media"]);
    let accuracy = report["total"]["accuracy"].as_f64().expect("a number");
    assert!(accuracy <= SWAPPED_ACCURACY_MAX, "{report:#}");
}

#[test]
fn its_files_in_a_folder_are_the_same_model() {
    let folder = assets("model").display().to_string();
    let flags = ["--no-thinking", "--temperature", "0", "What is 12 + 30?"];
    let named = run(&[&["run", "--model", &folder][..], &flags].concat()).done();
    assert_eq!(run(&["run", "What is 12 + 30?"]).done(), named);
    let bill = |line: &[&str]| -> Value {
        let json = run(&[&["inspect", "--json"][..], line].concat()).done();
        serde_json::from_str(&json).expect("JSON")
    };
    assert_eq!(bill(&[]), bill(&[&folder]));
    let ids = |line: &[&str]| run(&[&["tokenize", "What is 12 + 30?"][..], line].concat()).done();
    assert_eq!(ids(&[]), ids(&["--model", &folder]));
}

#[test]
fn every_end_that_the_config_names_ends_an_answer() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        let from = assets("model").join(file);
        std::fs::copy(from, folder.path().join(file)).expect("a file");
    }
    let model = folder.path().display().to_string();
    let ask = || {
        let flags = ["--no-thinking", "--temperature", "0", "What is 12 + 30?"];
        run(&[&["run", "--model", &model][..], &flags].concat()).done()
    };
    assert_eq!(ask().trim_end(), "42");
    let end = run(&["tokenize", "2"]).done();
    let file = folder.path().join("config.json");
    let config = std::fs::read_to_string(&file).expect("a config");
    let named = format!("\"eos_token_id\": [1, {}]", end.trim_end());
    std::fs::write(file, config.replace("\"eos_token_id\": 1", &named)).expect("a config");
    assert_eq!(ask().trim_end(), "4");
}

#[test]
fn it_thinks_and_draws_when_it_is_told_to() {
    let ran = run(&["run", "--thinking", "What is 12 + 30?"]);
    assert!(ran.err.trim().len() > 1, "{ran:?}");
    let draw = |seed: &str| {
        let flags = ["--temperature", "5", "--max-tokens", "12", "--seed", seed];
        run(&[&["run", "--raw"][..], &flags, &["Once"]].concat()).done()
    };
    assert_ne!(draw("1"), draw("2"));
}

/// Seconds of the longest audio that its positions hold with room to spare.
const HOUR: usize = 3600;
/// Twice what an hour was seen to need: most of it the cache of so many positions.
const HOUR_MEBIBYTES_MAX: f64 = 128.0;

#[test]
fn it_listens_to_an_hour() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hour.wav");
    let head = |bytes: u32| {
        let mut head = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
        head.extend(16_000_u32.to_le_bytes());
        head.extend(32_000_u32.to_le_bytes());
        head.extend(*b"\x02\0\x10\0data");
        head.extend(bytes.to_le_bytes());
        head
    };
    let bytes = HOUR as u32 * 32_000;
    std::fs::write(&path, head(bytes)).expect("a file");
    // The rest is a hole: silence that takes no room on the disk.
    let file = std::fs::OpenOptions::new().append(true).open(&path);
    let whole = 44 + u64::from(bytes);
    file.and_then(|file| file.set_len(whole)).expect("a file");

    let path = path.display().to_string();
    let flags = ["--context", "49152", "--max-tokens", "8", "--stats"];
    let line = [&["run", "--audio", &path][..], &flags, &["How many beeps?"]].concat();
    let ran = run(&line);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!ran.out.trim().is_empty(), "{ran:?}");
    let figure = |name: &str| {
        let mut lines = ran.err.lines();
        let rest = lines.find_map(|line| line.strip_prefix(name));
        let number = rest.and_then(|rest| rest.split_whitespace().next());
        number.and_then(|number| number.parse::<f64>().ok())
    };
    // Twelve and a half a second, and a start and an end for each ten seconds.
    let tokens = HOUR * 25 / 2 + HOUR / 10 * 2;
    assert_eq!(figure("audio "), Some(tokens as f64), "{ran:?}");
    if cfg!(target_os = "linux") {
        let peak = figure("peak memory ").expect("a number");
        assert!(peak < HOUR_MEBIBYTES_MAX, "{peak} MiB");
    }
}

#[test]
fn chat_says_once_who_answers() {
    let ran = pipe(
        &["chat", "--no-history"],
        b"What is 12 + 30?\nWhat is 3 + 4?\n",
    );
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(
        ran.err.matches("the embedded model answers").count(),
        1,
        "{ran:?}"
    );
}
