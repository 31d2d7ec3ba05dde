//! KV caches that are kept with conversations: what is run again, and what is told where one is not used.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::program::Ran;
use crate::sessions::Home;

/// The session of these tests.
const NAME: &str = "mine";

/// What is said where a cache cannot be used, and where it cannot be kept.
const UNUSED: &str = "note: the KV cache of the session is not used, its prompt is run again: ";
const UNKEPT: &str =
    "note: the KV cache of the session is no longer kept, its prompt will be run again: ";

/// What is said of the embedded model before the first line.
const HELLO: &str = "the embedded model answers";

/// Questions that it knows, and a medium of each kind with the first.
const TURNS: [&str; 3] = [
    "What is 12 + 30?",
    "The lamp holds 96. What does the lamp hold?",
    "What is 7 + 8?",
];

fn samples(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/samples");
    folder.join(name).display().to_string()
}

/// A conversation with the embedded model, by its session's name.
fn chat(home: &Home, name: &str, flags: &[&str], script: &str) -> Ran {
    let line = ["chat", "--no-history", "-t", "2", "-s", "1", "-n", "48"];
    let line = [&line[..], &["--stats", "--session", name], flags].concat();
    let line: Vec<String> = line.iter().map(ToString::to_string).collect();
    let ran = home.run(&line, script);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran
}

/// Of each answer, the tokens of its prompt that were run, and those that were cached.
fn run_and_cached(ran: &Ran) -> Vec<[usize; 2]> {
    let mut all = Vec::new();
    let number = |line: &str| -> usize {
        let word = line.split_whitespace().nth(1).expect("a number");
        word.parse().expect("a number")
    };
    for line in ran.err.lines() {
        if line.starts_with("prefill ") {
            all.push([number(line), 0]);
        } else if line.starts_with("cached ") {
            all.last_mut().expect("behind the prefill")[1] = number(line);
        }
    }
    all
}

/// The notes of a run.
fn notes(ran: &Ran) -> Vec<&str> {
    let lines = ran.err.lines();
    lines.filter(|line| line.starts_with("note: ")).collect()
}

fn cache(home: &Home) -> std::path::PathBuf {
    home.file(NAME).with_extension("cache")
}

/// Turn after turn in one process, and each in a process of its own, gives the same answers from as many
/// tokens.
fn goes_on(flags: &[&str], first: &str) {
    let home = Home::new();
    let turns = [
        format!("{first}{}\n", TURNS[0]),
        format!("{}\n", TURNS[1]),
        format!("{}\n", TURNS[2]),
    ];
    let whole = chat(&home, "whole", flags, &turns.concat());
    let wanted = run_and_cached(&whole);
    let (mut out, mut got) = (String::new(), Vec::new());
    for turn in &turns {
        let ran = chat(&home, NAME, flags, turn);
        assert_eq!(notes(&ran), notes(&whole), "{flags:?}: {ran:?}");
        out += &ran.out;
        got.extend(run_and_cached(&ran));
    }
    assert_eq!(out, whole.out, "{flags:?}");
    assert_eq!(got, wanted, "{flags:?}: run and cached");
    assert_eq!(got[0][1], 0);
    for turn in 1..TURNS.len() {
        // All that stood there, but for what the encoding changes at the end of a prompt.
        let before: usize = got[turn - 1].iter().sum();
        assert!(got[turn][1] + 1 >= before, "{flags:?}: {got:?}");
    }
}

#[test]
fn a_session_runs_what_is_new_in_another_process() {
    goes_on(&["--no-thinking"], "");
    goes_on(&["--no-thinking", "--draft", "2"], "");
    goes_on(
        &[
            "--no-thinking",
            "--prefill",
            "full",
            "--numerics",
            "released",
        ],
        "",
    );
}

#[test]
fn a_session_that_reasons_runs_what_is_new_and_the_last_answer() {
    goes_on(&["--thinking"], "");
    goes_on(&["--thinking", "--temperature", "1", "--draft", "2"], "");
}

#[test]
fn media_of_an_earlier_process_are_not_looked_at_again() {
    let media = format!(
        "/image {}\n/audio {}\n",
        samples("picture.png"),
        samples("sound.wav")
    );
    goes_on(&["--no-thinking"], &media);
    goes_on(&["--thinking"], &media);
    let film = format!("/video {}\n", samples("film.avi"));
    goes_on(&["--no-thinking", "--draft", "2"], &film);
}

/// The second turn of a conversation in a process of its own, after something happened to the cache of the
/// first, is answered as if nothing had; and so is the third. Gives the notes of the second.
fn survives(flags: &[&str], happens: impl FnOnce(&Home)) -> Vec<String> {
    let home = Home::new();
    let own = ["--no-thinking"];
    let script = TURNS.map(|turn| format!("{turn}\n"));
    let whole = chat(&home, "whole", &own, &script.concat());
    chat(&home, NAME, &own, &script[0]);
    happens(&home);
    let second = chat(&home, NAME, &[&own[..], flags].concat(), &script[1]);
    assert_eq!(run_and_cached(&second)[0][1], 0, "{second:?}");
    let third = chat(&home, NAME, &own, &script[2]);
    let [_, rest] = whole.out.split_once('\n').map_or(["", ""], |(a, b)| [a, b]);
    assert_eq!(second.out.clone() + &third.out, rest, "{flags:?}");
    notes(&second).into_iter().map(str::to_owned).collect()
}

