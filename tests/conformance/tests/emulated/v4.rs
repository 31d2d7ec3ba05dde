//! V4: every fixture against the reference.

use anyhow::{Context, Result};
use conformance::compare::{close, root_mean_square};
use conformance::fixture::Fixture;
use conformance::fixtures::{V4 as FIXTURES, V4_DRAFTING as DRAFTING, V4_TOLERANCE as TOLERANCE};
use conformance::model::{Open, best, draft, logits, released_distances, step, trace};
use deepseek_core::Numerics;
use deepseek_model::{Decoder, SeqId};

use super::{at, emulated, model, some};

fn reference(name: &str) -> Result<Fixture> {
    Fixture::open(&format!("{name}/reference.safetensors"))
}

#[test]
fn prompts_give_the_logits_of_the_reference_whole_and_in_chunks() -> Result<()> {
    for (name, prompts) in some(1, &FIXTURES) {
        let reference = reference(name)?;
        emulated(prompts as u64, |session| {
            let mut model = model(session, name, Open::default())?;
            for prompt in 0..prompts {
                let ids = reference.ids(&format!("p{prompt}.input_ids"))?;
                let want = reference.floats(&format!("p{prompt}.logits"))?;
                let chunks = [&[512][..], &[32], &[5, 1, 17, 40]][prompt % 3];
                let got = logits(&mut model, &ids, chunks)?;
                let what = format!("{name} p{prompt} in chunks of {chunks:?}");
                close(&what, got.data(), want.data(), TOLERANCE);
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn one_token_after_another_gives_the_logits_of_the_reference() -> Result<()> {
    for (seed, (name, _)) in (10..).zip(FIXTURES) {
        let reference = reference(name)?;
        let ids = reference.ids("decode.input_ids")?;
        let want = reference.floats("decode.logits")?;
        let first = ids.len() - want.shape()[0];
        emulated(seed, |session| {
            let mut model = model(session, name, Open::default())?;
            let got = logits(&mut model, &ids, &[first.max(1), 1])?;
            let got = &got.data()[first * got.width()..];
            close(&format!("{name} decode"), got, want.data(), TOLERANCE);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn experts_and_rows_are_those_of_the_reference() -> Result<()> {
    for (seed, (name, prompts)) in (20..).zip(FIXTURES) {
        let reference = reference(name)?;
        emulated(seed, |session| {
            let mut model = model(session, name, Open::default())?;
            let mut compared = 0;
            for prompt in 0..prompts.min(2) {
                let ids = reference.ids(&format!("p{prompt}.input_ids"))?;
                let trace = trace(&mut model, &ids)?;
                for (layer, routing) in trace.routing.iter().enumerate() {
                    let what = format!("{name} p{prompt} layer {layer}");
                    let experts = format!("p{prompt}.experts.{layer}");
                    if reference.has(&experts) {
                        let (_, want) = reference.integers(&experts)?;
                        let got = routing.experts.iter().map(|id| *id as i32);
                        assert!(got.eq(want), "{what}: experts");
                        compared += 1;
                    }
                    let rows = format!("p{prompt}.rows.{layer}");
                    if reference.has(&rows) {
                        let (shape, want) = reference.integers(&rows)?;
                        let chosen = trace.chosen[layer].as_ref().context("a layer with rows")?;
                        for (query, want) in want.chunks(shape[1]).enumerate() {
                            let want = want.iter().filter(|row| **row >= 0).map(|row| *row as u32);
                            assert!(chosen.rows(query).eq(want), "{what}: rows of query {query}");
                        }
                        compared += 1;
                    }
                }
            }
            assert!(compared > 0, "{name} holds choices to compare");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn drafts_are_those_of_the_reference() -> Result<()> {
    for (seed, name) in (30..).zip(DRAFTING) {
        let reference = reference(name)?;
        let ids = reference.ids("mtp.input_ids")?;
        let [first, second, third] =
            ["mtp", "mtp2", "mtp3"].map(|head| reference.floats(&format!("{head}.logits")));
        let (first, second, third) = (first?, second?, third?);
        emulated(seed, |session| {
            let opened = Open {
                drafts: true,
                ..Open::default()
            };
            let mut model = model(session, name, opened)?;
            let got = model.draft_logits(SeqId(0), &ids)?.context("a module")?;
            close(&format!("{name} mtp"), got.data(), first.data(), TOLERANCE);
            model.forget(SeqId(0));
            let positions = reference.ids("chain.positions")?.into_iter();
            for (row, position) in positions.enumerate().take(4) {
                let at = position as usize;
                model.step(&step(0, 0, &ids[..=at]))?;
                let got = draft(&mut model, ids[at + 1], 3)?;
                let rows = [first.row(at), second.row(row), third.row(row)];
                assert_eq!(got, rows.map(best), "{name} after position {at}");
                model.forget(SeqId(0));
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn files_saved_again_by_transformers_give_the_same_logits() -> Result<()> {
    let reference = reference("flashy-s0")?;
    let ids = reference.ids("p9.input_ids")?;
    let want = reference.floats("p9.logits")?;
    for name in ["flashy-hf-s0", "flashy-resaved-s0"] {
        emulated(40, |session| {
            let got = logits(&mut model(session, name, Open::default())?, &ids, &[512])?;
            close(name, got.data(), want.data(), TOLERANCE);
            Ok(())
        })?;
    }
    Ok(())
}

/// Bounds are those of the host, where a rounding may fall the other way as well.
#[test]
fn the_other_levels_are_as_near_to_the_reference_as_roundings_allow() -> Result<()> {
    let names = [
        "realrope-s0",
        "cached-s0",
        "quant-s0",
        "base-s0",
        "dspark-s0",
    ];
    for (seed, name) in (50..).zip(names) {
        let reference = reference(name)?;
        let apart = |level: &str, numerics| -> Result<f32> {
            let ids = reference.ids(&format!("{level}.input_ids"))?;
            let want = reference.floats(&format!("{level}.logits"))?;
            let mut apart = 0.0;
            emulated(seed, |session| {
                let got = logits(&mut model(session, name, at(numerics))?, &ids, &[512])?;
                apart = root_mean_square(got.data(), want.data());
                Ok(())
            })?;
            Ok(apart)
        };
        let cache = apart("cache", Numerics::CACHE)?;
        assert!(cache <= 2e-3, "{name} cache: {cache} apart");
        // The logits of this level are not stored for all.
        if reference.has("released.logits") {
            let released = apart("released", Numerics::RELEASED)?;
            let [order, level] = released_distances(name)?;
            let bound = (3.0 * order).min(0.5 * level);
            assert!(
                released <= bound,
                "{name}: {released} apart, at most {bound}"
            );
        }
    }
    Ok(())
}
