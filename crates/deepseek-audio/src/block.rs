//! A block of the tower: full attention over a chunk, then a network.

use deepseek_core::{Backend, DeviceTensor, Kernels, Loader, Numerics, Result, Unary};

use crate::config::AudioConfig;

/// What the norms of the tower add to the variance.
const NORM_EPS: f32 = 1e-5;

/// A product with a weight matrix, and a bias where there is one.
#[derive(Debug)]
pub(crate) struct Affine<B: Backend> {
    weight: B::Weight,
    bias: Option<B::Tensor>,
    numerics: Numerics,
}

impl<B: Backend> Affine<B> {
    /// Reads `weight: [out, in]` and `bias`.
    pub(crate) fn load(at: &Loader<'_, B>, shape: [usize; 2]) -> Result<Self> {
        let bias = Some(at.vector("bias", shape[0])?);
        Ok(Self::of(at, at.weight("weight", shape)?, bias))
    }

    /// The same where the bias may be missing.
    pub(crate) fn load_bare(at: &Loader<'_, B>, shape: [usize; 2]) -> Result<Self> {
        let there = at.tensors.has("bias");
        let bias = there.then(|| at.vector("bias", shape[0])).transpose()?;
        Ok(Self::of(at, at.weight("weight", shape)?, bias))
    }

    /// Puts the parts together.
    pub(crate) fn of(at: &Loader<'_, B>, weight: B::Weight, bias: Option<B::Tensor>) -> Self {
        let numerics = at.numerics;
        Self {
            weight,
            bias,
            numerics,
        }
    }

    /// `[.., in]` to `[.., out]`, rounded once, behind the bias.
    pub(crate) fn forward(&self, be: &B, x: &B::Tensor) -> Result<B::Tensor> {
        let y = be.linear(x, &self.weight)?;
        let y = match &self.bias {
            Some(bias) => be.add(&y, bias)?,
            None => y,
        };
        self.numerics.activation(be, y)
    }

    /// The same, then GELU.
    pub(crate) fn forward_gelu(&self, be: &B, x: &B::Tensor) -> Result<B::Tensor> {
        let y = be.map(&self.forward(be, x)?, Unary::Gelu)?;
        self.numerics.activation(be, y)
    }
}

/// A norm that takes the mean away first.
#[derive(Debug)]
pub(crate) struct LayerNorm<B: Backend> {
    weight: B::Tensor,
    bias: B::Tensor,
    numerics: Numerics,
}

impl<B: Backend> LayerNorm<B> {
    /// Reads `weight` and `bias`.
    pub(crate) fn load(at: &Loader<'_, B>, width: usize) -> Result<Self> {
        Ok(Self {
            weight: at.vector("weight", width)?,
            bias: at.vector("bias", width)?,
            numerics: at.numerics,
        })
    }

    /// `x: [rows, width]`, and so is the result.
    pub(crate) fn forward(&self, be: &B, x: &B::Tensor) -> Result<B::Tensor> {
        let mean = be.map(&be.sum(x, 1)?, Unary::scale(-1.0 / x.width() as f32))?;
        let centred = be.add(x, &mean)?;
        let y = be.rms_norm(&centred, Some(&self.weight), NORM_EPS, None)?;
        self.numerics.activation(be, be.add(&y, &self.bias)?)
    }
}

/// One block (`docs/models/audio-video.md` §3).
#[derive(Debug)]
pub(crate) struct Block<B: Backend> {
    attention_norm: LayerNorm<B>,
    query: Affine<B>,
    key: Affine<B>,
    value: Affine<B>,
    out: Affine<B>,
    network_norm: LayerNorm<B>,
    up: Affine<B>,
    down: Affine<B>,
    heads: usize,
    numerics: Numerics,
}

impl<B: Kernels> Block<B> {
    /// Reads `self_attn`, `fc1`, `fc2` and the norms. Keys have no bias as released; one that is
    /// there is applied.
    pub(crate) fn load(at: &Loader<'_, B>, config: &AudioConfig) -> Result<Self> {
        let AudioConfig { hidden, inner, .. } = *config;
        let square = [hidden, hidden];
        let attention = at.at("self_attn");
        Ok(Self {
            attention_norm: LayerNorm::load(&at.at("self_attn_layer_norm"), hidden)?,
            query: Affine::load(&attention.at("q_proj"), square)?,
            key: Affine::load_bare(&attention.at("k_proj"), square)?,
            value: Affine::load(&attention.at("v_proj"), square)?,
            out: Affine::load(&attention.at("out_proj"), square)?,
            network_norm: LayerNorm::load(&at.at("final_layer_norm"), hidden)?,
            up: Affine::load(&at.at("fc1"), [inner, hidden])?,
            down: Affine::load(&at.at("fc2"), [hidden, inner])?,
            heads: config.heads,
            numerics: at.numerics,
        })
    }

    /// `x: [frames, hidden]`, and so is the result: chunks of `lengths` frames one behind the other,
    /// each of which attends to itself alone.
    pub(crate) fn forward(&self, be: &B, x: &B::Tensor, lengths: &[usize]) -> Result<B::Tensor> {
        let round = |x| self.numerics.activation(be, x);
        let h = self.attention_norm.forward(be, x)?;
        let x = round(be.add(x, &self.attention(be, &h, lengths)?)?)?;
        let h = self.network_norm.forward(be, &x)?;
        let h = self.down.forward(be, &self.up.forward_gelu(be, &h)?)?;
        round(be.add(&x, &h)?)
    }

    fn attention(&self, be: &B, x: &B::Tensor, lengths: &[usize]) -> Result<B::Tensor> {
        let (frames, hidden) = (x.rows(), x.width());
        let shape = [frames, self.heads, hidden / self.heads];
        let heads = |product: &Affine<B>| be.reshape(&product.forward(be, x)?, &shape);
        let (q, k, v) = (heads(&self.query)?, heads(&self.key)?, heads(&self.value)?);
        let y = be.attend_dense(&q, &k, &v, lengths, self.numerics.rounding())?;
        self.out.forward(be, &be.reshape(&y, &[frames, hidden])?)
    }
}

/// Where each of some chunks of `lengths` rows begins, and its length.
pub(crate) fn spans(lengths: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    lengths.iter().scan(0, |next, length| {
        let first = *next;
        *next += length;
        Some((first, *length))
    })
}
