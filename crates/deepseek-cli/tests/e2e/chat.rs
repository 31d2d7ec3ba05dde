//! `deepseek chat` over a pipe.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use deepseek_text::Conversation;
use serde_json::Value;

use crate::program::{Checkpoint, Ran, deepseek, pipe};
use crate::v41::{base64, bmp, checkpoint as with_images};

/// Flags under which every answer is the same.
const STEADY: [&str; 5] = ["--no-thinking", "--seed", "1", "--max-tokens", "8"];

/// What each of them is told beside, since it is cut.
const CUT: &str = "note: the answer was cut by --max-tokens after 8 tokens\n";

#[test]
fn each_answer_that_is_cut_is_told() {
    let checkpoint = Checkpoint::new();
    let ran = pipe(&checkpoint.line("chat", &STEADY), b"Hello\nAnd now?\n");
    assert_eq!((ran.code, ran.err), (Some(0), CUT.repeat(2)));
}

#[test]
fn turns_follow_one_another_until_the_end_of_stdin() {
    let checkpoint = Checkpoint::new();
    let ran = checkpoint.chat(&[], "Hello\n\nAnd now?\n/save $\n");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    let saved = checkpoint.saved();
    let roles: Vec<&Value> = saved.iter().map(|message| &message["role"]).collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant"]);
    assert_eq!(saved[2]["content"], "And now?");
    let text = |index: usize| saved[index]["content"].as_str().expect("text").to_owned();
    let lines = [text(1), text(3)].map(|text| {
        if text.ends_with('\n') {
            text
        } else {
            text + "\n"
        }
    });
    assert_eq!(ran.out, lines.concat());
}

#[test]
fn the_first_turn_is_what_run_says() {
    let checkpoint = Checkpoint::new();
    let ran = checkpoint.chat(&["--system", "Be brief."], "Hello\n");
    let flags = [&STEADY[..], &["--system", "Be brief.", "Hello"]].concat();
    assert_eq!(ran.out, checkpoint.run("run", &flags).done());
}

#[test]
fn a_line_that_ends_in_a_backslash_goes_on() {
    let checkpoint = Checkpoint::new();
    checkpoint
        .chat(&[], "one\\\ntwo\\\nthree\n/save $\n")
        .done();
    let saved = checkpoint.saved();
    assert_eq!(saved[0]["content"], "one\ntwo\nthree");
    assert_eq!(saved.len(), 2);
}

#[test]
fn commands_change_what_follows() {
    let checkpoint = Checkpoint::new();
    let script = "/system\n/system Be kind.\n/system\nHello\n/clear\n/save $\n/quit\nnever read\n";
    let ran = checkpoint.chat(&["--system", "Be brief."], script);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (Some(0), "Be brief.\nBe kind.\n"),
        "{ran:?}"
    );
    let saved = checkpoint.saved();
    assert_eq!(
        saved,
        [serde_json::json!({ "role": "system", "content": "Be kind." })]
    );

    let ran = checkpoint.chat(
        &[],
        "/thinking on\nHello\n/thinking off\n/effort max\nHello\n",
    );
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!ran.err.is_empty() && !ran.out.is_empty(), "{ran:?}");
}

#[test]
fn effort_makes_the_prompt_longer() {
    let checkpoint = Checkpoint::new();
    let script = "/thinking on\nHello\n/clear\n/effort max\nHello\n";
    let ran = checkpoint.chat(&["--stats"], script);
    let prompts = ran.err.split("prefill ").skip(1).map(|figures| {
        let tokens = figures.split_whitespace().next().expect("a count");
        tokens.parse::<usize>().expect("a count")
    });
    let prompts: Vec<_> = prompts.collect();
    assert_eq!(prompts.len(), 2, "{ran:?}");
    assert!(prompts[1] > 10 * prompts[0], "{ran:?}");
}

