//! The program at a terminal: what is typed there, and what gets there.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use pty_process::blocking::Pty;
use tempfile::TempDir;

use crate::program::{Checkpoint, Ran, deepseek, pipe, run, signal};

/// A short answer, by a seed and at a level at which none begins with its end.
const FLAGS: [&str; 7] = [
    "--no-thinking",
    "--seed",
    "1",
    "--numerics",
    "exact",
    "--max-tokens",
    "8",
];

/// A terminal on which the program runs.
struct Terminal {
    child: Child,
    pty: Pty,
    shown: String,
    /// What of that has not been waited for.
    fresh: String,
}

/// Which streams are not the terminal's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piped {
    Neither,
    Out,
    Err,
}

impl Terminal {
    /// Starts the program with all its streams on a terminal, but for those that are piped.
    fn open(command: Command, piped: Piped) -> Self {
        Self::of_kind("xterm", command, piped)
    }

    fn of_kind(kind: &str, command: Command, piped: Piped) -> Self {
        let (pty, pts) = pty_process::blocking::open().expect("a terminal");
        let mut command = pty_process::blocking::Command::from(command).env("TERM", kind);
        match piped {
            Piped::Neither => {}
            Piped::Out => command = command.stdout(Stdio::piped()),
            Piped::Err => command = command.stderr(Stdio::piped()),
        }
        Self {
            child: command.spawn(pts).expect("the program starts"),
            pty,
            shown: String::new(),
            fresh: String::new(),
        }
    }

    fn press(&mut self, keys: impl AsRef<[u8]>) {
        let keys = keys.as_ref();
        self.pty.write_all(keys).expect("the terminal takes keys");
    }

    /// Reads until `text` is shown behind what was waited for before.
    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        loop {
            if let Some((_, rest)) = self.fresh.split_once(text) {
                self.fresh = rest.to_owned();
                return;
            }
            assert!(self.read(), "no {text:?} in {:?}", self.shown);
        }
    }

    /// Reads more; `false` if there will be no more.
    fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        // Where the other end is closed, some systems give an error.
        let count = self.pty.read(&mut bytes).unwrap_or(0);
        let more = String::from_utf8_lossy(&bytes[..count]);
        self.shown += &more;
        self.fresh += &more;
        count > 0
    }

    /// The exit code, and all that was shown.
    fn end(mut self) -> (Option<i32>, String) {
        while self.read() {}
        let status = self.child.wait().expect("it can be waited for");
        (status.code(), self.shown.replace("\r\n", "\n"))
    }
}

/// A checkpoint, and a home in which lines are remembered.
struct Desk {
    checkpoint: Checkpoint,
    home: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self::with(Checkpoint::new())
    }

    fn with(checkpoint: Checkpoint) -> Self {
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        Self { checkpoint, home }
    }

    fn chat(&self, piped: Piped) -> Terminal {
        self.chat_with(&[], piped)
    }

    fn chat_with(&self, more: &[&str], piped: Piped) -> Terminal {
        let flags = [&FLAGS[..], more].concat();
        let mut command = deepseek(&self.checkpoint.line("chat", &flags));
        command.env("HOME", self.home.path());
        Terminal::open(command, piped)
    }

    fn history(&self) -> PathBuf {
        self.home.path().join(".local/share/deepseek/history")
    }

    /// What was saved as `saved.json` was said by the user.
    fn asked(&self) -> Vec<String> {
        let json = String::from_utf8(self.checkpoint.read("saved.json")).expect("text");
        let saved: Vec<serde_json::Value> = serde_json::from_str(&json).expect("messages");
        let asked = saved.iter().filter(|message| message["role"] == "user");
        let text = |message: &serde_json::Value| message["content"].as_str().map(str::to_owned);
        asked.map(|message| text(message).expect("words")).collect()
    }

    fn save(&self) -> String {
        format!("/save! {}\r", self.checkpoint.file("saved.json"))
    }
}

/// The control characters of a text, but for tabs and ends of lines.
fn controls(text: &str) -> Vec<char> {
    let may = ['\n', '\t'];
    let all = text.chars().filter(|c| c.is_control() && !may.contains(c));
    all.collect()
}

/// The arguments under which a checkpoint that says any byte as likely as any other says one that a
/// terminal obeys, and what it does say.
fn babble(checkpoint: &Checkpoint, mode: &str, said: fn(Ran) -> String) -> (Vec<String>, String) {
    let lines = (0..100).map(|seed| {
        let seed = seed.to_string();
        checkpoint.line(
            "run",
            &[mode, "--seed", &seed, "--max-tokens", "300", "Hello"],
        )
    });
    let mut said = lines.map(|line| (line.clone(), said(run(&line))));
    let found = said.find(|(_, text)| text.contains('\x1b') && text.contains('\r'));
    found.expect("one of the seeds")
}

