//! Weights that are not finite, and ids without text.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use deepseek_text::Tokenizer;
use safetensors::Dtype;

use crate::program::{Checkpoint, deepseek, pipe, run};
use crate::stored::{self, Stored};

/// A folder whose tensor `name` begins with other bytes.
fn broken(folder: &Path, stored: &Stored, name: &str, bytes: &[u8]) -> tempfile::TempDir {
    let mut stored = stored.clone();
    let (_, _, data) = stored.get_mut(name).unwrap_or_else(|| panic!("no {name}"));
    data[..bytes.len()].copy_from_slice(bytes);
    stored::write(folder, &stored)
}

/// Every command that runs the model ends with 3 and these words.
#[track_caller]
fn every_command_says(folder: &Path, media: &[&str], error: &str, hint: &str) {
    let model = folder.to_str().expect("the path is text");
    let out = folder.join("out").display().to_string();
    let asked = [media, &["--no-thinking", "--max-tokens", "3", "x"]].concat();
    run(&[&["run", "--model", model], &asked[..]].concat()).failed(3, error, hint);
    let prompt = [media, &["--prompt", "xyz", "--out", &out]].concat();
    run(&[&["logits", "--model", model], &prompt[..]].concat()).failed(3, error, hint);
    assert!(!Path::new(&out).exists(), "logits of nothing");
    if media.is_empty() {
        let raw = ["run", "--model", model, "--raw", "--draft", "2", "x"];
        run(&raw).failed(3, error, hint);
        let tasks = folder.join("tasks.jsonl");
        let item = r#"{"task":"t","id":"1","messages":[{"role":"user","content":"x"}],"answer":"y","max_tokens":3}"#;
        fs::write(&tasks, format!("{item}\n")).expect("the folder takes files");
        let tasks = tasks.display().to_string();
        run(&["eval", "--model", model, &tasks]).failed(3, error, hint);
        let chat = ["chat", "--model", model, "--no-thinking", "--no-history"];
        let ran = pipe(&chat, b"x\n");
        assert!(ran.err.contains(&format!("error: {error}")), "{ran:?}");
    }
}

const NAN: [u8; 4] = f32::NAN.to_le_bytes();
const INFINITE: [u8; 4] = f32::NEG_INFINITY.to_le_bytes();

#[test]
fn a_weight_of_v4_that_is_not_finite_is_named() {
    let checkpoint = Checkpoint::new();
    let folder = Path::new(checkpoint.path());
    let stored = stored::read(folder);
    for (name, bytes, at) in [
        ("layers.1.attn_norm.weight", NAN, "NaN at [0]"),
        ("layers.2.attn.wq_a.weight", NAN, "NaN at [0, 0]"),
        ("head.weight", INFINITE, "-inf at [0, 0]"),
    ] {
        let broken = broken(folder, &stored, name, &bytes);
        let error = format!("tensor {name}: {at}, met in");
        every_command_says(broken.path(), &[], &error, "fetch it again");
    }
}

#[test]
fn a_code_or_a_scale_of_v41_that_is_not_finite_is_named() {
    let checkpoint = Checkpoint::v41();
    let folder = Path::new(checkpoint.path());
    let stored = stored::read(folder);
    let image = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../assets/samples/picture.png"
    );
    let seen = &["--image", image][..];
    for (name, dtype, bytes, media) in [
        (
            "layers.1.attn.wkv.weight",
            Dtype::F8_E4M3,
            &[0x7f][..],
            &[][..],
        ),
        ("layers.3.attn.wo_b.scale", Dtype::F8_E8M0, &[0xff], &[]),
        (
            "layers.0.ffn.shared_experts.w1.scale",
            Dtype::F8_E8M0,
            &[0xff],
            &[],
        ),
        ("norm.weight", Dtype::BF16, &[0x80, 0x7f], &[]),
        ("vision.norm.weight", Dtype::BF16, &[0xc0, 0x7f], seen),
    ] {
        assert_eq!(stored[name].0, dtype, "{name}");
        let broken = broken(folder, &stored, name, bytes);
        let error = format!("tensor {name}: ");
        every_command_says(broken.path(), media, &error, "fetch it again");
    }
}

/// A number that is not finite, in each format that has one.
fn not_finite(dtype: Dtype) -> Option<&'static [u8]> {
    match dtype {
        Dtype::F32 => Some(&NAN),
        Dtype::BF16 => Some(&[0xc0, 0x7f]),
        Dtype::F8_E4M3 => Some(&[0x7f]),
        Dtype::F8_E8M0 => Some(&[0xff]),
        _ => None,
    }
}

/// Of names that differ in nothing but the number of a layer, the first and the last.
fn first_and_last<'a>(names: impl Iterator<Item = &'a String>) -> BTreeSet<&'a String> {
    let mut ends: BTreeMap<&str, [&String; 2]> = BTreeMap::new();
    for name in names {
        let kind = name
            .strip_prefix("layers.")
            .and_then(|rest| rest.split_once('.'));
        let kind = kind.map_or(name.as_str(), |(_, kind)| kind);
        ends.entry(kind).or_insert([name, name])[1] = name;
    }
    ends.into_values().flatten().collect()
}

