//! What is written by name: regular files are replaced, all else is written into, and what is needed or
//! protected is left alone.

#![allow(clippy::print_stdout, reason = "a test that is left out says so")]

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use safetensors::SafeTensors;

use crate::program::{Checkpoint, Ran, deepseek, fifo, pipe, signal};
use crate::v41::checkpoint as with_images;

/// Ids enough that their logits do not fit into a pipe.
const MANY: &str = "1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9,1,2,3,4,\
                    5,6,7,8,9,1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8";

impl Checkpoint {
    /// Runs two ids into a file.
    fn logits_to(&self, out: &str) -> Ran {
        self.run("logits", &["--ids", "1,2", "--out", out])
    }

    /// What that gives.
    fn wanted(&self) -> Vec<u8> {
        self.logits_to(&self.file("wanted")).done();
        let bytes = self.read("wanted");
        fs::remove_file(self.file("wanted")).expect("it is there");
        bytes
    }

    fn begin(&self, ids: &str, out: &str) -> Child {
        let line = self.line("logits", &["--ids", ids, "--out", out]);
        deepseek(&line).spawn().expect("it starts")
    }
}

/// Reads a FIFO in a process of its own, in case nobody writes.
fn reader(fifo: &str) -> Child {
    let mut cat = Command::new("cat");
    cat.arg(fifo).stdout(Stdio::piped());
    cat.spawn().expect("there is cat")
}

fn is_fifo(path: &str) -> bool {
    fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_fifo())
}

#[test]
fn a_fifo_is_written_into_and_stays() {
    let checkpoint = Checkpoint::new();
    let want = checkpoint.wanted();
    let (out, link) = (checkpoint.file("fifo"), checkpoint.file("link"));
    fifo(&out);
    symlink("fifo", &link).expect("the folder takes links");
    let before = checkpoint.names();
    for name in [&out, &link] {
        let mut cat = reader(&out);
        let ran = checkpoint.logits_to(name);
        if ran.code != Some(0) {
            cat.kill().expect("it is running");
        }
        ran.done();
        let read = cat.wait_with_output().expect("it ends").stdout;
        assert!(read == want, "{} bytes", read.len());
        assert!(is_fifo(&out) && checkpoint.names() == before);
    }
}

#[test]
fn a_reader_of_a_fifo_that_goes_away_is_a_fault() {
    let checkpoint = Checkpoint::new();
    let out = checkpoint.file("fifo");
    fifo(&out);
    let child = checkpoint.begin(MANY, &out);
    drop(File::open(&out).expect("the program writes"));
    let ran = Ran::from(child.wait_with_output().expect("it ends"));
    ran.failed(1, "fifo: Broken pipe", "");
    assert!(is_fifo(&out));
}

#[test]
fn devices_are_written_into_and_stay() {
    let checkpoint = Checkpoint::new();
    let node = |name: &str, minor: &str| {
        let path = checkpoint.file(name);
        let made = Command::new("mknod")
            .args([&path, "c", "1", minor])
            .output();
        let made = made.is_ok_and(|made| made.status.success());
        (made && File::options().append(true).open(&path).is_ok()).then_some(path)
    };
    let (Some(null), Some(full)) = (node("null", "3"), node("full", "7")) else {
        println!("skipped: no device can be made here");
        return;
    };
    let before = checkpoint.names();
    checkpoint.logits_to(&null).done();
    checkpoint
        .logits_to(&full)
        .failed(1, "full: No space left on device", "");
    checkpoint.cannot_save(&full, "full: No space left");
    for path in [null, full] {
        let there = fs::symlink_metadata(path).expect("it stays");
        assert!(there.file_type().is_char_device());
    }
    assert_eq!(checkpoint.names(), before);
}

#[test]
fn stdout_by_name_is_written_into() {
    let checkpoint = Checkpoint::new();
    let want = checkpoint.wanted();
    let line = checkpoint.line("logits", &["--ids", "1,2", "--out", "/dev/stdout"]);
    let piped = deepseek(&line).output().expect("it starts");
    assert!(piped.stdout == want, "{piped:?}");
    // What stands in the file stays before it.
    checkpoint.write("log", b"head\n");
    let log = File::options().append(true).open(checkpoint.file("log"));
    let status = deepseek(&line).stdout(log.expect("it is there")).status();
    assert!(status.expect("it starts").success());
    assert!(checkpoint.read("log") == [b"head\n", &want[..]].concat());
}

