//! The V4.1 prompt: all vectors byte for byte, and what they do not reach.

use deepseek_text::{
    Answer, Brief, Call, Content, Conversation, Delta, Edition, Effort, Encoded, Error, Message,
    Mode, Options, Part, Reader, Stage, Start, Task, Tokenizer, Tool, ToolChoice, Video, encode,
    marker, parse,
};
use serde_json::{Value, json};

const V4_TOKENIZER: &[u8] = include_bytes!("../../../tests/fixtures/text/tokenizer.json");
const VECTORS: &str = include_str!("../../../tests/fixtures/text/prompt_vectors_v41.json");

fn vectors() -> Value {
    serde_json::from_str(VECTORS).expect("the vectors are JSON")
}

fn list<'a>(vectors: &'a Value, key: &str, count: usize) -> &'a [Value] {
    let list = vectors[key].as_array().expect("a list of vectors");
    assert_eq!(list.len(), count, "{key}");
    list
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

/// V4's tokenizer with the two tokens that V4.1 renames.
fn released() -> Tokenizer {
    let mut file: Value = serde_json::from_slice(V4_TOKENIZER).expect("the file is JSON");
    let vectors = vectors();
    let renamed = vectors["renamed_tokens"].as_object().expect("names by id");
    assert_eq!(renamed.len(), 2);
    for token in file["added_tokens"].as_array_mut().expect("a list") {
        if let Some(name) = renamed.get(&token["id"].to_string()) {
            token["content"] = name.clone();
        }
    }
    Tokenizer::parse(file.to_string().as_bytes()).expect("the renamed tokenizer loads")
}

/// Bytes and markers: the layout does not depend on the vocabulary.
fn tiny() -> Tokenizer {
    let json = Tokenizer::tiny_v41_json(300).expect("300 ids are enough");
    Tokenizer::parse(json.as_bytes()).expect("the tiny tokenizer loads")
}

fn thinking() -> Options {
    Options {
        edition: Edition::V41,
        ..Options::default()
    }
}

fn chat() -> Options {
    Options {
        mode: Mode::Chat,
        ..thinking()
    }
}

/// A request's fields as options, and as what the first message declares.
fn translate(messages: &Value, fields: &Value) -> (Conversation, Options) {
    let mut messages = messages.clone();
    let mut options = thinking();
    let mut declared = serde_json::Map::new();
    for (key, value) in fields.as_object().expect("fields of a request") {
        match (key.as_str(), value) {
            ("thinking", value) => {
                options.mode = match text(&value["type"]) {
                    "enabled" => Mode::Thinking,
                    "disabled" => Mode::Chat,
                    other => panic!("thinking {other}"),
                }
            }
            ("reasoning_effort", value) => {
                options.effort = text(value).parse().expect("an effort");
            }
            ("tool_choice", value) => {
                options.tool_choice = match text(value) {
                    "none" => ToolChoice::None,
                    "required" => ToolChoice::Required,
                    other => panic!("tool choice {other}"),
                }
            }
            ("tools", Value::Null) => {}
            ("tools", tools) => drop(declared.insert(key.clone(), tools.clone())),
            ("response_format", format) => {
                let schema = format.pointer("/json_schema/schema").unwrap_or(format);
                declared.insert(key.clone(), schema.clone());
            }
            (other, _) => panic!("field {other}"),
        }
    }
    if !declared.is_empty() && options.tool_choice != ToolChoice::None {
        let list = messages.as_array_mut().expect("messages");
        if list[0]["role"] != "system" {
            list.insert(0, json!({ "role": "system" }));
        }
        list[0].as_object_mut().expect("a message").extend(declared);
    }
    let conversation = Conversation::parse(&messages.to_string()).expect("messages");
    (conversation, options)
}

fn write(tokenizer: &Tokenizer, messages: &Value, options: &Options) -> Encoded {
    let conversation = Conversation::parse(&messages.to_string()).expect("messages");
    encode(tokenizer, &conversation, options).expect("the prompt encodes")
}

