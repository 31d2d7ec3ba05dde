//! Checkpoints as other tools save them: the same numbers under other names and in other types.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use deepseek_core::quant::{e8m0, f16};
use safetensors::Dtype;
use serde_json::Value;

use crate::program::{Checkpoint, Ran, fixture, run};
use crate::stored::{self, Stored, Tensor};

/// A way to write tensors again.
type Way = (&'static str, fn(Stored) -> Stored);

/// Ways that change no number.
const WAYS: [Way; 9] = [
    ("a prefix before all", |stored| prefixed(stored, 1)),
    ("a prefix before some", |stored| prefixed(stored, 3)),
    ("weight_scale_inv", |stored| {
        scales_named(stored, "weight_scale_inv")
    }),
    ("weight_scale", |stored| {
        scales_named(stored, "weight_scale")
    }),
    ("scales as bytes", scales_as_bytes),
    ("scales as floats", scales_as_floats),
    ("tables of 32 bits", |stored| tables(stored, Dtype::I32, 4)),
    ("tables of bytes", |stored| tables(stored, Dtype::U8, 1)),
    ("several at once", |stored| {
        let stored = scales_as_bytes(tables(stored, Dtype::I32, 4));
        prefixed(scales_named(stored, "weight_scale_inv"), 2)
    }),
];

/// A prefix before the first of every so many names.
fn prefixed(stored: Stored, every: usize) -> Stored {
    renamed(stored, |index, name| match index % every {
        0 => format!("model.{name}"),
        _ => name.to_owned(),
    })
}

fn scales_named(stored: Stored, end: &str) -> Stored {
    renamed(stored, |_, name| match name.strip_suffix(".scale") {
        Some(stem) => format!("{stem}.{end}"),
        None => name.to_owned(),
    })
}

fn scales_as_bytes(stored: Stored) -> Stored {
    changed(stored, |name, tensor| {
        if is_scale(name, &tensor) {
            (Dtype::U8, tensor.1, tensor.2)
        } else {
            tensor
        }
    })
}

fn scales_as_floats(stored: Stored) -> Stored {
    changed(stored, |name, tensor| {
        if is_scale(name, &tensor) {
            let scales = tensor.2.iter().map(|byte| e8m0::decode(*byte));
            let bytes = scales.flat_map(f32::to_le_bytes).collect();
            (Dtype::F32, tensor.1, bytes)
        } else {
            tensor
        }
    })
}

fn renamed(stored: Stored, rename: impl Fn(usize, &str) -> String) -> Stored {
    let all = stored.into_iter().enumerate();
    all.map(|(index, (name, tensor))| (rename(index, &name), tensor))
        .collect()
}

fn changed(stored: Stored, change: impl Fn(&str, Tensor) -> Tensor) -> Stored {
    let all = stored.into_iter();
    all.map(|(name, tensor)| {
        let tensor = change(&name, tensor);
        (name, tensor)
    })
    .collect()
}

fn is_scale(name: &str, tensor: &Tensor) -> bool {
    name.ends_with(".scale") && tensor.0 == Dtype::F8_E8M0
}

/// Tables of experts with the low bytes of their entries alone.
fn tables(stored: Stored, dtype: Dtype, bytes: usize) -> Stored {
    changed(stored, |name, tensor| {
        if name.ends_with("tid2eid") {
            let entries = tensor.2.chunks(8).flat_map(|entry| entry[..bytes].to_vec());
            (dtype, tensor.1, entries.collect())
        } else {
            tensor
        }
    })
}

/// The half next to a float in the direction of zero.
fn half(x: f32) -> u16 {
    let bits = x.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let exponent = (bits >> 23 & 0xff) as i32 - 112;
    match exponent {
        ..=0 => sign,
        31.. => sign | 0x7bff,
        _ => sign | (exponent as u16) << 10 | (bits >> 13 & 0x3ff) as u16,
    }
}

/// The floats of a checkpoint as halves, and as 32-bit floats of the same values.
fn halves(stored: &Stored) -> [Stored; 2] {
    let floats = |(dtype, _, bytes): &Tensor| -> Option<Vec<f32>> {
        match *dtype {
            Dtype::F32 => {
                let (floats, _) = bytes.as_chunks();
                Some(floats.iter().map(|x| f32::from_le_bytes(*x)).collect())
            }
            Dtype::BF16 => {
                let (floats, _) = bytes.as_chunks();
                let bits = floats.iter().map(|x| u16::from_le_bytes(*x));
                Some(bits.map(|x| f32::from_bits(u32::from(x) << 16)).collect())
            }
            _ => None,
        }
    };
    let written = |wide: bool| {
        changed(stored.clone(), |_, tensor| match floats(&tensor) {
            None => tensor,
            Some(floats) if wide => {
                let floats = floats.into_iter().map(|x| f16::decode(half(x)));
                let bytes = floats.flat_map(f32::to_le_bytes).collect();
                (Dtype::F32, tensor.1, bytes)
            }
            Some(floats) => {
                let bytes = floats.into_iter().flat_map(|x| half(x).to_le_bytes());
                (Dtype::F16, tensor.1, bytes.collect())
            }
        })
    };
    [written(false), written(true)]
}

/// What is said of a model: its logits, and where it has a tokenizer, what it draws with drafts,
/// media and rounding.
fn said(folder: &Path, ids: &str) -> (Vec<u8>, Option<String>) {
    let text = |path: &Path| path.to_str().expect("the path is text").to_owned();
    let model = text(folder);
    let out = folder.join("out");
    for level in ["exact", "released"] {
        let out = text(&out);
        let more = ["--numerics", level, "--ids", ids, "--out", &out];
        run(&[&["logits", "--model", &model], &more[..]].concat()).done();
    }
    let logits = fs::read(out).expect("logits");
    if !folder.join("tokenizer.json").exists() {
        return (logits, None);
    }
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/samples");
    let (image, audio) = (samples.join("picture.png"), samples.join("sound.wav"));
    let drawn = "--max-tokens 5 --temperature 0 --draft 2 --no-thinking x";
    let mut args = vec!["run", "--model", &model];
    let (image, audio) = (text(&image), text(&audio));
    if config(folder)["model_type"] == "deepseek_v41" {
        args.extend(["--image", &image, "--audio", &audio]);
    }
    args.extend(drawn.split(' '));
    (logits, Some(run(&args).done()))
}

fn config(folder: &Path) -> Value {
    let json = fs::read(folder.join("config.json")).expect("a config");
    serde_json::from_slice(&json).expect("JSON")
}

/// Holds what is said of two folders against each other, and the files of the second against its
/// config.
#[track_caller]
fn same(what: &str, folder: &Path, other: &Path, stored: &Stored) {
    let ids = "0,9,27,50,9,3,14,15,9,2,6";
    assert!(said(folder, ids) == said(other, ids), "{what}");
    let ran: Ran = run(&["inspect".as_ref(), other.as_os_str(), "--json".as_ref()]);
    let report: Value = serde_json::from_str(&ran.done()).expect("JSON");
    let bytes: usize = stored.values().map(|(_, _, bytes)| bytes.len()).sum();
    assert_eq!(report["files"]["bytes"], bytes, "{what}");
    assert_eq!(report["flaws"], Value::Array(Vec::new()), "{what}");
}

fn every_way(folder: &Path) {
    let stored = stored::read(folder);
    for (what, way) in WAYS {
        let written = way(stored.clone());
        if written != stored {
            let other = stored::write(folder, &written);
            same(what, folder, other.path(), &written);
        }
    }
    let [narrow, wide] = halves(&stored);
    let folders = [&narrow, &wide].map(|stored| stored::write(folder, stored));
    same("halves", folders[1].path(), folders[0].path(), &narrow);
}

/// A copy of a fixture, which must not be written to.
fn copy(name: &str) -> tempfile::TempDir {
    let folder: PathBuf = fixture(name);
    stored::write(&folder, &stored::read(&folder))
}

#[test]
fn a_v4_of_floats_is_the_same_in_every_spelling() {
    every_way(Path::new(Checkpoint::new().path()));
}

#[test]
fn a_quantised_v4_is_the_same_in_every_spelling() {
    every_way(copy("quant-s0").path());
}

#[test]
fn a_v41_is_the_same_in_every_spelling() {
    every_way(Path::new(Checkpoint::v41().path()));
}

#[test]
fn a_tensor_that_is_there_twice_is_refused_with_both_names() {
    let checkpoint = Checkpoint::new();
    let folder = Path::new(checkpoint.path());
    let stored = stored::read(folder);
    for (one, other) in [
        ("head.weight", "model.head.weight"),
        ("head.weight", "lm_head.weight"),
        (
            "layers.1.ffn.experts.0.w1.weight",
            "model.layers.1.ffn.experts.0.w1.weight",
        ),
        (
            "layers.1.attn.wkv.weight",
            "model.layers.1.self_attn.kv_proj.weight",
        ),
    ] {
        let mut twice = stored.clone();
        twice.insert(other.to_owned(), stored[one].clone());
        let twice = stored::write(folder, &twice);
        let path = twice.path().to_str().expect("the path is text");
        for args in [
            &["inspect", path][..],
            &["run", "--model", path, "x"],
            &[
                "logits",
                "--model",
                path,
                "--ids",
                "0",
                "--out",
                "/dev/null",
            ],
        ] {
            let ran = run(args);
            assert_eq!(ran.code, Some(3), "{ran:?}");
            let error = ran.err.lines().next().expect("an error");
            let words: BTreeSet<&str> = error.split([' ', ':', ',']).collect();
            assert!(words.contains(one) && words.contains(other), "{ran:?}");
        }
    }
}

#[test]
fn a_folder_with_an_index_and_no_shards_is_inspected_by_its_config() {
    let checkpoint = Checkpoint::v41();
    let config = run(&["inspect", &checkpoint.file("config.json")]).done();
    let shard = "model-00001-of-00001.safetensors";
    let bytes = checkpoint.read(shard);
    fs::remove_file(checkpoint.file(shard)).expect("it is there");
    assert_eq!(run(&["inspect", checkpoint.path()]).done(), config);
    // A file that is there but cannot be opened is no such thing.
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", checkpoint.file(shard)).expect("a link");
        let ran = run(&["inspect", checkpoint.path()]);
        ran.failed(3, shard, "a checkpoint is a folder");
        fs::remove_file(checkpoint.file(shard)).expect("it is there");
    }
    checkpoint.write(shard, &bytes);
    assert_ne!(run(&["inspect", checkpoint.path()]).done(), config);
}