fn babbling() -> Checkpoint {
    Checkpoint::new().without_preference("model.safetensors")
}

#[test]
fn an_answer_does_nothing_to_a_terminal_and_stays_as_it_is_in_a_pipe() {
    let checkpoint = babbling();
    let (line, plain) = babble(&checkpoint, "--no-thinking", Ran::done);
    let (code, shown) = Terminal::open(deepseek(&line), Piped::Err).end();
    assert_eq!((code, controls(&shown)), (Some(0), vec![]));
    let safe: String = plain
        .chars()
        .map(|c| match c {
            '\n' | '\t' => c.to_string(),
            c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        })
        .collect();
    assert_eq!(shown, safe);

    let mut terminal = Terminal::open(deepseek(&line), Piped::Out);
    let mut out = Vec::new();
    let mut stdout = terminal.child.stdout.take().expect("it is piped");
    stdout.read_to_end(&mut out).expect("it can be read");
    assert_eq!(String::from_utf8(out).expect("text"), plain);
}

#[test]
fn reasoning_does_nothing_to_a_terminal_though_stdout_is_a_pipe() {
    let checkpoint = babbling();
    let (line, plain) = babble(&checkpoint, "--thinking", |ran| ran.err);
    let (begun, _) = plain.split_once('\x1b').expect("it is there");
    let mut command = deepseek(&line);
    command.env("NO_COLOR", "1");
    let mut terminal = Terminal::open(command, Piped::Out);
    // An answer, if there is one, is read by nobody.
    drop(terminal.child.stdout.take());
    let (_, shown) = terminal.end();
    assert!(
        shown.contains(r"\u001b") && shown.contains(r"\u000d"),
        "{shown:?}"
    );
    let begun = begun.rsplit(|c: char| c.is_control()).next();
    let begun = format!(r"{}\u001b", begun.unwrap_or_default());
    assert!(shown.contains(&begun), "no {begun:?} in {shown:?}");
    for sequence in shown.split('\x1b').skip(1) {
        assert!(sequence.starts_with("[2K"), "{shown:?}");
    }
}

#[test]
fn reasoning_is_dimmed_where_the_terminal_can() {
    let checkpoint = babbling();
    let (line, _) = babble(&checkpoint, "--thinking", |ran| ran.err);
    for (kind, no_color, dims) in [
        ("xterm", None, true),
        ("xterm", Some(""), true),
        ("xterm", Some("1"), false),
        ("dumb", None, false),
    ] {
        let mut command = deepseek(&line);
        command.envs(no_color.map(|value| ("NO_COLOR", value)));
        let mut terminal = Terminal::of_kind(kind, command, Piped::Out);
        drop(terminal.child.stdout.take());
        let (_, shown) = terminal.end();
        assert_eq!(
            shown.contains("\x1b[2m"),
            dims,
            "{kind} {no_color:?}: {shown:?}"
        );
    }
}

#[test]
fn reasoning_is_dimmed_in_a_pipe_if_that_is_forced() {
    let checkpoint = Checkpoint::new();
    let line = checkpoint.line(
        "run",
        &["--thinking", "--seed", "1", "--max-tokens", "8", "x"],
    );
    for (variable, value, dims) in [("CLICOLOR_FORCE", "1", true), ("CLICOLOR", "1", false)] {
        let output = deepseek(&line).env(variable, value).output();
        let err = Ran::from(output.expect("it starts")).err;
        assert_eq!(err.contains("\x1b[2m"), dims, "{variable}={value}: {err:?}");
    }
}

#[test]
fn texts_of_ids_do_nothing_to_a_terminal() {
    let ids = run(&["tokenize", "a\x1b]0;b\x07\u{9b}31m\x7fc"]).done();
    for more in [&[][..], &["--json"]] {
        let line = [&["tokenize", "--decode", ids.trim()], more].concat();
        let plain = run(&line).done();
        assert!(!controls(&plain).is_empty(), "{plain:?}");
        let (code, shown) = Terminal::open(deepseek(&line), Piped::Neither).end();
        assert_eq!((code, controls(&shown)), (Some(0), vec![]), "{shown:?}");
        if !more.is_empty() {
            let value = |text: &str| serde_json::from_str::<serde_json::Value>(text);
            assert_eq!(value(&shown).expect("JSON"), value(&plain).expect("JSON"));
        }
    }
}

