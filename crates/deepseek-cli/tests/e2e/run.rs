//! `deepseek run`.

use std::io::{BufReader, Read};
use std::process::{Child, ChildStdout};

use crate::program::{Checkpoint, deepseek, pipe, run};

/// Flags under which a text goes on without end markers getting in the way.
const GREEDY: [&str; 3] = ["--raw", "--temperature", "0"];

#[test]
fn the_answer_alone_goes_to_stdout() {
    let checkpoint = Checkpoint::new();
    let ran = checkpoint.run(
        "run",
        &["--raw", "--temperature", "0", "--max-tokens", "16", "once"],
    );
    let note = "note: the answer was cut by --max-tokens after 16 tokens\n";
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), note), "{ran:?}");
    assert!(ran.out.len() > 1 && ran.out.ends_with('\n'), "{ran:?}");
}

#[test]
fn reasoning_goes_to_stderr_and_is_plain_without_a_terminal() {
    let checkpoint = Checkpoint::new();
    let ask = |flag: &str| {
        checkpoint.run(
            "run",
            &[flag, "--seed", "1", "--max-tokens", "8", "Name a colour."],
        )
    };
    let thinking = ask("--thinking");
    assert_eq!(thinking.code, Some(0), "{thinking:?}");
    assert!(
        thinking.out.is_empty() && thinking.err.len() > 1,
        "{thinking:?}"
    );
    assert!(!thinking.err.contains('\x1b'), "{thinking:?}");
    let answer = ask("--no-thinking");
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert!(answer.out.len() > 1, "{answer:?}");
    let note = "note: the answer was cut by --max-tokens after 8 tokens\n";
    assert_eq!(answer.err, note);
}

#[test]
fn a_prompt_may_come_by_stdin() {
    let checkpoint = Checkpoint::new();
    let flags = ["--no-thinking", "--seed", "2", "--max-tokens", "12"];
    let typed = checkpoint.run("run", &[&flags[..], &["two\nlines"]].concat());
    for more in [&[][..], &["-"]] {
        let line = checkpoint.line("run", &[&flags[..], more].concat());
        assert_eq!(pipe(&line, b"two\nlines\n"), typed);
    }
}

#[test]
fn instructions_change_the_answer() {
    let checkpoint = Checkpoint::new();
    let ask = |more: &[&str]| {
        let flags = [
            "--no-thinking",
            "--temperature",
            "0",
            "--max-tokens",
            "12",
            "Hello",
        ];
        checkpoint.run("run", &[more, &flags].concat()).done()
    };
    assert_ne!(ask(&["--system", "Answer in verse."]), ask(&[]));
}

#[test]
fn the_same_seed_gives_the_same_text() {
    let checkpoint = Checkpoint::new();
    let draw = |more: &[&str]| {
        let flags = [
            "--raw",
            "--max-tokens",
            "24",
            "--top-k",
            "40",
            "--top-p",
            "0.9",
            "--min-p",
            "0.01",
        ];
        let penalties = ["--repetition-penalty", "1.1", "--presence-penalty", "0.1"];
        checkpoint
            .run("run", &[&flags[..], &penalties, more, &["once"]].concat())
            .done()
    };
    let first = draw(&["--seed", "7"]);
    assert_eq!(draw(&["--seed", "7"]), first);
    assert_eq!(draw(&["--seed", "7", "--draft", "2"]), first);
    assert_ne!(draw(&["--seed", "8"]), first);
}

#[test]
fn threads_do_not_change_the_text() {
    let checkpoint = Checkpoint::new();
    let go_on = |threads: &str| {
        let flags = ["--seed", "7", "--raw", "--max-tokens", "24", "once"];
        let line = ["run", "--model", checkpoint.path(), "--threads", threads];
        run(&[&line[..], &flags].concat()).done()
    };
    assert_eq!(go_on("3"), go_on("1"));
}

#[test]
fn a_seed_of_chance_is_told_and_gives_the_text_again() {
    let checkpoint = Checkpoint::new();
    let flags = ["--raw", "--max-tokens", "12", "--stats", "once"];
    let first = checkpoint.run("run", &flags);
    let seed = figure(&first.err, "seed");
    let again = checkpoint.run("run", &[&["--seed", seed][..], &flags].concat());
    assert_eq!(again.out, first.out);
}

#[test]
fn stats_name_speed_memory_and_seed() {
    let checkpoint = Checkpoint::new();
    let flags = [
        "--max-tokens",
        "8",
        "--stats",
        "--draft",
        "2",
        "--seed",
        "3",
        "once",
    ];
    let ran = checkpoint.run("run", &[&GREEDY[..], &flags].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let names: Vec<&str> = ran
        .err
        .lines()
        .filter(|line| !line.starts_with("note: "))
        .map(|line| line.split("  ").next().unwrap_or(""))
        .collect();
    assert_eq!(
        names,
        [
            "prefill",
            "first token",
            "decode",
            "drafts",
            "device",
            "peak memory",
            "seed",
            "finish"
        ]
    );
    assert_eq!(figure(&ran.err, "finish"), "length");
    let prefill = figure(&ran.err, "prefill");
    assert!(
        prefill.starts_with("5 tokens in ") && prefill.ends_with(" tokens/s"),
        "{prefill}"
    );
    let decode = figure(&ran.err, "decode");
    assert!(
        decode.starts_with("7 tokens in ") && decode.ends_with(" tokens/s"),
        "{decode}"
    );
    assert!(figure(&ran.err, "first token").ends_with(" s"));
    assert!(figure(&ran.err, "drafts").ends_with(" accepted"));
    assert!(figure(&ran.err, "device").starts_with("cpu:"));
    if cfg!(target_os = "linux") {
        assert!(figure(&ran.err, "peak memory").ends_with(" MiB"));
    }
    assert_eq!(figure(&ran.err, "seed"), "3");
}

/// What `--stats` says after `name`.
#[track_caller]
pub(crate) fn figure<'a>(stats: &'a str, name: &str) -> &'a str {
    let line = stats.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("{name} in {stats}")).trim()
}

