//! `deepseek tokenize`.

use serde_json::Value;

use crate::program::{Checkpoint, pipe, run};

#[test]
fn text_becomes_ids_and_comes_back() {
    let checkpoint = Checkpoint::new();
    let text = "héllo, wörld 三\t!";
    let ids = checkpoint.tokenize(&[text]);
    assert!(
        ids.split(',')
            .all(|id| id.parse::<u32>().is_ok_and(|id| id < 288)),
        "{ids}"
    );
    assert_eq!(checkpoint.tokenize(&["--decode", &ids]), text);
    let piped = pipe(&["tokenize", "--model", checkpoint.path()], text.as_bytes()).done();
    assert_eq!(piped.trim_end(), ids);
    checkpoint.write("ids", ids.replace(',', "\n").as_bytes());
    let file = format!("@{}", checkpoint.file("ids"));
    assert_eq!(checkpoint.tokenize(&["--decode", &file]), text);
}

#[test]
fn a_tokenizer_does_without_a_checkpoint() {
    let checkpoint = Checkpoint::new();
    let file = checkpoint.file("tokenizer.json");
    let alone = run(&["tokenize", "--tokenizer", &file, "abc"]).done();
    assert_eq!(alone.trim_end(), checkpoint.tokenize(&["abc"]));
}

#[test]
fn a_marker_in_text_stays_text_unless_asked() {
    let checkpoint = Checkpoint::new();
    let marker = "<｜User｜>";
    assert_eq!(
        checkpoint.tokenize(&["--count", marker]),
        marker.len().to_string()
    );
    assert_eq!(checkpoint.tokenize(&["--count", "--special", marker]), "1");
    let id = checkpoint.tokenize(&["--special", marker]);
    assert_eq!(checkpoint.tokenize(&["--decode", &id]), marker);
}

#[test]
fn json_shows_each_id_with_its_text() {
    let checkpoint = Checkpoint::new();
    let json: Value = serde_json::from_str(&checkpoint.tokenize(&["--json", "1 2"])).expect("JSON");
    assert_eq!(json["count"], 3);
    let texts: Vec<&Value> = json["tokens"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|token| &token["text"])
        .collect();
    assert_eq!(texts, ["1", " ", "2"]);
    let id = json["tokens"][0]["id"].to_string();
    let back = checkpoint.tokenize(&["--json", "--decode", &id]);
    assert_eq!(
        serde_json::from_str::<Value>(&back).expect("JSON")["text"],
        "1"
    );
}

#[test]
fn ids_that_are_none_are_refused() {
    let checkpoint = Checkpoint::new();
    let refused = |ids: &str, error: &str, hint: &str| {
        run(&["tokenize", "--model", checkpoint.path(), "--decode", ids]).failed(3, error, hint);
    };
    refused("1,288", "id 288: the vocabulary has 288 ids", "");
    refused("1,x", "\"x\" is not an id", "whole numbers");
    refused(",", "the list of ids is empty", "");
    refused("@missing", "missing: No such file", "");
}

impl Checkpoint {
    /// What `tokenize` prints, without the end of its line.
    #[track_caller]
    fn tokenize(&self, args: &[&str]) -> String {
        let line = [&["tokenize", "--model", self.path()], args].concat();
        run(&line).done().trim_end_matches('\n').to_owned()
    }
}