#[test]
fn keys_that_are_typed_ahead_are_kept() {
    let desk = Desk::new();
    let mut terminal = desk.chat(Piped::Neither);
    terminal.press(format!("one\rtwo\r\rthree\r{}/quit\r", desk.save()));
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0), "{shown:?}");
    assert_eq!(desk.asked(), ["one", "two", "three"]);
}

#[test]
fn all_lines_of_a_paste_are_kept() {
    let desk = Desk::new();
    let mut terminal = desk.chat(Piped::Neither);
    terminal.wait_for("> ");
    terminal.press("one\rtwo\\\rthree\r");
    let long = "long ".repeat(300);
    terminal.press(format!("four\r{long}\r"));
    terminal.press("\x1b[200~five\rsix\x1b[201~\r");
    terminal.press(format!("{}/quit\r", desk.save()));
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0), "{shown:?}");
    assert_eq!(
        desk.asked(),
        ["one", "two\nthree", "four", long.as_str(), "five\nsix"]
    );
}

#[test]
fn a_byte_that_is_no_text_costs_its_line_alone() {
    let desk = Desk::new();
    let mut terminal = desk.chat(Piped::Neither);
    terminal.wait_for("> ");
    terminal.press("first\r");
    terminal.wait_for("> ");
    terminal.press(b"caf\xe9 noir\r");
    terminal.wait_for("error: what was typed is not UTF-8 text");
    terminal.wait_for("> ");
    terminal.press(format!("second\r{}/quit\r", desk.save()));
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0), "{shown:?}");
    assert_eq!(desk.asked(), ["first", "second"]);
}

#[test]
fn the_prompt_is_no_part_of_an_answer_that_is_piped() {
    let desk = Desk::new();
    let line = desk.checkpoint.line("chat", &FLAGS);
    let plain = pipe(&line, b"Hello\n").done();
    let mut terminal = desk.chat(Piped::Out);
    terminal.press("Hello\r/quit\r");
    let mut stdout = terminal.child.stdout.take().expect("it is piped");
    let mut out = String::new();
    stdout.read_to_string(&mut out).expect("text");
    assert_eq!(out, plain);
    let (code, shown) = terminal.end();
    assert!(code == Some(0) && shown.contains("> "), "{shown:?}");
}

#[test]
fn lines_are_remembered_however_the_program_ends() {
    for name in ["HUP", "TERM", "KILL"] {
        let desk = Desk::new();
        let mut terminal = desk.chat(Piped::Neither);
        terminal.wait_for("> ");
        terminal.press("remember me\r");
        terminal.wait_for("> ");
        signal(&terminal.child, name);
        let (code, shown) = terminal.end();
        assert_ne!(code, Some(0), "{shown:?}");
        let kept = fs::read_to_string(desk.history()).expect(name);
        assert_eq!(kept, "#V2\nremember me\n", "{name}");

        let mut terminal = desk.chat(Piped::Neither);
        terminal.wait_for("> ");
        // The key that brings the last line back.
        terminal.press("\x1b[A");
        terminal.wait_for("remember me");
        terminal.press("\x15/quit\r");
        assert_eq!(terminal.end().0, Some(0));
    }
}

#[test]
fn without_a_history_no_line_is_remembered() {
    let desk = Desk::new();
    for (flags, kept) in [(&["--no-history"][..], false), (&[][..], true)] {
        let mut terminal = desk.chat_with(flags, Piped::Neither);
        terminal.wait_for("> ");
        terminal.press("forget me\r");
        terminal.wait_for("> ");
        terminal.press("/quit\r");
        assert_eq!(terminal.end().0, Some(0));
        assert_eq!(desk.history().exists(), kept, "{flags:?}");
    }
}

#[test]
fn a_history_that_cannot_be_read_keeps_nobody_from_talking() {
    type Make = fn(&Path);
    let makes: [(&str, Make); 4] = [
        ("not UTF-8 text", |path| {
            fs::write(path, b"#V2\n\xff\n").expect("a file");
        }),
        ("not a regular file", |path| {
            fs::create_dir(path).expect("a folder");
        }),
        ("not a regular file", |path| {
            let made = Command::new("mkfifo").arg(path).status();
            assert!(made.expect("a command").success());
        }),
        ("more than 4194304 bytes", |path| {
            let file = fs::File::create(path).expect("a file");
            file.set_len(1 << 36).expect("a file with a hole");
        }),
    ];
    for (why, make) in makes {
        let desk = Desk::new();
        let history = desk.history();
        fs::create_dir_all(history.parent().expect("a folder")).expect("a folder");
        make(&history);
        let before = history.metadata().expect("it is there").len();
        let mut terminal = desk.chat(Piped::Neither);
        terminal.wait_for("note: ");
        terminal.wait_for(why);
        terminal.wait_for("> ");
        terminal.press(format!("Hello\r{}/quit\r", desk.save()));
        let (code, shown) = terminal.end();
        assert_eq!(code, Some(0), "{shown:?}");
        assert_eq!(desk.asked(), ["Hello"]);
        assert_eq!(history.metadata().expect("it is there").len(), before);
    }
}

