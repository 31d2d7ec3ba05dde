//! The embedded model's tokenizer and prompts, against those that it was trained with.

use deepseek_text::{Conversation, Edition, Mode, Options, Tokenizer, encode};
use serde_json::{Value, json};

const TOKENIZER: &[u8] = include_bytes!("../../../assets/model/tokenizer.json");

/// Written by `python -m data.wire` in `xtask/train`.
const PROMPTS: &str = include_str!("../../../tests/fixtures/text/embedded_prompts.json");

fn fixture() -> Value {
    serde_json::from_str(PROMPTS).expect("the prompts are JSON")
}

#[test]
fn prompts_are_those_of_training() {
    let tokenizer = Tokenizer::parse(TOKENIZER).expect("the tokenizer loads");
    assert_eq!(Edition::of(&tokenizer), Edition::V41);
    let fixture = fixture();
    let prompts = fixture["prompts"].as_array().expect("a list");
    assert!(prompts.len() >= 25, "{} prompts", prompts.len());
    for (index, case) in prompts.iter().enumerate() {
        let messages = case["messages"].to_string();
        let conversation = Conversation::parse(&messages).expect("messages");
        let options = Options {
            edition: Edition::V41,
            mode: if case["thinking"] == json!(true) {
                Mode::Thinking
            } else {
                Mode::Chat
            },
            ..Options::default()
        };
        let encoded = encode(&tokenizer, &conversation, &options).expect("the prompt encodes");
        let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).expect("ids");
        let trained = tokenizer.decode(&ids).expect("known ids");
        assert_eq!(encoded.text, trained, "prompt {index}");
        assert_eq!(encoded.ids, ids, "prompt {index}");
    }
}

#[test]
fn compressed_ids_are_those_of_training() {
    let tokenizer = Tokenizer::parse(TOKENIZER).expect("the tokenizer loads");
    let ids = tokenizer.engram_ids().expect("every text is normalised");
    assert_eq!(json!(ids), fixture()["engram_ids"]);
}
