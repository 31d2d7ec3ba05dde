//! Conversations as clients send them: every spelling is read, and what is not is named by its place.

use deepseek_text::{
    Answer, Brief, Call, Content, Conversation, Error, Json, Message, Part, Reading, Tool, Video,
};

fn read(json: &str) -> Conversation {
    let reading = Reading::parse(json).unwrap_or_else(|error| panic!("{json}: {}", told(&error)));
    assert_eq!(reading.unread, [""; 0], "{json}");
    reading.conversation
}

/// An error and its causes in one line.
fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[track_caller]
fn refused(json: &str, want: &str) {
    let error = Conversation::parse(json).expect_err(json);
    assert!(matches!(error, Error::Conversation(_)), "{json}");
    let text = told(&error);
    assert_eq!(text, format!("conversation: {want}"), "{json}");
}

/// The content of a lone user message.
fn content(json: &str) -> Content {
    let conversation = read(&format!(r#"[{{"role": "user", "content": {json}}}]"#));
    match conversation.messages.into_iter().next() {
        Some(Message::User { content, .. }) => content,
        other => panic!("{other:?}"),
    }
}

fn called(name: &str, arguments: &str) -> Call {
    Call {
        id: None,
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    }
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let list = r#"[{"role": "user", "content": "a"}]"#;
    assert_eq!(read(&format!("\u{feff}{list}")), read(list));
}

#[test]
fn a_request_is_its_messages_with_its_tools_and_format() {
    let hi = Message::user("hi");
    assert_eq!(
        read(r#"{"messages": [{"role": "user", "content": "hi"}]}"#).messages,
        std::slice::from_ref(&hi)
    );
    let request = |fields: &str, system: &str| {
        let json =
            format!(r#"{{{fields}, "messages": [{system}{{"role": "user", "content": "hi"}}]}}"#);
        read(&json).messages
    };
    let tool = Tool(Json::parse(r#"{"name": "f"}"#).expect("JSON"));
    let tools = r#""tools": [{"type": "function", "function": {"name": "f"}}]"#;
    let brief = |text: &str, format: Option<&str>| {
        let content = match text {
            "" => Content::default(),
            text => text.into(),
        };
        Message::System(Brief {
            content,
            tools: vec![tool.clone()],
            response_format: format.map(|format| Json::parse(format).expect("JSON")),
            task: None,
        })
    };
    assert_eq!(request(tools, ""), [brief("", None), hi.clone()]);
    let system = r#"{"role": "system", "content": "s"}, "#;
    assert_eq!(request(tools, system), [brief("s", None), hi.clone()]);
    for (format, want) in [
        (r#"{"type": "text"}"#, None),
        (
            r#"{"type": "json_object"}"#,
            Some(r#"{"type": "json_object"}"#),
        ),
        (
            r#"{"type": "json_schema", "json_schema": {"name": "n", "schema": {"a": 1.0}}}"#,
            Some(r#"{"a": 1.0}"#),
        ),
    ] {
        let fields = format!(r#"{tools}, "response_format": {format}, "tool_choice": "auto""#);
        assert_eq!(
            request(&fields, system),
            [brief("s", want), hi.clone()],
            "{format}"
        );
    }
    let none = request(&format!(r#"{tools}, "tool_choice": "none""#), system);
    assert_eq!(none, [Message::system("s"), hi]);
}

#[test]
fn what_has_no_place_in_a_prompt_is_named() {
    let unread = |json: &str| Reading::parse(json).expect(json).unread;
    let request = r#"{"model": "m", "messages": [{"role": "user", "content": "hi", "name": "Eve"},
        {"role": "assistant", "content": "a", "refusal": null, "annotations": [], "name": "Bob"},
        {"role": "user", "content": [{"type": "image_url", "image_url": "a.png", "detail": "low"},
          {"type": "text", "text": "t", "cache_control": {}}], "tool_calls": [{}]}],
        "temperature": 0, "tool_choice": "required", "n": null}"#;
    let want = [
        r#""name" of message 0"#,
        r#""cache_control" of message 2: content: part 1"#,
        r#""tool_calls" of message 2"#,
        r#""tool_choice""#,
        r#""model""#,
        r#""temperature""#,
    ];
    assert_eq!(unread(request), want);
    let many: Vec<String> = (0..1000)
        .map(|n| format!(r#""{}{n}": 1"#, "x".repeat(100)))
        .collect();
    let many = unread(&format!(r#"[{{"role": "user", {}}}]"#, many.join(", ")));
    assert_eq!(many.len(), 1, "they begin alike: {many:?}");
    let many: Vec<String> = (0..1000).map(|n| format!(r#""f{n}": 1"#)).collect();
    let many = unread(&format!(r#"[{{"role": "user", {}}}]"#, many.join(", ")));
    assert_eq!(
        (many.len(), many.last().map(String::as_str)),
        (17, Some("others"))
    );
}

#[test]
fn arguments_are_spelled_out_or_an_object_and_functions_wrapped_or_flat() {
    let calls = |call: &str| {
        let conversation = read(&format!(
            r#"[{{"role": "assistant", "content": null, "tool_calls": [{call}]}}]"#
        ));
        match conversation.messages.into_iter().next() {
            Some(Message::Assistant { answer, .. }) => answer.calls,
            other => panic!("{other:?}"),
        }
    };
    let want = [called("f", r#"{"a":1.10}"#)];
    assert_eq!(
        calls(r#"{"function": {"name": "f", "arguments": {"a": 1.10}}}"#),
        want
    );
    assert_eq!(
        calls(r#"{"function": {"name": "f", "arguments": "{\"a\":1.10}"}}"#),
        want
    );
    assert_eq!(calls(r#"{"name": "f", "arguments": {"a": 1.10}}"#), want);
    assert_eq!(calls(r#"{"function": {"name": "f"}}"#), [called("f", "{}")]);
    assert_eq!(
        calls(r#"{"function": {"name": "f", "arguments": null}}"#),
        [called("f", "{}")]
    );
    let tools = |tools: &str| {
        let conversation = read(&format!(r#"[{{"role": "system", "tools": [{tools}]}}]"#));
        match conversation.messages.into_iter().next() {
            Some(Message::System(brief)) => brief.tools,
            other => panic!("{other:?}"),
        }
    };
    let want = [Tool(
        Json::parse(r#"{"name": "f", "parameters": {}}"#).expect("JSON"),
    )];
    for tool in [
        r#"{"type": "function", "function": {"name": "f", "parameters": {}}}"#,
        r#"{"function": {"name": "f", "parameters": {}}}"#,
        r#"{"type": "function", "name": "f", "parameters": {}}"#,
        r#"{"name": "f", "parameters": {}}"#,
    ] {
        assert_eq!(tools(tool), want, "{tool}");
        let group = format!(r#"{{"type": "namespace", "name": "g", "tools": [{tool}]}}"#);
        let want = [Tool(
            Json::parse(r#"{"name": "g::f", "parameters": {}}"#).expect("JSON"),
        )];
        assert_eq!(tools(&group), want, "{group}");
    }
}

#[test]
fn reasoning_has_two_names() {
    let reasoning = |fields: &str| {
        let conversation = read(&format!(r#"[{{"role": "assistant", {fields}}}]"#));
        match conversation.messages.into_iter().next() {
            Some(Message::Assistant { answer, .. }) => answer.reasoning,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(reasoning(r#""reasoning_content": "r""#), "r");
    assert_eq!(reasoning(r#""reasoning": "r""#), "r");
    assert_eq!(
        reasoning(r#""reasoning": "r", "reasoning_content": null"#),
        "r"
    );
    assert_eq!(
        reasoning(r#""reasoning": "r", "reasoning_content": "r""#),
        "r"
    );
}

#[test]
fn parts_are_read_in_every_spelling() {
    let image = Content(vec![Part::Image("a.png".to_owned())]);
    for part in [
        r#"{"type": "image_url", "image_url": {"url": "a.png"}}"#,
        r#"{"type": "image_url", "image_url": {"url": "a.png", "detail": "high"}}"#,
        r#"{"type": "image_url", "image_url": "a.png"}"#,
        r#"{"type": "input_image", "image_url": "a.png", "detail": "auto"}"#,
    ] {
        assert_eq!(content(&format!("[{part}]")), image, "{part}");
    }
    let audio = |source: &str| Content(vec![Part::Audio(source.to_owned())]);
    for (part, source) in [
        (
            r#"{"type": "audio_url", "audio_url": {"url": "a.wav"}}"#,
            "a.wav",
        ),
        (r#"{"type": "audio_url", "audio_url": "a.wav"}"#, "a.wav"),
        (
            r#"{"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}"#,
            "data:audio/wav;base64,AA==",
        ),
        (
            r#"{"type": "input_audio", "input_audio": {"data": "data:;base64,AA==", "format": "wav"}}"#,
            "data:;base64,AA==",
        ),
    ] {
        assert_eq!(content(&format!("[{part}]")), audio(source), "{part}");
    }
    let video = Video {
        source: "a.gif".to_owned(),
        ..Video::default()
    };
    for (part, video) in [
        (
            r#"{"type": "video_url", "video_url": "a.gif"}"#,
            video.clone(),
        ),
        (
            r#"{"type": "video_url", "video_url": {"url": "a.gif", "max_frames": 3, "audio": true}}"#,
            Video {
                max_frames: Some(3),
                audio: Some(true),
                ..video
            },
        ),
    ] {
        assert_eq!(
            content(&format!("[{part}]")),
            Content(vec![Part::Video(video)]),
            "{part}"
        );
    }
    let words = r#"[{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}, {"type": "output_text", "text": "c"}]"#;
    let texts = ["a", "b", "c"].map(|text| Part::Text(text.to_owned()));
    assert_eq!(content(words), Content(texts.into()));
    assert_eq!(content("null"), Content::default());
    assert_eq!(content("[]"), Content::default());
    let said = read(&format!(r#"[{{"role": "assistant", "content": {words}}}]"#)).messages;
    let answer = Answer {
        text: "a\n\nb\n\nc".to_owned(),
        ..Answer::default()
    };
    assert_eq!(said, [Message::assistant(answer)]);
}

#[test]
fn what_is_no_conversation_is_refused_by_its_place() {
    refused("", "not JSON: EOF while parsing a value at line 1 column 0");
    refused("[", "not JSON: EOF while parsing a list at line 1 column 1");
    refused(
        "{}",
        "an object without messages, expected a list of messages, or a request with such a list as messages",
    );
    refused(
        "\"hi\"",
        "\"hi\", expected a list of messages, or a request with such a list as messages",
    );
    refused(r#"{"messages": 7}"#, "messages: a number, expected a list");
    refused(
        r#"{"messages": [], "tools": {}}"#,
        "tools: an object, expected a list",
    );
    refused(
        r#"{"messages": [], "response_format": {"type": "xml"}}"#,
        "response_format: type: \"xml\", expected text, json_object or json_schema",
    );
    refused("[7]", "message 0: a number, expected an object");
    refused(
        r#"[{"role": "user"}, {"content": "no role"}]"#,
        "message 1: role is missing",
    );
    let roles = "system, developer, user, assistant, tool or latest_reminder";
    refused(
        r#"[{"role": "wizard"}]"#,
        &format!("message 0: role: \"wizard\", expected {roles}"),
    );
    refused(
        r#"[{"role": 1}]"#,
        "message 0: role: a number, expected a string",
    );
    let long = "x".repeat(1_000_000);
    let short = "x".repeat(60);
    refused(
        &format!(r#"[{{"role": "{long}"}}]"#),
        &format!("message 0: role: \"{short}…\", expected {roles}"),
    );
    refused(
        r#"[{"role": "user", "content": 7}]"#,
        "message 0: content: a number, expected a string or a list of parts",
    );
    let part = |part: &str, want: &str| {
        let content = format!(r#"[{{"type": "text", "text": "a"}}, {part}]"#);
        let json = format!(r#"[{{"role": "user", "content": {content}}}]"#);
        refused(&json, &format!("message 0: content: part 1: {want}"));
    };
    part("\"a\"", "\"a\", expected an object");
    part(r#"{"text": "no type"}"#, "type is missing");
    part(r#"{"type": "text"}"#, "text is missing");
    part(
        r#"{"type": "text", "text": 7}"#,
        "text: a number, expected a string",
    );
    part(
        r#"{"type": "smell"}"#,
        "type: \"smell\", expected text, image_url, input_audio, audio_url or video_url",
    );
    part(r#"{"type": "image_url"}"#, "image_url is missing");
    part(
        r#"{"type": "image_url", "image_url": {}}"#,
        "image_url: url is missing",
    );
    part(
        r#"{"type": "image_url", "image_url": 7}"#,
        "image_url: a number, expected a string, or an object with a url",
    );
    part(
        r#"{"type": "input_image", "file_id": "f"}"#,
        "image_url is missing",
    );
    part(r#"{"type": "audio_url"}"#, "audio_url is missing");
    part(r#"{"type": "input_audio"}"#, "input_audio is missing");
    part(
        r#"{"type": "input_audio", "input_audio": {"data": "AA=="}}"#,
        "input_audio: format is missing",
    );
    part(
        r#"{"type": "input_audio", "input_audio": {"data": "AA==", "format": "a,b"}}"#,
        "input_audio: format: \"a,b\", expected a name such as wav",
    );
    part(r#"{"type": "video_url"}"#, "video_url is missing");
    part(
        r#"{"type": "video_url", "video_url": {"url": "a", "fps": "2"}}"#,
        "video_url: fps: \"2\", expected a number",
    );
    part(
        r#"{"type": "video_url", "video_url": {"url": "a", "max_frames": -1}}"#,
        "video_url: max_frames: a number, expected a whole number",
    );
    refused(
        r#"[{"role": "user", "task": "cook"}]"#,
        "message 0: task: \"cook\", expected action, query, authority, domain, title, read_url",
    );
    refused(
        r#"[{"role": "system", "tools": [{"type": "web_search"}]}]"#,
        "message 0: tools: tool 0: type: \"web_search\", expected function or namespace",
    );
    refused(
        r#"[{"role": "system", "tools": [{"name": "f"}, {"function": {}}]}]"#,
        "message 0: tools: tool 1: function: name is missing",
    );
    refused(
        r#"[{"role": "assistant", "tool_calls": [{"id": "a"}]}]"#,
        "message 0: tool_calls: tool call 0: name is missing",
    );
    refused(
        r#"[{"role": "assistant", "tool_calls": [{"name": "f", "arguments": [1]}]}]"#,
        "message 0: tool_calls: tool call 0: arguments: a list, expected an object, or one spelled out in a string",
    );
    refused(
        r#"[{"role": "assistant", "reasoning": []}]"#,
        "message 0: reasoning: a list, expected a string",
    );
    refused(
        r#"[{"role": "assistant", "prefix": "yes"}]"#,
        "message 0: prefix: \"yes\", expected true or false",
    );
    refused(
        r#"[{"role": "tool", "tool_call_id": 7}]"#,
        "message 0: tool_call_id: a number, expected a string",
    );
}

#[test]
fn media_that_the_model_cannot_have_said_are_refused() {
    for kind in ["image_url", "audio_url", "video_url"] {
        for (role, who) in [
            ("assistant", "an assistant"),
            ("latest_reminder", "a reminder"),
        ] {
            let json = format!(
                r#"[{{"role": "{role}", "content": [{{"type": "{kind}", "{kind}": "a"}}]}}]"#
            );
            let want = format!(
                "message 0: content: part 0: type: \"{kind}\", expected text: {who} has no media"
            );
            refused(&json, &want);
        }
    }
    refused(
        r#"[{"role": "assistant", "content": [{"type": "smell"}]}]"#,
        "message 0: content: part 0: type: \"smell\", expected text",
    );
}

#[test]
fn what_is_nested_too_deep_or_no_text_is_refused() {
    let deep = format!(
        r#"[{{"role": "system", "tools": [{{"name": "f", "parameters": {}1{}}}]}}]"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    refused(&deep, "nested deeper than 100 levels");
    refused(
        &"[".repeat(100_000),
        "not JSON: EOF while parsing a list at line 1 column 100000",
    );
    let nested = "[".repeat(100_000) + &"]".repeat(100_000);
    refused(&nested, "nested deeper than 100 levels");
    let half = r#"[{"role": "user", "content": "x\ud83d\ude00 \ud800"}]"#;
    refused(half, "half a surrogate pair in the string at byte 29");
    let whole = half.replace(r" \ud800", "");
    assert_eq!(read(&whole).messages, [Message::user("x😀")]);
}

#[test]
fn a_conversation_is_answered_if_something_is_left_to_say() {
    let check = |json: &str| read(json).check();
    for json in [
        r#"[{"role": "system", "content": "s"}]"#,
        r#"[{"role": "user"}, {"role": "assistant", "content": "c", "prefix": true}]"#,
        r#"[{"role": "user"}, {"role": "assistant", "content": "c", "task": "title"}]"#,
        r#"[{"role": "tool", "content": "r"}]"#,
    ] {
        check(json).expect(json);
    }
    assert_eq!(
        told(&check("[]").expect_err("nothing")),
        "conversation: no messages, there is nothing to answer"
    );
    let last = r#"[{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}]"#;
    assert_eq!(
        told(&check(last).expect_err("an answer")),
        "conversation: message 1 is the assistant's and the last, there is nothing to answer"
    );
    let part = r#"[{"role": "user"}, {"role": "tool", "content": [{"type": "text", "text": "a"}, {"type": "image"}]}]"#;
    assert_eq!(
        told(&check(part).expect_err("an unknown part")),
        "conversation: message 1: content: part 1: type \"image\", expected text, image_url, \
         input_audio, audio_url or video_url"
    );
}

#[test]
fn a_conversation_that_is_written_is_read_again() {
    let json = r#"[
        {"role": "system", "content": "S", "tools": [{"type": "function", "function": {"name": "get", "x": 1.10}}],
         "response_format": {"type": "json_object", "n": 12345678901234567890123}},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a.png"}}, {"type": "text", "text": "?"}]},
        {"role": "assistant", "content": "A", "reasoning_content": "R",
         "tool_calls": [{"id": "c", "type": "function", "function": {"name": "get", "arguments": "{\"n\": 1e400}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "T"},
        {"role": "latest_reminder", "content": "L"},
        {"role": "developer", "content": "D"},
        {"role": "user", "content": "Q", "task": "title"},
        {"role": "assistant", "content": "half", "prefix": true}
    ]"#;
    let first = read(json);
    let again = Json::list_of(first.to_json()).to_string();
    assert_eq!(read(&again), first);
    assert!(
        again.contains("1.10") && again.contains("12345678901234567890123"),
        "{again}"
    );
}
