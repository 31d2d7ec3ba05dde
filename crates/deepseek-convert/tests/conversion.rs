//! Conversions of the embedded model and of a checkpoint of several files: what is written, and what a
//! second run makes of what a first one left.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use deepseek_convert::journal::{self, Journal};
use deepseek_convert::{Conversion, Error, Other, Report, Result, Target};
use deepseek_core::quant::{decode_row, encode_rows};
use deepseek_core::weights::{Checkpoint, Tensors, WeightView};
use deepseek_core::{Format, ScaleFormat};
use deepseek_model::{Config, Storage};
use tempfile::{TempDir, tempdir};

/// A checkpoint of three files, as the Base models are stored.
const FILES: &str = "base-s0";

fn fixture(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/v4");
    folder.join(name)
}

fn config(folder: &Path) -> (String, Config) {
    let text = fs::read_to_string(folder.join("config.json")).expect("a config");
    let config = Config::parse(&text).expect("it holds");
    (text, config)
}

fn conversion_of(folder: &Path, target: Target) -> Result<Conversion> {
    let (text, config) = config(folder);
    let checkpoint = Checkpoint::open(folder)?;
    let conversion = Conversion::new(&config, &text, &checkpoint, target)?;
    Ok(conversion.from_folder(folder))
}

fn embedded(target: Target) -> Conversion {
    let text = deepseek_assets::CONFIG;
    let config = Config::parse(text).expect("it holds");
    let weights = Checkpoint::from_static("model.safetensors", deepseek_assets::WEIGHTS);
    let weights = weights.expect("it holds");
    let conversion = Conversion::new(&config, text, &weights, target).expect("it can be converted");
    conversion.with_others(vec![Other::Carried(
        "tokenizer.json",
        deepseek_assets::TOKENIZER,
    )])
}

fn run(conversion: &Conversion, out: &Path) -> Result<Report> {
    conversion.run(out, 2, &mut |_| ControlFlow::Continue(()))
}

fn converted(conversion: &Conversion) -> (TempDir, Report) {
    let out = tempdir().expect("a folder");
    let report = run(conversion, out.path()).expect("nothing refuses");
    (out, report)
}

/// Wants folders of the same files. Of what differs the names are said.
#[track_caller]
fn alike(got: &Path, want: &BTreeMap<String, Vec<u8>>, what: &str) {
    let got = contents(got);
    let names: Vec<_> = got.keys().chain(want.keys()).collect();
    let mut other = names
        .into_iter()
        .filter(|name| got.get(*name) != want.get(*name));
    assert_eq!(other.next(), None, "{what}");
}

/// All files of a folder by their names.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        (name, fs::read(path).expect("a file"))
    });
    entries.collect()
}

fn widened(view: &WeightView) -> Vec<f32> {
    let mut values = vec![0.0; view.shape[0] * view.shape[1]];
    for (row, out) in values.chunks_exact_mut(view.shape[1]).enumerate() {
        decode_row(view, row, out);
    }
    values
}

#[test]
fn the_embedded_model_keeps_all_but_the_formats_of_its_matrices() {
    let before = Checkpoint::from_static("model.safetensors", deepseek_assets::WEIGHTS);
    let before = before.expect("it holds");
    for (target, expert) in [
        (Target::W8a8, Format::Int8),
        (Target::W4a8, Format::Int4 { group: 128 }),
    ] {
        let conversion = embedded(target);
        let (out, report) = converted(&conversion);
        let (_, config) = config(out.path());
        assert_eq!(config.storage, target.storage());
        assert_eq!(
            contents(out.path())["tokenizer.json"],
            deepseek_assets::TOKENIZER
        );
        let after = Checkpoint::open(out.path()).expect("it holds");
        assert_eq!(after.bytes(), conversion.bytes_after());
        assert_eq!((report.bytes_before, report.made), (before.bytes(), 1));
        let [was, is] = [&before, &after].map(|source| Tensors::new(source, config.fp8_tile));
        let cases = [
            ("layers.0.attn.wq_b", [256, 64], Format::Int8),
            ("layers.0.attn.wo_a", [128, 128], Format::Bf16),
            ("layers.3.ffn.experts.5.w2", [128, 128], expert),
            ("layers.2.engram.wkv", [640, 192], Format::Int8),
            ("mtp.0.ffn.experts.1.w1", [128, 128], expert),
        ];
        for (stem, shape, format) in cases {
            let name = format!("{stem}.weight");
            let [was, is] = [&was, &is].map(|at| at.matrix(&name, shape).expect("a matrix"));
            assert_eq!(is.format, format, "{name}");
            let want = encode_rows(&widened(&was), shape[1], format);
            assert_eq!(
                (&*is.data, &*is.scales),
                (&*want.data, &*want.scales),
                "{name}"
            );
        }
        // Whatever is not converted has the same bytes under the same name.
        let journal = Journal::parse(&contents(out.path())[journal::NAME]).expect("it holds");
        let tensors = journal.shards.iter().flat_map(|shard| &shard.tensors);
        let made: Vec<&str> = tensors.map(|tensor| tensor.name.as_str()).collect();
        let mut kept = 0;
        for tensor in before.tensors() {
            let stem = tensor
                .name()
                .trim_end_matches(".scale")
                .trim_end_matches(".weight");
            if !made.contains(&&*format!("{stem}.weight")) {
                let same = after.tensor(tensor.name()).expect("it is there, too");
                assert_eq!(
                    (same.dtype(), same.shape()),
                    (tensor.dtype(), tensor.shape())
                );
                assert_eq!(&**same.bytes(), &**tensor.bytes(), "{}", tensor.name());
                kept += 1;
            }
        }
        assert!(kept > 100 && made.len() > 100, "{kept} and {}", made.len());
        assert!(after.tensor("layers.1.engram.embed.scale").is_some());
    }
}

