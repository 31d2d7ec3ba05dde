//! The DSpark drafter: a few layers that propose a block of tokens at once, and a correction of each
//! by the one before.

use deepseek_attn::{Batch, Carry, Memory, Part, Ropes, Sight};
use deepseek_core::operands::Inputs;
use deepseek_core::{Backend, Kernels, Linear, Loader, Numerics, Result};

use crate::block::{Block, BlockPlan, BlockShape, Head, Residual, Rows};
use crate::config::DsparkConfig;

/// A drafter (`docs/models/deepseek-v41.md` §5). Embedding and output matrix are the backbone's.
#[derive(Debug)]
pub struct Dspark<B: Backend> {
    context: Linear<B>,
    context_norm: B::Tensor,
    stages: Vec<Block<B>>,
    head: Head<B>,
    markov_embedding: B::Weight,
    markov_head: B::Weight,
    confidence: B::Weight,
    shape: BlockShape,
    noise: u32,
    block: usize,
    norm_eps: f32,
    numerics: Numerics,
}

/// What a drafter proposes.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// The most likely tokens, each given those before it.
    pub tokens: Vec<u32>,
    /// How sure each is, before the sigmoid: the chance that it is accepted, given that those before
    /// it are.
    pub confidence: Vec<f32>,
    /// `[tokens, vocabulary]`, for who asks for them.
    pub logits: Vec<Vec<f32>>,
}

impl<B: Kernels> Dspark<B> {
    /// Reads the stages `mtp.0`, `mtp.1` and on; `layer` is the number of the first one's window in
    /// the memory.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape or of an unusable format.
    pub fn load(
        at: &Loader<'_, B>,
        ropes: &Ropes,
        (config, plan): (&DsparkConfig, BlockPlan),
        layer: usize,
        shape: &BlockShape,
    ) -> Result<Self> {
        let hidden = shape.attention.hidden;
        let (vocabulary, rank) = (shape.mixture.vocabulary, config.markov_rank);
        let stage = |index: usize| at.at(&format!("mtp.{index}"));
        let stages = (0..config.stages)
            .map(|index| Block::load(&stage(index), ropes, plan, layer + index, shape, None))
            .collect::<Result<_>>()?;
        let (first, last) = (stage(0), stage(config.stages - 1));
        Ok(Self {
            context: first.linear("main_proj.weight", [hidden, hidden * config.taps.len()])?,
            context_norm: first.vector("main_norm.weight", hidden)?,
            stages,
            head: Head::load(&last, shape)?,
            markov_embedding: last.embedding("markov_head.embed.weight", [vocabulary, rank])?,
            markov_head: last.weight("markov_head.head.weight", [vocabulary, rank])?,
            confidence: last.weight("confidence_head.proj.weight", [1, hidden + rank])?,
            shape: *shape,
            noise: config.noise,
            block: config.block,
            norm_eps: shape.attention.norm_eps,
            numerics: at.numerics,
        })
    }

    /// Takes up what the backbone read: `taps: [t, taps * hidden]`, the mean of the streams before
    /// each tapped layer.
    ///
    /// # Errors
    /// What the device says.
    pub fn remember(
        &self,
        be: &B,
        taps: &B::Tensor,
        batch: &Batch,
        memory: &mut Memory<B>,
    ) -> Result<()> {
        let x = be.project_one(taps, &self.context)?;
        let (norm, rounding) = (Some(&self.context_norm), self.numerics.rounding());
        let x = be.rms_norm(&x, norm, self.norm_eps, rounding)?;
        for stage in &self.stages {
            stage.remember(be, &x, batch, memory)?;
        }
        Ok(())
    }

    /// Proposes up to `max` tokens to follow `after`, which stands at position `at` of a sequence.
    /// What this writes into windows lies at and behind `at`, where the sequence will write again.
    ///
    /// # Errors
    /// What the device says.
    pub fn propose(
        &self,
        be: &B,
        ropes: &Ropes,
        (slot, at, after): (usize, u32, u32),
        max: usize,
        (embedding, output): (&B::Weight, &B::Weight),
        memory: &mut Memory<B>,
    ) -> Result<Proposal> {
        let mut tokens = vec![self.noise; self.block];
        tokens[0] = after;
        let part = Part {
            slot,
            at,
            tokens: self.block,
            sight: Sight::Whole,
        };
        let batch = Batch::new(ropes, [part]);
        let x = self
            .numerics
            .activation(be, be.lookup(embedding, &tokens)?)?;
        let mut residual = Residual::start(be, &x, &self.shape)?;
        let rows = Rows {
            inputs: Inputs::text(&tokens),
            recalled: None,
        };
        for stage in &self.stages {
            let mut carry = Carry::default();
            (residual, _) = stage.forward(be, &residual, &rows, &batch, memory, &mut carry)?;
        }
        let hidden = self.head.collapse(be, &residual)?;
        let base = self.head.logits(be, &hidden, output)?;

        let mut proposal = Proposal {
            tokens: Vec::new(),
            confidence: Vec::new(),
            logits: Vec::new(),
        };
        let mut before = after;
        for index in 0..self.block.min(max) {
            let own = be.narrow(&hidden, 0, index, 1)?;
            let markov = be.lookup(&self.markov_embedding, &[before])?;
            let correction = be.linear(&markov, &self.markov_head)?;
            let logits = be.add(&be.narrow(&base, 0, index, 1)?, &correction)?;
            before = be.top_k(&logits, 1)?[0];
            // The row as it is, before the norm (`docs/models/deepseek-v41.md` §7.2 names who does
            // otherwise).
            let sure = be.linear(&be.concat(&[&own, &markov], 1)?, &self.confidence)?;
            proposal.tokens.push(before);
            proposal.confidence.push(be.download(&sure)?.data()[0]);
            proposal.logits.push(be.download(&logits)?.into_data());
        }
        Ok(proposal)
    }
}
