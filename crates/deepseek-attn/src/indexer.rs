//! The lightning indexer's own weights: queries and their shares.

use deepseek_core::{
    Backend, DeviceTensor, Kernels, Linear, Loader, Numerics, Result, Rotation, Rounding, Unary,
};

/// Scores compressed rows for each query (`docs/models/deepseek-v4.md` §3.6,
/// `docs/models/deepseek-v41.md` §3.6).
#[derive(Debug)]
pub struct Indexer<B: Backend> {
    query: Linear<B>,
    share: Linear<B>,
    config: IndexerConfig,
    numerics: Numerics,
}

/// The numbers that shape an indexer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexerConfig {
    /// Channels of the layer's input.
    pub hidden: usize,
    /// Channels of the query latent that it shares with attention.
    pub latent: usize,
    /// Index heads.
    pub heads: usize,
    /// Channels of a query and of a key.
    pub width: usize,
    /// How queries and keys are rounded.
    pub rounding: Option<Rounding>,
}

impl<B: Kernels> Indexer<B> {
    /// Reads `wq_b` and `weights_proj`.
    pub fn load(load: &Loader<'_, B>, config: IndexerConfig) -> Result<Self> {
        Ok(Self {
            query: load.linear("wq_b.weight", [config.heads * config.width, config.latent])?,
            share: load.linear("weights_proj.weight", [config.heads, config.hidden])?,
            config,
            numerics: load.numerics,
        })
    }

    /// Index queries `[t, heads, width]`, rotated and rounded, and the shares of their heads
    /// `[t, heads]`, of `x: [t, hidden]` and `latent: [t, latent]`.
    pub fn queries(
        &self,
        be: &B,
        (x, latent): (&B::Tensor, &B::Tensor),
        angles: &B::Tensor,
    ) -> Result<[B::Tensor; 2]> {
        let IndexerConfig {
            heads,
            width,
            rounding,
            ..
        } = self.config;
        let q = be.reshape(
            &be.project_one(latent, &self.query)?,
            &[x.rows(), heads, width],
        )?;
        let q = be.rope(&q, angles, Rotation::Forward)?;
        let q = self.numerics.activation(be, q)?;
        let q = match rounding {
            Some(rounding) => be.round(&q, rounding)?,
            None => q,
        };
        let scale = Unary::scale(((width * heads) as f32).powf(-0.5));
        let shares = be.map(&be.project_one(x, &self.share)?, scale)?;
        Ok([q, self.numerics.activation(be, shares)?])
    }
}
