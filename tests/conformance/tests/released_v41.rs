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
use conformance::model::{Open, logits, meta, open, open_as, prompt, step};
use deepseek_core::operands::{Runs, ScoreRounding, Selection, Softmax, TopK, WeightRounding};
use deepseek_core::weights::{Checkpoint, Tensors};
use deepseek_core::{Backend, HostTensor, Kernels, Loader, Numerics, RowFormat};
use deepseek_model::block::Residual;
use deepseek_model::model::Trace;
use deepseek_model::{Config, SeqId, TokenId};
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
};

/// Tokens of which more than one element in fifty is another number, in one layer. A row that falls
/// the other way is seen by a few queries; a rounding left out anywhere but in the indexer, where it
/// changes choices, changes dozens.
const OTHERS: usize = 8;

/// The same in all layers together, where a rounding left out changes a hundred and more.
const OTHERS_IN_ALL: usize = 16;

/// Rows of draft logits that are far, of 24 and of 40: three at most in two orders of sums. A rounding
/// left out anywhere in the drafter or its context makes nearly all of them far.
const DRAFTS: usize = 8;

/// What sums in another order do not reach, of logits of scale 8.
const FAR: f32 = 1e-3;

/// What one layer after the other yields, each on what the reference has before it.
struct Forced {
    fixture: Fixture,
    ids: Vec<TokenId>,
    /// Tokens of the prompt; the others are decoded.
    prompt: usize,
    config: Value,
    /// `[layers + 1, tokens, streams, hidden]`, and without the last dimension.
    streams: HostTensor,
    pre: HostTensor,
}

impl Forced {
    fn of(name: &str) -> Result<Self> {
        let fixture = Fixture::open(&format!("{name}/expected.safetensors"))?;
        let about = meta(name)?["forced"].take();
        Ok(Self {
            ids: serde_json::from_value(about["input_ids"].clone())?,
            prompt: about["prompt_len"].as_u64().context("prompt_len")? as usize,
            config: about["config"].clone(),
            streams: fixture.bf16("forced.streams")?,
            pre: fixture.floats("forced.pre")?,
            fixture,
        })
    }

    /// Rows `from..to` of what stands before each layer and behind the last.
    fn given<B: Backend>(&self, be: &B, from: usize, to: usize) -> Result<Vec<Residual<B>>> {
        let [places, tokens, n, hidden] = self.streams.shape().try_into()?;
        let part = |all: &HostTensor, place: usize, width: usize, shape: &[usize]| {
            let row = |token| (place * tokens + token) * width;
            let values = all.data()[row(from)..row(to)].to_vec();
            be.upload(&HostTensor::new(shape, values))
        };
        let count = to - from;
        let each = (0..places).map(|place| {
            Ok(Residual {
                streams: part(&self.streams, place, n * hidden, &[count, n, hidden])?,
                pre: Some(part(&self.pre, place, n, &[count, n])?),
            })
        });
        each.collect()
    }

    /// Tokens `from..` of a layer whose streams are others than those of the reference.
    fn others(&self, layer: usize, from: usize, got: &HostTensor) -> usize {
        let tokens = self.ids.len();
        let width = self.streams.data().len() / self.streams.shape()[0] / tokens;
        let first = ((layer + 1) * tokens + from) * width;
        let want = &self.streams.data()[first..first + got.data().len()];
        let pairs = got.data().chunks(width).zip(want.chunks(width));
        let off = |(got, want): &(&[f32], &[f32])| {
            let pairs = got.iter().zip(*want);
            pairs.filter(|(got, want)| got != want).count() * 50 > width
        };
        pairs.filter(off).count()
    }