#[test]
fn help_and_stats_are_given_when_asked() {
    let checkpoint = Checkpoint::new();
    let ran = checkpoint.chat(&[], "/help\n/stats\nHello\n/stats\n");
    for part in [
        "/clear",
        "/system",
        "/thinking",
        "/save",
        "/quit",
        "no answer yet\n",
        "\nseed         1\n",
    ] {
        assert!(ran.err.contains(part), "{part} in {ran:?}");
    }
    let ran = checkpoint.chat(&["--stats"], "Hello\nHello\n");
    assert_eq!(ran.err.matches("\npeak memory  ").count(), 2, "{ran:?}");
}

#[test]
fn a_turn_runs_what_is_new_of_its_prompt() {
    let checkpoint = Checkpoint::new();
    let ran = checkpoint.chat(&["--stats"], "Hello\nHello\n/clear\nHello\n");
    let figure = |name: &str| {
        let lines = ran.err.lines().filter_map(|line| line.strip_prefix(name));
        let first = lines.map(|line| line.split_whitespace().next().expect("a count"));
        let counts = first.map(|count| count.parse().expect("a count"));
        counts.collect::<Vec<usize>>()
    };
    let (prefill, cached) = (figure("prefill "), figure("cached "));
    assert_eq!((prefill.len(), cached.len()), (3, 1), "{ran:?}");
    // The first prompt stands, and what of the answer is encoded as it was drawn.
    assert!(cached[0] >= prefill[0], "{ran:?}");
    // What was forgotten is run again.
    assert_eq!(prefill[2], prefill[0], "{ran:?}");
}

#[test]
fn what_is_refused_does_not_end_the_conversation() {
    let checkpoint = Checkpoint::new();
    let long = "x".repeat(60);
    let ran = checkpoint.chat(
        &["--context", "40"],
        &format!("/jump\n{long}\nHello\n/save $\n"),
    );
    // The code is that of the first line that was refused.
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let lines: Vec<&str> = ran.err.lines().collect();
    assert_eq!(
        lines[..2],
        [
            "error: \"/jump\" is not a command",
            "hint: /help lists the commands; // begins a message with a slash"
        ]
    );
    assert!(lines[2].starts_with("error: a prompt of "), "{ran:?}");
    let hint = "hint: shorten it, or start again with a larger --context";
    assert_eq!(lines[3..], [hint]);
    assert_eq!(
        checkpoint.saved().len(),
        2,
        "only what was answered is kept"
    );
}

#[test]
fn a_conversation_that_was_saved_can_be_read() {
    let checkpoint = Checkpoint::new();
    checkpoint
        .chat(&["--system", "Be brief."], "Hello\n/save $\n")
        .done();
    let json = fs::read_to_string(checkpoint.file("saved.json")).expect("it was saved");
    assert_eq!(
        Conversation::parse(&json)
            .expect("the form is known")
            .messages
            .len(),
        3
    );
    let ran = checkpoint.chat(&[], "/save missing/file\n");
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.starts_with("error: missing/file: "), "{ran:?}");
}

#[test]
fn a_file_that_is_there_is_replaced_only_if_asked() {
    let checkpoint = Checkpoint::new();
    checkpoint.write("saved.json", b"mine");
    let ran = checkpoint.chat(&[], "Hello\n/save $\n");
    let error = format!("{} is there already", checkpoint.file("saved.json"));
    ran.failed(3, &error, "/save! FILE replaces it");
    assert_eq!(checkpoint.read("saved.json"), b"mine");
    checkpoint.chat(&[], "Hello\n/save! $\n").done();
    assert_eq!(checkpoint.saved().len(), 2);
}