#[track_caller]
fn check(options: Options, messages: &Value, want: &str) -> Encoded {
    let options = Options {
        bos: false,
        ..options
    };
    let encoded = write(&tiny(), messages, &options);
    assert_eq!(encoded.text, want);
    encoded
}

fn effort(score: u8) -> String {
    format!(
        "<｜System｜>Reasoning Effort: {score} \
         (range 1-100, the higher the value, the more thorough the reasoning)\n\n"
    )
}

#[test]
fn prompts_equal_the_vectors() {
    let (tokenizer, vectors) = (released(), vectors());
    let image = tokenizer.marker(marker::IMAGE).expect("a marker");
    assert_eq!(image, 129_264);
    for case in list(&vectors, "encode", 39) {
        let name = text(&case["name"]);
        let (conversation, options) = translate(&case["messages"], &case["options"]);
        let encoded = encode(&tokenizer, &conversation, &options).expect("the prompt encodes");
        assert_eq!(encoded.text, text(&case["prompt"]), "{name}");
        let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).expect("ids");
        assert_eq!(encoded.ids, ids, "{name}");
        let images: Vec<usize> = (0..ids.len()).filter(|&at| ids[at] == image).collect();
        let places: Vec<usize> = encoded.media.iter().map(|place| place.at).collect();
        assert_eq!(places, images, "{name}");
        let decoded = tokenizer.decode(&encoded.ids).expect("known ids");
        assert_eq!(decoded, encoded.text, "{name}");
    }
}

#[test]
fn fixed_texts_equal_the_literals() {
    let vectors = vectors();
    let literals = &vectors["literals"];
    let bare = Options {
        bos: false,
        ..chat()
    };
    let ask = write(&tiny(), &json!([{ "role": "user" }]), &thinking());
    let line = text(&literals["effort_line_75"]);
    assert_eq!(line.len(), 91);
    assert_eq!(
        ask.text,
        format!("<｜begin▁of▁sentence｜><｜System｜>{line}<｜User｜><｜Assistant｜><think>")
    );
    let both = json!([{
        "role": "system",
        "tools": [{ "function": { "parameters": { "b": 1e-5, "a": "ä" }, "name": "f", "strict": true } }],
        "response_format": { "type": "json_object" },
    }]);
    assert_eq!(
        write(&tiny(), &both, &bare).text,
        [
            "<｜System｜>\n\n",
            text(&literals["tools_head"]),
            r#"{"name": "f", "description": "", "parameters": {"b": 1e-05, "a": "ä"}}"#,
            text(&literals["tools_tail"]),
            "\n\n",
            text(&literals["response_format"]),
            r#"{"type": "json_object"}"#,
            "<｜Assistant｜></think>",
        ]
        .concat()
    );
}

/// The parts of an answer as the vectors have them.
fn message(answer: &Answer, start: Start) -> Value {
    let mut message = json!({ "role": "assistant", "content": answer.text });
    if start.stage == Stage::Reasoning {
        message["reasoning_content"] = json!(answer.reasoning);
    }
    let call = |(index, call): (usize, &Call)| {
        let function = json!({ "name": call.name, "arguments": call.arguments });
        json!({ "index": index, "type": "function", "function": function })
    };
    if !answer.calls.is_empty() {
        message["tool_calls"] = answer.calls.iter().enumerate().map(call).collect();
    }
    message
}

/// The completions of the vectors: name, text, where they start, and what they mean.
fn completions(vectors: &Value) -> impl Iterator<Item = (&str, &str, Start, Value)> {
    let lookup = json!([{ "function": { "name": "lookup" } }]);
    list(vectors, "parse", 16).iter().map(move |case| {
        let mut fields = case["options"].clone();
        let tools = fields.as_object_mut().expect("fields").entry("tools");
        tools.or_insert_with(|| lookup.clone());
        let (conversation, options) = translate(&json!([{ "role": "user" }]), &fields);
        let encoded = encode(&tiny(), &conversation, &options).expect("the prompt encodes");
        let (name, completion) = (text(&case["name"]), text(&case["completion"]));
        (
            name,
            completion,
            encoded.start,
            mended(name, completion, &case["message"]),
        )
    })
}

