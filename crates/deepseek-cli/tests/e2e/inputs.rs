//! What is read by name: regular files under bounds, streams where they are declared, and nothing else.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use crate::program::{Checkpoint, Ran, deepseek, fifo, pipe, run};
use crate::v41::checkpoint as with_images;

const FOLDER: &str = "a checkpoint is a folder with config.json";
const FIFO: &str = "a FIFO, not a regular file";
const STREAM: &str = "`-` reads stdin";

#[test]
fn a_fifo_in_place_of_a_models_file_is_refused() {
    let checkpoint = Checkpoint::new();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let was = checkpoint.read(name);
        fs::remove_file(checkpoint.file(name)).expect("it is there");
        fifo(&checkpoint.file(name));
        let error = format!("{name}: {FIFO}");
        if name != "tokenizer.json" {
            run(&["inspect", checkpoint.path()]).failed(3, &error, FOLDER);
        }
        checkpoint.run("run", &["x"]).failed(3, &error, FOLDER);
        checkpoint.run("chat", &[]).failed(3, &error, FOLDER);
        checkpoint
            .run(
                "logits",
                &["--prompt", "x", "--out", &checkpoint.file("out")],
            )
            .failed(3, &error, FOLDER);
        fs::remove_file(checkpoint.file(name)).expect("it is there");
        checkpoint.write(name, &was);
    }
    fifo(&checkpoint.file("model.safetensors.index.json"));
    let error = format!("model.safetensors.index.json: {FIFO}");
    run(&["inspect", checkpoint.path()]).failed(3, &error, FOLDER);
    checkpoint.run("run", &["x"]).failed(3, &error, FOLDER);
}

#[test]
fn a_fifo_or_a_folder_in_place_of_any_other_file_is_refused() {
    let checkpoint = with_images();
    let (pipe, folder) = (checkpoint.file("fifo"), checkpoint.file("folder"));
    fifo(&pipe);
    fs::create_dir(&folder).expect("the folder takes folders");
    let out = checkpoint.file("out");
    for (path, what, hint) in [
        (&pipe, FIFO, STREAM),
        (&folder, "a folder, not a regular file", ""),
    ] {
        let error = format!("{path}: {what}");
        let refused = |ran: Ran, hint: &str| ran.failed(3, &error, hint);
        let ids = format!("@{path}");
        refused(
            checkpoint.run("logits", &["--ids", &ids, "--out", &out]),
            hint,
        );
        refused(
            run(&["tokenize", "--model", checkpoint.path(), "--decode", &ids]),
            hint,
        );
        refused(checkpoint.run("run", &["--conversation", path]), hint);
        refused(checkpoint.run("eval", &[path]), hint);
        refused(run(&["tokenize", "--tokenizer", path, "x"]), FOLDER);
        refused(
            checkpoint.run("run", &["--audio-projector", path, "x"]),
            FOLDER,
        );
        refused(checkpoint.run("run", &["--image", path, "x"]), hint);
    }
    run(&["inspect", &pipe]).failed(3, &format!("{pipe}: {FIFO}"), FOLDER);
    let ran = checkpoint.run("run", &["--video", &pipe, "x"]);
    assert!(ran.code == Some(3) && ran.err.contains(FIFO), "{ran:?}");
}

#[test]
fn a_device_is_not_read_as_a_file() {
    let checkpoint = Checkpoint::new();
    fs::remove_file(checkpoint.file("config.json")).expect("it is there");
    symlink("/dev/null", checkpoint.file("config.json")).expect("the folder takes links");
    let error = "config.json: a device, not a regular file";
    run(&["inspect", checkpoint.path()]).failed(3, error, FOLDER);
    checkpoint.run("run", &["x"]).failed(3, error, FOLDER);
}

#[test]
fn files_are_read_to_their_bounds() {
    let checkpoint = Checkpoint::new();
    let long = |name: &str, bytes: u64| {
        let file = File::create(checkpoint.file(name)).expect("the folder takes files");
        file.set_len(bytes).expect("holes take no room");
        checkpoint.file(name)
    };
    let ids = format!("@{}", long("ids", (64 << 20) + 1));
    let error = "ids: 67108865 bytes, at most 67108864 are read";
    let out = checkpoint.file("out");
    checkpoint
        .run("logits", &["--ids", &ids, "--out", &out])
        .failed(3, error, "");
    run(&["tokenize", "--model", checkpoint.path(), "--decode", &ids]).failed(3, error, "");
    let talk = long("talk", (8 << 20) + 1);
    checkpoint.run("run", &["--conversation", &talk]).failed(
        3,
        "talk: 8388609 bytes, at most 8388608 are read",
        "",
    );
    let tasks = long("tasks", (256 << 20) + 1);
    checkpoint
        .run("eval", &[&tasks])
        .failed(3, "at most 268435456 are read", "");
    long("tokenizer.json", (64 << 20) + 1);
    checkpoint
        .run("run", &["x"])
        .failed(3, "tokenizer.json: 67108865 bytes, at most", "");
    let text = vec![b' '; (8 << 20) + 1];
    pipe(&["run", "x"], &text).failed(3, "stdin: more bytes, at most 8388608 are read", "");
    let ids = vec![b' '; (64 << 20) + 1];
    let error = "stdin: more bytes, at most 67108864 are read";
    pipe(&["tokenize", "--decode", "@-"], &ids).failed(3, error, "");
}