#[test]
fn a_saved_conversation_finds_its_media_from_everywhere() {
    let checkpoint = with_images();
    let url = format!("data:image/bmp;base64,{}", base64(&bmp(23, 61, 0)));
    let script = format!(
        "/image red.bmp\n/image ./blue.bmp\n/image {url}\nWhat?\n/save {}\n",
        checkpoint.file("saved.json")
    );
    let mut child = deepseek(&checkpoint.line("chat", &STEADY))
        .current_dir(checkpoint.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(script.as_bytes()).expect("it listens");
    drop(stdin);
    let ran = Ran::from(child.wait_with_output().expect("it ends"));
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), CUT));

    let saved = checkpoint.saved();
    let source = |part: usize| saved[0]["content"][part]["image_url"]["url"].as_str();
    assert_eq!(source(0), Some(checkpoint.file("red.bmp").as_str()));
    assert_eq!(source(2), Some(url.as_str()));

    let file = checkpoint.file("saved.json");
    let flags = [&STEADY[..], &["--conversation", &file, "And now?"]].concat();
    let answer = checkpoint.run("run", &flags).done();
    let script = script.replace("/save ", "And now?\n/save! ");
    let script = script.replace(" red", &format!(" {}/red", checkpoint.path()));
    let script = script.replace("./blue", &checkpoint.file("blue"));
    let ran = pipe(&checkpoint.line("chat", &STEADY), script.as_bytes()).done();
    assert!(ran.ends_with(&answer), "{answer:?} in {ran:?}");
}

#[test]
fn a_medium_that_cannot_be_shown_is_not_asked_about() {
    let checkpoint = with_images();
    let ran = checkpoint.chat(&[], "/image missing.png\nHello\n/save $\n");
    ran.failed(3, "missing.png: No such file", "");
    assert_eq!(checkpoint.saved()[0]["content"], "Hello");
}

#[test]
fn a_line_that_is_no_text_does_not_end_the_conversation() {
    let checkpoint = Checkpoint::new();
    let save = format!("/save {}\n", checkpoint.file("saved.json"));
    let script = [b"one\nt\xffo\nthree\n", save.as_bytes(), b"fo\xc3"].concat();
    let ran = pipe(&checkpoint.line("chat", &STEADY), &script);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let err = ran.err.replace(CUT, "");
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!(
        lines,
        [
            "error: line 2 of stdin is not UTF-8 text",
            "error: line 5 of stdin is not UTF-8 text",
        ]
    );
    let asked: Vec<Value> = checkpoint.saved().into_iter().step_by(2).collect();
    assert_eq!(asked[0]["content"], "one");
    assert_eq!(asked[1]["content"], "three");
    assert_eq!(asked.len(), 2);
}

#[test]
fn a_line_without_an_end_ends_the_conversation() {
    let checkpoint = Checkpoint::new();
    let long = vec![b'x'; (8 << 20) + 1];
    let cut = "y\\\n".repeat((8 << 20) / 2 + 1);
    for (text, number) in [(&long[..], 2), (cut.as_bytes(), (8 << 20) / 2 + 2)] {
        let script = [b"/system\n", text].concat();
        let ran = pipe(&checkpoint.line("chat", &STEADY), &script);
        assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""), "{}", ran.err);
        let error = format!(
            "no instructions\nerror: line {number} of stdin: more than 8388608 bytes\n\
             hint: nothing behind it is read\n"
        );
        assert_eq!(ran.err, error);
    }
}

#[test]
fn lines_may_end_as_elsewhere_and_texts_begin_with_a_slash() {
    let checkpoint = Checkpoint::new();
    checkpoint
        .chat(&[], "one\\\r\ntwo\r\n /etc?\n/save $\r\n")
        .done();
    let saved = checkpoint.saved();
    assert_eq!(saved[0]["content"], "one\ntwo");
    assert_eq!(saved[2]["content"], " /etc?");
}