/// What is read here of the two completions with which the release gives out what is no JSON: a
/// value that is none though marked as such, and half a call.
fn mended(name: &str, completion: &str, released: &Value) -> Value {
    let mut message = released.clone();
    let arguments = "/tool_calls/0/function/arguments";
    let is_json = |value: &Value| serde_json::from_str::<Value>(text(value)).is_ok();
    match name {
        "broken value" => {
            let own = message.pointer_mut(arguments).expect("arguments");
            *own = json!(r#"{"n": "[1, 2"}"#);
        }
        "cut off" => {
            let (_, block) = completion.split_once("</think>").expect("reasoning ends");
            // Line breaks at the head of an answer mean nothing.
            message["content"] = json!(block.trim_start());
            message
                .as_object_mut()
                .expect("a message")
                .remove("tool_calls");
        }
        _ => {
            let is_sound = released.pointer(arguments).is_none_or(is_json);
            assert!(is_sound, "{name}");
            return message;
        }
    }
    assert!(!released.pointer(arguments).is_some_and(is_json), "{name}");
    message
}

fn collect(deltas: &[Delta]) -> Answer {
    let mut answer = Answer::default();
    deltas.iter().for_each(|delta| answer.push(delta));
    answer
}

#[test]
fn completions_equal_the_vectors_in_every_cut() {
    let (tokenizer, vectors) = (tiny(), vectors());
    for (name, completion, start, want) in completions(&vectors) {
        let answer = parse(completion, start).expect("text parses");
        assert_eq!(message(&answer, start), want, "{name}");
        for cut in 0..=completion.len() {
            let mut reader = Reader::new(&tokenizer, start, Vec::new());
            let (head, tail) = completion.as_bytes().split_at(cut);
            let mut deltas = reader.push_bytes(head).expect("text parses");
            deltas.extend(reader.push_bytes(tail).expect("text parses"));
            deltas.extend(reader.finish().expect("text parses"));
            assert_eq!(collect(&deltas), answer, "{name} cut at {cut}");
        }
        let mut reader = Reader::new(&tokenizer, start, Vec::new());
        let bytes = completion.as_bytes().chunks(1);
        let mut deltas: Vec<Delta> = bytes
            .flat_map(|byte| reader.push_bytes(byte).expect("text parses"))
            .collect();
        deltas.extend(reader.finish().expect("text parses"));
        assert_eq!(collect(&deltas), answer, "{name} in bytes");
    }
}

#[test]
fn completions_in_ids_equal_the_vectors() {
    let vectors = vectors();
    for tokenizer in [released(), tiny()] {
        for (name, completion, start, want) in completions(&vectors) {
            let ids = tokenizer.encode_trusted(completion).expect("text encodes");
            let answer = read(&tokenizer, start, &ids);
            assert_eq!(message(&answer, start), want, "{name}");
        }
    }
}

fn read(tokenizer: &Tokenizer, start: impl Into<Start>, ids: &[u32]) -> Answer {
    let mut reader = Reader::new(tokenizer, start, Vec::new());
    let mut deltas = Vec::new();
    for &id in ids {
        deltas.extend(reader.push(id).expect("known ids"));
    }
    deltas.extend(reader.finish().expect("text parses"));
    collect(&deltas)
}

#[test]
fn spelled_markers_are_letters_among_ids() {
    let tokenizer = tiny();
    let spelled = "a</think>b<｜DSML｜ calls>c";
    let mut ids = tokenizer.encode(spelled).expect("text encodes");
    ids.push(tokenizer.marker(marker::THINK_END).expect("a marker"));
    ids.extend(tokenizer.encode(spelled).expect("text encodes"));
    let answer = read(&tokenizer, Stage::Reasoning, &ids);
    assert_eq!((&*answer.reasoning, &*answer.text), (spelled, spelled));
}

#[test]
fn a_required_call_is_read_from_within_its_block() {
    let messages = json!([
        { "role": "system", "tools": [{ "function": { "name": "f" } }] }, { "role": "user" }
    ]);
    let options = Options {
        tool_choice: ToolChoice::Required,
        ..chat()
    };
    let encoded = write(&tiny(), &messages, &options);
    assert!(encoded.text.ends_with("</think>\n\n<｜DSML｜ calls>\n"));
    let want = Start {
        stage: Stage::Calls,
        calls: true,
    };
    assert_eq!(encoded.start, want);
    let completion = "<｜DSML｜ invoke name=\"f\">\n<｜DSML｜ parameter name=\"a\" string=\"false\">1\
        </｜DSML｜ parameter>\n</｜DSML｜ invoke>\n</｜DSML｜ calls>";
    let answer = parse(completion, encoded.start).expect("text parses");
    assert_eq!(answer.text, "");
    let calls: Vec<_> = answer
        .calls
        .iter()
        .map(|call| (&*call.name, &*call.arguments))
        .collect();
    assert_eq!(calls, [("f", r#"{"a": 1}"#)]);
    // Nothing can be required of a model without tools, and no call of one that thinks first.
    let without = write(&tiny(), &json!([{ "role": "user" }]), &options);
    assert_eq!(
        (without.start.stage, without.start.calls),
        (Stage::Answer, false)
    );
    let thinking = Options {
        mode: Mode::Thinking,
        ..options
    };
    let error = encode(&tiny(), &Conversation::ask("q"), &thinking).expect_err("thinking first");
    assert!(matches!(error, Error::ToolChoice));
}

#[test]
fn every_effort_has_its_number() {
    for score in 1..=100 {
        let options = Options {
            effort: Effort::Score(score),
            ..thinking()
        };
        let want = effort(score) + "<｜User｜>75<｜Assistant｜><think>";
        check(
            options,
            &json!([{ "role": "user", "content": "75" }]),
            &want,
        );
    }
    for (word, score) in [
        ("minimal", 50),
        ("low", 50),
        ("medium", 75),
        ("high", 75),
        ("xhigh", 75),
        ("max", 100),
        ("ultra", 100),
    ] {
        let options = Options {
            effort: word.parse().expect("an effort"),
            ..thinking()
        };
        let want = effort(score) + "75<｜Assistant｜><think>";
        check(
            options,
            &json!([{ "role": "system", "content": "75" }]),
            &want,
        );
    }
    let none = Options {
        effort: Effort::None,
        ..thinking()
    };
    let ask = json!([{ "role": "user", "content": "75" }]);
    check(none, &ask, "<｜User｜>75<｜Assistant｜></think>");
    for score in [0, 101, 255] {
        let options = Options {
            effort: Effort::Score(score),
            ..thinking()
        };
        let error = encode(&tiny(), &Conversation::ask(""), &options).expect_err("no such effort");
        assert_eq!(
            error.to_string(),
            format!("effort {score}, expected 1 to 100")
        );
    }
    check(thinking(), &json!([]), "<｜Assistant｜><think>");
}

#[test]
fn media_are_found_in_the_order_of_the_prompt() {
    let image = |name: &str| json!({ "type": "image_url", "image_url": { "url": name } });
    let audio = |name: &str| json!({ "type": "audio_url", "audio_url": { "url": name } });
    let video =
        |name: &str| json!({ "type": "video_url", "video_url": { "url": name, "fps": 0.5 } });
    let words = |text: &str| json!({ "type": "text", "text": text });
    let messages = json!([
        { "role": "system", "content": [words("s"), image("0")] },
        { "role": "user", "content": [image("1"), words("u"), audio("data:audio/wav;base64,AA")] },
        { "role": "assistant", "tool_calls": [
            { "id": "a", "function": { "name": "f", "arguments": "{}" } },
            { "id": "b", "function": { "name": "f", "arguments": "{}" } }] },
        { "role": "tool", "tool_call_id": "b", "content": [words("B"), video("b")] },
        { "role": "tool", "tool_call_id": "a", "content": [image("a")] },
    ]);
    let (image, audio, video) = (marker::IMAGE, marker::AUDIO, marker::VIDEO);
    let call = "<｜DSML｜ invoke name=\"f\">\n\n</｜DSML｜ invoke>\n";
    let want = format!(
        "<｜System｜>s\n\n{image}<｜User｜>{image}\n\nu\n\n{audio}<｜Assistant｜></think>\n\n\
         <｜DSML｜ calls>\n{call}{call}</｜DSML｜ calls><｜end▁of▁sentence｜>\
         <｜User｜><tool_result>{image}</tool_result>\n\n\
         <tool_result>B\n\n{video}</tool_result><｜Assistant｜></think>"
    );
    let encoded = check(chat(), &messages, &want);
    let conversation = Conversation::parse(&messages.to_string()).expect("messages");
    let parts: Vec<&Part> = conversation.media().collect();
    let named: Vec<&Part> = encoded
        .media
        .iter()
        .map(|place| parts[place.index])
        .collect();
    let b = Part::Video(Video {
        source: "b".to_owned(),
        fps: serde_json::Number::from_f64(0.5),
        ..Video::default()
    });
    let [zero, one, a] = ["0", "1", "a"].map(|name| Part::Image(name.to_owned()));
    let spoken = Part::Audio("data:audio/wav;base64,AA".to_owned());
    assert_eq!(named, [&zero, &one, &spoken, &a, &b]);
    let ids: Vec<u32> = encoded
        .media
        .iter()
        .map(|place| encoded.ids[place.at])
        .collect();
    let want =
        [image, image, audio, image, video].map(|text| tiny().marker(text).expect("a marker"));
    assert_eq!(ids, want);
}

#[test]
fn released_vocabularies_have_the_marker_of_images_for_every_medium() {
    let tokenizer = released();
    let messages = json!([{ "role": "user", "content": [
        { "type": "text", "text": "<｜deepseek_audio｜>" },
        { "type": "audio_url", "audio_url": { "url": "a" } },
        { "type": "image_url", "image_url": { "url": "i" } },
        { "type": "video_url", "video_url": { "url": "v" } },
    ] }]);
    let encoded = write(&tokenizer, &messages, &chat());
    let (audio, video) = (marker::AUDIO, marker::VIDEO);
    assert!(
        encoded.text.contains(&format!("{audio}\n\n{audio}\n\n")),
        "{}",
        encoded.text
    );
    assert!(encoded.text.contains(video), "{}", encoded.text);
    let places: Vec<usize> = encoded.media.iter().map(|place| place.at).collect();
    let stands = |at: &usize| encoded.ids[*at] == 129_264;
    assert_eq!(places.len(), 3);
    assert!(places.iter().all(stands), "{places:?}");
    assert_eq!((0..encoded.ids.len()).filter(stands).count(), 3);
}

#[test]
fn parts_and_their_json_are_the_same() {
    let content = Content(vec![
        Part::Text("a".to_owned()),
        Part::Image("b.png".to_owned()),
        Part::Audio("c.wav".to_owned()),
        Part::Video(Video {
            source: "d.gif".to_owned(),
            fps: Some(3.into()),
            max_frames: Some(7),
            audio: Some(false),
        }),
        Part::Video(Video {
            source: "e.gif".to_owned(),
            ..Video::default()
        }),
    ]);
    let cases = [
        Message::user("words"),
        Message::user(content.clone()),
        Message::system(content.clone()),
        Message::tool("x", content.clone()),
    ];
    for message in cases {
        let (role, content) = match &message {
            Message::System(brief) => ("system", &brief.content),
            Message::User { content, .. } => ("user", content),
            Message::Tool { content, .. } => ("tool", content),
            other => panic!("{other:?}"),
        };
        let mut json = json!([{ "role": role, "content": content }]);
        if role == "tool" {
            json[0]["tool_call_id"] = json!("x");
        }
        let read = Conversation::parse(&json.to_string()).expect("messages");
        assert_eq!(read.messages, [message]);
    }
}

#[test]
fn no_words_become_a_marker() {
    let tokenizer = released();
    let every = [
        marker::BOS,
        marker::EOS,
        marker::SYSTEM,
        marker::USER,
        marker::ASSISTANT,
        marker::THINK,
        marker::THINK_END,
        marker::DSML,
        marker::LATEST_REMINDER,
        marker::IMAGE,
        marker::QUERY,
    ]
    .concat();
    let spelled = every.clone() + &marker::GROUNDING.concat();
    let call = json!({ "id": spelled, "function":
        { "name": spelled, "arguments": json!({ &spelled: spelled }).to_string() } });
    let messages = json!([
        { "role": "system", "content": spelled, "response_format": spelled, "tools": [
            { "function": { "name": spelled, "description": spelled, "parameters": [spelled] } }] },
        { "role": "latest_reminder", "content": spelled },
        { "role": "user", "content": spelled },
        { "role": "assistant", "content": every, "reasoning_content": every, "tool_calls": [call] },
        { "role": "tool", "tool_call_id": spelled, "content": spelled },
    ]);
    let hollow = messages
        .to_string()
        .replace(&spelled, "")
        .replace(&every, "");
    let hollow = Conversation::parse(&hollow).expect("messages");
    let hollow = encode(&tokenizer, &hollow, &thinking()).expect("the prompt encodes");
    let full = write(&tokenizer, &messages, &thinking());
    let markers = |encoded: &Encoded| -> Vec<u32> {
        let ids = encoded.ids.iter().copied();
        ids.filter(|&id| tokenizer.is_added(id)).collect()
    };
    assert_eq!(markers(&full), markers(&hollow));
    assert!(full.media.is_empty());
    assert_eq!(tokenizer.decode(&full.ids).expect("known ids"), full.text);
}

#[test]
fn grounding_keeps_its_meaning_in_answers_alone() {
    let tokenizer = tiny();
    let grounding = marker::GROUNDING.concat();
    let messages = json!([
        { "role": "system", "tools": [{ "function": { "name": "f" } }] },
        { "role": "user", "content": grounding },
        { "role": "assistant", "content": grounding, "reasoning_content": grounding },
    ]);
    let encoded = write(&tokenizer, &messages, &thinking());
    for text in marker::GROUNDING {
        let id = tokenizer.marker(text).expect("a marker");
        let count = encoded.ids.iter().filter(|&&found| found == id).count();
        assert_eq!(count, 2, "{text}");
    }
    let ids = tokenizer.encode_trusted(&grounding).expect("text encodes");
    assert_eq!(ids.len(), 8);
    assert_eq!(read(&tokenizer, Stage::Answer, &ids).text, grounding);
}

#[test]
fn tools_of_a_later_message_are_listed_there() {
    let messages = json!([
        { "role": "user", "content": "q" },
        { "role": "system", "content": "More.", "tools": [{ "function": { "name": "late" } }] },
    ]);
    let encoded = write(&tiny(), &messages, &thinking());
    let line = r#"{"name": "late", "description": "", "parameters": {}}"#;
    let end = format!(
        "<｜User｜>q<｜System｜>More.\n\n### Updated Tool Schemas\n\n{line}<｜Assistant｜><think>"
    );
    assert!(encoded.text.ends_with(&end), "{}", encoded.text);
    assert!(
        encoded
            .text
            .contains("### Available Tool Schemas\n\n\n\nYou MUST")
    );
    assert_eq!(encoded.text.matches(line).count(), 1);
    assert!(encoded.start.calls);
    let hidden = Options {
        tool_choice: ToolChoice::None,
        ..thinking()
    };
    let want = effort(75) + "<｜User｜>q<｜System｜>More.<｜Assistant｜><think>";
    assert!(!check(hidden, &messages, &want).start.calls);
}

#[test]
fn tools_of_a_group_bear_its_name() {
    let group = json!([{ "role": "system", "tools": [{
        "type": "namespace", "name": "files", "description": "On disk.", "tools": [
            { "type": "function", "name": "read", "description": "Reads one." },
            { "type": "function", "name": "list" }],
    }] }]);
    let encoded = write(&tiny(), &group, &chat());
    let lines = concat!(
        r#"{"name": "files::read", "description": "On disk.\nReads one.", "parameters": {}}"#,
        "\n",
        r#"{"name": "files::list", "description": "On disk.\n", "parameters": {}}"#,
    );
    assert!(encoded.text.contains(lines), "{}", encoded.text);
    let plain = Tool::grouped(
        "g",
        "",
        &json!({ "name": "f", "description": "Own." }).into(),
    );
    assert_eq!(
        plain.0,
        json!({ "name": "g::f", "description": "Own." }).into()
    );
}

#[test]
fn a_tool_without_a_name_is_refused() {
    for function in [json!({}), json!({ "name": 7 }), json!("f")] {
        let tools = [json!({ "name": "f" }), function].map(|function| Tool(function.into()));
        let brief = Brief {
            tools: tools.into(),
            ..Brief::default()
        };
        let conversation = Conversation {
            messages: vec![Message::System(brief)],
        };
        let error = encode(&tiny(), &conversation, &chat()).expect_err("no name");
        assert!(matches!(error, Error::Tool { index: 1, .. }), "{error}");
    }
}

#[test]
fn the_last_schema_holds_for_the_conversation() {
    let messages = json!([
        { "role": "system", "content": "s", "response_format": 1 },
        { "role": "user", "content": "q" },
        { "role": "system", "content": "t", "response_format": 2 },
    ]);
    let format = vectors()["literals"]["response_format"].clone();
    let want = format!(
        "<｜System｜>s\n\n{}2<｜User｜>q<｜System｜>t<｜Assistant｜></think>",
        text(&format)
    );
    check(chat(), &messages, &want);
}

#[test]
fn repeated_reminders_are_dropped() {
    let reminder = |text: &str| json!({ "role": "latest_reminder", "content": text });
    let messages = json!([reminder("a"), reminder("b"), { "role": "user" }, reminder("c")]);
    check(
        chat(),
        &messages,
        "<｜latest_reminder｜>a<｜User｜><｜latest_reminder｜>c<｜Assistant｜></think>",
    );
}

#[test]
fn results_keep_their_places_among_words_and_unknown_calls_come_first() {
    let call = |id: &str| json!({ "id": id, "function": { "name": "f", "arguments": "[1]" } });
    let result = |id: &str| json!({ "role": "tool", "tool_call_id": id, "content": id });
    let messages = json!([
        { "role": "assistant", "tool_calls": [call("a"), call("b")] },
        result("b"), { "role": "user", "content": "and" }, result("?"), result("a"),
    ]);
    let encoded = write(&tiny(), &messages, &chat());
    let end = "<｜end▁of▁sentence｜><｜User｜><tool_result>?</tool_result>\n\nand\n\n\
        <tool_result>a</tool_result>\n\n<tool_result>b</tool_result><｜Assistant｜></think>";
    assert!(encoded.text.ends_with(end), "{}", encoded.text);
    let argument =
        "<｜DSML｜ parameter name=\"arguments\" string=\"true\">[1]</｜DSML｜ parameter>";
    assert_eq!(encoded.text.matches(argument).count(), 2);
}

#[test]
fn tasks_stand_where_the_release_has_them() {
    let ask = |task: &str| json!({ "role": "user", "content": "q", "task": task });
    let said = json!({ "role": "assistant", "reasoning_content": "r", "content": "a" });
    let eos = marker::EOS;
    for (task, marker) in [
        ("query", marker::QUERY),
        ("authority", marker::AUTHORITY),
        ("domain", marker::DOMAIN),
        ("read_url", marker::READ_URL),
    ] {
        let encoded = check(chat(), &json!([ask(task)]), &format!("<｜User｜>q{marker}"));
        assert_eq!(encoded.start.stage, Stage::Continuation);
    }
    let query = effort(75) + "<｜User｜>q<｜query｜>";
    check(thinking(), &json!([ask("query")]), &query);
    // What was said to a task is told without a header, and was never reasoned about.
    let answered = format!("{query}a{eos}<｜User｜>p<｜Assistant｜><think>");
    let next = json!({ "role": "user", "content": "p" });
    check(thinking(), &json!([ask("query"), said, next]), &answered);
    for (options, opener) in [(chat(), "</think>"), (thinking(), "<think>")] {
        let start = match options.mode {
            Mode::Chat => String::new(),
            Mode::Thinking => effort(75),
        };
        let action = start + "<｜User｜>q<｜Assistant｜>" + opener + "<｜action｜>";
        let encoded = check(options, &json!([ask("action")]), &action);
        assert_eq!(encoded.start.stage, Stage::Continuation);
        let answered = format!("{action}a{eos}<｜Assistant｜>{opener}");
        check(options, &json!([ask("action"), said]), &answered);
    }
    let conversation = Conversation {
        messages: vec![
            Message::user("q"),
            Message::Assistant {
                answer: Answer {
                    text: "a".to_owned(),
                    ..Answer::default()
                },
                task: Some(Task::Title),
                open: false,
            },
        ],
    };
    let encoded = encode(&tiny(), &conversation, &chat()).expect("the prompt encodes");
    let title = format!("<｜User｜>q<｜Assistant｜></think>a{eos}<｜title｜>");
    assert!(encoded.text.ends_with(&title), "{}", encoded.text);
    assert_eq!(encoded.start.stage, Stage::Continuation);
}

#[test]
fn the_start_of_the_completion_is_told() {
    let ask = json!({ "role": "user", "content": "q" });
    let open = |reasoning: &str, text: &str| {
        let answer = json!({ "role": "assistant", "reasoning_content": reasoning, "content": text,
            "prefix": true });
        json!([ask, answer])
    };
    let cases = [
        (thinking(), json!([ask]), Stage::Reasoning),
        (chat(), json!([ask]), Stage::Answer),
        (thinking(), open("", ""), Stage::Reasoning),
        (thinking(), open("Hm", ""), Stage::OpenReasoning),
        (thinking(), open("Hm", "So"), Stage::Continuation),
        (chat(), open("Hm", ""), Stage::Answer),
        (chat(), open("Hm", "So"), Stage::Continuation),
    ];
    for (options, messages, stage) in cases {
        let encoded = write(&tiny(), &messages, &options);
        assert_eq!(encoded.start.stage, stage, "{messages}");
    }
    let goes_on = parse("\n\nand</think>\n\nso", Stage::OpenReasoning).expect("text parses");
    assert_eq!((&*goes_on.reasoning, &*goes_on.text), ("\n\nand", "so"));
}

#[test]
fn developers_are_heard_as_systems() {
    let developer =
        json!([{ "role": "developer", "content": "d" }, { "role": "user", "content": "q" }]);
    check(
        chat(),
        &developer,
        "<｜System｜>d<｜User｜>q<｜Assistant｜></think>",
    );
}

#[test]
fn the_markers_tell_the_edition() {
    assert_eq!(Edition::of(&released()), Edition::V41);
    assert_eq!(Edition::of(&tiny()), Edition::V41);
    let v4 = Tokenizer::tiny_json(300).expect("300 ids are enough");
    for json in [v4.as_bytes(), V4_TOKENIZER] {
        let v4 = Tokenizer::parse(json).expect("the tokenizer loads");
        assert_eq!(Edition::of(&v4), Edition::First);
        let error = encode(&v4, &Conversation::ask("q"), &thinking()).expect_err("no marker");
        assert_eq!(
            error.to_string(),
            "tokenizer: marker <｜System｜> is missing"
        );
    }
}