/// Breaks one tensor after another: either the program says which, or the logits of a prompt that is
/// long enough for every kind of row are those of the whole checkpoint, to the bit. `unread` are parts
/// that logits of text need not depend on. Tried are the first and the last layer that have a tensor, and
/// two experts of each.
#[track_caller]
fn no_flaw_goes_unnoticed(checkpoint: &Checkpoint, unread: &[&str]) {
    let prompt = "It was a bright cold day in April, and the clocks were striking. ".repeat(3);
    let logits = |folder: &Path| {
        let [model, out] = [folder, &folder.join("out")].map(|path| path.display().to_string());
        let ran = run(&[
            "logits", "--model", &model, "--prompt", &prompt, "--out", &out,
        ]);
        (ran, fs::read(out).ok())
    };
    let folder = Path::new(checkpoint.path());
    let (ran, whole) = logits(folder);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let stored = stored::read(folder);
    let (mut named, mut harmless) = (0, Vec::new());
    for name in first_and_last(stored.keys()) {
        let (dtype, _, _) = &stored[name];
        let expert = name.split_once("experts.").and_then(|(_, rest)| {
            let (number, _) = rest.split_once('.')?;
            number.parse::<u32>().ok()
        });
        let tried = expert.is_none_or(|number| number < 2);
        let Some(bytes) = not_finite(*dtype).filter(|_| tried) else {
            continue;
        };
        let broken = broken(folder, &stored, name, bytes);
        let (ran, out) = logits(broken.path());
        if ran.code == Some(0) {
            assert!(
                out == whole,
                "{name} changes the logits, and nothing is said"
            );
            harmless.push(name);
        } else {
            assert_eq!(ran.code, Some(3), "{name}: {ran:?}");
            // Rows of a table are read one by one, and not told from their scales.
            let says = format!("tensor {}: ", name.replace("embed.scale", "embed.weight"));
            assert!(ran.err.contains(&says) && out.is_none(), "{name}: {ran:?}");
            named += 1;
        }
    }
    let is_unread = |name: &&&String| {
        unread.iter().any(|part| name.contains(part)) || name.contains("experts.")
    };
    let lost: Vec<_> = harmless.iter().filter(|name| !is_unread(name)).collect();
    assert!(
        lost.is_empty() && named > 50,
        "{named} named, {lost:?} without effect"
    );
}

#[test]
fn no_flaw_of_v4_goes_unnoticed() {
    no_flaw_goes_unnoticed(&Checkpoint::new(), &["mtp."]);
}

#[test]
fn no_flaw_of_v41_goes_unnoticed() {
    let media = ["vision.", "aligner.", "image_", "audio.", "audio_"];
    // The first row of a table may be no token's.
    let unread = [&media[..], &["mtp.", "engram.embed."]].concat();
    no_flaw_goes_unnoticed(&Checkpoint::v41(), &unread);
}

#[test]
fn sums_that_overflow_are_traced_to_their_layer() {
    let checkpoint = Checkpoint::new();
    let folder = Path::new(checkpoint.path());
    let mut stored = stored::read(folder);
    let (_, _, data) = stored
        .get_mut("layers.2.attn.wo_b.weight")
        .expect("it is there");
    let most = f32::MAX.to_le_bytes();
    data.chunks_mut(4).for_each(|x| x.copy_from_slice(&most));
    let broken = stored::write(folder, &stored);
    let error = "numbers that are not finite came first from layer 2 at position 0";
    every_command_says(broken.path(), &[], error, "the weights there are finite");
}

#[test]
fn ids_without_text_are_never_drawn() {
    let checkpoint = Checkpoint::new();
    let json = Tokenizer::tiny_json(272).expect("bytes and markers fit");
    checkpoint.write("tokenizer.json", json.as_bytes());
    let mut stored = stored::read(Path::new(checkpoint.path()));
    let (_, shape, data) = stored.get_mut("head.weight").expect("the output matrix");
    let row = data.len() / shape[0];
    // The last ids speak louder than all others, whichever way the streams point.
    for (index, row) in data.chunks_mut(row).enumerate().skip(272) {
        let sign = if index % 2 == 0 { 1e4 } else { -1e4_f32 };
        let (floats, _) = row.as_chunks_mut();
        for bytes in floats {
            *bytes = (f32::from_le_bytes(*bytes) * sign).to_le_bytes();
        }
    }
    let folder = stored::write(Path::new(checkpoint.path()), &stored);
    let model = folder.path().to_str().expect("the path is text");
    for more in [
        &["--temperature", "0", "--no-thinking"][..],
        &["--temperature", "1.5", "--seed", "3"],
        &["--temperature", "0", "--draft", "2"],
        &["--temperature", "0", "--raw"],
    ] {
        let flags = ["run", "--model", model, "--max-tokens", "12"];
        let ran = deepseek(&[&flags[..], more, &["x"]].concat()).output();
        let ran = ran.expect("the program starts");
        let err = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{more:?}: {err}");
    }
}
