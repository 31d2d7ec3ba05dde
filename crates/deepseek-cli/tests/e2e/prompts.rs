//! Where a prompt comes from, and what goes with it: files, flags, several media, tools, markers.

use serde_json::{Value, json};

use deepseek_text::{Conversation, Mode, Options, Tokenizer, Tool, ToolChoice, encode};

use crate::program::{Checkpoint, Ran, pipe, run};
use crate::v41::checkpoint as with_images;

/// Flags under which every answer is the same.
const STEADY: [&str; 5] = ["--no-thinking", "--temperature", "0", "-n", "12"];

impl Checkpoint {
    /// The answer to what these arguments ask.
    fn asked(&self, more: &[&str]) -> Ran {
        self.run("run", &[&STEADY[..], more].concat())
    }
}

#[test]
fn a_prompt_is_typed_named_or_in_a_file() {
    let checkpoint = Checkpoint::new();
    checkpoint.write("ask", b"one\ntwo\n");
    let file = checkpoint.file("ask");
    let whole = checkpoint.asked(&["one\ntwo"]);
    assert_eq!(whole.code, Some(0), "{whole:?}");
    for more in [
        &["-p", "one\ntwo"][..],
        &["--prompt=one\ntwo"],
        &["-f", &file],
        &["--prompt-file", &file],
    ] {
        assert_eq!(checkpoint.asked(more), whole, "{more:?}");
    }
    let line = checkpoint.line("run", &[&STEADY[..], &["-f", "-"]].concat());
    assert_eq!(pipe(&line, b"one\ntwo\n"), whole);

    let all = checkpoint.asked(&["Sum up.\n\none\ntwo\n\nthree"]);
    let line = checkpoint.line("run", &[&STEADY[..], &["-f", &file, "Sum up."]].concat());
    assert_eq!(pipe(&line, b"three\n"), all);
    assert_ne!(all, whole);
}

#[test]
fn a_prompt_and_stdin_are_taken_once() {
    let checkpoint = Checkpoint::new();
    checkpoint.asked(&["-p", "one", "two"]).failed(
        2,
        "'--prompt <TEXT>'",
        "see deepseek run --help",
    );
    let twice = |more: &[&str], names: &str| {
        let error = format!("stdin can be read once, and is named by {names}");
        checkpoint.asked(more).failed(2, &error, "");
    };
    twice(
        &["--conversation", "-", "-f", "-"],
        "--conversation and --prompt-file",
    );
    twice(&["--tools", "-", "-"], "--tools and the prompt");
    checkpoint
        .asked(&["-f", "missing"])
        .failed(3, "missing: No such file", "");
}

#[test]
fn short_flags_are_the_long_ones() {
    let checkpoint = Checkpoint::new();
    let long = ["--context", "100", "--max-tokens", "9", "--seed", "7"];
    let short = ["-c", "100", "-n", "9", "-s", "7"];
    let ask = |model: &str, threads: &str, flags: &[&str]| {
        let line = [
            "run",
            model,
            checkpoint.path(),
            threads,
            "1",
            "--no-thinking",
        ];
        run(&[&line[..], flags, &["-p", "Hello"]].concat())
    };
    let first = ask("--model", "--threads", &long);
    assert_eq!(first.code, Some(0), "{first:?}");
    assert_eq!(ask("-m", "-t", &short), first);
}

#[test]
fn several_files_may_follow_one_flag() {
    let checkpoint = with_images();
    let [red, blue] = ["red.bmp", "blue.bmp"].map(|name| checkpoint.file(name));
    let each = checkpoint.asked(&["--image", &red, "--image", &blue, "-p", "What?"]);
    assert_eq!(each.code, Some(0), "{each:?}");
    for more in [
        &["--image", &red, &blue, "What?"][..],
        &["--image", &red, &blue, "--", "What?"],
        &["--image", &red, &blue, "-p", "What?"],
        &["What?", "--image", &red, &blue],
    ] {
        assert_eq!(checkpoint.asked(more), each, "{more:?}");
    }
    assert_ne!(checkpoint.asked(&["--image", &red, "What?"]), each);
    // The first word is a file, and so is every one that is not the last.
    checkpoint
        .asked(&["--image", "missing.bmp", "What?"])
        .failed(3, "missing.bmp: No such file", "");
    checkpoint
        .asked(&["--image", &red, "missing.bmp", &blue])
        .failed(3, "missing.bmp: No such file", "");
    checkpoint
        .asked(&["Why?", "--image", &red, "What?"])
        .failed(
            2,
            "two prompts: \"Why?\", and \"What?\", which is no file",
            "whole path",
        );
}

