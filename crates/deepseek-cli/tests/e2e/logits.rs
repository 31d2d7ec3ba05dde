//! `deepseek logits`, held against the reference.

use std::fs;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::program::{Checkpoint, Ran, fixture, run};

/// How far from the reference a logit may be.
const TOLERANCE: f32 = 2e-4;

#[test]
fn the_tall_fixture_meets_the_reference() {
    meets_reference("flashy-s0", &["p0", "p3", "p9"]);
}

#[test]
fn the_wide_fixture_meets_the_reference() {
    meets_reference("prolike-s0", &["p0", "p3", "p7"]);
}

#[test]
fn the_quantised_fixture_meets_the_reference() {
    meets_reference("quant-s0", &["p0", "p2"]);
}

#[test]
fn the_fixture_with_real_ropes_meets_the_reference() {
    meets_reference("realrope-s0", &["p0", "p3"]);
}

#[track_caller]
fn meets_reference(name: &str, prompts: &[&str]) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let (model, ids, out) = (
        fixture(name),
        folder.path().join("ids"),
        folder.path().join("out"),
    );
    let reference = fs::read(model.join("reference.safetensors")).expect("the reference");
    let reference = SafeTensors::deserialize(&reference).expect("the reference");
    for prompt in prompts {
        let tokens = reference
            .tensor(&format!("{prompt}.input_ids"))
            .expect(prompt);
        let (tokens, _) = tokens.data().as_chunks();
        let tokens: Vec<String> = tokens
            .iter()
            .map(|id| i64::from_le_bytes(*id).to_string())
            .collect();
        fs::write(&ids, tokens.join(" ")).expect("the folder takes files");
        let list = format!("@{}", ids.display());
        let place = [out.as_os_str(), model.as_os_str()];
        run(&[
            "logits".as_ref(),
            "--model".as_ref(),
            place[1],
            "--ids".as_ref(),
            list.as_ref(),
            "--out".as_ref(),
            place[0],
        ])
        .done();
        let want = reference.tensor(&format!("{prompt}.logits")).expect(prompt);
        let (shape, logits) = table(&out);
        assert_eq!(shape, want.shape(), "{name} {prompt}");
        let worst = logits
            .iter()
            .zip(floats(want.data()))
            .map(|(got, want)| (got - want).abs())
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .expect("there are logits");
        assert!(
            worst.1 <= TOLERANCE,
            "{name} {prompt}: {} apart at {}",
            worst.1,
            worst.0
        );
    }
}

#[test]
fn any_chunk_gives_the_same_bits() {
    let checkpoint = Checkpoint::new();
    let ids: Vec<String> = (0..150).map(|i| (i * 37 % 288).to_string()).collect();
    let ids = ids.join(",");
    let logits = |chunk: &str| {
        let out = checkpoint.file("out.safetensors");
        checkpoint.logits(&["--ids", &ids, "--chunk", chunk]).done();
        fs::read(out).expect("the logits")
    };
    let whole = logits("150");
    assert!(logits("1") == whole && logits("7") == whole && logits("4096") == whole);
}

/// What a flag's word means: of a V4.1 model at its levels the reference has the logits.
#[test]
fn each_level_gives_the_logits_of_the_reference() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let (model, out) = (
        fixture("../v41/plain-s7-release"),
        folder.path().join("out"),
    );
    let (model, file) = (model.to_str().expect("text"), out.to_str().expect("text"));
    let read = |name: &str| fs::read(Path::new(model).join(name)).expect(name);
    let meta: serde_json::Value = serde_json::from_slice(&read("meta.json")).expect("JSON");
    let ids = meta["input_ids"].to_string();
    let reference = read("expected.safetensors");
    let reference = SafeTensors::deserialize(&reference).expect("the reference");
    let levels = [
        ("exact", "none"),
        ("cache", "cache"),
        ("full", "full"),
        ("released", "released"),
    ];
    for (level, _) in levels {
        let ids = ids.trim_matches(['[', ']']);
        let told = ["--ids", ids, "--numerics", level, "--out", file];
        run(&[&["logits", "--model", model][..], &told].concat()).done();
        let (_, logits) = table(&out);
        let apart = levels.map(|(_, name)| {
            let want = reference
                .tensor(&format!("logits_full.{name}"))
                .expect(name);
            let pairs = logits.iter().zip(floats(want.data()));
            let squares: f32 = pairs.map(|(got, want)| (got - want) * (got - want)).sum();
            (squares / logits.len() as f32).sqrt()
        });
        // A whole run at `released` turns a rounding in any engine: see the fixture's `meta.json`.
        for ((other, _), apart) in levels.iter().zip(apart) {
            assert_eq!(
                *other == level,
                apart < 0.3,
                "{level} and {other}: {apart} apart"
            );
        }
    }
}