#[test]
fn the_answer_ends_before_a_stop_string() {
    let checkpoint = Checkpoint::new();
    let go_on = |more: &[&str]| {
        let flags = ["--max-tokens", "32"];
        checkpoint
            .run("run", &[&GREEDY[..], &flags, more, &["once"]].concat())
            .done()
    };
    let whole = go_on(&[]);
    let whole = whole.trim_end_matches('\n');
    let stop: String = whole.chars().skip(8).take(3).collect();
    let (before, _) = whole.split_once(&stop).expect("taken from it");
    assert_eq!(
        go_on(&["--stop", "never there", "--stop", &stop]).trim_end_matches('\n'),
        before
    );
}

#[test]
fn max_tokens_bound_the_answer() {
    let checkpoint = Checkpoint::new();
    let count = |most: &str| {
        let flags = ["--stats", "--max-tokens", most, "once"];
        let ran = checkpoint.run("run", &[&GREEDY[..], &flags].concat());
        figure(&ran.err, "decode")
            .split(' ')
            .next()
            .map(str::to_owned)
    };
    // The first token comes with the prompt.
    assert_eq!(count("1").as_deref(), Some("0"));
    assert_eq!(count("9").as_deref(), Some("8"));
}

#[test]
fn what_is_too_long_is_refused_with_a_hint() {
    let checkpoint = Checkpoint::new();
    checkpoint
        .run("run", &["--raw", "--context", "5", "once"])
        .failed(
            3,
            "a prompt of 5 tokens, with its answer, in a context of 5",
            "raise --context",
        );
    checkpoint
        .run(
            "run",
            &["--raw", "--context", "6", "--temperature", "0", "once"],
        )
        .done();
    checkpoint
        .run("run", &["--context", "2049", "once"])
        .failed(
            3,
            "context 2049, the model has 2048 positions",
            "--context 2048 at most",
        );
}

#[test]
fn drafts_want_a_draft_head() {
    let checkpoint = Checkpoint::new();
    checkpoint.set("num_nextn_predict_layers", 0);
    let flags = ["--raw", "--max-tokens", "2", "once"];
    checkpoint.run("run", &flags).done();
    checkpoint
        .run("run", &[&["--draft", "1"][..], &flags].concat())
        .failed(
            3,
            "--draft 1: the checkpoint has no draft head",
            "leave out --draft",
        );
}

#[test]
fn the_plain_host_gives_the_same_text() {
    let checkpoint = Checkpoint::new();
    let go_on = |device: &str| {
        let flags = ["--device", device, "--max-tokens", "12", "once"];
        checkpoint
            .run("run", &[&GREEDY[..], &flags].concat())
            .done()
    };
    assert_eq!(go_on("cpu-plain"), go_on("cpu"));
}

#[test]
fn every_kernel_set_gives_the_same_text_or_says_which_there_are() {
    let checkpoint = Checkpoint::new();
    let go_on = |device: &str| {
        let flags = [
            "--numerics",
            "exact",
            "--max-tokens",
            "12",
            "--stats",
            "once",
        ];
        checkpoint.run(
            "run",
            &[&GREEDY[..], &["--device", device], &flags].concat(),
        )
    };
    let best = go_on("cpu");
    assert_eq!(best.code, Some(0), "{best:?}");
    let mut computed = Vec::new();
    for device in [
        "cpu:avx512-bf16",
        "cpu:avx512",
        "cpu:avx2",
        "cpu:neon",
        "cpu:plain",
    ] {
        let ran = go_on(device);
        if ran.code == Some(0) {
            assert_eq!(ran.out, best.out, "{device}");
            assert_eq!(figure(&ran.err, "device"), device);
            computed.push(device);
        } else {
            ran.failed(1, "this processor has", "choose another --device");
        }
    }
    // The best is one of those, and one is everywhere.
    assert!(computed.contains(&figure(&best.err, "device")));
    assert_eq!(computed.last(), Some(&"cpu:plain"));
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let checkpoint = Checkpoint::endless();
    let (child, stdout) = begin(&checkpoint);
    drop(stdout);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), &[][..])
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_answer_and_the_program() {
    let checkpoint = Checkpoint::endless();
    let (child, mut stdout) = begin(&checkpoint);
    crate::program::interrupt(&child);
    let mut rest = String::new();
    stdout
        .read_to_string(&mut rest)
        .expect("characters are whole");
    assert!(rest.ends_with('\n'), "{rest:?}");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(130), &[][..])
    );
}

/// An answer without end, of which the first byte has been read.
fn begin(checkpoint: &Checkpoint) -> (Child, BufReader<ChildStdout>) {
    let flags = ["--context", "200000", "once"];
    let line = checkpoint.line("run", &[&GREEDY[..], &flags].concat());
    let mut child = deepseek(&line).spawn().expect("it starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut character = [0; 1];
    stdout.read_exact(&mut character).expect("an answer begins");
    assert!(
        character[0].is_ascii(),
        "the rest begins with a whole character"
    );
    (child, stdout)
}
