//! What a model says, from its ids to stdout: answers, calls, and how they end.

use deepseek_text::{Conversation, Mode, Options, Tokenizer, encode};
use serde_json::{Value, json};

use crate::program::{Checkpoint, Ran};

/// A speaker finds its words by positions, which are no numbers of BF16.
const EXACT: [&str; 2] = ["--numerics", "exact"];

/// A question to a model that may call tools.
const WITH_TOOLS: &str = r#"[{"role": "system", "content": "S", "tools": [{"name": "get"}]},
    {"role": "user", "content": "x"}]"#;

/// Asks a model that says `words`.
fn say(conversation: &str, thinking: bool, more: &[&str], words: &str) -> Ran {
    let json = Tokenizer::tiny_json(288).expect("bytes and markers fit");
    let tokenizer = Tokenizer::parse(json.as_bytes()).expect("a tokenizer");
    let mut asked = Conversation::parse(conversation).expect("messages");
    if let (true, Some(deepseek_text::Message::Assistant { open, .. })) =
        (more.contains(&"--continue"), asked.messages.last_mut())
    {
        *open = true;
    }
    let (mode, flag) = if thinking {
        (Mode::Thinking, "--thinking")
    } else {
        (Mode::Chat, "--no-thinking")
    };
    let options = Options {
        mode,
        ..Options::default()
    };
    let prompt = encode(&tokenizer, &asked, &options).expect("the prompt encodes");
    let checkpoint = Checkpoint::speaker(prompt.ids.len(), words);
    checkpoint.write("talk.json", conversation.as_bytes());
    let talk = checkpoint.file("talk.json");
    let flags = ["--conversation", &talk, "--temperature", "0", flag];
    checkpoint.run("run", &[&flags, &EXACT[..], more].concat())
}

/// What is printed of words in chat mode, tools declared, that have no flaw.
#[track_caller]
fn printed(words: &str) -> String {
    let ran = say(WITH_TOOLS, false, &[], words);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    ran.out
}

/// A block of one call with these parameters.
fn call(parameters: &str) -> String {
    format!(
        "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"get\">\n{parameters}\n</｜DSML｜invoke>\n\
         </｜DSML｜tool_calls>"
    )
}

fn parameter(name: &str, string: bool, value: &str) -> String {
    format!("<｜DSML｜parameter name=\"{name}\" string=\"{string}\">{value}</｜DSML｜parameter>")
}

#[test]
fn a_speaker_says_what_it_is_told() {
    assert_eq!(printed("ok 😀 done"), "ok 😀 done\n");
    assert_eq!(printed("if a <"), "if a <\n");
}

#[test]
fn calls_are_printed_with_the_digits_that_the_model_wrote() {
    let parameters = [
        parameter("id", false, "12345678901234567890123"),
        parameter("f", false, "[1.10,\n -0, 1e400]"),
        parameter("a", true, "12345678901234567890123"),
    ];
    assert_eq!(
        printed(&call(&parameters.join("\n"))),
        "{\"name\":\"get\",\"arguments\":{\"id\":12345678901234567890123,\"f\":[1.10,-0,1e400],\
         \"a\":\"12345678901234567890123\"}}\n"
    );
}

#[test]
fn calls_are_json_whatever_the_model_wrote() {
    for (parameters, want) in [
        (
            parameter("city name", true, "Paris"),
            json!({ "city name": "Paris" }),
        ),
        (parameter("a\"b", true, "Paris"), json!({ "a\"b": "Paris" })),
        (
            parameter("city", false, "Paris"),
            json!({ "city": "Paris" }),
        ),
        (parameter("c", false, "NaN"), json!({ "c": "NaN" })),
        (
            parameter("a", true, "tab\there \u{1} ctl \u{7f} del \u{1b} esc"),
            json!({ "a": "tab\there \u{1} ctl \u{7f} del \u{1b} esc" }),
        ),
        (
            "<｜DSML｜parameter string=\"true\" name=\"city\">Paris</｜DSML｜parameter>".to_owned(),
            json!({ "city": "Paris" }),
        ),
    ] {
        let line: Value = serde_json::from_str(&printed(&call(&parameters))).expect("JSON");
        assert_eq!(line, json!({ "name": "get", "arguments": want }));
    }
}

