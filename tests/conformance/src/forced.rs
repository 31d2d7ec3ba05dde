//! The level `released` of V4.1 against the reference, layer by layer.
//!
//! In a whole run a rounding that falls the other way, as some always do, changes choices and all that
//! follows. So each layer is given what the reference has before it.

use anyhow::{Context, Result};
use deepseek_core::{Backend, HostTensor, Kernels, Numerics, Parallel};
use deepseek_model::block::Residual;
use deepseek_model::model::Trace;
use deepseek_model::{Prefill, SeqId, TokenId};
use serde_json::Value;

use crate::fixture::Fixture;
use crate::model::{Open, meta, open_as, step};

const RELEASED: Open = Open {
    numerics: Numerics::RELEASED,
    sequences: 1,
    context: 1024,
    step_tokens: 512,
    drafts: true,
    prefill: Prefill::Full,
    parallel: Parallel::ALONE,
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

/// Holds every layer of a fixture, given what the reference has before it, against what the reference has
/// behind it; and the head and the drafter.
///
/// # Errors
/// If the fixture cannot be read, or a fault of the device.
///
/// # Panics
/// Where more differs than sums in another order change.
pub fn check<B: Kernels>(be: B, name: &str) -> Result<()> {
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
