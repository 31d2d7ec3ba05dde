//! Converted fixtures on the host: the same bits from every kernel set, the provided bodies agree, and what
//! is lost is what the new formats cannot say.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, Error, Result, bail, ensure};
use backend_candle::Candle;
use backend_host::{Host, KernelSet};
use conformance::compare::same_bits;
use conformance::fixture::folder;
use conformance::model::{Open, best, logits, open_in, prompt};
use deepseek_convert::journal::{self, Journal};
use deepseek_convert::{Conversion, Target};
use deepseek_core::quant::decode_row;
use deepseek_core::weights::{Checkpoint, Tensors};
use deepseek_core::{HostTensor, Kernels, Numerics};
use deepseek_model::Config;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tempfile::TempDir;

const TARGETS: [Target; 2] = [Target::W8a8, Target::W4a8];

fn convert(name: &str, target: Target) -> Result<TempDir> {
    let (from, out) = (folder(name), tempfile::tempdir()?);
    let text = std::fs::read_to_string(from.join("config.json"))?;
    let checkpoint = Checkpoint::open(&from)?;
    let conversion = Conversion::new(&Config::parse(&text)?, &text, &checkpoint, target)?;
    conversion.run(out.path(), 2, &mut |_| ControlFlow::Continue(()))?;
    Ok(out)
}

fn run<B: Kernels>(be: B, name: &str, at: &Path, numerics: Numerics) -> Result<HostTensor> {
    let opened = Open {
        numerics,
        ..Open::default()
    };
    let mut model = open_in(be, name, at, opened)?;
    logits(&mut model, &prompt(name)?, &[512])
}

/// The root mean square of a difference, as a share of that of what it is from.
fn off(got: &HostTensor, want: &HostTensor) -> f32 {
    assert_eq!(got.shape(), want.shape());
    let pairs = got.data().iter().zip(want.data());
    let error: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let size: f64 = want.data().iter().map(|x| f64::from(*x).powi(2)).sum();
    (error / size).sqrt() as f32
}

#[test]
fn a_converted_model_is_the_same_bits_on_every_kernel_set() -> Result<()> {
    for name in ["quant-s0", "wide-s4-release"] {
        for target in TARGETS {
            let made = convert(name, target)?;
            for numerics in [Numerics::EXACT, Numerics::RELEASED] {
                let plain = Host::start(1, KernelSet::Plain)?;
                let want = run(plain, name, made.path(), numerics)?;
                for set in KernelSet::available() {
                    // Of what is no integer, it may multiply pairs in an order of its own.
                    if numerics == Numerics::RELEASED && set.name() == "avx512-bf16" {
                        continue;
                    }
                    let got = run(Host::start(2, set)?, name, made.path(), numerics)?;
                    let what = format!("{name} {target} on {}", set.name());
                    same_bits(&what, got.data(), want.data());
                }
            }
        }
    }
    Ok(())
}

#[test]
fn the_provided_bodies_agree_on_a_converted_model() -> Result<()> {
    for name in ["quant-s0", "wide-s4-release"] {
        for target in TARGETS {
            let made = convert(name, target)?;
            let want = run(Host::new(2), name, made.path(), Numerics::EXACT)?;
            let got = run(Candle::plain(), name, made.path(), Numerics::EXACT)?;
            let off = off(&got, &want);
            assert!(off <= 1e-4, "{name} {target}: {off}");
        }
    }
    Ok(())
}