#[track_caller]
fn is_unused(notes: &[String], why: &str) {
    let first = notes.first().and_then(|note| note.strip_prefix(UNUSED));
    assert!(first.is_some_and(|first| first.contains(why)), "{notes:?}");
}

#[test]
fn a_cache_that_is_damaged_is_told_and_costs_time_alone() {
    let cut = survives(&[], |home| {
        let bytes = fs::read(cache(home)).expect("a cache");
        fs::write(cache(home), &bytes[..bytes.len() / 2]).expect("it is written");
    });
    is_unused(&cut, "it is cut short, in its rows");
    let damaged = survives(&[], |home| {
        let mut bytes = fs::read(cache(home)).expect("a cache");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 16;
        fs::write(cache(home), &bytes).expect("it is written");
    });
    is_unused(&damaged, "it is damaged: its checksum differs");
    let other = survives(&[], |home| {
        fs::write(cache(home), "{}").expect("it is written");
    });
    is_unused(&other, "it is no saved KV cache");
    let newer = survives(&[], |home| {
        let mut bytes = fs::read(cache(home)).expect("a cache");
        bytes[8] = 9;
        fs::write(cache(home), &bytes).expect("it is written");
    });
    is_unused(&newer, "format 9, this program reads 1");
    for notes in [cut, damaged, other, newer] {
        assert_eq!(notes.len(), 1, "{notes:?}");
    }
    // Where there is none, there is nothing to be told.
    let gone = survives(&[], |home| fs::remove_file(cache(home)).expect("a cache"));
    assert!(gone.is_empty(), "{gone:?}");
}

#[test]
fn a_cache_that_was_computed_otherwise_is_told_and_not_used() {
    for (flags, why) in [
        (["--numerics", "cache"], "numerics exact then, cache now"),
        (["--prefill", "full"], "prefill replay then, full now"),
        (["--draft", "2"], "draft head none then, dspark now"),
        (
            ["--device", "cpu-plain"],
            "then, cpu-plain with a context of ",
        ),
    ] {
        is_unused(&survives(&flags, |_| ()), why);
    }
}

#[test]
fn kernels_of_the_same_bits_and_another_context_go_on() {
    let home = Home::new();
    let own = ["--no-thinking"];
    chat(&home, NAME, &own, &format!("{}\n", TURNS[0]));
    let flags = [&own[..], &["--device", "cpu:plain", "--context", "700"]].concat();
    let ran = chat(&home, NAME, &flags, &format!("{}\n", TURNS[1]));
    assert!(notes(&ran).is_empty(), "{ran:?}");
    assert!(run_and_cached(&ran)[0][1] > 0, "{ran:?}");
}

#[test]
fn a_cache_that_does_not_fit_the_context_is_told() {
    let home = Home::new();
    let own = ["--no-thinking"];
    let long = "The lamp holds 96. ".repeat(40);
    chat(&home, NAME, &own, &format!("{}\n{long}\n", TURNS[0]));
    // What was taken back is in the cache, and not in the conversation.
    chat(&home, NAME, &own, "/undo\n");
    let flags = [&own[..], &["--context", "160"]].concat();
    let ran = chat(&home, NAME, &flags, &format!("{}\n", TURNS[1]));
    let all: Vec<String> = notes(&ran).into_iter().map(str::to_owned).collect();
    is_unused(&all, "tokens, in a context of 160");
    assert!(!ran.out.is_empty(), "{ran:?}");
}

#[test]
fn a_cache_of_other_weights_is_not_used() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/model");
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(model.join(name), folder.path().join(name)).expect(name);
    }
    let path = folder.path().display().to_string();
    let (home, own) = (
        Home::new(),
        ["--no-thinking", "--temperature", "0", "-m", &path],
    );
    chat(&home, NAME, &own, &format!("{}\n", TURNS[0]));
    let weights = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&weights).expect("weights");
    *bytes.last_mut().expect("bytes") ^= 1;
    fs::write(&weights, bytes).expect("they are written");
    let ran = chat(&home, NAME, &own, &format!("{}\n", TURNS[1]));
    let all: Vec<String> = notes(&ran).into_iter().map(str::to_owned).collect();
    is_unused(&all, "weights ");
    assert_eq!(run_and_cached(&ran)[0][1], 0, "{ran:?}");
}

