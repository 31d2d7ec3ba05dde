//! A block of the tower: full attention over an image, then a gated network.

use deepseek_core::{Backend, DeviceTensor, Kernels, Linear, Loader, Numerics, Result, Unary};

use crate::config::VisionConfig;

/// What the norms of the tower add to the mean square. The text model has another.
pub(crate) const NORM_EPS: f32 = 1e-6;

/// A product with a weight matrix and a bias.
#[derive(Debug)]
pub(crate) struct Affine<B: Backend> {
    weight: B::Weight,
    bias: B::Tensor,
    numerics: Numerics,
}

impl<B: Backend> Affine<B> {
    /// Reads `weight: [out, in]` and `bias`.
    pub(crate) fn load(at: &Loader<'_, B>, shape: [usize; 2]) -> Result<Self> {
        Ok(Self {
            weight: at.weight("weight", shape)?,
            bias: at.vector("bias", shape[0])?,
            numerics: at.numerics,
        })
    }

    /// `[.., in]` to `[.., out]`, rounded once, behind the bias.
    pub(crate) fn forward(&self, be: &B, x: &B::Tensor) -> Result<B::Tensor> {
        let y = be.add(&be.linear(x, &self.weight)?, &self.bias)?;
        self.numerics.activation(be, y)
    }
}

/// Cosines and signed sines of every patch: `[patches, 1, width]` each.
#[derive(Debug)]
pub(crate) struct Rotation<B: Backend> {
    pub(crate) cos: B::Tensor,
    pub(crate) sin: B::Tensor,
}

impl<B: Backend> Rotation<B> {
    /// Rotates `x: [patches, heads, width]`: each channel times the cosine, and the channel half a
    /// head away times the sine, which is negative in the first half.
    fn apply(&self, be: &B, x: &B::Tensor) -> Result<B::Tensor> {
        let half = x.width() / 2;
        let (first, second) = (be.narrow(x, 2, 0, half)?, be.narrow(x, 2, half, half)?);
        let swapped = be.concat(&[&second, &first], 2)?;
        be.add(&be.mul(x, &self.cos)?, &be.mul(&swapped, &self.sin)?)
    }
}

/// One block (`docs/models/deepseek-v41.md` §4.3).
#[derive(Debug)]
pub(crate) struct Block<B: Backend> {
    attention_norm: B::Tensor,
    qkv: Affine<B>,
    out: Affine<B>,
    network_norm: B::Tensor,
    gate_up: Linear<B>,
    down: Linear<B>,
    heads: usize,
    numerics: Numerics,
}

impl<B: Kernels> Block<B> {
    /// Reads `norm1`, `attn`, `norm2` and `mlp`.
    pub(crate) fn load(at: &Loader<'_, B>, config: &VisionConfig) -> Result<Self> {
        let VisionConfig { hidden, inner, .. } = *config;
        Ok(Self {
            attention_norm: at.vector("norm1.weight", hidden)?,
            qkv: Affine::load(&at.at("attn.wqkv"), [3 * hidden, hidden])?,
            out: Affine::load(&at.at("attn.wo"), [hidden, hidden])?,
            network_norm: at.vector("norm2.weight", hidden)?,
            gate_up: at.linear("mlp.w1.weight", [2 * inner, hidden])?,
            down: at.linear("mlp.w2.weight", [hidden, inner])?,
            heads: config.heads,
            numerics: at.numerics,
        })
    }

    /// `x: [patches, hidden]`, and so is the result.
    pub(crate) fn forward(
        &self,
        be: &B,
        x: &B::Tensor,
        rotation: &Rotation<B>,
    ) -> Result<B::Tensor> {
        let round = |x| self.numerics.activation(be, x);
        let norm = |x, weight| be.rms_norm(x, Some(weight), NORM_EPS, self.numerics.rounding());
        let h = norm(x, &self.attention_norm)?;
        let x = round(be.add(x, &self.attention(be, &h, rotation)?)?)?;
        let h = norm(&x, &self.network_norm)?;
        round(be.add(&x, &self.network(be, &h)?)?)
    }

    fn attention(&self, be: &B, x: &B::Tensor, rotation: &Rotation<B>) -> Result<B::Tensor> {
        let (patches, hidden) = (x.rows(), x.width());
        let width = hidden / self.heads;
        let qkv = self.qkv.forward(be, x)?;
        // Queries and keys turn alike, so the heads of both are rotated together.
        let qk = be.narrow(&qkv, 1, 0, 2 * hidden)?;
        let qk = rotation.apply(be, &be.reshape(&qk, &[patches, 2 * self.heads, width])?)?;
        let qk = self.numerics.activation(be, qk)?;
        let v = be.narrow(&qkv, 1, 2 * hidden, hidden)?;
        let v = be.reshape(&v, &[patches, self.heads, width])?;
        let q = be.narrow(&qk, 1, 0, self.heads)?;
        let k = be.narrow(&qk, 1, self.heads, self.heads)?;
        let y = be.attend_dense(&q, &k, &v, &[patches], self.numerics.rounding())?;
        self.out.forward(be, &be.reshape(&y, &[patches, hidden])?)
    }

    fn network(&self, be: &B, x: &B::Tensor) -> Result<B::Tensor> {
        let both = be.project_one(x, &self.gate_up)?;
        let inner = both.width() / 2;
        let gate = be.map(&be.narrow(&both, 1, 0, inner)?, Unary::Silu)?;
        let y = be.mul(&gate, &be.narrow(&both, 1, inner, inner)?)?;
        be.project_one(&self.numerics.activation(be, y)?, &self.down)
    }
}
