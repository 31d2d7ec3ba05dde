//! The multi-token prediction module: one more layer that joins a position's streams with the token
//! that follows, and predicts the one after that.

use deepseek_attn::{Batch, Carry, Memory};
use deepseek_core::operands::Inputs;
use deepseek_core::{DeviceTensor, Kernels, Linear, Loader, Numerics, Result};

use crate::block::{Block, BlockConfig, BlockPlan, Head, Output, Residual, Rows};

/// One module (`docs/models/deepseek-v4.md` §3.8). Embedding and output matrix are the backbone's.
#[derive(Debug)]
pub struct Mtp<B: Kernels> {
    embedding_norm: B::Tensor,
    embedding: Linear<B>,
    streams_norm: B::Tensor,
    streams: Linear<B>,
    block: Block<B>,
    head: Head<B>,
    hidden: usize,
    norm_eps: f32,
    numerics: Numerics,
}

impl<B: Kernels> Mtp<B> {
    /// Reads the module; `layer` is the number of its window in the memory.
    pub fn load(
        load: &Loader<'_, B>,
        plan: BlockPlan,
        layer: usize,
        config: &BlockConfig,
    ) -> Result<Self> {
        let hidden = config.attention.hidden;
        Ok(Self {
            embedding_norm: load.vector("enorm.weight", hidden)?,
            embedding: load.linear("e_proj.weight", [hidden, hidden])?,
            streams_norm: load.vector("hnorm.weight", hidden)?,
            streams: load.linear("h_proj.weight", [hidden, hidden])?,
            block: Block::load(load, plan, layer, config, None)?,
            head: Head::load(load, config)?,
            hidden,
            norm_eps: config.attention.norm_eps,
            numerics: load.numerics,
        })
    }

    /// Token ids as the module reads them, `[t, hidden]`.
    pub fn embed(&self, be: &B, embedding: &B::Weight, tokens: &B::Ids) -> Result<B::Tensor> {
        self.numerics.activation(be, be.lookup(embedding, tokens)?)
    }

    /// Streams and channels of each, of rows of `width`.
    pub(crate) fn streams(&self, width: usize) -> [usize; 2] {
        [width / self.hidden, self.hidden]
    }

    /// The module's own streams `[t, n, hidden]` for positions whose backbone streams are
    /// `streams: [t, n, hidden]` and whose next tokens are `next`, embedded as
    /// `embedded: [t, hidden]`.
    pub fn forward(
        &self,
        be: &B,
        (streams, embedded): (&B::Tensor, &B::Tensor),
        next: B::Ids,
        batch: &Batch<B>,
        memory: &mut Memory<B>,
    ) -> Result<B::Tensor> {
        let numerics = self.numerics;
        let [tokens, _, hidden] = streams
            .shape()
            .try_into()
            .expect("streams are [tokens, streams, hidden]");
        let norm = |x, weight| be.rms_norm(x, Some(weight), self.norm_eps, numerics.rounding());
        let e = be.project_one(&norm(embedded, &self.embedding_norm)?, &self.embedding)?;
        let e = be.reshape(&e, &[tokens, 1, hidden])?;
        let h = be.project_one(&norm(streams, &self.streams_norm)?, &self.streams)?;
        let joined = Residual {
            streams: numerics.activation(be, be.add(&e, &h)?)?,
            pre: None,
        };
        let rows = Rows {
            inputs: &Inputs::text(next),
            recalled: None,
        };
        let mut carry = Carry::default();
        let (own, _) = self
            .block
            .forward(be, &joined, &rows, batch, memory, &mut carry)?;
        Ok(own.streams)
    }

    /// Logits `[t, vocabulary]` of the module's own streams.
    pub fn logits(&self, be: &B, streams: &B::Tensor, output: &Output<B>) -> Result<B::Tensor> {
        let residual = Residual {
            streams: streams.clone(),
            pre: None,
        };
        self.head.forward(be, &residual, output)
    }
}