#[test]
fn what_is_lost_is_what_the_files_say() {
    let (out, report) = converted(&embedded(Target::W4a8));
    let journal = Journal::parse(&contents(out.path())[journal::NAME]).expect("it holds");
    let record = journal.shards[0].tensors.iter();
    let mut record = record.filter(|tensor| tensor.name == "layers.0.ffn.experts.0.w1.weight");
    let record = record.next().expect("an expert");
    let before = Checkpoint::from_static("m", deepseek_assets::WEIGHTS).expect("it holds");
    let after = Checkpoint::open(out.path()).expect("it holds");
    let values = [&before, &after].map(|source| {
        let view = Tensors::new(source, [32, 32]).matrix(&record.name, [128, 128]);
        widened(&view.expect("a matrix"))
    });
    let pairs = || {
        values[0]
            .iter()
            .zip(&values[1])
            .map(|(a, b)| f64::from(*a) - f64::from(*b))
    };
    let error: f64 = pairs().map(|off| off * off).sum();
    let size: f64 = values[0].iter().map(|x| f64::from(*x).powi(2)).sum();
    let most = pairs().map(f64::abs).fold(0.0, f64::max);
    assert!(
        (record.relative_rms - (error / size).sqrt()).abs() < 1e-9,
        "{record:?}"
    );
    assert!((record.max_error - most).abs() < most * 1e-8);
    assert_eq!((record.count, record.not_finite), (128 * 128, 0));
    let snr = record.snr_db.expect("something is lost");
    assert!((snr + 20.0 * record.relative_rms.log10()).abs() < 1e-6);
    let kind = report
        .kinds
        .iter()
        .find(|kind| kind.name == "layers.*.ffn.experts.*.w1.weight");
    let kind = kind.expect("experts");
    assert_eq!(kind.tensors, 6 * 8);
    assert!(kind.worst_rms >= record.relative_rms && kind.relative_rms <= kind.worst_rms);
    let line = "layers.*.ffn.experts.*.w1.weight";
    assert!(report.to_string().contains(line), "{report}");
}

#[test]
fn several_files_stay_several_files() {
    let conversion = conversion_of(&fixture(FILES), Target::W8a8).expect("it can be");
    let (out, report) = converted(&conversion);
    assert_eq!((report.made, report.kept), (3, 0));
    let names: Vec<String> = contents(out.path()).into_keys().collect();
    let want = [
        "config.json",
        "conversion.json",
        "model-00001-of-00003.safetensors",
        "model-00002-of-00003.safetensors",
        "model-00003-of-00003.safetensors",
        "model.safetensors.index.json",
    ];
    assert_eq!(names, want);
    let after = Checkpoint::open(out.path()).expect("it holds");
    assert_eq!(after.bytes(), conversion.bytes_after());
    for shard in after.shards() {
        let bytes = fs::read(shard).expect("a file");
        let header = u64::from_le_bytes(*bytes.first_chunk().expect("a length"));
        assert!(header.is_multiple_of(8), "{}", shard.display());
    }
}

