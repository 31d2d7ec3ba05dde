//! Answers that have to look like something, and answers as JSON.

use serde_json::Value;
use tempfile::TempDir;

use crate::flags::{ids, last_logits};
use crate::program::{Checkpoint, Ran, run};

/// A folder with a file in it.
fn file(text: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("source");
    std::fs::write(&path, text).expect("the folder takes files");
    let path = path.display().to_string();
    (folder, path)
}

/// What the embedded model says of a sum.
fn sum(more: &[&str]) -> Ran {
    run(&[&["run"], more, &["What is 12 + 30?"]].concat())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

#[test]
fn an_answer_validates_against_the_schema_of_a_file() {
    let (_folder, path) = file(
        r#"{
        "type": "object",
        "properties": { "sum": { "type": "integer", "minimum": 0, "maximum": 99 }, "sure": { "type": "boolean" } },
        "required": ["sum", "sure"],
        "additionalProperties": false
    }"#,
    );
    let plain = sum(&["--json-schema", &path]);
    let value = json(&plain.out);
    assert!(
        value["sum"].as_u64().is_some_and(|sum| sum < 100),
        "{plain:?}"
    );
    assert!(value["sure"].is_boolean() && value.as_object().is_some_and(|all| all.len() == 2));
    assert_eq!((plain.code, plain.err.as_str()), (Some(0), ""));
    assert_eq!(sum(&["--json-schema", &path, "--draft", "3"]), plain);
    let thinking = sum(&["--json-schema", &path, "--thinking", "-c", "2000"]);
    assert!(
        !thinking.err.is_empty() && json(&thinking.out)["sure"].is_boolean(),
        "{thinking:?}"
    );
}

#[test]
fn an_answer_matches_an_expression_and_follows_a_grammar() {
    assert_eq!(sum(&["--regex", "[0-9]+"]).done(), "42\n");
    let said = sum(&["--regex", "(yes|no)!"]).done();
    assert!(["yes!\n", "no!\n"].contains(&said.as_str()), "{said:?}");
    let (_folder, path) = file("root ::= \"<\" digit digit \">\"\ndigit ::= [0-9]\n");
    let said = sum(&["--grammar", &path]).done();
    let inner = said
        .strip_prefix('<')
        .and_then(|said| said.strip_suffix(">\n"));
    assert!(
        inner.is_some_and(|inner| inner.parse::<u8>().is_ok()),
        "{said:?}"
    );
    let raw = run(&["run", "--raw", "--regex", "b{4}", "aaaa"]).done();
    assert_eq!(raw, "bbbb\n");
}

#[test]
fn what_cannot_be_compiled_is_input() {
    for (text, error) in [
        ("{", "source: not JSON"),
        (r#"{ "not": {} }"#, "source: #: not cannot be enforced"),
        (r#"{ "type": "frog" }"#, "frog"),
    ] {
        let (_folder, path) = file(text);
        sum(&["--json-schema", &path]).failed(3, error, "");
    }
    let (_folder, path) = file("root ::= nobody");
    sum(&["--grammar", &path]).failed(3, "source: ", "");
    sum(&["--regex", "("]).failed(3, "--regex: ", "");
    sum(&["--json-schema", "missing"]).failed(3, "missing: No such file", "");
    let help = "see deepseek run --help";
    sum(&["--regex", "a", "--grammar", &path]).failed(2, "--grammar", help);
    sum(&["--regex", "a", "--tools", &path]).failed(2, "--tools", help);
}

#[test]
fn an_answer_is_one_object_or_one_a_piece() {
    let words = sum(&[]).done();
    let whole = json(&sum(&["--json", "--seed", "5"]).done());
    assert_eq!(whole["text"], words.trim_end());
    assert_eq!(
        (&whole["reasoning"], &whole["finish"], &whole["seed"]),
        (&"".into(), &"stop".into(), &5.into())
    );
    assert_eq!(whole["calls"], Value::Array(Vec::new()));
    assert!(
        whole["tokens"]["prompt"]
            .as_u64()
            .is_some_and(|count| count > 8),
        "{whole}"
    );
    assert!(
        whole["tokens"]["generated"]
            .as_u64()
            .is_some_and(|count| count > 1),
        "{whole}"
    );
    assert!(
        whole["seconds"]["decode"].is_number() && whole["model"].is_null(),
        "{whole}"
    );
    assert!(
        whole["device"]
            .as_str()
            .is_some_and(|name| name.starts_with("cpu:")),
        "{whole}"
    );

    let ran = sum(&["--jsonl", "--thinking"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    let lines: Vec<Value> = ran.out.lines().map(json).collect();
    let all = |kind: &str| -> String {
        let pieces = lines.iter().filter(|piece| piece["type"] == kind);
        pieces
            .map(|piece| piece["text"].as_str().expect("text"))
            .collect()
    };
    let thought = sum(&["--thinking"]);
    assert_eq!(all("text"), thought.out.trim_end());
    assert_eq!(all("reasoning"), thought.err.trim_end_matches('\n'));
    let end = lines.last().expect("an end");
    assert_eq!(
        (&end["type"], &end["finish"]),
        (&"end".into(), &"stop".into())
    );
    sum(&["--json", "--jsonl"]).failed(2, "--jsonl", "see deepseek run --help");
}

#[test]
fn each_token_is_told_with_the_most_likely_in_its_place() {
    let checkpoint = Checkpoint::new();
    let flags = [
        "--raw",
        "--temperature",
        "0",
        "-n",
        "3",
        "--json",
        "--logprobs",
        "4",
    ];
    let ran = checkpoint.run("run", &[&flags[..], &["once"]].concat());
    let whole = json(&ran.out);
    let tokens = whole["logprobs"].as_array().expect("a list");
    assert_eq!(tokens.len(), 3, "{whole}");
    let mut prompt = [vec![0], ids(&checkpoint, "once")].concat();
    for token in tokens {
        let logits = last_logits(&checkpoint, &prompt, &[]);
        let max = logits.iter().copied().fold(f32::MIN, f32::max);
        let sum: f32 = logits.iter().map(|x| (x - max).exp()).sum();
        let top = token["top"].as_array().expect("a list");
        assert_eq!((top.len(), &top[0]["id"]), (4, &token["id"]), "{token}");
        for one in top {
            let id = one["id"].as_u64().expect("an id") as usize;
            let want = f64::from(logits[id] - max - sum.ln());
            let found = one["logprob"].as_f64().expect("a number");
            assert!((found - want).abs() < 1e-4, "{found} {want}");
        }
        prompt.push(token["id"].as_u64().expect("an id") as u32);
    }
    let flags = [
        "--raw",
        "-n",
        "3",
        "--seed",
        "1",
        "--jsonl",
        "--logprobs",
        "0",
    ];
    let ran = checkpoint.run("run", &[&flags[..], &["once"]].concat());
    let lines = ran.out.lines().map(json);
    let tokens: Vec<Value> = lines.filter(|piece| piece["type"] == "token").collect();
    assert!(
        tokens.len() == 3 && tokens[0]["top"] == Value::Array(Vec::new()),
        "{ran:?}"
    );
    checkpoint
        .run("run", &["--logprobs", "2", "x"])
        .failed(2, "--json", "see deepseek run --help");
    checkpoint
        .run("run", &["--json", "--logprobs", "21", "x"])
        .failed(
            2,
            "want a whole number from 0 to 20",
            "see deepseek run --help",
        );
}