    /// Tokens `from..to` that choose other experts or other rows in some layer.
    fn other_choices(&self, trace: &Trace, from: usize, to: usize) -> Result<usize> {
        let (mut other, mut indexed) = (0, 0);
        for (layer, routing) in trace.routing.iter().enumerate() {
            let top_k = routing.top_k;
            let (_, want) = self.fixture.integers(&format!("forced.experts.{layer}"))?;
            let want = want[from * top_k..to * top_k].chunks(top_k);
            let same = |(got, want): &(&[u32], &[i32])| {
                got.iter().map(|id| *id as i32).eq(want.iter().copied())
            };
            let pairs = routing.experts.chunks(top_k).zip(want);
            other += pairs.filter(|pair| !same(pair)).count();
            let rows = format!("forced.chosen.{layer}");
            if self.fixture.has(&rows) {
                let (shape, want) = self.fixture.integers(&rows)?;
                let chosen = trace.chosen[layer].as_ref().context("a layer with rows")?;
                for (query, want) in want.chunks(shape[1]).take(to).skip(from).enumerate() {
                    let want = want.iter().filter(|row| **row >= 0).map(|row| *row as u32);
                    other += usize::from(!chosen.rows(query).eq(want));
                }
                indexed += 1;
            }
        }
        assert!(indexed >= 3, "{indexed} layers choose rows");
        Ok(other)
    }
}

/// Rows that differ by more than [`FAR`] somewhere.
fn far(got: &[f32], want: &[f32], width: usize) -> usize {
    assert_eq!(got.len(), want.len(), "numbers");
    let rows = got.chunks(width).zip(want.chunks(width));
    let away = |(got, want): &(&[f32], &[f32])| {
        let mut pairs = got.iter().zip(*want);
        pairs.any(|(a, b)| (a - b).is_nan() || (a - b).abs() > FAR)
    };
    rows.filter(away).count()
}

fn every_layer_is_that_of_the_reference<B: Kernels>(be: B, name: &str) -> Result<()> {
    let forced = Forced::of(name)?;
    let mut model = open_as(be, name, RELEASED, &forced.config)?;
    let (shape, tokens) = forced.fixture.integers("forced.draft_tokens")?;
    let mut other = vec![0; forced.streams.shape()[0] - 1];
    let (mut logits, mut drafts, mut choices) = (Vec::new(), Vec::new(), 0);
    let decoded = (forced.prompt..forced.ids.len()).map(|at| (at, at + 1));
    for (from, to) in std::iter::once((0, forced.prompt)).chain(decoded) {
        if from > 0 {
            let proposal = model.propose(SeqId(0), forced.ids[from], shape[1])?;
            let proposal = proposal.context("a drafter")?;
            drafts.extend(proposal.logits.concat());
            let row = (from - forced.prompt) * shape[1];
            let want = tokens[row..row + shape[1]].iter().map(|id| *id as u32);
            assert!(want.eq(proposal.tokens), "{name}: drafts at {from}");
        }
        let given = forced.given(model.backend(), from, to)?;
        let (got, trace) = model.step_given(&step(0, from, &forced.ids[from..to]), &given)?;
        logits.extend(got.into_values());
        for (layer, other) in other.iter_mut().enumerate() {
            *other += forced.others(layer, from, &trace.streams[layer]);
        }
        choices += forced.other_choices(&trace, from, to)?;
    }
    let want = forced.fixture.floats("forced.logits")?;
    let last = &logits[logits.len() - want.data().len()..];
    let logits = far(last, want.data(), want.width());
    let want = forced.fixture.floats("forced.draft_logits")?;
    let drafts = far(&drafts, want.data(), want.width());
    let told = format!(
        "{name}: {other:?} tokens by layer, {choices} choices, {logits} rows of logits and {drafts} of \
         drafts are others"
    );
    assert!(other.iter().all(|count| *count <= OTHERS), "{told}");
    assert!(other.iter().sum::<usize>() <= OTHERS_IN_ALL, "{told}");
    assert!(choices == 0 && logits == 0 && drafts <= DRAFTS, "{told}");
    Ok(())
}

#[test]
fn every_layer_rounds_where_the_reference_does() -> Result<()> {
    for name in FIXTURES {
        every_layer_is_that_of_the_reference(Host::new(2), name)?;
    }
    Ok(())
}

#[test]
fn the_provided_bodies_round_where_the_reference_does() -> Result<()> {
    every_layer_is_that_of_the_reference(Candle::plain(), "plain-s7-release")
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