#[test]
fn rounding_shows() {
    let checkpoint = Checkpoint::new();
    let logits = |level: &str| {
        checkpoint
            .logits(&["--ids", "0,5,9,200", "--numerics", level])
            .done();
        table(checkpoint.file("out.safetensors").as_ref())
    };
    let (exact, cache, released) = (logits("exact"), logits("cache"), logits("released"));
    assert!(exact.0 == [4, 288] && cache.0 == exact.0 && released.0 == exact.0);
    assert!(exact.1 != cache.1 && cache.1 != released.1 && exact.1 != released.1);
}

#[test]
fn a_text_is_run_after_the_begin_of_sentence_marker() {
    let checkpoint = Checkpoint::new();
    let ids = checkpoint.run("tokenize", &[]);
    assert_eq!(ids.code, Some(2), "tokenize takes no --threads: {ids:?}");
    let ids = run(&["tokenize", "--model", checkpoint.path(), "once"]).done();
    checkpoint.logits(&["--ids", &format!("0,{ids}")]).done();
    let by_ids = checkpoint.read("out.safetensors");
    checkpoint.logits(&["--prompt", "once"]).done();
    assert!(checkpoint.read("out.safetensors") == by_ids);
}

#[test]
fn ids_that_the_model_cannot_run_are_refused() {
    let checkpoint = Checkpoint::new();
    let refused = |ids: &str, error: &str, hint: &str| {
        checkpoint.logits(&["--ids", ids]).failed(3, error, hint);
        assert!(!Path::new(&checkpoint.file("out.safetensors")).exists());
    };
    refused(
        "1,288",
        "token id 288 (item 2 of --ids) is out of range: the vocabulary has 288 ids",
        "",
    );
    refused(
        "4294967295",
        "token id 4294967295 (item 1 of --ids) is out of range: the vocabulary has 288 ids",
        "",
    );
    refused("", "the list of ids is empty", "");
    refused("1;2", "\"1;2\" is not an id", "commas or spaces");
    refused("@missing", "missing: No such file", "");
    refused(
        &["1"; 2049].join(","),
        "2049 ids, the model has 2048 positions",
        "",
    );
}

#[test]
fn a_file_that_cannot_be_written_is_a_fault() {
    let checkpoint = Checkpoint::new();
    let out = checkpoint.file("missing/out");
    let hint = "--out wants a file in a folder";
    checkpoint
        .run("logits", &["--ids", "1", "--out", &out])
        .failed(1, "No such file", hint);
    checkpoint
        .run("logits", &["--ids", "1", "--out", "/"])
        .failed(2, "--out /: want a file", "");
}

#[test]
fn the_file_that_was_there_is_replaced_and_nothing_else_is_left() {
    let checkpoint = Checkpoint::new();
    checkpoint.write("out.safetensors", b"old");
    let before = fs::read_dir(checkpoint.path()).expect("the folder").count();
    checkpoint.logits(&["--ids", "1"]).done();
    assert_eq!(
        table(checkpoint.file("out.safetensors").as_ref()).0,
        [1, 288]
    );
    assert_eq!(
        fs::read_dir(checkpoint.path()).expect("the folder").count(),
        before
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_nothing_behind() {
    let checkpoint = Checkpoint::endless();
    checkpoint.write("ids", "7 ".repeat(100_000).as_bytes());
    let count = || fs::read_dir(checkpoint.path()).expect("the folder").count();
    let (before, out) = (count(), checkpoint.file("out.safetensors"));
    let ids = format!("@{}", checkpoint.file("ids"));
    let line = checkpoint.line("logits", &["--ids", &ids, "--chunk", "1", "--out", &out]);
    let mut child = crate::program::deepseek(&line).spawn().expect("it starts");
    while count() == before {
        assert_eq!(
            child.try_wait().expect("it can be asked"),
            None,
            "it ended by itself"
        );
        std::thread::yield_now();
    }
    crate::program::interrupt(&child);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(130), &[][..])
    );
    assert_eq!(count(), before);
}

/// The shape and the numbers of a file of logits.
#[track_caller]
pub(crate) fn table(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let bytes = fs::read(path).expect("the logits");
    let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    assert_eq!(tensors.names(), ["logits"]);
    let logits = tensors.tensor("logits").expect("named above");
    assert_eq!(logits.dtype(), Dtype::F32);
    (logits.shape().to_vec(), floats(logits.data()).collect())
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x))
}

impl Checkpoint {
    /// Runs `logits` into its file `out.safetensors`.
    pub(crate) fn logits(&self, args: &[&str]) -> Ran {
        let out = self.file("out.safetensors");
        self.run("logits", &[args, &["--out", &out]].concat())
    }
}
