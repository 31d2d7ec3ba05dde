//! The layer: what the rows of a position say, gated into the residual streams.

use deepseek_core::operands::{EngramGate, MediaRows};
use deepseek_core::{Backend, HostTensor, Kernels, Linear, Loader, Numerics, Result};

/// The numbers that shape a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerConfig {
    /// Channels of a stream.
    pub hidden: usize,
    /// Residual streams.
    pub streams: usize,
    /// Rows read at a position.
    pub columns: usize,
    /// Channels of a row.
    pub head_dim: usize,
    /// Added to the mean squares of streams and of keys.
    pub eps: f32,
}

/// Keys and values from the rows of n-grams, and the gate (`docs/models/deepseek-v41.md` §3.7).
#[derive(Debug)]
pub struct Engram<B: Backend> {
    wkv: Linear<B>,
    gate: EngramGate<B>,
    numerics: Numerics,
}

impl<B: Kernels> Engram<B> {
    /// Reads `wkv`, `q_weight` and `k_weight`.
    pub fn load(load: &Loader<'_, B>, config: LayerConfig) -> Result<Self> {
        let LayerConfig {
            hidden,
            streams,
            columns,
            head_dim,
            eps,
        } = config;
        let weights = [streams, hidden];
        let mut weight = load.tensors.array("q_weight", &weights)?;
        let keys = load.tensors.array("k_weight", &weights)?;
        weight.iter_mut().zip(keys).for_each(|(q, k)| *q *= k);
        let projection = [hidden * (streams + 1), columns * head_dim];
        Ok(Self {
            wkv: load.linear("wkv.weight", projection)?,
            gate: EngramGate {
                weight: load.be.upload(&HostTensor::new(&weights, weight))?,
                eps,
            },
            numerics: load.numerics,
        })
    }

    /// The streams `[t, streams, hidden]` with what the rows `e: [t, columns * head_dim]` add.
    /// Nothing is added in rows of `media`, which is none where no row is.
    pub fn forward(
        &self,
        be: &B,
        streams: &B::Tensor,
        e: &B::Tensor,
        media: Option<&MediaRows<B>>,
    ) -> Result<B::Tensor> {
        let recalled = be.project_one(e, &self.wkv)?;
        let rounding = self.numerics.rounding();
        be.engram(streams, &recalled, &self.gate, media, rounding)
    }
}
