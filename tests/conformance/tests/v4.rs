//! The V4 model on the host against the reference: logits, choices, drafts.

use anyhow::Result;
use backend_candle::Candle;
use conformance::compare::close;
use conformance::fixture::Fixture;
use conformance::v4::{Open, logits, open, trace};
use deepseek_core::Numerics;

/// The fixtures and how many prompts each has.
const FIXTURES: [(&str, usize); 4] = [
    ("flashy-s0", 10),
    ("prolike-s0", 8),
    ("realrope-s0", 4),
    ("quant-s0", 3),
];

/// Agreement with the reference on logits of unit scale (spec `deepseek-v4.md` §5.3, level A).
const TOLERANCE: f32 = 2e-4;

fn host() -> Candle {
    Candle::host(2)
}

#[test]
fn prefill_gives_the_logits_of_the_reference() -> Result<()> {
    for (name, prompts) in FIXTURES {
        let reference = Fixture::open(&format!("{name}/reference.safetensors"))?;
        let mut model = open(host(), name, Open::default())?;
        for prompt in 0..prompts {
            let ids = reference.ids(&format!("p{prompt}.input_ids"))?;
            let want = reference.floats(&format!("p{prompt}.logits"))?;
            let got = logits(&mut model, &ids, &[512])?;
            close(
                &format!("{name} p{prompt}"),
                got.data(),
                want.data(),
                TOLERANCE,
            );
        }
    }
    Ok(())
}

#[test]
fn one_token_at_a_time_gives_the_logits_of_the_reference() -> Result<()> {
    for (name, _) in FIXTURES {
        let reference = Fixture::open(&format!("{name}/reference.safetensors"))?;
        let mut model = open(host(), name, Open::default())?;
        let ids = reference.ids("decode.input_ids")?;
        let want = reference.floats("decode.logits")?;
        let got = logits(&mut model, &ids, &[1])?;
        let first = ids.len() - want.shape()[0];
        let got = &got.data()[first * got.width()..];
        close(&format!("{name} decode"), got, want.data(), TOLERANCE);
    }
    Ok(())
}

#[test]
fn the_provided_bodies_give_the_logits_of_the_reference() -> Result<()> {
    for name in ["flashy-s0", "quant-s0"] {
        let reference = Fixture::open(&format!("{name}/reference.safetensors"))?;
        let mut model = open(Candle::plain(), name, Open::default())?;
        let ids = reference.ids("p1.input_ids")?;
        let want = reference.floats("p1.logits")?;
        let got = logits(&mut model, &ids, &[32])?;
        close(&format!("{name} plain"), got.data(), want.data(), TOLERANCE);
    }
    Ok(())
}

#[test]
fn experts_and_rows_are_those_of_the_reference() -> Result<()> {
    for (name, prompts) in FIXTURES {
        let reference = Fixture::open(&format!("{name}/reference.safetensors"))?;
        let mut model = open(host(), name, Open::default())?;
        let mut compared = 0;
        for prompt in 0..prompts {
            let ids = reference.ids(&format!("p{prompt}.input_ids"))?;
            let trace = trace(&mut model, &ids)?;
            for layer in 0..trace.routing.len() {
                let what = format!("{name} p{prompt} layer {layer}");
                let experts = format!("p{prompt}.experts.{layer}");
                if reference.has(&experts) {
                    let (_, want) = reference.integers(&experts)?;
                    let got: Vec<i32> = trace.routing[layer]
                        .experts
                        .iter()
                        .map(|id| *id as i32)
                        .collect();
                    assert_eq!(got, want, "{what}: experts");
                    compared += 1;
                }
                let rows = format!("p{prompt}.rows.{layer}");
                if reference.has(&rows) {
                    let (shape, want) = reference.integers(&rows)?;
                    let chosen = trace.chosen[layer].as_ref().expect("a layer with rows");
                    for (query, want) in want.chunks(shape[1]).enumerate() {
                        let want = want.iter().filter(|row| **row >= 0).map(|row| *row as u32);
                        assert!(chosen.rows(query).eq(want), "{what}: rows of query {query}");
                    }
                    compared += 1;
                }
            }
        }
        assert!(compared > 0, "{name} holds choices to compare");
    }
    Ok(())
}

#[test]
fn draft_logits_are_those_of_the_reference() -> Result<()> {
    for name in ["flashy-s0", "prolike-s0", "realrope-s0"] {
        let reference = Fixture::open(&format!("{name}/reference.safetensors"))?;
        let mut model = open(
            host(),
            name,
            Open {
                drafts: true,
                ..Open::default()
            },
        )?;
        let ids = reference.ids("mtp.input_ids")?;
        let want = reference.floats("mtp.logits")?;
        let got = model.draft_logits(deepseek_model::SeqId(0), &ids)?;
        close(&format!("{name} mtp"), got.data(), want.data(), TOLERANCE);
    }
    Ok(())
}

#[test]
fn input_rounding_alone_and_with_the_cache_matches_the_reference() -> Result<()> {
    let reference = Fixture::open("quant-s0/reference.safetensors")?;
    let ids = reference.ids("p2.input_ids")?;
    let inputs = Numerics {
        inputs: true,
        ..Numerics::EXACT
    };
    let all = Numerics {
        inputs: true,
        ..Numerics::CACHE
    };
    for (level, numerics) in [("sim_act_fp8", inputs), ("sim_all", all)] {
        let mut model = open(
            host(),
            "quant-s0",
            Open {
                numerics,
                ..Open::default()
            },
        )?;
        let got = logits(&mut model, &ids, &[512])?;
        let want = reference.floats(&format!("{level}.logits"))?;
        let rms = root_mean_square(got.data(), want.data());
        assert!(rms <= 0.02, "{level}: {rms} apart");
    }
    Ok(())
}

fn root_mean_square(a: &[f32], b: &[f32]) -> f32 {
    let sum: f32 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
    (sum / a.len() as f32).sqrt()
}