#[test]
fn ids_and_conversations_may_be_streams() {
    let checkpoint = Checkpoint::new();
    let by_hand = run(&[
        "tokenize",
        "--model",
        checkpoint.path(),
        "--decode",
        "5,6,7",
    ])
    .done();
    for list in ["@-", "@/dev/stdin", "@/dev/fd/0"] {
        let line = ["tokenize", "--model", checkpoint.path(), "--decode", list];
        assert_eq!(pipe(&line, b"5 6\n7\n").done(), by_hand, "{list}");
    }
    // A shell's `<(...)` is a descriptor by name.
    let other = |line: &[String], text: &str| {
        let mut shell = Command::new("sh");
        let script = "printf '%s' \"$0\" | { exec \"$@\" 3<&0 0</dev/null; }";
        shell.args(["-c", script, text, env!("CARGO_BIN_EXE_deepseek")]);
        let output = shell.args(line).stdin(Stdio::null()).output();
        Ran::from(output.expect("it starts"))
    };
    let line = [
        "tokenize",
        "--model",
        checkpoint.path(),
        "--decode",
        "@/dev/fd/3",
    ];
    assert_eq!(other(&line.map(str::to_owned), "5 6 7").done(), by_hand);

    let talk = r#"[{"role": "user", "content": "Hello"}]"#;
    let flags = ["--no-thinking", "--temperature", "0", "--max-tokens", "8"];
    let typed = checkpoint.run("run", &[&flags[..], &["Hello"]].concat());
    checkpoint.write("talk.json", talk.as_bytes());
    let from =
        |name: &str| checkpoint.line("run", &[&flags[..], &["--conversation", name]].concat());
    for name in ["-", "/dev/stdin"] {
        assert_eq!(pipe(&from(name), talk.as_bytes()), typed, "{name}");
        let file = File::open(checkpoint.file("talk.json")).expect("it is there");
        let ran = deepseek(&from(name))
            .stdin(file)
            .output()
            .expect("it starts");
        assert_eq!(Ran::from(ran), typed, "{name}");
    }
    assert_eq!(other(&from("/dev/fd/3"), talk), typed);
}

#[test]
fn a_link_to_nothing_is_no_missing_file() {
    let index = "model.safetensors.index.json";
    let shard = "model-00001-of-00001.safetensors";
    for moved in [
        &[shard][..],
        &[index],
        &[index, shard],
        &["config.json"],
        &["tokenizer.json"],
    ] {
        let checkpoint = Checkpoint::v41();
        for name in moved {
            fs::remove_file(checkpoint.file(name)).expect("it is there");
            symlink(format!("../blobs/{name}"), checkpoint.file(name)).expect("links");
        }
        let name = moved[0];
        let error = format!(
            "{name}: a link to {}/../blobs/{name}, where there is nothing",
            checkpoint.path()
        );
        if name != "tokenizer.json" {
            run(&["inspect", checkpoint.path()]).failed(3, &error, FOLDER);
        }
        checkpoint.run("run", &["x"]).failed(3, &error, FOLDER);
    }
    // One file alone, by way of another link; and a shard without an index.
    for name in ["model.safetensors", shard] {
        let checkpoint = Checkpoint::new();
        fs::remove_file(checkpoint.file("model.safetensors")).expect("it is there");
        symlink("other", checkpoint.file(name)).expect("links");
        symlink("blob", checkpoint.file("other")).expect("links");
        let error = format!("{name}: a link to {}, where", checkpoint.file("blob"));
        run(&["inspect", checkpoint.path()]).failed(3, &error, FOLDER);
        checkpoint.run("run", &["x"]).failed(3, &error, FOLDER);
    }
    let checkpoint = Checkpoint::new();
    symlink("gone", checkpoint.file("folder")).expect("links");
    run(&["inspect", &checkpoint.file("folder")]).failed(3, "folder: a link to", FOLDER);
}

