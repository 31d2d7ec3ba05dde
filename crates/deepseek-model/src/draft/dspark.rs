//! The DSpark drafter: a few layers that propose a block of tokens at once, and a correction of each
//! by the one before.

use deepseek_attn::{Batch, Carry, Memory, Part, WindowMask};
use deepseek_core::operands::Inputs;
use deepseek_core::{DeviceTensor, Fetched, Kernels, Linear, Loader, Numerics, Result};

use super::Shared;
use crate::block::{Block, BlockConfig, BlockPlan, Head, Residual, Rows};
use crate::config::DsparkConfig;

/// A drafter (`docs/models/deepseek-v41.md` §5). Embedding and output matrix are the backbone's.
#[derive(Debug)]
pub struct Dspark<B: Kernels> {
    context: Linear<B>,
    context_norm: B::Tensor,
    stages: Vec<Block<B>>,
    head: Head<B>,
    markov_embedding: B::Weight,
    markov_head: B::Weight,
    confidence: B::Weight,
    layers: BlockConfig,
    noise: u32,
    block: usize,
    norm_eps: f32,
    numerics: Numerics,
}

/// A sequence that proposals are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Its place in every pool.
    pub slot: usize,
    /// The position of the token that proposals follow.
    pub at: u32,
    /// That token.
    pub after: u32,
}

/// What a drafter proposes.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// The most likely tokens, each given those before it.
    pub tokens: Vec<u32>,
    /// How confident the drafter is of each, before the sigmoid: the chance that it is accepted, given
    /// that those before it are.
    pub confidence: Vec<f32>,
    /// `[tokens, vocabulary]`.
    pub logits: Vec<Vec<f32>>,
}

/// What is known of one token of a chain: rows `[asks, _]`.
struct ChainStep<B: Kernels> {
    hidden: B::Tensor,
    markov: B::Tensor,
    logits: B::Tensor,
    token: B::Ids,
}

impl<B: Kernels> Dspark<B> {
    /// Reads the stages `mtp.0`, `mtp.1` and on; `layer` is the number of the first one's window in
    /// the memory.
    pub fn load(
        load: &Loader<'_, B>,
        (config, plan): (&DsparkConfig, BlockPlan),
        layer: usize,
        layers: &BlockConfig,
    ) -> Result<Self> {
        let hidden = layers.attention.hidden;
        let (vocabulary, rank) = (layers.mixture.vocabulary, config.markov_rank);
        let stage = |index: usize| load.at(&format!("mtp.{index}"));
        let stages = (0..config.stages)
            .map(|index| Block::load(&stage(index), plan, layer + index, layers, None))
            .collect::<Result<_>>()?;
        let (first, last) = (stage(0), stage(config.stages - 1));
        Ok(Self {
            context: first.linear("main_proj.weight", [hidden, hidden * config.taps.len()])?,
            context_norm: first.vector("main_norm.weight", hidden)?,
            stages,
            head: Head::load(&last, layers)?,
            markov_embedding: last.embedding("markov_head.embed.weight", [vocabulary, rank])?,
            markov_head: last.weight("markov_head.head.weight", [vocabulary, rank])?,
            confidence: last.weight("confidence_head.proj.weight", [1, hidden + rank])?,
            layers: *layers,
            noise: config.noise,
            block: config.block,
            norm_eps: layers.attention.norm_eps,
            numerics: load.numerics,
        })
    }

    /// Takes up what the backbone read: `taps: [t, taps * hidden]`, the mean of the streams before
    /// each tapped layer.
    pub fn observe(
        &self,
        be: &B,
        taps: &B::Tensor,
        batch: &Batch<B>,
        memory: &mut Memory<B>,
    ) -> Result<()> {
        let x = be.project_one(taps, &self.context)?;
        let (norm, rounding) = (Some(&self.context_norm), self.numerics.rounding());
        let x = be.rms_norm(&x, norm, self.norm_eps, rounding)?;
        for stage in &self.stages {
            stage.store(be, &x, batch, memory)?;
        }
        Ok(())
    }

    /// Tokens that it proposes at once.
    #[must_use]
    pub fn block(&self) -> usize {
        self.block
    }

    /// Proposes up to `max` tokens for each of `asks`, all in one batch; waits once. What this writes
    /// into windows lies at and behind the positions asked for, where the sequences will write again.
    pub(crate) fn propose(
        &self,
        shared: &Shared<'_, B>,
        memory: &mut Memory<B>,
        asks: &[Ask],
        max: usize,
    ) -> Result<Vec<Vec<u32>>> {
        let be = shared.be;
        let hidden = self.read(shared, memory, asks)?;
        let base = self.head.logits(be, &hidden, shared.output)?;
        let mut tokens = Vec::new();
        self.chain(be, (&hidden, &base), asks, max, |step| {
            tokens.push(step.token);
            Ok(())
        })?;
        let mut fetched = Fetched::default();
        be.fetch(&[], &tokens, &mut fetched)?;
        let proposal = |ask: usize| fetched.lists().map(|ids| ids[ask]).collect();
        Ok((0..asks.len()).map(proposal).collect())
    }

