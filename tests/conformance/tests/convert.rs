//! Converted fixtures on the host: the same bits from every kernel set, and the provided bodies agree.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Result;
use backend_candle::Candle;
use backend_host::{Host, KernelSet};
use conformance::compare::same_bits;
use conformance::fixture::folder;
use conformance::model::{Open, logits, open_in, prompt};
use deepseek_convert::{Conversion, Target};
use deepseek_core::weights::Checkpoint;
use deepseek_core::{HostTensor, Kernels, Numerics};
use deepseek_model::Config;
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
