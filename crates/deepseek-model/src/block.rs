//! One layer of the backbone: attention and experts, each between a reading and a writing of the
//! residual streams.

use deepseek_attn::{Attention, AttentionShape, Batch, Carry, Memory, Role, Ropes};
use deepseek_core::kernels::{HyperShape, HyperWeights, Mix, Routing};
use deepseek_core::reference::hc_head;
use deepseek_core::{Backend, HostTensor, Kernels, Loader, Numerics, Result};
use deepseek_moe::{Mixture, MixtureShape, RouteBy};

/// The numbers that shape every layer of a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockShape {
    /// Attention.
    pub attention: AttentionShape,
    /// Experts.
    pub mixture: MixtureShape,
    /// Residual streams.
    pub hyper: HyperShape,
}

/// What differs between the layers of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockPlan {
    /// The part of its attention in the keeping of rows.
    pub role: Role,
    /// How tokens find their experts.
    pub route: RouteBy,
}

/// One layer (spec `deepseek-v4.md` §3.1).
#[derive(Debug)]
pub struct Block<B: Backend> {
    attention_mixer: HyperWeights<B>,
    attention_norm: B::Tensor,
    attention: Attention<B>,
    mixture_mixer: HyperWeights<B>,
    mixture_norm: B::Tensor,
    mixture: Mixture<B>,
    norm_eps: f32,
    numerics: Numerics,
}

impl<B: Kernels> Block<B> {
    /// Reads the layer; `layer` is the number of its window in the memory.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape or of an unusable format.
    pub fn load(
        at: &Loader<'_, B>,
        ropes: &Ropes,
        plan: BlockPlan,
        layer: usize,
        shape: &BlockShape,
    ) -> Result<Self> {
        let hidden = shape.attention.hidden;
        let role = plan.role;
        Ok(Self {
            attention_mixer: mixer(at, "hc_attn", hidden, shape.hyper)?,
            attention_norm: at.vector("attn_norm.weight", hidden)?,
            attention: Attention::load(&at.at("attn"), ropes, role, layer, shape.attention)?,
            mixture_mixer: mixer(at, "hc_ffn", hidden, shape.hyper)?,
            mixture_norm: at.vector("ffn_norm.weight", hidden)?,
            mixture: Mixture::load(&at.at("ffn"), plan.route, shape.mixture)?,
            norm_eps: shape.attention.norm_eps,
            numerics: at.numerics,
        })
    }

    /// Streams `[t, n, hidden]` in and out, and how the rows were routed.
    ///
    /// # Errors
    /// What the device says.
    pub fn forward(
        &self,
        be: &B,
        streams: &B::Tensor,
        tokens: &[u32],
        batch: &Batch,
        memory: &mut Memory<B>,
        carry: &mut Carry,
    ) -> Result<(B::Tensor, Routing)> {
        let (x, mix) = self.read(be, streams, &self.attention_mixer, &self.attention_norm)?;
        let y = self.attention.forward(be, &x, batch, memory, carry)?;
        let streams = self.write(be, &y, streams, &mix)?;

        let (x, mix) = self.read(be, &streams, &self.mixture_mixer, &self.mixture_norm)?;
        let routing = self.mixture.route(be, &x, tokens)?;
        let y = self.mixture.forward(be, &x, &routing)?;
        Ok((self.write(be, &y, &streams, &mix)?, routing))
    }

    fn read(
        &self,
        be: &B,
        streams: &B::Tensor,
        mixer: &HyperWeights<B>,
        norm: &B::Tensor,
    ) -> Result<(B::Tensor, Mix<B>)> {
        let (x, mix) = be.hc_pre(streams, mixer, None)?;
        let x = self.numerics.activation(be, x)?;
        let x = be.rms_norm(&x, Some(norm), self.norm_eps)?;
        Ok((self.numerics.activation(be, x)?, mix))
    }

    fn write(&self, be: &B, y: &B::Tensor, streams: &B::Tensor, mix: &Mix<B>) -> Result<B::Tensor> {
        self.numerics.activation(be, be.hc_post(y, streams, mix)?)
    }
}

/// From streams to logits: the final collapse, a norm and the output matrix.
#[derive(Debug)]
pub struct Head<B: Backend> {
    mixer: HyperWeights<B>,
    norm: B::Tensor,
    norm_eps: f32,
    numerics: Numerics,
}

impl<B: Kernels> Head<B> {
    /// Reads `hc_head` and `norm`.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape or of an unusable format.
    pub fn load(at: &Loader<'_, B>, shape: &BlockShape) -> Result<Self> {
        let hidden = shape.attention.hidden;
        Ok(Self {
            mixer: mixer(at, "hc_head", hidden, shape.hyper)?,
            norm: at.vector("norm.weight", hidden)?,
            norm_eps: shape.attention.norm_eps,
            numerics: at.numerics,
        })
    }

    /// Streams `[t, n, hidden]` to logits `[t, vocabulary]`; `output: [vocabulary, hidden]`.
    ///
    /// # Errors
    /// What the device says.
    pub fn forward(&self, be: &B, streams: &B::Tensor, output: &B::Weight) -> Result<B::Tensor> {
        let x = self
            .numerics
            .activation(be, hc_head(be, streams, &self.mixer)?)?;
        let x = be.rms_norm(&x, Some(&self.norm), self.norm_eps)?;
        be.linear(&self.numerics.activation(be, x)?, output)
    }
}

/// Reads `{name}_fn`, `{name}_scale` and `{name}_base`. The collapse has one row a stream and one
/// factor; a layer's mixer has `n` rows that read, `n` that write and `n²` that mix, and a factor
/// for each of the three.
fn mixer<B: Kernels>(
    at: &Loader<'_, B>,
    name: &str,
    hidden: usize,
    shape: HyperShape,
) -> Result<HyperWeights<B>> {
    let n = shape.streams;
    let parts: &[usize] = if name == "hc_head" {
        &[n]
    } else {
        &[n, n, n * n]
    };
    let rows = parts.iter().sum();
    let factors = at.tensors.vector(&format!("{name}_scale"), parts.len())?;
    let scale = parts
        .iter()
        .zip(factors)
        .flat_map(|(rows, f)| vec![f; *rows])
        .collect();
    Ok(HyperWeights {
        projection: at.weight(&format!("{name}_fn"), [rows, n * hidden])?,
        scale: at.be.upload(&HostTensor::new(&[rows], scale))?,
        base: at.vector(&format!("{name}_base"), rows)?,
        shape,
    })
}
