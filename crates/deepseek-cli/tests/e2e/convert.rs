//! `deepseek convert`: what it makes can be run, and what it refuses.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::program::{Checkpoint, fixture, run};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

fn text(path: &Path) -> String {
    path.to_str().expect("text").to_owned()
}

#[test]
fn the_embedded_model_answers_out_of_integers() {
    for target in ["w8a8", "w4a8"] {
        let at = folder();
        let out = text(&at.path().join("new"));
        let ran = run(&["convert", "--to", target, "--out", &out]);
        assert!(ran.err.starts_with("note: 7."), "{ran:?}");
        let page = ran.done();
        assert!(page.contains("layers.*.attn.wq_b.weight"), "{page}");
        assert!(page.contains("1 made, 0 kept"), "{page}");
        let ask = [
            "run",
            "--model",
            &out,
            "--no-thinking",
            "--temperature",
            "0",
            "What is 12 + 30?",
        ];
        assert_eq!(run(&ask).done(), "42\n", "{target}");
        let bill = run(&["inspect", "--json", &out]).done();
        let bill: Value = serde_json::from_str(&bill).expect("JSON");
        assert_eq!(bill["flaws"], serde_json::json!([]), "{bill}");
        // What the config promises is what the files hold.
        let (listed, held) = (&bill["weights"]["bytes"], &bill["files"]["bytes"]);
        assert!(listed.is_u64() && listed == held, "{bill}");
    }
}

#[test]
fn a_second_run_keeps_what_the_first_one_made() {
    let (checkpoint, at) = (Checkpoint::new(), folder());
    checkpoint.write("notes.txt", b"kept");
    let out = text(&at.path().join("new"));
    let line = [
        "convert",
        checkpoint.path(),
        "--to",
        "w4a8",
        "--out",
        &out,
        "--json",
    ];
    let count = |page: &str| -> [u64; 2] {
        let report: Value = serde_json::from_str(page).expect("JSON");
        ["made", "kept"].map(|name| report["files"][name].as_u64().expect("a number"))
    };
    assert_eq!(count(&run(&line).done()), [1, 0]);
    assert_eq!(count(&run(&line).done()), [0, 1]);
    for name in ["notes.txt", "tokenizer.json"] {
        let own = fs::read(checkpoint.file(name)).expect(name);
        assert_eq!(fs::read(at.path().join("new").join(name)).expect(name), own);
    }
    let ran = run(&[
        "logits",
        "--model",
        &out,
        "--ids",
        "1,2,3",
        "--out",
        &text(&at.path().join("l")),
    ]);
    ran.done();
}

#[test]
fn what_would_be_lost_is_refused() {
    let checkpoint = Checkpoint::new();
    let at = folder();
    let line = |to: &str, out: &str| run(&["convert", checkpoint.path(), "--to", to, "--out", out]);
    let elsewhere = "name a folder that is empty";
    line("w8a8", checkpoint.path()).failed(2, "the folder of the checkpoint itself", elsewhere);
    fs::write(at.path().join("letter"), b"mine").expect("room");
    let out = text(at.path());
    line("w8a8", &out).failed(2, "holds letter, and no conversion", elsewhere);
    line("int8", &out).failed(2, "'int8'", "see deepseek convert --help");
    run(&["convert", "--out", &out]).failed(2, "--to", "see deepseek convert --help");

    let released = fixture("quant-s0");
    let ran = run(&["convert", &text(&released), "--to", "mxfp4", "--out", &out]);
    ran.failed(
        3,
        "the checkpoint is stored as mxfp4 already",
        "use it as it is",
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_finished_files_alone() {
    use crate::program::{Ran, deepseek, interrupt};

    let at = folder();
    let out = at.path().join("new");
    let three = text(&fixture("base-s0"));
    let line = ["convert", &three, "--to", "w8a8", "--out", &text(&out)];
    let child = deepseek(&line).spawn().expect("it starts");
    // Wherever it is by then, the next run makes a whole of it.
    while !out.exists() {
        std::thread::yield_now();
    }
    interrupt(&child);
    let ran = Ran::from(child.wait_with_output().expect("it ends"));
    assert!(matches!(ran.code, Some(130 | 0)), "{ran:?}");
    run(&line).done();
    let whole = at.path().join("whole");
    run(&["convert", &three, "--to", "w8a8", "--out", &text(&whole)]).done();
    for entry in fs::read_dir(&whole).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name");
        let same = fs::read(&path).expect("a file") == fs::read(out.join(name)).expect("a file");
        assert!(same, "{}", path.display());
    }
}
