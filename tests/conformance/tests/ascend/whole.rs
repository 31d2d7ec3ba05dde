//! What the chip does whole: verbs by custom operators, and products of converted models by those for integers.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use anyhow::Result;
use backend_host::Host;
use conformance::compare::{close, root_mean_square};
use conformance::fixture::{Fixture, folder};
use conformance::fixtures::V4_TOLERANCE;
use conformance::model::{Open, logits, open, open_in, prompt, released_distances};
use deepseek_convert::{Conversion, Target};
use deepseek_core::weights::Checkpoint;
use deepseek_core::{HostTensor, Numerics};
use deepseek_model::Config;
use serde_json::json;
use tempfile::TempDir;

use crate::Session;
use crate::emulated::{Device, at, device};

/// A chip with the operators of vllm-ascend.
fn custom(family: &str, seed: u64) -> Session {
    Session::new(&json!({
        "family": family, "provider": "cann91+vllm_ascend_0.23", "schedule": "random", "seed": seed,
    }))
}

/// The verbs that a device did whole.
fn whole(device: &Device) -> BTreeSet<&'static str> {
    let choices = device.choices().into_iter();
    let whole = choices.filter(|(choice, _)| choice.declined.is_none());
    whole.map(|(choice, _)| choice.verb).collect()
}

#[test]
fn verbs_done_whole_give_the_logits_of_the_reference() -> Result<()> {
    for (seed, name) in (1..).zip(["base-s0", "flashy-s0"]) {
        let session = custom(["a2", "a3"][seed as usize % 2], seed);
        let reference = Fixture::open(&format!("{name}/reference.safetensors"))?;
        let ids = reference.ids("p0.input_ids")?;
        let want = reference.floats("p0.logits")?;
        let mut model = open(device(&session)?, name, Open::default())?;
        let got = logits(&mut model, &ids, &[5, 1, 17])?;
        close(name, got.data(), want.data(), V4_TOLERANCE);
        // Streams are read in BF16 alone, which this level does not keep.
        assert_eq!(whole(model.backend()), ["hc_post", "route"].into());
        drop(model);
        session.clean();
    }
    Ok(())
}

#[test]
fn at_the_level_that_rounds_streams_they_are_read_whole_too() -> Result<()> {
    let (name, session) = ("cached-s0", custom("a2", 3));
    let reference = Fixture::open(&format!("{name}/reference.safetensors"))?;
    let ids = reference.ids("released.input_ids")?;
    let want = reference.floats("released.logits")?;
    let mut model = open(device(&session)?, name, at(Numerics::RELEASED))?;
    let got = logits(&mut model, &ids, &[512])?;
    let [order, level] = released_distances(name)?;
    let apart = root_mean_square(got.data(), want.data());
    assert!(apart <= (3.0 * order).min(0.5 * level), "{apart} apart");
    let want = ["hc_post", "hc_pre", "route"].into();
    assert_eq!(whole(model.backend()), want);
    drop(model);
    session.clean();
    Ok(())
}

fn convert(name: &str, target: Target) -> Result<TempDir> {
    let (from, out) = (folder(name), tempfile::tempdir()?);
    let text = std::fs::read_to_string(from.join("config.json"))?;
    let checkpoint = Checkpoint::open(&from)?;
    let conversion = Conversion::new(&Config::parse(&text)?, &text, &checkpoint, target)?;
    conversion.run(out.path(), 2, &mut |_| ControlFlow::Continue(()))?;
    Ok(out)
}

/// The root mean square of a difference, as a share of that of what it is from.
fn off(got: &HostTensor, want: &HostTensor) -> f32 {
    let zeros = vec![0.0; want.data().len()];
    root_mean_square(got.data(), want.data()) / root_mean_square(want.data(), &zeros)
}

/// Logits of a converted model, and which verbs the device did whole.
fn converted(
    family: &str,
    (name, made): (&str, &TempDir),
    numerics: Numerics,
) -> Result<(HostTensor, BTreeSet<&'static str>)> {
    let config = json!({"family": family, "schedule": "random", "seed": 4});
    let session = Session::new(&config);
    let mut model = open_in(device(&session)?, name, made.path(), at(numerics))?;
    let logits = logits(&mut model, &prompt(name)?, &[512])?;
    let whole = whole(model.backend());
    drop(model);
    session.clean();
    Ok((logits, whole))
}

#[test]
fn converted_models_are_multiplied_as_integers_where_the_level_rounds_what_goes_in() -> Result<()> {
    let mut failed = Vec::new();
    for name in ["quant-s0", "base-s0"] {
        for target in [Target::W8a8, Target::W4a8] {
            let made = convert(name, target)?;
            let host = |numerics| -> Result<HostTensor> {
                let mut host = open_in(Host::new(2), name, made.path(), at(numerics))?;
                logits(&mut host, &prompt(name)?, &[512])
            };
            let what = format!("{name} {target}");
            let (got, by_integers) = converted("a2", (name, &made), Numerics::EXACT)?;
            let exact = off(&got, &host(Numerics::EXACT)?);
            if exact > 1e-4 {
                failed.push(format!("{what}: {exact} off"));
            }
            assert_eq!(by_integers, BTreeSet::new(), "{what}");
            // Of models this small another order of sums changes a few choices, whoever makes them.
            let want = host(Numerics::RELEASED)?;
            let (got, by_integers) = converted("a3", (name, &made), Numerics::RELEASED)?;
            let (composed, by_none) = converted("a5", (name, &made), Numerics::RELEASED)?;
            let [integers, composed] = [off(&got, &want), off(&composed, &want)];
            if integers > 2.0 * composed {
                failed.push(format!("{what}: {integers} off, and composed {composed}"));
            }
            assert_eq!(
                by_integers,
                ["experts' products", "project"].into(),
                "{what}"
            );
            assert_eq!(by_none, BTreeSet::new(), "{what}");
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    Ok(())
}