#[test]
fn without_tools_the_marker_of_calls_is_text() {
    let ask = r#"[{"role": "user", "content": "x"}]"#;
    for words in [
        "The marker <｜DSML｜ is used by the model. It opens blocks.".to_owned(),
        format!("So.{}", call("")),
    ] {
        let ran = say(ask, false, &[], &words);
        assert_eq!((ran.out, ran.err), (format!("{words}\n"), String::new()));
    }
    let prose = "The marker <｜DSML｜ is used by the model. It opens blocks.";
    assert_eq!(printed(prose), format!("{prose}\n"));
}

#[test]
fn a_call_that_cannot_be_read_is_shown_and_told() {
    let bad = "<｜DSML｜invoke name='bad'>\n<｜DSML｜parameter name=\"c\" string=\"true\">P\
        </｜DSML｜parameter>\n</｜DSML｜invoke>\n<｜DSML｜invoke name=\"get\">";
    let words = call(&parameter("c", true, "P")).replace("<｜DSML｜invoke name=\"get\">", bad);
    let ran = say(WITH_TOOLS, false, &[], &format!("Let me look.{words}"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let (text, line) = ran.out.trim_end().rsplit_once('\n').expect("two things");
    let (bad, _) = bad.rsplit_once('\n').expect("two calls");
    assert!(
        text.starts_with("Let me look.") && text.ends_with(bad),
        "{text}"
    );
    assert_eq!(line, r#"{"name":"get","arguments":{"c":"P"}}"#);
    assert_eq!(
        ran.err,
        "note: a call that cannot be read is shown as it was written\n"
    );
}

#[test]
fn half_a_call_is_never_printed_as_one() {
    let words = format!("Text.{}", call(&parameter("c", true, "a long value")));
    let end = words.len() + 1;
    for most in ["1", "8", "30", "60", "75"] {
        let ran = say(
            WITH_TOOLS,
            false,
            &["--max-tokens", most, "--stats"],
            &words,
        );
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(words.starts_with(ran.out.trim_end()), "{ran:?}");
        let note = format!("note: the answer was cut by --max-tokens after {most} tokens");
        assert!(ran.err.starts_with(&note), "{ran:?}");
        assert!(ran.err.ends_with("finish       length\n"), "{ran:?}");
        let within = ran
            .err
            .contains("within a call, which is shown as it was written\n");
        assert_eq!(within, ran.out.contains("tool_calls>"), "{ran:?}");
    }
    let whole = say(
        WITH_TOOLS,
        false,
        &["--max-tokens", &end.to_string(), "--stats"],
        &words,
    );
    assert_eq!(
        whole.out,
        "Text.\n{\"name\":\"get\",\"arguments\":{\"c\":\"a long value\"}}\n"
    );
    assert!(
        whole.err.ends_with("finish       stop\n") && !whole.err.contains("note"),
        "{whole:?}"
    );
    let (half, _) = words.split_once("value").expect("it is there");
    let ended = say(WITH_TOOLS, false, &[], half);
    assert_eq!(ended.out, format!("{half}\n"));
    assert_eq!(
        ended.err,
        "note: the model did not end its call, which is shown as it was written\n"
    );
}

#[test]
fn an_answer_that_was_cut_is_told() {
    let ask = r#"[{"role": "user", "content": "x"}]"#;
    let ran = say(ask, true, &["--stats"], "The answer is 42.");
    assert_eq!(ran.out, "");
    let told = "The answer is 42.\nnote: the model did not end its reasoning: there is no answer\n";
    assert!(ran.err.starts_with(told), "{ran:?}");
    assert!(ran.err.ends_with("finish       stop\n"), "{ran:?}");
    let ran = say(ask, true, &["--max-tokens", "3"], "The answer is 42.");
    let within = "note: the answer was cut by --max-tokens after 3 tokens within its reasoning\n";
    assert_eq!((ran.out.as_str(), ran.err), ("", format!("The\n{within}")));
    let ran = say(ask, false, &["--stop", "END", "--stats"], "abc END");
    assert_eq!(ran.out, "abc \n");
    assert!(
        ran.err
            .starts_with("note: the answer was ended by a stop string\n"),
        "{ran:?}"
    );
    assert!(ran.err.ends_with("finish       stop-string\n"), "{ran:?}");
    let ran = say(ask, false, &["--context", "8", "--stats"], "abcdef");
    let said = ran.out.trim_end();
    assert!(said.len() < 6 && "abcdef".starts_with(said), "{ran:?}");
    assert!(
        ran.err
            .starts_with("note: the answer was cut by the end of the context\n"),
        "{ran:?}"
    );
    assert!(ran.err.ends_with("finish       context\n"), "{ran:?}");
}

#[test]
fn after_a_last_system_message_reasoning_is_no_answer() {
    let talk = r#"[{"role": "system", "content": "S"}, {"role": "user", "content": "hi"},
        {"role": "system", "content": "Be brief."}]"#;
    let ran = say(talk, true, &[], "secret thought</think>Answer");
    assert_eq!(
        (ran.out.as_str(), ran.err.as_str()),
        ("Answer\n", "secret thought\n")
    );
}

#[test]
fn what_leaves_nothing_to_answer_is_refused_or_gone_on_with() {
    let talk = r#"[{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}]"#;
    say(talk, false, &[], "x").failed(
        3,
        "message 1 is the assistant's and the last, there is nothing to answer",
        "--continue goes on with it",
    );
    for thinking in [false, true] {
        let ran = say(talk, thinking, &["--continue"], " and d");
        assert_eq!((ran.out.as_str(), ran.err.as_str()), (" and d\n", ""));
    }
    say("[]", false, &[], "x").failed(3, "no messages", "give a prompt");
    let ask = r#"[{"role": "user", "content": "a"}]"#;
    say(ask, false, &["--continue"], "x").failed(3, "the last message is no text", "");
}

#[test]
fn conversations_are_read_as_clients_send_them() {
    for talk in [
        "\u{feff}[{\"role\": \"user\", \"content\": \"a\"}]",
        r#"[{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [{"id": "1",
            "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}]},
            {"role": "tool", "tool_call_id": "1", "content": "r"}]"#,
        r#"[{"role": "system", "content": "S", "tools": [{"name": "f", "parameters": {}}]},
            {"role": "user", "content": "a"}]"#,
    ] {
        let ran = say(talk, false, &[], "So.");
        assert_eq!(
            (ran.out.as_str(), ran.err.as_str()),
            ("So.\n", ""),
            "{talk}"
        );
    }
    let request = r#"{"messages": [{"role": "user", "content": "hi"}], "temperature": 0}"#;
    let ran = say(request, false, &[], "So.");
    assert_eq!(ran.out, "So.\n");
    assert!(
        ran.err.starts_with("note: ")
            && ran.err.ends_with("talk.json: not read: \"temperature\"\n"),
        "{ran:?}"
    );
    let odd =
        r#"[{"role": "user", "content": "a"}, {"role": "tool", "content": [{"type": "smell"}]}]"#;
    say(odd, false, &[], "x").failed(3, "message 1: content: part 0: type \"smell\"", "");
}

