//! Conversations that are kept under a name.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Checkpoint, Ran, deepseek};
use crate::v41::checkpoint as with_images;

const FLAGS: [&str; 6] = [
    "--no-thinking",
    "--temperature",
    "0",
    "-n",
    "8",
    "--session",
];

/// Where conversations are kept.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder"))
    }

    pub(crate) fn run(&self, line: &[String], script: &str) -> Ran {
        self.run_with(&[], line, script)
    }

    /// Runs the program with these variables, and the lines of `script` on stdin.
    pub(crate) fn run_with(
        &self,
        variables: &[(&str, &str)],
        line: &[String],
        script: &str,
    ) -> Ran {
        let mut command = deepseek(line);
        command.env("HOME", self.0.path()).stdin(Stdio::piped());
        command.envs(variables.iter().copied());
        let mut child = command.spawn().expect("it starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        // It may refuse before it reads.
        let _ = stdin.write_all(script.as_bytes());
        drop(stdin);
        child.wait_with_output().expect("it ends").into()
    }

    fn chat(&self, checkpoint: &Checkpoint, name: &str, script: &str) -> Ran {
        let line = checkpoint.line("chat", &[&FLAGS[..], &[name]].concat());
        self.run(&line, script)
    }

    pub(crate) fn list(&self, more: &[&str]) -> Ran {
        let line = [&["sessions"], more].concat();
        self.run(
            &line.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "",
        )
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        let folder = self.0.path().join(".local/share/deepseek/sessions");
        folder.join(format!("{name}.json"))
    }
}

#[test]
fn a_conversation_goes_on_where_it_was_left() {
    let (checkpoint, home) = (Checkpoint::new(), Home::new());
    let whole = home.chat(&checkpoint, "whole", "one\ntwo\n/list\n");
    let first = home.chat(&checkpoint, "cut", "one\n");
    let second = home.chat(&checkpoint, "cut", "two\n/list\n");
    assert_eq!((first.code, second.code), (Some(0), Some(0)), "{second:?}");
    assert_eq!(first.out + &second.out, whole.out);
    assert_eq!(second.err.lines().last(), whole.err.lines().last());
    // What is taken back is no longer kept.
    assert_eq!(home.chat(&checkpoint, "cut", "/undo\n").code, Some(0));
    let third = home.chat(&checkpoint, "cut", "two\n");
    assert_eq!(third.out, second.out);

    let page = home.list(&[]).done();
    let lines: Vec<Vec<&str>> = page
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0][..3], ["cut", "4", "messages"]);
    assert_eq!(lines[1][..3], ["whole", "4", "messages"]);
    let json: Value = serde_json::from_str(&home.list(&["--json"]).done()).expect("JSON");
    assert_eq!(
        (&json[0]["name"], &json[0]["messages"]),
        (&"cut".into(), &4.into())
    );
    assert_eq!(json[0]["model"], checkpoint.path());
    home.list(&["--remove", "cut"]).done();
    assert_eq!(home.list(&[]).done().lines().count(), 1);
    home.list(&["--remove", "cut"])
        .failed(3, "cut.json: No such file", "");
}

#[test]
fn instructions_and_tools_of_a_line_replace_those_that_were_kept() {
    let (checkpoint, home) = (Checkpoint::new(), Home::new());
    checkpoint.write("tools.json", br#"[{"name": "get"}]"#);
    let tools = checkpoint.file("tools.json");
    let flags = [
        &FLAGS[..],
        &["mine", "--tools", &tools, "--system", "Be kind."],
    ]
    .concat();
    let line = checkpoint.line("chat", &flags);
    for script in ["one\n", "/tools\n/system\n"] {
        let ran = home.run(&line, script);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        if script != "one\n" {
            assert_eq!(ran.err, "get\nBe kind.\n");
        }
    }
}

#[test]
fn another_model_is_refused() {
    let (checkpoint, home) = (Checkpoint::new(), Home::new());
    home.chat(&checkpoint, "mine", "one\n").done();
    let other = Checkpoint::new().without_end("model.safetensors");
    other.set("max_position_embeddings", 1024);
    let error = format!(
        "session mine was held with another model, {}",
        checkpoint.path()
    );
    home.chat(&other, "mine", "two\n")
        .failed(3, &error, "--session");
    // The same model elsewhere is the same.
    assert_eq!(home.chat(&Checkpoint::new(), "mine", "two\n").code, Some(0));
}

#[test]
fn media_are_kept_by_their_names() {
    let (checkpoint, home) = (with_images(), Home::new());
    let script = format!("/image {}\nWhat?\n", checkpoint.file("red.bmp"));
    let script = format!("{script}And now?\n");
    let whole = home.chat(&checkpoint, "whole", &script);
    let (head, tail) = script.split_at(script.len() - "And now?\n".len());
    let cut = [head, tail].map(|script| home.chat(&checkpoint, "cut", script).out);
    assert_eq!(cut.concat(), whole.out);
}

#[test]
fn names_and_files_that_are_none_are_refused() {
    let (checkpoint, home) = (Checkpoint::new(), Home::new());
    for name in ["", "a/b", "..", ".hidden", "a b"] {
        let error = format!("{name:?} is no name of a session");
        home.chat(&checkpoint, name, "")
            .failed(2, &error, "want letters, digits");
    }
    home.chat(&checkpoint, "mine", "one\n").done();
    for (text, error) in [
        ("{", "not JSON"),
        ("{}", "model is missing"),
        ("\u{feff}[]", "not JSON"),
    ] {
        fs::write(home.file("mine"), text).expect("a file");
        home.chat(&checkpoint, "mine", "").failed(3, error, "");
        let page = home.list(&[]).done();
        assert!(page.starts_with("mine ") && page.contains(error), "{page}");
    }
}

#[cfg(unix)]
#[test]
fn nobody_else_may_look_at_them() {
    use std::os::unix::fs::PermissionsExt;

    let (checkpoint, home) = (Checkpoint::new(), Home::new());
    home.chat(&checkpoint, "mine", "one\n").done();
    let file = home.file("mine");
    let folder = file
        .parent()
        .expect("a folder")
        .metadata()
        .expect("it is there");
    assert_eq!(folder.permissions().mode() & 0o77, 0);
}
