//! Too little of memory and of threads: every command ends with one sentence.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use deepseek_text::Tokenizer;

use crate::program::{Checkpoint, Ran};

/// Runs the program under a limit of the shell's.
fn within(limit: &str, args: &[&str]) -> Ran {
    let line = format!("ulimit {limit} && exec \"$0\" \"$@\"");
    Command::new("sh")
        .args(["-c", &line, env!("CARGO_BIN_EXE_deepseek")])
        .args(args)
        .stdin(Stdio::null())
        .env_clear()
        .output()
        .expect("there is a shell")
        .into()
}

/// It is done, or ends with one sentence and perhaps a hint.
#[track_caller]
fn done_or_said(limit: &str, args: &[&str]) -> bool {
    // Where not even this is done, the loader did not get as far as the program.
    if within(limit, &["--version"]).code != Some(0) {
        return false;
    }
    is_done_or_says(&format!("{limit} {args:?}"), &within(limit, args))
}

#[track_caller]
fn is_done_or_says(what: &str, ran: &Ran) -> bool {
    if ran.code == Some(0) {
        return true;
    }
    let what = format!("{what}: {ran:?}");
    assert_eq!(ran.code, Some(1), "{what}");
    let lines: Vec<&str> = ran.err.lines().collect();
    assert!(
        lines.len() <= 2 && lines[0].starts_with("error: "),
        "{what}"
    );
    assert!(
        lines[1..].iter().all(|line| line.starts_with("hint: ")),
        "{what}"
    );
    false
}

/// The commands, on a model of one's own and on the one that the program carries.
fn commands(checkpoint: &Checkpoint) -> Vec<Vec<String>> {
    let tasks = checkpoint.file("tasks.jsonl");
    let item = r#"{"task":"t","id":"1","messages":[{"role":"user","content":"x"}],"answer":"y","max_tokens":3}"#;
    checkpoint.write("tasks.jsonl", format!("{item}\n").as_bytes());
    let out = checkpoint.file("out");
    let model = checkpoint.path();
    let owned = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect();
    vec![
        owned(&[
            "run",
            "--model",
            model,
            "--threads",
            "2",
            "--max-tokens",
            "3",
            "x",
        ]),
        owned(&["run", "--threads", "2", "--max-tokens", "3", "x"]),
        owned(&["chat", "--model", model, "--threads", "2"]),
        owned(&["inspect", model]),
        owned(&["tokenize", "x"]),
        owned(&["logits", "--model", model, "--ids", "0,1", "--out", &out]),
        owned(&["eval", "--model", model, &tasks]),
    ]
}

#[test]
fn memory_that_does_not_suffice_is_said_in_a_sentence() {
    let checkpoint = Checkpoint::new();
    let commands = commands(&checkpoint);
    let program = Path::new(env!("CARGO_BIN_EXE_deepseek"));
    // The program itself has to be mapped, with its libraries and the first stack.
    let mapped = program.metadata().expect("a program").len() / 1024 + (16 << 10);
    for args in &commands {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let more = [0, 1, 3, 7, 12, 20, 33, 54, 90, 150, 250, 2000];
        let ends: Vec<bool> = more
            .iter()
            .map(|more| done_or_said(&format!("-v {}", mapped + more * 1024), &args))
            .collect();
        assert_eq!(ends.last(), Some(&true), "{args:?}: {ends:?}");
        let ends: Vec<bool> = [1, 2, 5, 9, 14, 40, 80, 2000]
            .iter()
            .map(|most| done_or_said(&format!("-d {}", most * 1024), &args))
            .collect();
        assert_eq!(ends.last(), Some(&true), "{args:?}: {ends:?}");
        assert!(ends.contains(&false), "{args:?}: {ends:?}");
    }
}

