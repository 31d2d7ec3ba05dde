//! The DSpark drafter: a few layers that propose a block of tokens at once, and a correction of each
//! by the one before.

use deepseek_attn::{Batch, Carry, Memory, Part, Ropes, WindowMask};
use deepseek_core::operands::Inputs;
use deepseek_core::{DeviceTensor, Kernels, Linear, Loader, Numerics, Result};

use crate::block::{Block, BlockPlan, BlockShape, Head, Residual, Rows};
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
    shape: BlockShape,
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

/// What is told of proposals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Details {
    /// The tokens.
    Tokens,
    /// Their confidences and logits as well.
    All,
}

/// What a drafter proposes.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// The most likely tokens, each given those before it.
    pub tokens: Vec<u32>,
    /// How confident the drafter is of each, before the sigmoid: the chance that it is accepted, given
    /// that those before it are. For who asks for [`Details::All`].
    pub confidence: Vec<f32>,
    /// `[tokens, vocabulary]`, likewise.
    pub logits: Vec<Vec<f32>>,
}

impl<B: Kernels> Dspark<B> {
    /// Reads the stages `mtp.0`, `mtp.1` and on; `layer` is the number of the first one's window in
    /// the memory.
    pub fn load(
        load: &Loader<'_, B>,
        (config, plan): (&DsparkConfig, BlockPlan),
        layer: usize,
        shape: &BlockShape,
    ) -> Result<Self> {
        let hidden = shape.attention.hidden;
        let (vocabulary, rank) = (shape.mixture.vocabulary, config.markov_rank);
        let stage = |index: usize| load.at(&format!("mtp.{index}"));
        let stages = (0..config.stages)
            .map(|index| Block::load(&stage(index), plan, layer + index, shape, None))
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

    /// Proposes up to `max` tokens for each of `asks`, all in one batch; waits once. What this writes
    /// into windows lies at and behind the positions asked for, where the sequences will write again.
    pub fn propose(
        &self,
        be: &B,
        (ropes, memory): (&Ropes, &mut Memory<B>),
        (embedding, output): (&B::Weight, &B::Weight),
        asks: &[Ask],
        max: usize,
        details: Details,
    ) -> Result<Vec<Proposal>> {
        let hidden = self.read(be, (ropes, memory), embedding, asks)?;
        let base = self.head.logits(be, &hidden, output)?;
        let (count, block) = (self.block.min(max), self.block);
        // Row `index` of each block.
        let row = |x: &B::Tensor, index| {
            let x = be.reshape(x, &[asks.len(), block, x.width()])?;
            be.reshape(&be.narrow(&x, 1, index, 1)?, &[asks.len(), x.width()])
        };
        let mut tokens = Vec::with_capacity(count);
        let mut told = Vec::new();
        let after: Vec<u32> = asks.iter().map(|ask| ask.after).collect();
        let mut before = be.ids(&after)?;
        for index in 0..count {
            let markov = be.lookup(&self.markov_embedding, &before)?;
            let correction = be.linear(&markov, &self.markov_head)?;
            let logits = be.add(&row(&base, index)?, &correction)?;
            before = be.top_k(&logits, 1)?;
            tokens.push(before.clone());
            if details == Details::All {
                // The row as it is, before the norm (`docs/models/deepseek-v41.md` §7.2 names who does
                // otherwise).
                let joined = be.concat(&[&row(&hidden, index)?, &markov], 1)?;
                told.push(be.linear(&joined, &self.confidence)?);
                told.push(logits);
            }
        }
        let fetched = be.fetch(
            &told.iter().collect::<Vec<_>>(),
            &tokens.iter().collect::<Vec<_>>(),
        )?;
        let told = fetched.tensors.chunks_exact(2);
        let proposal = |ask: usize| Proposal {
            tokens: fetched.ids.iter().map(|ids| ids[ask]).collect(),
            confidence: told.clone().map(|told| told[0].row(ask)[0]).collect(),
            logits: told.clone().map(|told| told[1].row(ask).to_vec()).collect(),
        };
        Ok((0..asks.len()).map(proposal).collect())
    }

    /// The streams behind all stages as one, `[asks * block, hidden]`: of the token that is followed,
    /// and of noise in the place of each that is to be proposed.
    fn read(
        &self,
        be: &B,
        (ropes, memory): (&Ropes, &mut Memory<B>),
        embedding: &B::Weight,
        asks: &[Ask],
    ) -> Result<B::Tensor> {
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
        let batch = Batch::windows(be, ropes, memory.rooms(), parts)?;
        let x = be.lookup(embedding, &tokens)?;
        let x = self.numerics.activation(be, x)?;
        let mut residual = Residual::start(be, &x, &self.shape)?;
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
