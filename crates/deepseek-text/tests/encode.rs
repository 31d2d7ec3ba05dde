//! What the layout of a prompt has to hold beyond the vectors.

use deepseek_text::{
    Brief, Conversation, Edition, Effort, Error, Message, Mode, Options, Stage, Tokenizer,
    ToolChoice, encode, marker,
};

/// A tokenizer of bytes and markers: the layout does not depend on the vocabulary.
fn tokenizer() -> Tokenizer {
    let json = Tokenizer::tiny_json(300).expect("300 ids are enough");
    Tokenizer::parse(json.as_bytes()).expect("the tiny tokenizer loads")
}

#[track_caller]
fn check(options: Options, messages: &str, want: &str) {
    let conversation = Conversation::parse(messages).expect("messages");
    let options = Options {
        bos: false,
        ..options
    };
    let encoded = encode(&tokenizer(), &conversation, &options).expect("the prompt encodes");
    assert_eq!(encoded.text, want);
}

fn thinking() -> Options {
    Options::default()
}

fn chat() -> Options {
    Options {
        mode: Mode::Chat,
        ..Options::default()
    }
}

#[test]
fn results_keep_their_places_among_words_and_unknown_calls_come_first() {
    check(
        chat(),
        r#"[{"role": "assistant", "tool_calls": [
              {"id": "a", "function": {"name": "f", "arguments": "{}"}},
              {"id": "b", "function": {"name": "g", "arguments": "not json"}}]},
            {"role": "tool", "tool_call_id": "b", "content": "B"},
            {"role": "user", "content": "and"},
            {"role": "tool", "tool_call_id": "a", "content": "A"},
            {"role": "tool", "content": "?"}]"#,
        "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n\n</｜DSML｜invoke>\n\
         <｜DSML｜invoke name=\"g\">\n\
         <｜DSML｜parameter name=\"arguments\" string=\"true\">not json</｜DSML｜parameter>\n\
         </｜DSML｜invoke>\n</｜DSML｜tool_calls><｜end▁of▁sentence｜>\
         <｜User｜><tool_result>A</tool_result>\n\nand\n\n<tool_result>?</tool_result>\n\n\
         <tool_result>B</tool_result><｜Assistant｜></think>",
    );
}

#[test]
fn an_answer_to_a_task_has_no_reasoning() {
    check(
        thinking(),
        r#"[{"role": "user", "content": "q", "task": "query"},
            {"role": "assistant", "reasoning_content": "r", "content": "words"}]"#,
        "<｜User｜>q<｜query｜>words<｜end▁of▁sentence｜>",
    );
}

#[test]
fn words_after_a_task_begin_a_turn_of_their_own() {
    check(
        chat(),
        r#"[{"role": "user", "content": "q", "task": "domain"}, {"role": "user", "content": "p"}]"#,
        "<｜User｜>q<｜User｜>p<｜Assistant｜></think>",
    );
}

#[test]
fn developer_turns_are_forgotten_with_the_reasoning() {
    let messages = r#"[{"role": "developer", "content": "d"},
        {"role": "assistant", "reasoning_content": "r", "content": "a"},
        {"role": "user", "content": "q"}]"#;
    check(
        thinking(),
        messages,
        "a<｜end▁of▁sentence｜><｜User｜>q<｜Assistant｜><think>",
    );
    check(
        Options {
            drop_thinking: false,
            ..thinking()
        },
        messages,
        "<｜User｜>d<｜Assistant｜><think>r</think>a<｜end▁of▁sentence｜><｜User｜>q<｜Assistant｜><think>",
    );
    check(
        chat(),
        messages,
        "<｜User｜>d<｜Assistant｜></think>a<｜end▁of▁sentence｜><｜User｜>q<｜Assistant｜></think>",
    );
}

#[test]
fn tools_are_printed_as_they_came() {
    let messages = r#"[{"role": "system", "tools": [
        {"type": "function", "function": {"strict": true, "name": "z", "limit": 1e-7}}]}]"#;
    let conversation = Conversation::parse(messages).expect("messages");
    let encoded = encode(&tokenizer(), &conversation, &chat()).expect("the prompt encodes");
    let line = "\n\n{\"strict\": true, \"name\": \"z\", \"limit\": 1e-07}\n\n";
    assert!(encoded.text.contains(line), "{}", encoded.text);
}

#[test]
fn each_edition_has_its_words_for_effort() {
    let length = |edition, effort| {
        let options = Options {
            edition,
            effort,
            ..thinking()
        };
        let encoded = encode(&tokenizer(), &Conversation::ask(""), &options);
        let around = [marker::BOS, marker::USER, marker::ASSISTANT, marker::THINK];
        encoded.expect("the prompt encodes").text.len() - around.concat().len()
    };
    let first = [Effort::Low, Effort::High, Effort::Max].map(|e| length(Edition::First, e));
    assert_eq!(first, [0, 0, 476]);
    let [low, high, max] =
        [Effort::Low, Effort::High, Effort::Max].map(|e| length(Edition::Refreshed, e));
    assert_eq!((low, high), (0, 476));
    assert!(max > 0 && max != high, "{max}");
}