#[test]
fn a_cache_has_the_size_that_it_may_have_and_goes_with_its_session() {
    let home = Home::new();
    let first = format!("{}\n", TURNS[0]);
    chat(
        &home,
        NAME,
        &["--no-thinking", "--session-cache", "0"],
        &first,
    );
    assert!(!cache(&home).exists());
    let page = home.list(&[]).done();
    assert!(page.contains("2 messages          no KV cache"), "{page}");

    let ran = chat(
        &home,
        NAME,
        &["--no-thinking", "--session-cache", "1KB"],
        &first,
    );
    let all = notes(&ran);
    assert!(all[0].starts_with(UNKEPT) && all.len() == 1, "{all:?}");
    assert!(
        all[0].contains("more than --session-cache 1.00 kB"),
        "{all:?}"
    );
    assert!(!cache(&home).exists());

    chat(&home, NAME, &["--no-thinking"], &first);
    let bytes = cache(&home).metadata().expect("a cache").len();
    let json: Value = serde_json::from_str(&home.list(&["--json"]).done()).expect("JSON");
    assert_eq!(json[0]["cache_bytes"], bytes);
    let page = home.list(&[]).done();
    assert!(page.contains(" of KV cache"), "{page}");
    // One that is larger than what may be kept is not read, either.
    let ran = chat(
        &home,
        NAME,
        &["--no-thinking", "--session-cache", "1KB"],
        &first,
    );
    assert!(notes(&ran)[0].starts_with(UNUSED), "{ran:?}");
    home.list(&["--remove", NAME]).done();
    assert!(!cache(&home).exists() && !home.file(NAME).exists());
}

#[test]
fn where_a_cache_cannot_be_written_the_conversation_is_kept() {
    let home = Home::new();
    let script = TURNS.map(|turn| format!("{turn}\n"));
    chat(&home, NAME, &["--no-thinking"], &script[0]);
    fs::remove_file(cache(&home)).expect("a cache");
    fs::create_dir(cache(&home)).expect("a folder");
    let ran = chat(&home, NAME, &["--no-thinking"], &script[1]);
    let all = notes(&ran);
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(
        all[0].starts_with(UNUSED) && all[0].ends_with("a folder, not a regular file"),
        "{all:?}"
    );
    assert!(
        all[1].starts_with(UNKEPT) && all[1].ends_with("want a file, not a folder"),
        "{all:?}"
    );
    let page = home.list(&[]).done();
    assert!(page.contains("4 messages          no KV cache"), "{page}");
}

/// A disk that is full: a file may have no more than a few kilobytes, which the conversation has not.
#[cfg(target_os = "linux")]
#[test]
fn on_a_full_disk_the_conversation_is_kept_and_an_older_cache_stays() {
    use std::io::Write;

    let home = Home::new();
    let script = TURNS.map(|turn| format!("{turn}\n"));
    let whole = chat(&home, "whole", &["--no-thinking"], &script.concat());
    chat(&home, NAME, &["--no-thinking"], &script[0]);
    let older = fs::read(cache(&home)).expect("a cache");
    let line = [
        "chat",
        "--no-history",
        "-n",
        "48",
        "--no-thinking",
        "--session",
        NAME,
    ];
    let mut shell = Command::new("sh")
        .args(["-c", "ulimit -f 8; exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_deepseek"))
        .args(line)
        .env_clear()
        .env("DEEPSEEK_CONFIG", "")
        .env("HOME", home.folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("there is a shell");
    let mut stdin = shell.stdin.take().expect("it is piped");
    stdin.write_all(script[1].as_bytes()).expect("it reads");
    drop(stdin);
    let ran = Ran::from(shell.wait_with_output().expect("it ends"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let all = notes(&ran);
    assert_eq!(all.len(), 1, "{ran:?}");
    assert!(
        all[0].starts_with(UNKEPT) && all[0].contains("File too large"),
        "{all:?}"
    );
    assert_eq!(fs::read(cache(&home)).expect("a cache"), older);
    let kept = fs::read_dir(home.file(NAME).parent().expect("a folder"));
    let names: Vec<_> = kept
        .expect("a folder")
        .map(|entry| entry.expect("one").file_name())
        .collect();
    assert_eq!(names.len(), 4, "{names:?}");
    // The older one is of the beginning, and is gone on from.
    let third = chat(&home, NAME, &["--no-thinking"], &script[2]);
    assert!(whole.out.ends_with(&third.out), "{third:?}");
    assert!(
        notes(&third).is_empty() && run_and_cached(&third)[0][1] > 0,
        "{third:?}"
    );
}

#[test]
fn the_size_is_a_setting() {
    let home = Home::new();
    let line = ["chat", "--no-history", "--session", NAME, "--no-thinking"];
    let line: Vec<String> = line.iter().map(ToString::to_string).collect();
    let ran = home.run_with(
        &[("DEEPSEEK_SESSION_CACHE", "0")],
        &line,
        "What is 12 + 30?\n",
    );
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.contains(HELLO) && !cache(&home).exists(), "{ran:?}");
    let ran = home.run_with(&[("DEEPSEEK_SESSION_CACHE", "much")], &line, "");
    ran.failed(2, "DEEPSEEK_SESSION_CACHE: ", "deepseek config");
    let config = ["config".to_owned()];
    let page = home.run(&config, "").done();
    let line = page.lines().find(|line| line.starts_with("session-cache"));
    let words: Vec<&str> = line.expect("a line").split_whitespace().collect();
    assert_eq!(words, ["session-cache", "1GiB", "default"]);
}
