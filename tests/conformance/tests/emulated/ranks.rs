//! Models that two devices share: against the references, as on one.

use anyhow::{Context, Result};
use backend_offload::Offload;
use conformance::compare::{close, same_bits};
use conformance::fixture::Fixture;
use conformance::fixtures::{V4_TOLERANCE, V41_TOLERANCE};
use conformance::model::{Open, best, draft, logits, meta, prompt, step};
use conformance::ranks::{PAIRS, open_on};
use deepseek_cluster::Cluster;
use deepseek_core::{Member, Parallel};
use deepseek_model::{Decoder, Model, SeqId, TokenId};
use serde_json::json;

use super::{Device, POISONED};
use crate::{Session, Tested};

/// Runs a case on two devices under a random schedule; nothing may be found or left. One rank waits for another as long as that
/// computes, which here may be long.
fn emulated(seed: u64, case: impl FnOnce(&Session) -> Result<()>) -> Result<()> {
    let config = json!({"devices": 2, "schedule": "random", "seed": seed, "deadlock_ms": 60_000});
    let session = Session::new(&config);
    case(&session)?;
    session.clean();
    Ok(())
}

/// A fixture on two devices.
fn shared(session: &Session, name: &str, opened: Open) -> Result<Cluster<Model<Device>>> {
    let device = |member: Member| -> Result<Device> {
        let (library, number) = (session.library(), member.rank() as i32);
        let open = move || Tested::join(library, number, member);
        Ok(Offload::start(POISONED, open)?)
    };
    open_on(device, name, opened)
}

fn at(parallel: Parallel) -> Open {
    Open {
        parallel,
        drafts: true,
        ..Open::default()
    }
}

#[test]
fn v4_gives_the_logits_and_drafts_of_the_reference() -> Result<()> {
    for (seed, (parallel, name)) in
        (1..).zip(
            PAIRS
                .into_iter()
                .zip(["flashy-s0", "base-s0", "prolike-s0"]),
        )
    {
        let reference = Fixture::open(&format!("{name}/reference.safetensors"))?;
        emulated(seed, |session| {
            let mut model = shared(session, name, at(parallel))?;
            let ids = reference.ids("p0.input_ids")?;
            let want = reference.floats("p0.logits")?;
            for chunks in [&[512][..], &[5, 1, 17, 40]] {
                let got = logits(&mut model, &ids, chunks)?;
                let what = format!("{name} {parallel} in chunks of {chunks:?}");
                close(&what, got.data(), want.data(), V4_TOLERANCE);
            }
            let ids = reference.ids("mtp.input_ids")?;
            let first = reference.floats("mtp.logits")?;
            let position = *reference
                .ids("chain.positions")?
                .first()
                .context("a position")?;
            let at = position as usize;
            model.step(&step(0, 0, &ids[..=at]))?;
            let got = draft(&mut model, ids[at + 1], 1)?;
            assert_eq!(got, [best(first.row(at))], "{name} {parallel}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn v41_gives_the_logits_and_drafts_of_the_reference() -> Result<()> {
    for (seed, (parallel, name)) in
        (10..).zip(PAIRS.into_iter().zip(["wide-s4-release", "plain-s7-bf16"]))
    {
        let reference = Fixture::open(&format!("{name}/expected.safetensors"))?;
        let ids = prompt(name)?;
        let n = meta(name)?["prompt_len"].as_u64().context("prompt_len")? as usize;
        emulated(seed, |session| {
            let mut model = shared(session, name, at(parallel))?;
            let got = logits(&mut model, &ids, &[512])?;
            let what = format!("{name} {parallel}");
            reference.holds(&what, got.data(), "logits_full.none", V41_TOLERANCE)?;
            let (shape, tokens) = reference.integers("draft_tokens.none")?;
            model.step(&step(0, 0, &ids[..n]))?;
            let got = draft(&mut model, ids[n], shape[1] as u32)?;
            let want: Vec<TokenId> = tokens[..shape[1]].iter().map(|id| *id as u32).collect();
            assert_eq!(got, want, "{what}");
            Ok(())
        })?;
    }
    Ok(())
}

/// What ranks compute on their own stays alike, because their sums have one order.
#[test]
fn the_same_again_has_the_same_bits() -> Result<()> {
    let (name, ids) = ("flashy-s0", prompt("flashy-s0")?);
    let mut bits: Vec<Vec<f32>> = Vec::new();
    for seed in 20..22 {
        emulated(seed, |session| {
            let mut model = shared(session, name, at(PAIRS[0]))?;
            for _ in 0..2 {
                let got = model.step(&step(0, 0, &ids[..12]))?.into_values();
                model.forget(SeqId(0));
                bits.push(got);
            }
            Ok(())
        })?;
    }
    for got in &bits[1..] {
        same_bits(name, got, &bits[0]);
    }
    Ok(())
}