#[test]
fn threads_that_the_system_does_not_give_are_said_in_a_sentence() {
    let checkpoint = Checkpoint::new();
    let args = [
        "run",
        "--model",
        checkpoint.path(),
        "--max-tokens",
        "3",
        "x",
    ];
    for device in ["cpu", "cpu-plain"] {
        let args = [&args[..], &["--device", device, "--threads", "1024"]].concat();
        let ran = within("-v 1500000", &args);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let error = ran.err.lines().find(|line| line.starts_with("error: "));
        assert!(error.is_some(), "{ran:?}");
        assert!(!ran.err.contains("panicked"), "{ran:?}");
    }
}

/// Root may have as many processes as there are, so this is tried as another user: where that is not
/// possible, nothing is.
#[test]
#[allow(clippy::print_stdout, reason = "a test that is skipped says so")]
fn processes_that_the_system_does_not_give_are_said_in_a_sentence() {
    let within = |count: u32, args: &[&str]| -> Option<Ran> {
        let line = format!("ulimit -u {count} && exec \"$0\" \"$@\"");
        let other = ["--reuid=64999", "--regid=64999", "--clear-groups"];
        let ran = Command::new("setpriv")
            .args(other)
            .args(["bash", "-c", &line, env!("CARGO_BIN_EXE_deepseek")])
            .args(args)
            .stdin(Stdio::null())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .output();
        ran.ok().map(Ran::from)
    };
    let free = within(64, &["--version"]);
    if free.is_none_or(|ran| ran.code != Some(0)) {
        println!("skipped: wants root, setpriv, bash, and a program that others may run");
        return;
    }
    for (args, needs) in [
        (&["run", "--threads", "2", "hello"][..], true),
        (&["chat", "--threads", "2", "--no-history"], true),
        (&["inspect"], false),
        (&["tokenize", "x"], false),
    ] {
        let ends = (1..=12).map(|count| {
            let ran = within(count, args).expect("it ran before");
            is_done_or_says(&format!("{count} processes for {args:?}"), &ran)
        });
        let ends: Vec<bool> = ends.collect();
        assert_eq!(ends.last(), Some(&true), "{args:?}: {ends:?}");
        assert_eq!(ends.contains(&false), needs, "{args:?}: {ends:?}");
    }
}

#[test]
fn more_threads_than_cores_are_remarked() {
    let checkpoint = Checkpoint::new();
    let args = ["run", "--model", checkpoint.path(), "--max-tokens", "1"];
    let ran = within("-c 0", &[&args[..], &["--threads", "1000", "x"]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let note = ran
        .err
        .lines()
        .find(|line| line.starts_with("note: --threads 1000 on "));
    assert!(note.is_some(), "{ran:?}");
    let ran = within("-c 0", &[&args[..], &["--threads", "1", "x"]].concat());
    assert!(!ran.err.contains("note: --threads"), "{ran:?}");
}

#[test]
fn a_cache_beyond_all_memory_is_refused_before_anything_is_read() {
    // Without weights, which would be missed next.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let config = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../assets/configs/v4-pro/config.json"
    );
    fs::copy(config, folder.path().join("config.json")).expect("a config");
    let tokenizer = Tokenizer::tiny_json(288).expect("bytes and markers fit");
    fs::write(folder.path().join("tokenizer.json"), tokenizer).expect("it takes files");
    let model = folder.path().to_str().expect("the path is text");
    let args = [
        "run",
        "--model",
        model,
        "--threads",
        "1",
        "--context",
        "1000000",
        "x",
    ];
    let ran = within("-v 4000000", &args);
    ran.failed(
        1,
        "GiB of cache and buffers, ",
        "a smaller --context takes less",
    );

    let args = [
        "doctor",
        "--model",
        model,
        "--threads",
        "1",
        "--context",
        "1000000",
    ];
    let ran = within("-v 4000000", &args);
    ran.failed(1, "failed: model", "send all of it");
    let says = |line: &str| ran.out.lines().any(|own| own.starts_with(line));
    assert!(says("self-check   ok: "), "{ran:?}");
    assert!(
        says("model        failed: ") && ran.out.contains("GiB of cache and buffers"),
        "{ran:?}"
    );
}