#[test]
fn links_are_followed_and_stay() {
    let checkpoint = Checkpoint::new();
    let want = checkpoint.wanted();
    fs::create_dir(checkpoint.file("far")).expect("the folder takes folders");
    checkpoint.write("far/old", b"old");
    // One to a file, one to nothing, and one by way of another.
    for (link, to) in [
        ("a", "far/old"),
        ("b", "far/new"),
        ("c", "b2"),
        ("b2", "far/last"),
    ] {
        symlink(to, checkpoint.file(link)).expect("the folder takes links");
    }
    let before = checkpoint.names();
    for (link, end) in [("a", "far/old"), ("b", "far/new"), ("c", "far/last")] {
        checkpoint.logits_to(&checkpoint.file(link)).done();
        assert!(checkpoint.read(end) == want, "{link}");
        assert!(Path::new(&checkpoint.file(link)).is_symlink());
    }
    assert_eq!(checkpoint.names(), before);
    let far = fs::read_dir(checkpoint.file("far")).expect("the folder");
    assert_eq!(far.count(), 3);
    symlink("loop", checkpoint.file("loop")).expect("the folder takes links");
    checkpoint
        .logits_to(&checkpoint.file("loop"))
        .failed(1, "loop: too many links", "--out wants");
}

#[test]
fn a_folder_is_no_file() {
    let checkpoint = Checkpoint::new();
    symlink(".", checkpoint.file("link")).expect("the folder takes links");
    for name in ["", "link", "new/"] {
        let out = checkpoint.file(name);
        checkpoint
            .logits_to(&out)
            .failed(2, "want a file, not a folder", "");
    }
}

#[test]
fn a_file_that_is_read_only_is_left_alone() {
    let checkpoint = Checkpoint::new();
    checkpoint.write("out", b"old");
    let path = checkpoint.file("out");
    fs::set_permissions(&path, Permissions::from_mode(0o444)).expect("it is ours");
    symlink("out", checkpoint.file("link")).expect("the folder takes links");
    for out in [&path, &checkpoint.file("link")] {
        let ran = checkpoint.logits_to(out);
        ran.failed(1, "a file that is read-only", "make it writable");
        checkpoint.cannot_save(out, "read-only");
    }
    assert!(checkpoint.read("out") == b"old");
    // It is known before a weight is read.
    let cut = checkpoint.read("model.safetensors");
    checkpoint.write("model.safetensors", &cut[..cut.len() / 2]);
    checkpoint
        .logits_to(&path)
        .failed(1, "a file that is read-only", "make it writable");
}

#[test]
fn the_mode_of_a_file_is_kept() {
    let checkpoint = Checkpoint::new();
    let mode = |name: &str| {
        let there = fs::metadata(checkpoint.file(name));
        there.expect(name).mode() & 0o7777
    };
    checkpoint.write("plain", b"");
    checkpoint.logits_to(&checkpoint.file("new")).done();
    assert_eq!(
        mode("new"),
        mode("plain"),
        "of a new file, as others are made"
    );
    for bits in [0o640, 0o600, 0o755] {
        let permissions = Permissions::from_mode(bits);
        fs::set_permissions(checkpoint.file("new"), permissions).expect("it is ours");
        checkpoint.logits_to(&checkpoint.file("new")).done();
        assert_eq!(mode("new"), bits);
    }
}

