//! The level `released` of V4.1 against the reference: every rounding, layer by layer.
//!
//! In a whole run a rounding that falls the other way, as some always do, changes choices and all
//! that follows, and a rounding that is missing looks much the same. So each layer is given what the
//! reference has before it. Then right sums in another order leave nearly all streams as they are,
//! and any rounding left out changes most of them (`tests/oracle/v41_sensitivity.py`).

use std::sync::Arc;

use anyhow::{Context, Result};
use backend_candle::Candle;
use backend_host::Host;
use conformance::fixture::{Fixture, folder};
use conformance::forced;
use conformance::model::{Open, logits, meta, open, prompt};
use deepseek_core::operands::{Runs, ScoreRounding, Selection, Softmax, TopK, WeightRounding};
use deepseek_core::weights::{Checkpoint, Tensors};
use deepseek_core::{HostTensor, Kernels, Loader, Numerics, Parallel, RowFormat, Shares};
use deepseek_model::Config;
use deepseek_vision::{Grid, Tower};
use serde_json::Value;

const FIXTURES: [&str; 2] = ["plain-s7-release", "wide-s4-release"];

const RELEASED: Open = Open {
    numerics: Numerics::RELEASED,
    context: 1024,
    sequences: 1,
    step_tokens: 512,
    drafts: true,
    prefill: deepseek_model::Prefill::Full,
    parallel: Parallel::ALONE,
};

#[test]
fn every_layer_rounds_where_the_reference_does() -> Result<()> {
    for name in FIXTURES {
        forced::check(Host::new(2), name)?;
    }
    Ok(())
}

#[test]
fn the_provided_bodies_round_where_the_reference_does() -> Result<()> {
    forced::check(Candle::plain(), "plain-s7-release")
}

/// Root mean squares by which the stored logits are from the same roundings with sums in 64 bits, and
/// from those of the level `full`.
fn distances(name: &str) -> Result<[f32; 2]> {
    let meta = meta(name)?;
    let rms = |from: &str| -> Result<f32> {
        let rms = meta["levels"]["released"][from]["rms"].as_f64();
        Ok(rms.with_context(|| format!("{name}: {from}"))? as f32)
    };
    Ok([rms("from_float64")?, rms("from_full")?])
}

#[test]
fn whole_runs_are_as_near_to_the_reference_as_roundings_allow() -> Result<()> {
    for name in FIXTURES {
        let reference = Fixture::open(&format!("{name}/expected.safetensors"))?;
        let mut model = open(Host::new(2), name, RELEASED)?;
        let want = reference.floats("logits_full.released")?;
        let got = logits(&mut model, &prompt(name)?, &[512])?;
        let pairs = got.data().iter().zip(want.data());
        let sum: f32 = pairs.map(|(a, b)| (a - b) * (a - b)).sum();
        let rms = (sum / got.data().len() as f32).sqrt();
        let [order, level] = distances(name)?;
        let bound = (3.0 * order).min(0.5 * level);
        assert!(rms <= bound, "{name}: {rms} apart, at most {bound}");
    }
    Ok(())
}

/// Images of one cell, in which sums in another order change one of sixteen and a rounding left out
/// changes all.
#[test]
fn the_tower_rounds_where_the_reference_does() -> Result<()> {
    the_tower_rounds_where_the_reference_does_on(&Host::new(2))?;
    the_tower_rounds_where_the_reference_does_on(&Candle::plain())
}

fn the_tower_rounds_where_the_reference_does_on<B: Kernels>(be: &B) -> Result<()> {
    let name = "vision-s5";
    let reference = Fixture::open(&format!("{name}/expected.safetensors"))?;
    let json = std::fs::read_to_string(folder(name).join("config.json"))?;
    let mut config: Value = serde_json::from_str(&json)?;
    config["text_config"]["engram_layer_ids"] = serde_json::json!([]);
    let shape = Config::parse(&config.to_string())?
        .vision
        .context("a tower")?;
    let checkpoint = Checkpoint::open(&folder(name))?;
    let at = Loader {
        be,
        tensors: Tensors::new(&checkpoint, [32, 32]),
        numerics: Numerics::RELEASED,
        input_block: 32,
        shares: Shares::WHOLE,
    };
    let tower = Tower::load(&at, shape)?;
    let side = shape.downsample;
    let grid = Grid {
        canvas: [side * shape.patch; 2],
        patches: [side; 2],
        cells: [1; 2],
    };
    let patches = reference.floats("cells.patches")?;
    let [count, each, width] = patches.shape().try_into()?;
    let want = reference.floats("cells.features.released")?;
    let float = reference.floats("reading.float_pixels.released")?;
    let (mut others, mut other_readings) = (0, 0);
    for image in 0..count {
        let size = each * width;
        let values = patches.data()[image * size..(image + 1) * size].to_vec();
        let got = tower.encode(be, &HostTensor::new(&[each, width], values), &grid)?;
        let got = be.download(&got)?;
        let differ = |want: &HostTensor| {
            let pairs = got.data().iter().zip(want.row(image));
            usize::from(pairs.filter(|(got, want)| got != want).count() > 1)
        };
        others += differ(&want);
        other_readings += differ(&float);
    }
    assert_eq!(other_readings, count, "pixels that stay floats");
    assert!(others <= 4, "{others} of {count} images are others");
    Ok(())
}