    /// As [`Dspark::propose`], and tells the confidence and the logits of each token.
    pub(crate) fn propose_with_logits(
        &self,
        shared: &Shared<'_, B>,
        memory: &mut Memory<B>,
        asks: &[Ask],
        max: usize,
    ) -> Result<Vec<Proposal>> {
        let be = shared.be;
        let hidden = self.read(shared, memory, asks)?;
        let base = self.head.logits(be, &hidden, shared.output)?;
        let (mut tokens, mut told) = (Vec::new(), Vec::new());
        self.chain(be, (&hidden, &base), asks, max, |step| {
            // The row as it is, before the norm (`docs/models/deepseek-v41.md` §7.2 names who does
            // otherwise).
            let joined = be.concat(&[&step.hidden, &step.markov], 1)?;
            told.push(be.linear(&joined, &self.confidence)?);
            told.push(step.logits);
            tokens.push(step.token);
            Ok(())
        })?;
        let mut fetched = Fetched::default();
        be.fetch(&told, &tokens, &mut fetched)?;
        let proposal = |ask: usize| {
            let logits = |step: usize| {
                let all = fetched.tensor(2 * step + 1);
                let width = all.len() / asks.len();
                all[ask * width..][..width].to_vec()
            };
            Proposal {
                tokens: fetched.lists().map(|ids| ids[ask]).collect(),
                confidence: (0..tokens.len())
                    .map(|step| fetched.tensor(2 * step)[ask])
                    .collect(),
                logits: (0..tokens.len()).map(logits).collect(),
            }
        };
        Ok((0..asks.len()).map(proposal).collect())
    }

    /// The most likely tokens one after the other, each corrected by the one before.
    fn chain(
        &self,
        be: &B,
        (hidden, base): (&B::Tensor, &B::Tensor),
        asks: &[Ask],
        max: usize,
        mut each: impl FnMut(ChainStep<B>) -> Result<()>,
    ) -> Result<()> {
        // Row `index` of each block.
        let row = |x: &B::Tensor, index| {
            let x = be.reshape(x, &[asks.len(), self.block, x.width()])?;
            be.reshape(&be.narrow(&x, 1, index, 1)?, &[asks.len(), x.width()])
        };
        let after: Vec<u32> = asks.iter().map(|ask| ask.after).collect();
        let mut before = be.ids(&after)?;
        for index in 0..self.block.min(max) {
            let markov = be.lookup(&self.markov_embedding, &before)?;
            let correction = be.linear(&markov, &self.markov_head)?;
            let logits = be.add(&row(base, index)?, &correction)?;
            before = be.top_k(&logits, 1)?;
            each(ChainStep {
                hidden: row(hidden, index)?,
                markov,
                logits,
                token: before.clone(),
            })?;
        }
        Ok(())
    }

    /// The streams behind all stages as one, `[asks * block, hidden]`: of the token that is followed,
    /// and of noise in the place of each that is to be proposed.
    fn read(
        &self,
        shared: &Shared<'_, B>,
        memory: &mut Memory<B>,
        asks: &[Ask],
    ) -> Result<B::Tensor> {
        let be = shared.be;
        let noise = std::iter::repeat_n(self.noise, self.block - 1);
        let tokens = asks
            .iter()
            .flat_map(|ask| std::iter::once(ask.after).chain(noise.clone()));
        let tokens = be.ids(&tokens.collect::<Vec<_>>())?;
        let parts = asks.iter().map(|ask| Part {
            slot: ask.slot,
            at: ask.at,
            tokens: self.block,
            mask: WindowMask::Whole,
        });
        let batch = Batch::windows(be, shared.ropes, memory.rooms(), parts)?;
        let x = be.lookup(shared.embedding, &tokens)?;
        let x = self.numerics.activation(be, x)?;
        let mut residual = Residual::start(be, &x, &self.layers)?;
        let rows = Rows {
            inputs: &Inputs::text(tokens),
            recalled: None,
        };
        for stage in &self.stages {
            let mut carry = Carry::default();
            (residual, _) = stage.forward(be, &residual, &rows, &batch, memory, &mut carry)?;
        }
        self.head.collapse(be, &residual)
    }
}
