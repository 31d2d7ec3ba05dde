//! Tiny models with reference logits.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, Result};
use deepseek_core::weights::Checkpoint;
use deepseek_core::{HostTensor, Kernels, Numerics, Parallel};
use deepseek_model::model::Trace;
use deepseek_model::{
    Budget, Config, Decoder, DraftAsk, Model, Plan, Prefill, SeqId, Span, Step, TokenId, Want,
};
use serde_json::Value;

use crate::fixture::{Fixture, folder};

/// How a fixture is opened.
#[derive(Debug, Clone, Copy)]
pub struct Open {
    /// What is rounded.
    pub numerics: Numerics,
    /// Positions of a sequence.
    pub context: usize,
    /// Sequences at a time.
    pub sequences: usize,
    /// Tokens of a step.
    pub step_tokens: usize,
    /// Whether the draft head is loaded.
    pub drafts: bool,
    /// How much of a prompt runs through all layers.
    pub prefill: Prefill,
    /// How it is divided among ranks.
    pub parallel: Parallel,
}

impl Default for Open {
    fn default() -> Self {
        Self {
            numerics: Numerics::EXACT,
            context: 1024,
            sequences: 1,
            step_tokens: 512,
            drafts: false,
            prefill: Prefill::Full,
            parallel: Parallel::ALONE,
        }
    }
}

/// Loads a fixture on a device.
///
/// # Errors
/// If it cannot be read.
pub fn open<B: Kernels>(be: B, name: &str, open: Open) -> Result<Model<B>> {
    open_as(be, name, open, &Value::Null)
}

/// As [`open`], with other numbers in the text model's configuration: those of an object.
///
/// # Errors
/// If it cannot be read.
pub fn open_as<B: Kernels>(be: B, name: &str, open: Open, other: &Value) -> Result<Model<B>> {
    load(be, name, &folder(name), open, other)
}

/// As [`open`], for a fixture whose config and weights lie elsewhere.
///
/// # Errors
/// If it cannot be read.
pub fn open_in<B: Kernels>(be: B, name: &str, folder: &Path, open: Open) -> Result<Model<B>> {
    load(be, name, folder, open, &Value::Null)
}

fn load<B: Kernels>(
    be: B,
    name: &str,
    folder: &Path,
    open: Open,
    other: &Value,
) -> Result<Model<B>> {
    let json = std::fs::read_to_string(folder.join("config.json")).context("config.json")?;
    let mut json: Value = serde_json::from_str(&json)?;
    for (key, value) in other.as_object().into_iter().flatten() {
        json["text_config"][key] = value.clone();
    }
    let mut config = Config::parse(&json.to_string())?;
    if !open.drafts {
        config = config.without_drafts();
    }
    let budget = Budget {
        context: open.context,
        sequences: open.sequences,
        step_tokens: open.step_tokens,
        prefill: open.prefill,
        engram: None,
        experts: None,
    };
    let plan = Plan::new(&config, open.numerics, budget)?.divided(open.parallel)?;
    let checkpoint = Checkpoint::open(folder)?;
    let compressed = list(name, "engram_token_map")?;
    Ok(Model::load(
        be,
        plan,
        &checkpoint,
        compressed,
        &mut |_, _| ControlFlow::Continue(()),
    )?)
}

/// What a fixture's `meta.json` says.
///
/// # Errors
/// If it cannot be read.
pub fn meta(name: &str) -> Result<Value> {
    let json = std::fs::read_to_string(folder(name).join("meta.json")).context("meta.json")?;
    Ok(serde_json::from_str(&json)?)
}

/// Root mean squares by which the stored logits of V4's released level are from the same roundings in
/// another order of sums, and from no roundings.
///
/// # Errors
/// If the file cannot be read or does not say so.
pub fn released_distances(name: &str) -> Result<[f32; 2]> {
    let meta = meta(name)?;
    let rms = |from: &str| -> Result<f32> {
        let rms = meta["levels"]["released"][from]["rms"].as_f64();
        Ok(rms.with_context(|| format!("{name}: {from}"))? as f32)
    };
    Ok([rms("from_float64")?, rms("from_exact")?])
}

/// A list of ids in a fixture's `meta.json`, if there is one of this name.
///
/// # Errors
/// If the file cannot be read, or the list holds something else.
pub fn list(name: &str, key: &str) -> Result<Option<Vec<u32>>> {
    let meta = meta(name)?;
    let Some(list) = meta.pointer(&format!("/{key}")) else {
        return Ok(None);
    };
    Ok(Some(serde_json::from_value(list.clone())?))
}