/// A converted checkpoint with 32-bit floats for every matrix that was made: what its codes stand for.
fn widened(at: &Path) -> Result<TempDir> {
    let out = tempfile::tempdir()?;
    let text = std::fs::read_to_string(at.join("config.json"))?;
    let checkpoint = Checkpoint::open(at)?;
    let weights = Tensors::new(&checkpoint, Config::parse(&text)?.fp8_tile);
    let journal = Journal::parse(&std::fs::read(at.join(journal::NAME))?);
    let journal = journal.map_err(Error::msg)?;
    let mut floats = BTreeMap::new();
    let mut gone = Vec::new();
    for made in journal.shards.iter().flat_map(|shard| &shard.tensors) {
        let raw = checkpoint.tensor(&made.name).context("a tensor")?;
        let [rows, width] = *raw.shape() else {
            bail!("{} is a stack", made.name);
        };
        let packed = match &*made.to {
            to if to.starts_with("FP4") => 2,
            to if to.starts_with("INT4") => 8,
            _ => 1,
        };
        let shape = [rows, width * packed];
        let view = weights.matrix(&made.name, shape)?;
        let mut values = vec![0.0; rows * shape[1]];
        for (row, out) in values.chunks_exact_mut(shape[1]).enumerate() {
            decode_row(&view, row, out);
        }
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        if made.to != "BF16" {
            gone.push(weights.scales_of(&made.name)?);
        }
        floats.insert(made.name.as_str(), (shape, bytes));
    }
    ensure!(!floats.is_empty(), "nothing was converted");
    let files: Vec<_> = checkpoint
        .shards()
        .map(std::fs::read)
        .collect::<io::Result<_>>()?;
    let mut views = BTreeMap::new();
    for file in &files {
        let tensors = SafeTensors::deserialize(file)?.tensors().into_iter();
        views.extend(tensors.filter(|(name, _)| !gone.contains(name)));
    }
    for (name, (shape, bytes)) in &floats {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes)?;
        views.insert((*name).to_owned(), view);
    }
    safetensors::serialize_to_file(views, None, &out.path().join("model.safetensors"))?;
    std::fs::write(out.path().join("config.json"), text)?;
    Ok(out)
}

/// What a conversion changes of a fixture's logits at `exact`: as a share of their root mean square, and at
/// how many of its positions the most likely id.
///
/// It is no fault of storing, reading or multiplying: with floats that say what the codes stand for, the
/// model is the same.
fn loss(name: &str, target: Target) -> Result<(f32, usize)> {
    let made = convert(name, target)?;
    let floats = widened(made.path())?;
    let run = |at: &Path| run(Host::new(2), name, at, Numerics::EXACT);
    let [before, after, same] = [run(&folder(name))?, run(made.path())?, run(floats.path())?];
    let twin = off(&after, &same);
    assert!(
        twin <= 1e-5,
        "{name} {target}: {twin} from what its codes stand for"
    );
    let [_, width] = *before.shape() else {
        bail!("{name}: rows of logits");
    };
    let rows = |of: &HostTensor| of.data().chunks(width).map(best).collect::<Vec<_>>();
    let moved = rows(&before).into_iter().zip(rows(&after));
    Ok((off(&after, &before), moved.filter(|(a, b)| a != b).count()))
}

/// The most that a conversion may change: a quarter more than it did when this was written, as
/// `docs/conversion.md` says.
const LOSSES: [(&str, Target, f32); 14] = [
    ("base-s0", Target::W8a8, 0.067),
    ("base-s0", Target::W4a8, 0.186),
    ("flashy-s0", Target::W8a8, 0.073),
    ("flashy-s0", Target::W4a8, 0.224),
    ("prolike-s0", Target::W8a8, 0.146),
    ("prolike-s0", Target::W4a8, 0.419),
    ("quant-s0", Target::W8a8, 0.046),
    ("quant-s0", Target::W4a8, 0.148),
    ("plain-s7-release", Target::W8a8, 0.278),
    ("plain-s7-release", Target::W4a8, 0.674),
    ("wide-s4-release", Target::W8a8, 0.285),
    ("wide-s4-release", Target::W4a8, 0.786),
    ("plain-s7-bf16", Target::Mxfp4, 0.947),
    ("wide-s3-f32", Target::Mxfp4, 0.969),
];

#[test]
fn a_conversion_changes_a_model_by_what_its_formats_cannot_say() -> Result<()> {
    let mut failed = Vec::new();
    for (name, target, most) in LOSSES {
        let (off, moved) = loss(name, target)?;
        if off > most {
            failed.push(format!("{name} {target}: {off:.4}, {moved} ids"));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    Ok(())
}