#[test]
fn a_full_context_can_be_cleared() {
    let checkpoint = Checkpoint::new();
    let ran = checkpoint.chat(&["--context", "40"], "Hello, you.\nHow is it going?\n");
    let error = "in a context of 40";
    ran.failed(
        3,
        error,
        "/clear forgets what was said; or start again with a larger --context",
    );
    let ran = checkpoint.chat(
        &["--context", "40"],
        "Hello, you.\n/clear\nHow is it going?\n",
    );
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    let long = "x".repeat(60);
    checkpoint.run("run", &["--context", "40", &long]).failed(
        3,
        error,
        "shorten the prompt or raise --context",
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_the_answer_and_not_the_program() {
    let checkpoint = Checkpoint::endless();
    let flags = ["--no-thinking", "--temperature", "0", "--context", "200000"];
    let line = checkpoint.line("chat", &flags);
    let mut child = deepseek(&line)
        .stdin(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let mut stdout = child.stdout.take().expect("it is piped");
    let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    stdin.write_all(b"once upon a time\n").expect("it listens");
    stdout.read_exact(&mut [0; 1]).expect("an answer begins");
    crate::program::interrupt(&child);
    let mut said = String::new();
    stderr
        .read_line(&mut said)
        .expect("it says that it stopped");
    assert_eq!(said, "stopped\n");
    stdin
        .write_all(b"/thinking on\n/system\n/quit\n")
        .expect("it still listens");
    said.clear();
    stderr.read_to_string(&mut said).expect("it says no more");
    assert_eq!(said, "no instructions\n");
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn a_conversation_that_was_saved_goes_on() {
    let checkpoint = Checkpoint::new();
    let ran = checkpoint.chat(&["--system", "Be brief."], "Hello\n/save $\nAnd now?\n");
    let second = ran.out.lines().last().expect("an answer").to_owned();
    let loaded = checkpoint.chat(&[], "one\n/load $\nAnd now?\n/list\n");
    assert_eq!(loaded.code, Some(0), "{loaded:?}");
    assert!(
        loaded.out.ends_with(&format!("{second}\n")),
        "{second:?} in {loaded:?}"
    );
    let roles: Vec<&str> = loaded
        .err
        .lines()
        .map(|line| line.split_whitespace().nth(1).expect("a role"))
        .collect();
    assert_eq!(roles, ["system", "user", "assistant", "user", "assistant"]);
    checkpoint
        .chat(&[], "/load missing\n")
        .failed(3, "missing: No such file", "");
    checkpoint
        .chat(&[], "/load -\n")
        .failed(2, "stdin is what is typed here", "");
}

#[test]
fn what_others_said_is_kept_when_it_is_saved_again() {
    let checkpoint = Checkpoint::new();
    let talk = r#"[{"role":"developer","content":"D"},{"role":"user","content":"U"},
        {"role":"assistant","content":"","tool_calls":[{"id":"c","type":"function","function":{"name":"get","arguments":"{\"n\":1.10}"}}]},
        {"role":"tool","tool_call_id":"c","content":"T"}]"#;
    checkpoint.write("talk.json", talk.as_bytes());
    let load = format!("/load {}\n/save $\n", checkpoint.file("talk.json"));
    assert_eq!(checkpoint.chat(&[], &load).code, Some(0));
    let saved = String::from_utf8(checkpoint.read("saved.json")).expect("text");
    let [first, again] = [talk, &saved].map(|text| Conversation::parse(text).expect("messages"));
    assert_eq!(first.messages[1..], again.messages[1..]);
    assert!(saved.contains("1.10"), "{saved}");
}

#[test]
fn the_last_turn_is_taken_back_or_made_anew() {
    let checkpoint = Checkpoint::new();
    let ran = checkpoint.chat(&[], "one\ntwo\n/undo\n/save $\n");
    assert_eq!(
        (ran.code, checkpoint.saved().len()),
        (Some(0), 2),
        "{ran:?}"
    );
    assert_eq!(checkpoint.saved()[0]["content"], "one");
    checkpoint
        .chat(&[], "/undo\n")
        .failed(2, "nothing was asked", "");
    checkpoint
        .chat(&[], "/retry\n")
        .failed(2, "nothing was asked", "");

    // Anew is by the next seed.
    checkpoint.chat(&[], "one\n/retry\n/save! $\n").done();
    let retried = checkpoint.saved();
    assert_eq!(retried.len(), 2);
    let second = ["--seed", "2"];
    let flags = ["--no-thinking", "--max-tokens", "8"];
    let line = checkpoint.line("run", &[&flags[..], &second, &["one"]].concat());
    let said = crate::program::run(&line).done();
    assert_eq!(
        retried[1]["content"].as_str().map(str::trim_end),
        Some(said.trim_end())
    );
}

#[test]
fn a_file_can_be_said_and_a_slash_too() {
    let checkpoint = Checkpoint::new();
    checkpoint.write("letter", b"two\nlines");
    let script = format!(
        "/read {}\n//etc is what?\n/save $\n",
        checkpoint.file("letter")
    );
    checkpoint.chat(&[], &script).done();
    let saved = checkpoint.saved();
    assert_eq!(saved[0]["content"], "two\nlines");
    assert_eq!(saved[2]["content"], "/etc is what?");
    checkpoint
        .chat(&[], "/read missing\n")
        .failed(3, "missing: No such file", "");
}

#[test]
fn settings_are_changed_and_shown() {
    let checkpoint = Checkpoint::new();
    let script = "/set temperature 0\n/set seed 9\n/set max-tokens 3\n/set\nHello\n/stats\n";
    let ran = checkpoint.chat(&[], script);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for line in [
        "temperature          0",
        "seed                 9",
        "max-tokens           3",
    ] {
        assert!(
            ran.err.lines().any(|own| own == line),
            "{line:?} in {ran:?}"
        );
    }
    assert!(
        ran.err.contains("after 3 tokens") && ran.err.contains("\nseed         9\n"),
        "{ran:?}"
    );
    let flags = [
        "--no-thinking",
        "--temperature",
        "0",
        "--max-tokens",
        "3",
        "Hello",
    ];
    assert_eq!(ran.out, checkpoint.run("run", &flags).done());

    let page = checkpoint.chat(&[], "/show\n").err;
    assert!(
        page.contains(checkpoint.path()) && page.contains("device               cpu:"),
        "{page}"
    );
    let refused = |line: &str, error: &str| {
        let ran = checkpoint.chat(&[], line);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.err.contains(error), "{error:?} in {ran:?}");
    };
    refused(
        "/set temperature 101\n",
        "temperature: 101, must be from 0 to 100",
    );
    refused(
        "/set top-k -1\n",
        "top-k \"-1\": want a whole number that is not negative",
    );
    refused("/set warmth 3\n", "what can be: temperature, ");
}

#[test]
fn tools_are_offered_and_taken_back() {
    let checkpoint = Checkpoint::new();
    checkpoint.write("tools.json", br#"[{"name": "get"}, {"name": "put"}]"#);
    let file = checkpoint.file("tools.json");
    let script =
        format!("/tools\n/tools {file}\n/tools\n/system Be kind.\n/save $\n/tools off\n/tools\n");
    let ran = checkpoint.chat(&[], &script);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (Some(0), "no tools\nget\nput\nno tools\n")
    );
    let saved = checkpoint.saved();
    assert_eq!(saved[0]["content"], "Be kind.");
    assert_eq!(saved[0]["tools"][1]["function"]["name"], "put");
    let ran = checkpoint.chat(&["--tools", &file], "/tools\n");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), "get\nput\n"));
}

impl Checkpoint {
    /// Types `script`, in which `$` is a file to save to.
    fn chat(&self, args: &[&str], script: &str) -> Ran {
        let script = script.replace('$', &self.file("saved.json"));
        let ran = pipe(
            &self.line("chat", &[&STEADY[..], args].concat()),
            script.as_bytes(),
        );
        Ran {
            err: ran.err.replace(CUT, ""),
            ..ran
        }
    }

    /// What was saved there.
    fn saved(&self) -> Vec<Value> {
        serde_json::from_slice(&self.read("saved.json")).expect("a list of messages")
    }
}