#[test]
fn a_run_that_is_broken_off_anywhere_is_taken_up() {
    let conversion = conversion_of(&fixture(FILES), Target::W4a8).expect("it can be");
    let (whole, _) = converted(&conversion);
    let mut steps = 0;
    let count = &mut |_: deepseek_convert::Progress<'_>| {
        steps += 1;
        ControlFlow::Continue(())
    };
    conversion
        .run(tempdir().expect("a folder").path(), 1, count)
        .expect("nothing refuses");
    assert!(steps > 100, "{steps}");
    for stop in (0..steps).step_by(steps / 12) {
        let out = tempdir().expect("a folder");
        let mut left = stop;
        let broken = conversion.run(out.path(), 1, &mut |_| {
            if left == 0 {
                return ControlFlow::Break(());
            }
            left -= 1;
            ControlFlow::Continue(())
        });
        assert!(
            matches!(broken, Err(Error::Interrupted)),
            "{stop}: {broken:?}"
        );
        let names = contents(out.path());
        assert!(
            !names.contains_key("config.json"),
            "{stop}: no checkpoint yet"
        );
        assert!(
            names.keys().all(|name| !name.ends_with(".partial")),
            "{stop}: {names:?}"
        );
        let finished = names
            .keys()
            .filter(|name| name.ends_with(".safetensors"))
            .count();
        // As a run leaves it that was killed.
        fs::write(
            out.path().join("model-00003-of-00003.safetensors.partial"),
            b"half",
        )
        .expect("room");
        let report = run(&conversion, out.path()).expect("it goes on");
        assert_eq!(
            (report.kept, report.made),
            (finished, 3 - finished),
            "{stop}"
        );
        alike(
            out.path(),
            &contents(whole.path()),
            &format!("stopped at {stop}"),
        );
    }
}

#[test]
fn a_finished_file_that_is_not_what_it_was_is_made_again() {
    let conversion = conversion_of(&fixture(FILES), Target::W8a8).expect("it can be");
    let (out, _) = converted(&conversion);
    let whole = contents(out.path());
    let path = out.path().join("model-00002-of-00003.safetensors");
    let bytes = &whole["model-00002-of-00003.safetensors"];
    let mut flipped = bytes.clone();
    *flipped.last_mut().expect("bytes") ^= 1;
    for damaged in [&flipped[..], &bytes[..bytes.len() - 1], b""] {
        fs::write(&path, damaged).expect("room");
        let report = run(&conversion, out.path()).expect("it is made again");
        assert_eq!((report.made, report.kept), (1, 2));
        alike(out.path(), &whole, "made again");
    }
    fs::remove_file(&path).expect("it is there");
    assert_eq!(run(&conversion, out.path()).expect("made again").made, 1);
    let report = run(&conversion, out.path()).expect("nothing is left to do");
    assert_eq!((report.made, report.kept), (0, 3));
    alike(out.path(), &whole, "made again");
}

#[test]
fn a_folder_of_anything_else_is_left_alone() {
    let source = fixture(FILES);
    let conversion = conversion_of(&source, Target::W8a8).expect("it can be");
    let refused = |out: &Path, part: &str| {
        let before = contents(out);
        let error = run(&conversion, out).expect_err(part);
        assert!(error.to_string().contains(part), "{error}");
        alike(out, &before, part);
    };
    let out = tempdir().expect("a folder");
    fs::write(out.path().join("letter.txt"), b"mine").expect("room");
    refused(out.path(), "holds letter.txt, and no conversion");

    let (other, _) = converted(&embedded(Target::W8a8));
    refused(other.path(), "holds a conversion of another checkpoint");
    let (other, _) = converted(&conversion_of(&source, Target::W4a8).expect("it can be"));
    refused(other.path(), "holds a conversion of the target w4a8");

    for (json, part) in [
        (&b"{"[..], "conversion.json: EOF"),
        (b"{\"version\": 1}", "missing field"),
        (b"[]", "conversion.json: invalid"),
    ] {
        let out = tempdir().expect("a folder");
        fs::write(out.path().join(journal::NAME), json).expect("room");
        refused(out.path(), part);
    }

    // A copy, since the fixture is to stay even if this fails.
    let own = tempdir().expect("a folder");
    for (name, bytes) in contents(&source) {
        fs::write(own.path().join(name), bytes).expect("room");
    }
    let before = contents(own.path());
    let conversion = conversion_of(own.path(), Target::W8a8).expect("it can be");
    let error = run(&conversion, &own.path().join(".")).expect_err("its own folder");
    assert!(matches!(error, Error::Same { .. }), "{error}");
    alike(own.path(), &before, "its own folder");
}

#[test]
fn what_is_converted_is_not_converted_again() {
    let (out, _) = converted(&embedded(Target::W4a8));
    let error = conversion_of(out.path(), Target::W8a8).expect_err("it is one");
    assert!(
        matches!(error, Error::Converted { found: "w4a8" }),
        "{error}"
    );
    let text = deepseek_assets::CONFIG;
    let config = Config::parse(text).expect("it holds");
    assert_eq!(config.storage, Storage::Released);
    let weights = Checkpoint::from_static("m", deepseek_assets::WEIGHTS).expect("it holds");
    let error = Conversion::new(&config, text, &weights, Target::Mxfp4).expect_err("it is");
    assert!(matches!(error, Error::Nothing { .. }), "{error}");
}

