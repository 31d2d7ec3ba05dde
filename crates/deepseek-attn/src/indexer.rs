//! The lightning indexer's own weights: queries and their shares.

use deepseek_core::kernels::{Chosen, Seen};
use deepseek_core::rope::Angles;
use deepseek_core::{
    Backend, DeviceTensor, Kernels, Linear, Loader, Result, Rounding, Turn, Unary,
};

/// Scores compressed rows for each query (spec `deepseek-v4.md` §3.6).
#[derive(Debug)]
pub struct Indexer<B: Backend> {
    query: Linear<B>,
    share: Linear<B>,
    shape: IndexerShape,
    bf16: bool,
}

/// The numbers that shape an indexer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexerShape {
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
    ///
    /// # Errors
    /// A tensor that is missing, of another shape or of an unusable format.
    pub fn load(at: &Loader<'_, B>, shape: IndexerShape) -> Result<Self> {
        Ok(Self {
            query: at.linear("wq_b.weight", [shape.heads * shape.width, shape.latent])?,
            share: at.linear("weights_proj.weight", [shape.heads, shape.hidden])?,
            shape,
            bf16: at.numerics.bf16,
        })
    }

    /// The best `k` of the rows that each query sees. `x: [t, hidden]`, `latent: [t, latent]`.
    ///
    /// # Errors
    /// What the device says.
    pub fn choose(
        &self,
        be: &B,
        (x, latent): (&B::Tensor, &B::Tensor),
        keys: &B::Rows,
        seen: &Seen,
        angles: &Angles,
        k: usize,
    ) -> Result<Chosen> {
        let IndexerShape {
            heads,
            width,
            rounding,
            ..
        } = self.shape;
        let round = |x: B::Tensor| {
            if self.bf16 {
                be.round(&x, Rounding::Bf16)
            } else {
                Ok(x)
            }
        };
        if seen.rows.iter().all(|rows| rows.len() <= k) {
            // All rows fit: nothing to score.
            let mut chosen = Chosen::with_capacity(seen.rows.len());
            seen.rows
                .iter()
                .for_each(|rows| chosen.push([rows.clone()]));
            return Ok(chosen);
        }
        let q = be.reshape(&self.query.forward(be, latent)?, &[x.rows(), heads, width])?;
        let q = round(be.rope(&q, angles, Turn::Forward)?)?;
        let q = match rounding {
            Some(rounding) => be.round(&q, rounding)?,
            None => q,
        };
        let scale = ((width * heads) as f32).powf(-0.5);
        let shares = self.share.forward(be, x)?;
        let shares = round(be.map(
            &shares,
            Unary::Affine {
                mul: scale,
                add: 0.0,
            },
        )?)?;
        be.index_topk(&q, &shares, keys, seen, k, self.bf16)
    }
}