#[test]
fn lines_from_earlier_do_nothing_to_the_terminal() {
    let desk = Desk::new();
    let history = desk.history();
    fs::create_dir_all(history.parent().expect("a folder")).expect("a folder");
    fs::write(&history, "#V2\nring \x07 twice\n").expect("a file");
    let mut terminal = desk.chat(Piped::Neither);
    terminal.wait_for("> ");
    terminal.press("\x1b[A");
    terminal.wait_for("ring \\u0007 twice");
    terminal.press("\x15/quit\r");
    assert_eq!(terminal.end().0, Some(0));
}

#[test]
fn what_is_pasted_does_nothing_to_the_terminal() {
    let desk = Desk::new();
    let mut terminal = desk.chat(Piped::Neither);
    terminal.wait_for("> ");
    let pasted = "ring\x07 \u{9b}31m red";
    terminal.press(format!("\x1b[200~{pasted}\x1b[201~"));
    terminal.wait_for("ring\u{fffd} \u{fffd}31m red");
    terminal.press(format!("\r{}/quit\r", desk.save()));
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0));
    assert!(!shown.contains(['\x07', '\u{9b}']), "{shown:?}");
    assert_eq!(desk.asked(), [pasted]);
}

#[test]
fn ctrl_c_and_ctrl_d_at_the_prompt() {
    let desk = Desk::new();
    let mut terminal = desk.chat(Piped::Neither);
    terminal.wait_for("> ");
    terminal.press("half a line\x03");
    terminal.wait_for("press Ctrl-C again or type /quit to exit");
    terminal.wait_for("> ");
    terminal.press("Hello\r");
    terminal.wait_for("> ");
    terminal.press(desk.save());
    terminal.wait_for("> ");
    terminal.press("\x03");
    terminal.wait_for("press Ctrl-C again");
    terminal.wait_for("> ");
    terminal.press("\x03");
    assert_eq!(terminal.end().0, Some(130));
    assert_eq!(desk.asked(), ["Hello"]);

    let mut terminal = desk.chat(Piped::Neither);
    terminal.wait_for("> ");
    terminal.press("\x04");
    assert_eq!(terminal.end().0, Some(0));
}

#[test]
fn ctrl_c_stops_an_answer_and_the_conversation_goes_on() {
    let checkpoint = Checkpoint::endless();
    let flags = ["--no-thinking", "--temperature", "0", "--context", "200000"];
    let line = checkpoint.line("chat", &[&flags[..], &["--no-history"]].concat());
    let mut terminal = Terminal::open(deepseek(&line), Piped::Neither);
    terminal.wait_for("> ");
    terminal.press("once upon a time\r");
    terminal.wait_for("once upon a time");
    // An answer begins on a line of its own, behind that of the question.
    terminal.wait_for("\n");
    let begun = terminal.shown.len() + 2000;
    while terminal.shown.len() < begun {
        assert!(terminal.read());
    }
    terminal.press("\x03");
    terminal.wait_for("stopped");
    terminal.wait_for("> ");
    terminal.press("/system\r");
    terminal.wait_for("no instructions");
    terminal.press("/quit\r");
    assert_eq!(terminal.end().0, Some(0));
}

#[test]
fn tab_completes_commands_and_files() {
    let desk = Desk::new();
    desk.checkpoint.write("questions.txt", b"Hello");
    let mut terminal = desk.chat(Piped::Neither);
    terminal.wait_for("> ");
    terminal.press("/rea\t");
    terminal.wait_for("/read ");
    terminal.press(format!("{}/quest\t", desk.checkpoint.path()));
    terminal.wait_for("questions.txt");
    terminal.press("\r");
    terminal.wait_for("\n");
    terminal.wait_for("> ");
    terminal.press("/se\ttempe\t0\r");
    terminal.wait_for("> ");
    terminal.press("/sav\t\t");
    terminal.wait_for("/save!");
    terminal.press(format!("\x15{}/quit\r", desk.save()));
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0), "{shown:?}");
    assert_eq!(desk.asked(), ["Hello"]);
    assert!(!shown.contains("error:"), "{shown:?}");
}