#[test]
fn an_effort_has_one_meaning_in_words_and_numbers() {
    let read = |text: &str| text.parse::<Effort>().ok();
    for text in ["minimal", "low"] {
        assert_eq!(read(text), Some(Effort::Low));
    }
    for text in ["medium", "high", "xhigh"] {
        assert_eq!(read(text), Some(Effort::High));
    }
    for text in ["max", "ultra"] {
        assert_eq!(read(text), Some(Effort::Max));
    }
    assert_eq!(read("none"), Some(Effort::None));
    assert_eq!(read("1"), Some(Effort::Score(1)));
    assert_eq!(read("100"), Some(Effort::Score(100)));
    for text in ["0", "101", "-1", "7.5", "High", ""] {
        assert_eq!(read(text), None, "{text:?}");
    }
}

#[test]
fn v4_has_no_numbers_for_effort() {
    for edition in [Edition::First, Edition::Refreshed] {
        let options = Options {
            edition,
            effort: Effort::Score(75),
            ..thinking()
        };
        let error = encode(&tokenizer(), &Conversation::ask(""), &options).expect_err("a number");
        assert_eq!(error.to_string(), "effort 75, expected low, high or max");
    }
}

#[test]
fn no_effort_is_no_reasoning() {
    let none = Options {
        effort: Effort::None,
        ..thinking()
    };
    check(
        none,
        r#"[{"role": "user", "content": "q"}]"#,
        "<｜User｜>q<｜Assistant｜></think>",
    );
}

#[test]
fn a_required_call_is_begun_and_hidden_tools_are_not_shown() {
    let messages = r#"[{"role": "system", "tools": [{"function": {"name": "f"}}]},
        {"role": "user", "content": "q"}]"#;
    let conversation = Conversation::parse(messages).expect("messages");
    let encoded = |tool_choice, options| {
        let options = Options {
            tool_choice,
            ..options
        };
        encode(&tokenizer(), &conversation, &options)
    };
    let required = encoded(ToolChoice::Required, chat()).expect("the prompt encodes");
    assert!(required.text.contains("{\"name\": \"f\"}"));
    assert!(
        required
            .text
            .ends_with("<｜Assistant｜></think>\n\n<｜DSML｜tool_calls>\n")
    );
    assert_eq!(required.start.stage, Stage::Calls);
    let none = encoded(ToolChoice::None, chat()).expect("the prompt encodes");
    assert!(
        none.text
            .ends_with("<｜begin▁of▁sentence｜><｜User｜>q<｜Assistant｜></think>")
    );
    assert_eq!(none.start.stage, Stage::Answer);
    let error = encoded(ToolChoice::Required, thinking()).expect_err("thinking first");
    assert!(matches!(error, Error::ToolChoice));
}

#[test]
fn v4_reads_a_note_in_place_of_a_medium() {
    check(
        chat(),
        r#"[{"role": "user", "content": [{"type": "text", "text": "a"},
            {"type": "image_url", "image_url": {"url": "cat.png"}},
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
            {"type": "video_url", "video_url": {"url": "cat.gif"}}]},
            {"role": "tool", "content": [{"type": "smell"}]}]"#,
        "<｜User｜>a\n\n[Unsupported image_url]\n\n[Unsupported input_audio]\n\n\
         [Unsupported video_url]\n\n<tool_result>[Unsupported smell]</tool_result>\
         <｜Assistant｜></think>",
    );
}

#[test]
fn the_start_of_the_completion_is_told() {
    let start = |options: Options, messages: &str| {
        let conversation = Conversation::parse(messages).expect("messages");
        encode(&tokenizer(), &conversation, &options)
            .expect("the prompt encodes")
            .start
            .stage
    };
    let ask = r#"[{"role": "user", "content": "q"}]"#;
    assert_eq!(start(thinking(), ask), Stage::Reasoning);
    assert_eq!(start(chat(), ask), Stage::Answer);
    let task = r#"[{"role": "user", "content": "q", "task": "action"}]"#;
    assert_eq!(start(thinking(), task), Stage::Continuation);
    let open = r#"[{"role": "assistant", "content": "so", "wo_eos": true}]"#;
    assert_eq!(start(thinking(), open), Stage::Continuation);
    for role in ["system", "developer", "latest_reminder", "tool"] {
        let last = format!(
            r#"[{{"role": "user", "content": "q"}}, {{"role": "{role}", "content": "s"}}]"#
        );
        assert_eq!(start(thinking(), &last), Stage::Reasoning, "{role}");
        assert_eq!(start(chat(), &last), Stage::Answer, "{role}");
    }
}