#[test]
fn eval_holds_calls_digit_by_digit_and_tells_how_answers_ended() {
    let messages: Value = serde_json::from_str(WITH_TOOLS).expect("JSON");
    let words = call(&parameter("id", false, "12345678901234567890123"));
    let json = Tokenizer::tiny_json(288).expect("bytes and markers fit");
    let tokenizer = Tokenizer::parse(json.as_bytes()).expect("a tokenizer");
    let asked = Conversation::parse(WITH_TOOLS).expect("messages");
    let options = Options {
        mode: Mode::Chat,
        ..Options::default()
    };
    let prompt = encode(&tokenizer, &asked, &options).expect("the prompt encodes");
    let checkpoint = Checkpoint::speaker(prompt.ids.len(), &words);
    let item = |id: &str, last: u32, most: u32| {
        format!(
            "{{\"task\": \"t\", \"id\": \"{id}\", \"messages\": {messages}, \"match\": \"json-call\", \
             \"max_tokens\": {most}, \"answer\": {{\"name\": \"get\", \
             \"arguments\": {{\"id\": 1234567890123456789012{last}}}}}}}\n"
        )
    };
    let items = item("same", 3, 400) + &item("other", 4, 400) + &item("cut", 3, 40);
    checkpoint.write("tasks.jsonl", items.as_bytes());
    let file = checkpoint.file("tasks.jsonl");
    let ran = checkpoint.run(
        "eval",
        &[&[file.as_str(), "--json", "--failures"], &EXACT[..]].concat(),
    );
    let report: Value = serde_json::from_str(&ran.done()).expect("JSON");
    assert_eq!(report["total"]["right"], 1);
    assert_eq!(report["finish"], json!({ "stop": 2, "length": 1 }));
    let failed = |at: usize| {
        (
            &report["failures"][at]["id"],
            &report["failures"][at]["finish"],
        )
    };
    assert_eq!(failed(0), (&json!("other"), &json!("stop")));
    assert_eq!(failed(1), (&json!("cut"), &json!("length")));
}