/// The first tensor of this name in a copy of a fixture, as bytes to be changed.
fn changed(name: &str, tensor: &str, change: impl FnOnce(&mut [u8])) -> TempDir {
    let own = tempdir().expect("a folder");
    for (name, bytes) in contents(&fixture(name)) {
        fs::write(own.path().join(name), bytes).expect("room");
    }
    let path = own.path().join("model.safetensors");
    let mut bytes = fs::read(&path).expect("one file");
    let length = u64::from_le_bytes(*bytes.first_chunk().expect("a length")) as usize;
    let header: serde_json::Value =
        serde_json::from_slice(&bytes[8..8 + length]).expect("a header");
    let offsets = &header[tensor]["data_offsets"];
    let place = |at: usize| offsets[at].as_u64().expect("a place") as usize + 8 + length;
    change(&mut bytes[place(0)..place(1)]);
    fs::write(&path, bytes).expect("room");
    own
}

#[test]
fn hostile_scales_are_counted_and_spread_no_further_than_their_rows() {
    let scales = "layers.0.ffn.experts.0.w1.scale";
    let codes = "layers.0.ffn.experts.0.w1.weight";
    for (target, spread) in [(Target::W8a8, 256), (Target::W4a8, 128)] {
        for (byte, is_lost) in [(255, true), (0, false), (250, false)] {
            let own = changed("quant-s0", scales, |scales| scales[0] = byte);
            let conversion = conversion_of(own.path(), target).expect("it can be");
            let (out, report) = converted(&conversion);
            let lost: u64 = report.kinds.iter().map(|kind| kind.not_finite).sum();
            // One block of FP4.
            assert_eq!(lost, if is_lost { 32 } else { 0 }, "{target}, {byte}");
            let after = Checkpoint::open(out.path()).expect("it holds");
            let shape = [128, 256];
            let view = Tensors::new(&after, [128, 128])
                .matrix(codes, shape)
                .expect("a matrix");
            for (at, x) in widened(&view).iter().enumerate() {
                assert_eq!(
                    x.is_finite(),
                    !is_lost || at >= spread,
                    "{target}, {byte} at {at}"
                );
            }
        }
    }
    let zeros = changed("quant-s0", codes, |codes| codes.fill(0));
    let (out, report) = converted(&conversion_of(zeros.path(), Target::W4a8).expect("it can be"));
    assert!(report.kinds.iter().all(|kind| kind.not_finite == 0));
    let after = Checkpoint::open(out.path()).expect("it holds");
    let view = Tensors::new(&after, [128, 128])
        .matrix(codes, [128, 256])
        .expect("a matrix");
    let scales = view.scales.as_chunks::<4>().0.iter();
    let mut scales = scales.map(|scale| f32::from_le_bytes(*scale));
    assert!(widened(&view).iter().all(|x| *x == 0.0));
    assert!(scales.all(|scale| scale >= f32::MIN_POSITIVE));
}

#[test]
fn another_source_of_the_same_shape_is_another_checkpoint() {
    let first = conversion_of(&fixture("quant-s0"), Target::W8a8).expect("it can be");
    let (out, _) = converted(&first);
    let own = changed("quant-s0", "embed.weight", |bytes| bytes[0] ^= 1);
    let second = conversion_of(own.path(), Target::W8a8).expect("it can be");
    let error = run(&second, out.path()).expect_err("another");
    assert!(error.to_string().contains("another checkpoint"), "{error}");
}

#[test]
fn released_formats_come_back_from_floats() {
    let (out, report) =
        converted(&conversion_of(&fixture(FILES), Target::Mxfp4).expect("it can be"));
    let (_, config) = config(out.path());
    assert_eq!(config.storage, Storage::Released);
    let after = Checkpoint::open(out.path()).expect("it holds");
    let tensors = Tensors::new(&after, config.fp8_tile);
    let scale = ScaleFormat::E8m0;
    let cases = [
        (
            "layers.0.attn.wq_a.weight",
            [128, 128],
            Format::Fp8 {
                tile: config.fp8_tile,
                scale,
            },
        ),
        (
            "layers.0.ffn.experts.0.w1.weight",
            [256, 128],
            Format::Fp4 { block: 32, scale },
        ),
    ];
    for (name, shape, format) in cases {
        assert_eq!(
            tensors.matrix(name, shape).expect("a matrix").format,
            format,
            "{name}"
        );
    }
    assert!(
        report.kinds.iter().any(|kind| kind.to == "FP4 /32"),
        "{report}"
    );
}