#[test]
fn the_header_of_an_answer_stands_before_it_whoever_spoke_last() {
    for (options, opener) in [(chat(), "</think>"), (thinking(), "<think>")] {
        for (role, marker) in [
            ("system", ""),
            ("latest_reminder", "<｜latest_reminder｜>"),
            ("developer", "<｜User｜>"),
        ] {
            let messages = format!(
                r#"[{{"role": "user", "content": "q"}}, {{"role": "{role}", "content": "s"}}]"#
            );
            // Thinking mode forgets no developer turn behind the last user.
            let want = format!("<｜User｜>q{marker}s<｜Assistant｜>{opener}");
            check(options, &messages, &want);
        }
    }
    check(
        chat(),
        r#"[{"role": "user", "content": "q"}, {"role": "system", "content": "s"},
            {"role": "assistant", "content": "a"}, {"role": "user", "content": "r"}]"#,
        "<｜User｜>qs<｜Assistant｜></think>a<｜end▁of▁sentence｜><｜User｜>r<｜Assistant｜></think>",
    );
    check(
        thinking(),
        r#"[{"role": "system", "content": "s"}, {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": "q"}, {"role": "system", "content": "t"},
            {"role": "assistant", "reasoning_content": "r", "content": "a", "prefix": true}]"#,
        "s<｜Assistant｜></think>Hello.<｜end▁of▁sentence｜><｜User｜>qt<｜Assistant｜><think>r</think>a",
    );
}

#[test]
fn calls_are_read_where_tools_are_shown_alone() {
    let calls = |messages: &str, tool_choice| {
        let conversation = Conversation::parse(messages).expect("messages");
        let options = Options {
            tool_choice,
            ..chat()
        };
        let encoded = encode(&tokenizer(), &conversation, &options);
        encoded.expect("the prompt encodes").start.calls
    };
    let with = r#"[{"role": "system", "tools": [{"function": {"name": "f"}}]}, {"role": "user"}]"#;
    let without = r#"[{"role": "system"}, {"role": "user"}, {"role": "assistant", "tool_calls":
        [{"function": {"name": "f"}}]}, {"role": "tool"}]"#;
    assert!(calls(with, ToolChoice::Auto));
    assert!(!calls(with, ToolChoice::None));
    assert!(!calls(without, ToolChoice::Auto));
}

#[test]
fn numbers_of_calls_tools_and_schemas_keep_their_digits() {
    let numbers = r#"{"id": 12345678901234567890123, "f": [1.10, -0, 1e400, 1E-7], "f": 0.10}"#;
    let messages = format!(
        r#"[{{"role": "system", "response_format": {numbers}, "tools":
              [{{"function": {{"name": "f", "parameters": {numbers}}}}}]}},
            {{"role": "user"}},
            {{"role": "assistant", "tool_calls": [
              {{"function": {{"name": "f", "arguments": {numbers}}}}},
              {{"function": {{"name": "f", "arguments": {}}}}}]}},
            {{"role": "tool", "content": {}}}]"#,
        serde_json::json!(numbers),
        serde_json::json!(numbers),
    );
    let conversation = Conversation::parse(&messages).expect("messages");
    let spaced = numbers.replace("1E-7", "1e-07");
    for (edition, tag) in [(Edition::First, "parameter"), (Edition::V41, " parameter")] {
        let json = match edition {
            Edition::V41 => Tokenizer::tiny_v41_json(300),
            Edition::First | Edition::Refreshed => Tokenizer::tiny_json(300),
        };
        let json = json.expect("300 ids are enough");
        let tokenizer = Tokenizer::parse(json.as_bytes()).expect("the tiny tokenizer loads");
        let options = Options { edition, ..chat() };
        let text = encode(&tokenizer, &conversation, &options)
            .expect("it encodes")
            .text;
        assert_eq!(text.matches(&spaced).count(), 2, "{text}");
        assert_eq!(text.matches(numbers).count(), 1, "the result in {text}");
        let argument = |name: &str, value: &str| {
            format!("<｜DSML｜{tag} name=\"{name}\" string=\"false\">{value}</｜DSML｜{tag}>")
        };
        let all = [
            argument("id", "12345678901234567890123"),
            argument("f", "[1.10, -0, 1e400, 1e-07]"),
            argument("f", "0.10"),
        ];
        assert_eq!(text.matches(&all.join("\n")).count(), 2, "{text}");
    }
}

#[test]
fn a_marker_that_is_needed_and_missing_is_named() {
    let json = Tokenizer::tiny_json(300).expect("300 ids are enough");
    let json = json.replace(marker::LATEST_REMINDER, "<｜another｜>");
    let tokenizer = Tokenizer::parse(json.as_bytes()).expect("the rest is there");
    let reminder = Message::LatestReminder {
        text: "today".to_owned(),
    };
    let with = Conversation {
        messages: vec![reminder],
    };
    let error = encode(&tokenizer, &with, &chat()).expect_err("no marker");
    assert_eq!(
        error.to_string(),
        "tokenizer: marker <｜latest_reminder｜> is missing"
    );
    let system = Message::System(Brief::default());
    let without = Conversation {
        messages: vec![system],
    };
    assert!(encode(&tokenizer, &without, &chat()).is_ok());
}