#[test]
fn what_is_read_is_not_written() {
    let checkpoint = with_images();
    checkpoint.write("ids", b"1 2");
    checkpoint.write("1.bmp", &checkpoint.read("red.bmp"));
    fs::create_dir(checkpoint.file("frames")).expect("the folder takes folders");
    checkpoint.write("frames/1.bmp", &checkpoint.read("red.bmp"));
    checkpoint.write(
        "projector",
        &checkpoint.read("model-00001-of-00001.safetensors"),
    );
    let ids = format!("@{}", checkpoint.file("ids"));
    let refused = |input: &str, args: &[&str]| {
        let path = checkpoint.file(input);
        let was = checkpoint.read(input);
        let (soft, hard) = (checkpoint.file("soft"), checkpoint.file("hard"));
        symlink(&path, &soft).expect("the folder takes links");
        fs::hard_link(&path, &hard).expect("the folder takes links");
        for out in [&path, &soft, &hard] {
            let ran = checkpoint.run("logits", &[args, &["--out", out]].concat());
            ran.failed(2, "the same file as ", "name another file");
        }
        assert!(checkpoint.read(input) == was, "{input}");
        fs::remove_file(soft).expect("it is there");
        fs::remove_file(hard).expect("it is there");
    };
    for input in [
        "config.json",
        "tokenizer.json",
        "model.safetensors.index.json",
        "model-00001-of-00001.safetensors",
    ] {
        refused(input, &["--ids", "1"]);
    }
    refused("ids", &["--ids", &ids]);
    let projector = checkpoint.file("projector");
    refused(
        "projector",
        &["--ids", "1", "--audio-projector", &projector],
    );
    for (flag, name, input) in [
        ("--image", "red.bmp", "red.bmp"),
        ("--audio", "red.bmp", "red.bmp"),
        ("--video", "red.bmp", "red.bmp"),
        ("--video", "frames", "frames/1.bmp"),
        ("--video", "frames/*.bmp", "frames/1.bmp"),
    ] {
        refused(input, &["--prompt", "x", flag, &checkpoint.file(name)]);
    }
    // By way of stdin, and of stdout.
    let file = File::options()
        .read(true)
        .append(true)
        .open(checkpoint.file("ids"));
    let file = file.expect("it is there");
    let line = checkpoint.line("logits", &["--ids", "@-", "--out", &checkpoint.file("ids")]);
    let stdin = file.try_clone().expect("it can be had twice");
    let ran = deepseek(&line).stdin(stdin).output().expect("it starts");
    Ran::from(ran).failed(2, "the same file as /dev/stdin", "name another file");
    let line = checkpoint.line("logits", &["--ids", &ids, "--out", "/dev/stdout"]);
    let ran = deepseek(&line).stdout(file).output().expect("it starts");
    Ran::from(ran).failed(2, "the same file as ", "name another file");
    assert!(checkpoint.read("ids") == b"1 2");
}

#[test]
fn the_files_of_a_model_are_not_saved_over() {
    let checkpoint = Checkpoint::new();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let was = checkpoint.read(name);
        checkpoint.cannot_save(&checkpoint.file(name), "the same file as");
        assert!(checkpoint.read(name) == was, "{name}");
    }
}

impl Checkpoint {
    /// Says something, saves it, and leaves.
    fn say_and_save(&self, place: &str) -> Ran {
        let line = self.line("chat", &["--no-thinking", "--max-tokens", "2"]);
        pipe(
            &line,
            format!(
                "Hello
/save! {place}
"
            )
            .as_bytes(),
        )
    }

    /// The same, which is refused.
    #[track_caller]
    fn cannot_save(&self, place: &str, error: &str) {
        let ran = self.say_and_save(place);
        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.err.contains(error), "no {error:?} in {ran:?}");
    }
}

#[test]
fn a_conversation_goes_to_where_a_link_leads_and_into_a_fifo() {
    let checkpoint = Checkpoint::new();
    symlink("talk.json", checkpoint.file("link")).expect("the folder takes links");
    checkpoint.say_and_save(&checkpoint.file("link")).done();
    assert!(Path::new(&checkpoint.file("link")).is_symlink());
    let saved = checkpoint.read("talk.json");
    assert!(saved.starts_with(b"[\n"));

    let out = checkpoint.file("fifo");
    fifo(&out);
    let mut cat = reader(&out);
    let ran = checkpoint.say_and_save(&out);
    if ran.code != Some(0) {
        cat.kill().expect("it is running");
    }
    let mut read = Vec::new();
    let mut stdout = cat.stdout.take().expect("it is piped");
    stdout.read_to_end(&mut read).expect("it can be read");
    cat.wait().expect("it ends");
    assert!(read.starts_with(b"[\n") && is_fifo(&out), "{ran:?}");
}