#[test]
fn markers_in_a_raw_prompt_count_if_asked() {
    let checkpoint = Checkpoint::new();
    let written = "<｜User｜>Hello<｜Assistant｜></think>";
    let tokens = |more: &[&str]| -> usize {
        let flags = ["--raw", "--temperature", "0", "-n", "8", "--stats"];
        let ran = checkpoint.run("run", &[&flags[..], more].concat());
        let figure = crate::run::figure(&ran.err, "prefill");
        let count = figure.split_whitespace().next().expect("a count");
        count.parse().expect("a count")
    };
    // The marker that every prompt begins with stands before it in any case, and once.
    let plain = run(&["tokenize", "-m", checkpoint.path(), "--count", written]).done();
    let plain: usize = plain.trim_end().parse().expect("a count");
    assert_eq!(tokens(&[written]), plain + 1);
    assert_eq!(tokens(&["--special", written]), 1 + 3 + "Hello".len());
    let begun = format!("<｜begin▁of▁sentence｜>{written}");
    assert_eq!(tokens(&["--special", &begun]), 1 + 3 + "Hello".len());

    let asked = checkpoint.asked(&["Hello"]).done();
    let flags = ["--raw", "--special", "--temperature", "0", "-n", "12"];
    let raw = checkpoint
        .run("run", &[&flags[..], &[written]].concat())
        .done();
    assert_eq!(raw, asked);
    checkpoint
        .run("run", &["--special", "x"])
        .failed(2, "--raw", "see deepseek run --help");
}

/// A tool as clients send it, and what a model says to call it.
const TOOLS: &str = r#"[{"type": "function", "function": {"name": "get", "parameters": {}}}]"#;
const CALL: &str = "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"get\">\n\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>";

/// Asks a model that says `words` behind the prompt that tools in `file` make.
fn with_tools(file: &str, choice: ToolChoice, more: &[&str], words: &str) -> Ran {
    let json = Tokenizer::tiny_json(288).expect("bytes and markers fit");
    let tokenizer = Tokenizer::parse(json.as_bytes()).expect("a tokenizer");
    let mut asked = Conversation::ask("x");
    asked.first_brief().tools = Tool::read_all(TOOLS).expect("tools");
    let options = Options {
        mode: Mode::Chat,
        tool_choice: choice,
        ..Options::default()
    };
    let prompt = encode(&tokenizer, &asked, &options).expect("the prompt encodes");
    let checkpoint = Checkpoint::speaker(prompt.ids.len(), words);
    checkpoint.write("tools.json", file.as_bytes());
    let tools = checkpoint.file("tools.json");
    let flags = [
        "--numerics",
        "exact",
        "--temperature",
        "0",
        "--no-thinking",
        "--tools",
        &tools,
    ];
    checkpoint.run("run", &[&flags[..], more, &["x"]].concat())
}

#[test]
fn tools_of_a_file_can_be_called() {
    let call: Value = json!({ "name": "get", "arguments": {} });
    let request = format!(r#"{{ "model": "m", "tools": {TOOLS} }}"#);
    for file in [TOOLS, &request, r#"[{"name": "get", "parameters": {}}]"#] {
        let out = with_tools(file, ToolChoice::Auto, &[], CALL).done();
        assert_eq!(serde_json::from_str::<Value>(&out).expect("JSON"), call);
    }
    // The prompt opens the block, so the model says the rest.
    let (_, rest) = CALL.split_once("tool_calls>\n").expect("it begins with it");
    let flags = ["--tool-choice", "required"];
    let out = with_tools(TOOLS, ToolChoice::Required, &flags, rest).done();
    assert_eq!(serde_json::from_str::<Value>(&out).expect("JSON"), call);
    // What is hidden cannot be called.
    let out = with_tools(TOOLS, ToolChoice::None, &["--tool-choice", "none"], CALL).done();
    assert!(out.contains("DSML"), "{out}");
}

#[test]
fn tools_that_cannot_be_are_refused() {
    let refused = |file: &str, error: &str| {
        with_tools(file, ToolChoice::Auto, &[], "x").failed(3, error, "");
    };
    refused("{}", "tools.json: tools: tools is missing");
    refused("[{}]", "tools.json: tools: tool 0: name is missing");
    refused("[", "tools.json: tools: not JSON");
    let checkpoint = Checkpoint::new();
    checkpoint
        .asked(&["--tool-choice", "required", "x"])
        .failed(2, "there are no tools", "--tools FILE");
    checkpoint.write("tools.json", TOOLS.as_bytes());
    let tools = checkpoint.file("tools.json");
    let flags = [
        "--thinking",
        "--tools",
        &tools,
        "--tool-choice",
        "required",
        "x",
    ];
    checkpoint.run("run", &flags).failed(
        2,
        "a tool call is required in thinking mode",
        "--no-thinking",
    );
}

#[test]
fn a_text_to_count_may_be_in_a_file() {
    let checkpoint = Checkpoint::new();
    checkpoint.write("letter", b"Hello");
    let letter = checkpoint.file("letter");
    let count = |more: &[&str]| {
        run(&[&["tokenize", "-m", checkpoint.path(), "--count"], more].concat()).done()
    };
    assert_eq!(count(&["-f", &letter]), count(&["Hello"]));
}