#[test]
fn shards_without_an_index_are_no_config_alone() {
    let checkpoint = Checkpoint::new();
    let shard = checkpoint.file("model-00001-of-00002.safetensors");
    fs::rename(checkpoint.file("model.safetensors"), shard).expect("it is there");
    run(&["inspect", checkpoint.path()]).failed(3, "holds neither", "fetch it again");
}

#[test]
fn a_frame_that_leads_nowhere_is_missed() {
    let checkpoint = with_images();
    fs::create_dir(checkpoint.file("frames")).expect("the folder takes folders");
    for name in ["frames/1.bmp", "frames/3.bmp"] {
        checkpoint.write(name, &checkpoint.read("red.bmp"));
    }
    symlink("gone", checkpoint.file("frames/2.bmp")).expect("links");
    for name in ["frames", "frames/*.bmp"] {
        let ran = checkpoint.run("run", &["--video", &checkpoint.file(name), "x"]);
        assert!(
            ran.code == Some(3) && ran.err.contains("2.bmp: a link to"),
            "{ran:?}"
        );
    }
}

/// Flags under which every answer is the same.
const STEADY: [&str; 5] = ["--no-thinking", "--temperature", "0", "--max-tokens", "12"];

#[test]
fn what_is_piped_in_follows_the_prompt() {
    let checkpoint = Checkpoint::new();
    let line = |more: &[&str]| checkpoint.line("run", &[&STEADY[..], more].concat());
    let typed = |text: &str| run(&line(&[text]));
    let whole = typed("Sum up.\n\none\ntwo");
    assert_eq!(pipe(&line(&["Sum up."]), b"one\ntwo\n"), whole);
    checkpoint.write("letter", b"one\ntwo\n");
    let letter = File::open(checkpoint.file("letter")).expect("it is there");
    let ran = deepseek(&line(&["Sum up."])).stdin(letter).output();
    assert_eq!(Ran::from(ran.expect("it starts")), whole);
    assert_ne!(typed("Sum up."), whole);
    // A prompt that is `-` is stdin, whatever is said in it.
    assert_eq!(pipe(&line(&["-"]), b"one\ntwo\n"), typed("one\ntwo"));
    // Behind a conversation, and in a text that is gone on with.
    checkpoint.write(
        "talk.json",
        br#"[{"role": "system", "content": "Be brief."}]"#,
    );
    let talk = checkpoint.file("talk.json");
    let talk = ["--conversation", &talk];
    let said = run(&line(&[&talk[..], &["Sum up.\n\none"]].concat()));
    assert_eq!(
        pipe(&line(&[&talk[..], &["Sum up."]].concat()), b"one"),
        said
    );
    assert_eq!(pipe(&line(&talk), b"Sum up.\n\none"), said);
    let raw = ["run", "--raw", "--temperature", "0", "--max-tokens", "4"];
    let raw = |more: &str| checkpoint.line(raw[0], &[&raw[1..], &[more]].concat());
    assert_eq!(pipe(&raw("one"), b"two"), run(&raw("one\n\ntwo")));
}

#[test]
fn a_stdin_that_says_nothing_changes_nothing() {
    let checkpoint = Checkpoint::new();
    let line = checkpoint.line("run", &[&STEADY[..], &["Hello"]].concat());
    let typed = run(&line);
    assert_eq!(typed.code, Some(0), "{typed:?}");
    for text in ["", "\n", " \n\n"] {
        assert_eq!(pipe(&line, text.as_bytes()), typed, "{text:?}");
    }
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "exec \"$@\" <&-",
        "sh",
        env!("CARGO_BIN_EXE_deepseek"),
    ]);
    let closed = shell.args(&line).output().expect("it starts");
    assert_eq!(Ran::from(closed), typed);
}

#[test]
fn what_is_piped_in_beside_an_image_is_asked() {
    let checkpoint = with_images();
    let red = checkpoint.file("red.bmp");
    let line =
        |more: &[&str]| checkpoint.line("run", &[&STEADY[..], &["--image", &red], more].concat());
    let typed = run(&line(&["What?"]));
    assert_eq!(pipe(&line(&[]), b"What?\n"), typed);
    assert_ne!(run(&line(&[])), typed);
}

#[test]
fn what_is_piped_in_is_text() {
    pipe(&["run", "Sum up."], b"a\xff").failed(3, "stdin is not UTF-8 text", "");
}

#[test]
fn a_text_that_is_typed_leaves_stdin_alone() {
    let checkpoint = Checkpoint::new();
    let line = ["tokenize", "--model", checkpoint.path(), "one"];
    assert_eq!(pipe(&line, b"two\xff"), run(&line));
}