/// Whether this process was started to ignore a signal, which a child then ignores, too.
fn ignores(number: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let bits = line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.is_some_and(|bits| bits >> (number - 1) & 1 == 1)
}

#[test]
fn signals_leave_nothing_behind() {
    let checkpoint = Checkpoint::endless();
    checkpoint.write("ids", "7 ".repeat(100_000).as_bytes());
    checkpoint.write("out", b"old");
    let before = checkpoint.names();
    let ids = format!("@{}", checkpoint.file("ids"));
    for (name, number) in [("HUP", 1), ("INT", 2), ("QUIT", 3), ("TERM", 15)] {
        if ignores(number) {
            println!("skipped: the tests were started to ignore {name}");
            continue;
        }
        for out in ["out", "new"] {
            let mut child = checkpoint.begin(&ids, &checkpoint.file(out));
            while checkpoint.names() == before {
                let ended = child.try_wait().expect("it can be asked");
                assert_eq!(ended, None, "it ended by itself");
                std::thread::yield_now();
            }
            signal(&child, name);
            let ran = Ran::from(child.wait_with_output().expect("it ends"));
            let code = i32::try_from(128 + number).ok();
            assert_eq!((ran.code, ran.err.as_str()), (code, ""), "{name}");
            assert_eq!(checkpoint.names(), before, "{name}");
        }
    }
    assert!(checkpoint.read("out") == b"old");
}

#[test]
fn a_signal_that_is_to_be_ignored_is() {
    let checkpoint = Checkpoint::new();
    let out = checkpoint.file("fifo");
    fifo(&out);
    let line = checkpoint.line("logits", &["--ids", "1,2", "--out", &out]);
    let mut shell = shell("trap '' HUP; exec \"$@\"", &line);
    let child = shell.stdout(Stdio::null()).spawn().expect("it starts");
    let mut reader = File::open(&out).expect("the program writes");
    signal(&child, "HUP");
    let mut read = Vec::new();
    reader.read_to_end(&mut read).expect("it can be read");
    let ran = Ran::from(child.wait_with_output().expect("it ends"));
    ran.done();
    assert!(read == checkpoint.wanted());
}

/// A shell that does something before it becomes the program.
fn shell(script: &str, line: &[String]) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh", env!("CARGO_BIN_EXE_deepseek")]);
    shell.args(line).stdin(Stdio::null());
    shell.stdout(Stdio::piped()).stderr(Stdio::piped());
    shell
}

#[test]
fn a_file_that_may_not_grow_is_a_fault() {
    let checkpoint = Checkpoint::new();
    let before = checkpoint.names();
    let limited = |line: &[String]| {
        let mut shell = shell("ulimit -f 8; exec \"$@\"", line);
        Ran::from(shell.output().expect("it starts"))
    };
    let out = checkpoint.file("out");
    limited(&checkpoint.line("logits", &["--ids", MANY, "--out", &out])).failed(
        1,
        "out: File too large",
        "",
    );
    assert_eq!(checkpoint.names(), before);
    // The same on stdout.
    let stdout = File::create(checkpoint.file("stdout")).expect("the folder takes files");
    checkpoint.write("ids", "7 ".repeat(10_000).as_bytes());
    let ids = format!("@{}", checkpoint.file("ids"));
    let line = [
        "tokenize",
        "--model",
        checkpoint.path(),
        "--json",
        "--decode",
        &ids,
    ];
    let mut shell = shell("ulimit -f 8; exec \"$@\"", &line.map(str::to_owned));
    let ran = Ran::from(shell.stdout(stdout).output().expect("it starts"));
    ran.failed(1, "File too large", "");
}

#[test]
fn what_is_written_is_a_safetensors_file() {
    let checkpoint = Checkpoint::new();
    let bytes = checkpoint.wanted();
    let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    assert_eq!(tensors.names(), ["logits"]);
}