/// A prompt of a fixture, with what was decoded after it.
///
/// # Errors
/// If it cannot be read.
pub fn prompt(name: &str) -> Result<Vec<TokenId>> {
    match list(name, "input_ids")? {
        Some(ids) => Ok(ids),
        None => Fixture::open(&format!("{name}/reference.safetensors"))?.ids("decode.input_ids"),
    }
}

/// A step of one sequence that wants all logits.
#[must_use]
pub fn step(seq: u32, at: usize, tokens: &[TokenId]) -> Step {
    let tokens = tokens.to_vec();
    Step {
        spans: vec![Span {
            seq: SeqId(seq),
            at: at as u32,
            tokens,
            media: Vec::new(),
            want: Want::All,
        }],
    }
}

/// All logits of `tokens` as a fresh sequence, fed in chunks of the given sizes, the last of which
/// repeats.
///
/// # Errors
/// A fault of the device.
pub fn logits(
    model: &mut impl Decoder,
    tokens: &[TokenId],
    chunks: &[usize],
) -> Result<HostTensor> {
    let vocabulary = model.capacity().vocabulary as usize;
    let mut values = Vec::with_capacity(tokens.len() * vocabulary);
    let mut at = 0;
    let mut sizes = chunks.iter().copied();
    let last = *chunks.last().context("chunks")?;
    while at < tokens.len() {
        let end = (at + sizes.next().unwrap_or(last)).min(tokens.len());
        values.extend(model.step(&step(0, at, &tokens[at..end]))?.into_values());
        at = end;
    }
    model.forget(SeqId(0));
    Ok(HostTensor::new(&[tokens.len(), vocabulary], values))
}

/// The most likely id, the lower of two alike.
///
/// # Panics
/// If the row is empty.
#[must_use]
pub fn best(row: &[f32]) -> TokenId {
    let better = |a: &usize, b: &usize| row[*a].total_cmp(&row[*b]).then(b.cmp(a));
    (0..row.len()).max_by(better).expect("a vocabulary") as TokenId
}

/// What a model says, and how often it ran for that.
#[derive(Debug)]
pub struct Spoken {
    /// The most likely ids, one after the other.
    pub ids: Vec<TokenId>,
    /// Steps behind the prompt.
    pub steps: usize,
}

/// Says `count` ids behind the first `at` positions of sequence 0, whose last logits are `logits`,
/// with so many drafts at a time, and forgets the sequence.
///
/// # Errors
/// A fault of the device.
///
/// # Panics
/// If `logits` is empty.
pub fn speak(
    model: &mut impl Decoder,
    logits: &[f32],
    mut at: usize,
    count: usize,
    drafts: u32,
) -> Result<Spoken> {
    let width = model.capacity().vocabulary as usize;
    let mut last = best(logits);
    let (mut ids, mut steps) = (vec![last], 0);
    while ids.len() < count {
        let drafted = match drafts {
            0 => Vec::new(),
            most => draft(model, last, most)?,
        };
        let tokens = [&[last][..], &drafted].concat();
        let logits = model.step(&step(0, at, &tokens))?.into_values();
        steps += 1;
        for (index, row) in logits.chunks(width).enumerate() {
            (last, at) = (best(row), at + 1);
            ids.push(last);
            if drafted.get(index) != Some(&last) {
                break;
            }
        }
        model.rewind(SeqId(0), at as u32);
    }
    model.forget(SeqId(0));
    ids.truncate(count);
    Ok(Spoken { ids, steps })
}

/// What is proposed to follow `after`, which itself follows sequence 0.
///
/// # Errors
/// A fault of the device.
pub fn draft(
    model: &mut (impl Decoder + ?Sized),
    after: TokenId,
    max: u32,
) -> Result<Vec<TokenId>> {
    let seq = SeqId(0);
    let mut drafts = model.draft(&[DraftAsk { seq, after, max }])?;
    Ok(drafts.pop().unwrap_or_default())
}

/// What each layer decides on `tokens` as a fresh sequence, in one step.
///
/// # Errors
/// A fault of the device.
pub fn trace<B: Kernels>(model: &mut Model<B>, tokens: &[TokenId]) -> Result<Trace> {
    let (_, trace) = model.step_traced(&step(0, 0, tokens))?;
    model.forget(SeqId(0));
    Ok(trace)
}
