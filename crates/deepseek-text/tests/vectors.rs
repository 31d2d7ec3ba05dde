//! All vectors of the released encoder, byte for byte, with the released tokenizer.

use deepseek_text::{
    Answer, Conversation, Effort, Encoded, Mode, Options, Tokenizer, encode, parse,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

const TOKENIZER: &[u8] = include_bytes!("../../../tests/fixtures/text/tokenizer.json");
const VECTORS: &str = include_str!("../../../tests/fixtures/text/prompt_vectors.json");

fn vectors() -> Value {
    serde_json::from_str(VECTORS).expect("the vectors are JSON")
}

fn tokenizer() -> Tokenizer {
    Tokenizer::parse(TOKENIZER).expect("the released tokenizer loads")
}

fn list<'a>(vectors: &'a Value, key: &str) -> &'a [Value] {
    let list = vectors[key].as_array().expect("a list of vectors");
    assert!(!list.is_empty(), "{key}");
    list
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).expect("a list of ids")
}

fn mode(value: &Value) -> Mode {
    match text(value) {
        "chat" => Mode::Chat,
        "thinking" => Mode::Thinking,
        other => panic!("mode {other}"),
    }
}

fn options(value: &Value) -> Options {
    let mut options = Options::default();
    for (key, value) in value.as_object().expect("options") {
        match key.as_str() {
            "thinking_mode" => options.mode = mode(value),
            "reasoning_effort" => {
                options.effort = match text(value) {
                    "high" => Effort::High,
                    "max" => Effort::Max,
                    other => panic!("effort {other}"),
                }
            }
            "drop_thinking" => options.drop_thinking = value.as_bool().expect("a flag"),
            "add_default_bos_token" => options.bos = value.as_bool().expect("a flag"),
            other => panic!("option {other}"),
        }
    }
    options
}

fn write(tokenizer: &Tokenizer, messages: &Value, options: &Options) -> Encoded {
    let conversation = Conversation::parse(&messages.to_string()).expect("messages");
    encode(tokenizer, &conversation, options).expect("the prompt encodes")
}

#[test]
fn the_tokenizer_is_the_one_of_the_vectors() {
    let hash: String = Sha256::digest(TOKENIZER)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(hash, text(&vectors()["tokenizer_sha256"]));
    assert_eq!(tokenizer().vocab_size(), 129_280);
}

#[test]
fn prompts_equal_the_vectors() {
    let (tokenizer, vectors) = (tokenizer(), vectors());
    for case in list(&vectors, "encode") {
        let name = text(&case["name"]);
        let encoded = write(&tokenizer, &case["messages"], &options(&case["options"]));
        assert_eq!(encoded.text, text(&case["prompt"]), "{name}");
        assert_eq!(encoded.ids, ids(&case["ids"]), "{name}");
        assert_eq!(
            tokenizer.decode(&encoded.ids).expect("known ids"),
            encoded.text,
            "{name}"
        );
    }
}

#[test]
fn completions_equal_the_vectors() {
    for case in list(&vectors(), "parse") {
        let completion = text(&case["completion"]);
        let Answer {
            reasoning,
            text: said,
            calls,
        } = parse(completion, mode(&case["thinking_mode"])).expect("text parses");
        let calls: Vec<Value> = calls
            .into_iter()
            .map(|call| {
                let function =
                    serde_json::json!({ "name": call.name, "arguments": call.arguments });
                serde_json::json!({ "type": "function", "function": function })
            })
            .collect();
        let message = serde_json::json!({
            "role": "assistant", "content": said, "reasoning_content": reasoning,
            "tool_calls": calls,
        });
        assert_eq!(message, case["message"], "{completion}");
    }
}

#[test]
fn tokens_equal_the_vectors() {
    let (tokenizer, vectors) = (tokenizer(), vectors());
    for case in list(&vectors, "tokenize") {
        let found = tokenizer
            .encode_trusted(text(&case["text"]))
            .expect("text encodes");
        assert_eq!(found, ids(&case["ids"]), "{}", case["text"]);
        assert_eq!(
            tokenizer.decode(&found).expect("known ids"),
            text(&case["decoded"])
        );
    }
}

#[test]
fn fixed_texts_equal_the_literals() {
    let (tokenizer, vectors) = (tokenizer(), vectors());
    let literals = &vectors["literals"];
    let tool = serde_json::json!([{ "role": "system", "tools": [{ "function": {"name": "f"} }] }]);
    let bare = Options {
        bos: false,
        ..Options::default()
    };
    let tools = text(&literals["tools_template"])
        .replace("{dsml_token}", "｜DSML｜")
        .replace("{thinking_start_token}", "<think>")
        .replace("{thinking_end_token}", "</think>")
        .replace("{tool_schemas}", r#"{"name": "f"}"#);
    let header = "<｜Assistant｜><think>";
    assert_eq!(
        write(&tokenizer, &tool, &bare).text,
        format!("\n\n{tools}{header}")
    );

    let schema = serde_json::json!([{ "role": "system", "response_format": [0.00001, "ä"] }]);
    let format = text(&literals["response_format_template"]).replace("{schema}", r#"[1e-05, "ä"]"#);
    assert_eq!(
        write(&tokenizer, &schema, &bare).text,
        format!("\n\n{format}{header}")
    );

    let empty = serde_json::json!([{ "role": "system" }]);
    let max = Options {
        effort: Effort::Max,
        ..bare
    };
    assert_eq!(
        write(&tokenizer, &empty, &max).text,
        format!("{}{header}", text(&literals["max_effort_prefix"]))
    );
}
