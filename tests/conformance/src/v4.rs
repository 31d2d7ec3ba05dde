//! Tiny V4 models with reference logits.

use std::ops::ControlFlow;

use anyhow::{Context, Result};
use deepseek_core::weights::Checkpoint;
use deepseek_core::{HostTensor, Kernels, Numerics};
use deepseek_model::model::Trace;
use deepseek_model::{Budget, Config, Decoder, Model, Plan, SeqId, Span, Step, TokenId, Want};

use crate::fixture::folder;

/// How a fixture is opened.
#[derive(Debug, Clone, Copy)]
pub struct Open {
    /// What is rounded.
    pub numerics: Numerics,
    /// Sequences at a time.
    pub sequences: usize,
    /// Tokens of a step.
    pub step_tokens: usize,
    /// Whether the draft head is loaded.
    pub drafts: bool,
}

impl Default for Open {
    fn default() -> Self {
        Self {
            numerics: Numerics::EXACT,
            sequences: 1,
            step_tokens: 512,
            drafts: false,
        }
    }
}

/// Loads a fixture on a device.
///
/// # Errors
/// If it cannot be read.
pub fn open<B: Kernels>(be: B, name: &str, open: Open) -> Result<Model<B>> {
    let folder = folder().join(name);
    let json = std::fs::read_to_string(folder.join("config.json")).context("config.json")?;
    let mut config = Config::parse(&json)?;
    if !open.drafts {
        config = config.without_mtp();
    }
    let budget = Budget {
        context: 1024,
        sequences: open.sequences,
        step_tokens: open.step_tokens,
    };
    let plan = Plan::new(&config, open.numerics, budget)?;
    let checkpoint = Checkpoint::open(&folder)?;
    Ok(Model::load(be, plan, &checkpoint, &mut |_, _| {
        ControlFlow::Continue(())
    })?)
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
            want: Want::All,
        }],
    }
}

/// All logits of `tokens` as a fresh sequence, fed in chunks of the given sizes, the last of which
/// repeats.
///
/// # Errors
/// A fault of the device.
pub fn logits<B: Kernels>(
    model: &mut Model<B>,
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

/// What each layer decides on `tokens` as a fresh sequence, in one step.
///
/// # Errors
/// A fault of the device.
pub fn trace<B: Kernels>(model: &mut Model<B>, tokens: &[TokenId]) -> Result<Trace> {
    let (_, trace) = model.step_traced(&step(0, 0, tokens))?;
    model.forget(SeqId(0));
    Ok(trace)
}