#[test]
fn index_scores_are_rounded_as_the_reference_rounds_them() -> Result<()> {
    index_scores_are_rounded_as_the_reference_rounds_them_on(&Host::new(2))?;
    index_scores_are_rounded_as_the_reference_rounds_them_on(&Candle::plain())
}

fn index_scores_are_rounded_as_the_reference_rounds_them_on<B: Kernels>(be: &B) -> Result<()> {
    let ops = Fixture::open("ops-s1/expected.safetensors")?;
    let (q, keys) = (ops.bf16("index.q")?, ops.bf16("index.keys")?);
    let (shape, want) = ops.integers("index.rows")?;
    let count = keys.shape()[0] as u32;
    let mut seen = Runs::default();
    (0..shape[0]).for_each(|_| seen.push(std::iter::once(0..count)));
    let seen = Selection::Runs(Arc::new(seen));
    let mut rows = be.rows(RowFormat::F32, keys.width(), count as usize)?;
    let at: Vec<u32> = (0..count).collect();
    be.write_rows(&mut rows, &be.ids(&at)?, &be.upload(&keys)?)?;
    let (q, weights) = (be.upload(&q)?, be.upload(&ops.bf16("index.weights")?)?);
    let choose = |round| {
        let top = TopK {
            k: shape[1],
            blocks: None,
            round,
        };
        let rows = be
            .index_topk(&q, &weights, &rows, &seen, &top)?
            .rows
            .on_host(be)?;
        let queries = want.chunks(shape[1]).enumerate();
        let other = queries
            .filter(|(query, want)| !rows.rows(*query).eq(want.iter().map(|row| *row as u32)));
        anyhow::Ok(other.count())
    };
    assert_eq!(choose(Some(ScoreRounding::Products))?, 0);
    // Neither unrounded nor with a rounded sum are they the same.
    for other in [None, Some(ScoreRounding::ProductsAndSum)] {
        assert_ne!(choose(other)?, 0, "{other:?}");
    }
    Ok(())
}

#[test]
fn weights_are_rounded_chunk_by_chunk() -> Result<()> {
    weights_are_rounded_chunk_by_chunk_on(&Host::new(2))?;
    weights_are_rounded_chunk_by_chunk_on(&Candle::plain())
}

fn weights_are_rounded_chunk_by_chunk_on<B: Kernels>(be: &B) -> Result<()> {
    let ops = Fixture::open("ops-s1/expected.safetensors")?;
    let (q, keys) = (ops.bf16("attend.q")?, ops.bf16("attend.keys")?);
    let (_, counts) = ops.integers("attend.counts")?;
    let (width, all) = (keys.width(), keys.shape()[0]);
    let mut seen = Runs::default();
    for count in &counts {
        seen.push(std::iter::once(0..*count as u32));
    }
    let seen = Selection::Runs(Arc::new(seen));
    let mut rows = be.rows(RowFormat::Bf16, width, all)?;
    let at: Vec<u32> = (0..all as u32).collect();
    be.write_rows(&mut rows, &be.ids(&at)?, &be.upload(&keys)?)?;
    let (q, sink) = (be.upload(&q)?, be.upload(&ops.floats("attend.sink")?)?);
    let readings = [
        ("out", Some(WeightRounding::Chunks(64))),
        ("one_peak", Some(WeightRounding::OnePeak)),
        ("unrounded", None),
    ];
    for (name, round) in readings {
        let softmax = Softmax {
            scale: (width as f32).powf(-0.5),
            round,
        };
        let got = be.attend(&q, &[(&rows, &seen)], &sink, softmax)?;
        let got = be.download(&got)?;
        let heads = got.data().chunks(width);
        for (reading, _) in readings {
            let want = ops.floats(&format!("attend.{reading}"))?;
            let pairs = heads.clone().zip(want.data().chunks(width));
            let apart = |(got, want): &(&[f32], &[f32])| {
                got.iter().zip(*want).any(|(a, b)| (a - b).abs() > 1e-5)
            };
            let apart = pairs.filter(apart).count();
            // Of 48 heads; those of up to 64 rows have one chunk.
            if reading == name {
                assert!(apart <= 1, "{name}: {apart} heads are others");
            } else {
                assert!(apart >= 12, "{name} and {reading}: {apart} heads differ");
            }
        }
    }
    Ok(())
}
