//! `deepseek chat` over a pipe.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use deepseek_text::Conversation;
use serde_json::Value;

use crate::program::{Checkpoint, Ran, deepseek, pipe};

/// Flags under which every answer is the same.
const STEADY: [&str; 5] = ["--no-thinking", "--seed", "1", "--max-tokens", "8"];

/// What is said of each.
const CUT: &str = "note: the answer was cut by --max-tokens after 8 tokens\n";

#[test]
fn turns_follow_one_another_until_the_end_of_stdin() {
    let checkpoint = Checkpoint::new();
    let ran = checkpoint.chat(&[], "Hello\n\nAnd now?\n/save $\n");
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (Some(0), &*CUT.repeat(2)),
        "{ran:?}"
    );
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
        (Some(0), &*format!("Be brief.\nBe kind.\n{CUT}")),
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
fn what_is_refused_does_not_end_the_conversation() {
    let checkpoint = Checkpoint::new();
    let long = "x".repeat(60);
    let ran = checkpoint.chat(
        &["--context", "40"],
        &format!("/jump\n{long}\nHello\n/save $\n"),
    );
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines: Vec<&str> = ran.err.lines().collect();
    assert_eq!(
        lines[..2],
        [
            "error: \"/jump\" is not a command",
            "hint: /help lists the commands"
        ]
    );
    assert!(lines[2].starts_with("error: a prompt of "), "{ran:?}");
    let hint = "hint: shorten the prompt or raise --context";
    assert_eq!(lines[3..], [hint, CUT.trim_end()]);
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
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.starts_with("error: missing/file: "), "{ran:?}");
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

impl Checkpoint {
    /// Types `script`, in which `$` is a file to save to.
    fn chat(&self, args: &[&str], script: &str) -> Ran {
        let script = script.replace('$', &self.file("saved.json"));
        pipe(
            &self.line("chat", &[&STEADY[..], args].concat()),
            script.as_bytes(),
        )
    }

    /// What was saved there.
    fn saved(&self) -> Vec<Value> {
        serde_json::from_slice(&self.read("saved.json")).expect("a list of messages")
    }
}
