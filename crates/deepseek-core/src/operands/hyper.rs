//! What mixes residual streams.

use crate::backend::Backend;

/// The weights of one mixer of residual streams (`docs/models/deepseek-v4.md` §3.2).
#[derive(Debug)]
pub struct HyperWeights<B: Backend> {
    /// `[(2 + n) * n, n * hidden]`, or `[n, n * hidden]` for the final collapse.
    pub projection: B::Weight,
    /// One factor for each row of the projection.
    pub scale: B::Tensor,
    /// One term for each row of the projection.
    pub base: B::Tensor,
    /// Streams `n`, rounds and the two epsilons.
    pub config: MixerConfig,
}

/// The numbers that shape a mixer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MixerConfig {
    /// Residual streams.
    pub streams: usize,
    /// Column passes of the Sinkhorn iteration.
    pub sinkhorn: usize,
    /// Added to `pre`, to the mixing matrix and to each of its sums.
    pub eps: f32,
    /// Added to the mean square of the flattened streams.
    pub norm_eps: f32,
}

/// What says how much of each stream is read.
#[derive(Debug)]
pub enum StreamShares<'a, B: Backend> {
    /// `[t, n]`, settled before.
    Settled(&'a B::Tensor),
    /// `sigmoid(z) + eps` of a mixer that only reads, as the head has one.
    Mixer(&'a HyperWeights<B>),
}

impl<B: Backend> Clone for StreamShares<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for StreamShares<'_, B> {}

/// How a sub-layer reads the streams and writes them back.
#[derive(Debug, Clone)]
pub struct Mix<B: Backend> {
    /// `[t, n]`: the share of each stream in what the next sub-layer reads. Where none was carried to this one, none is carried to
    /// the next, and a device may leave it out.
    pub pre: Option<B::Tensor>,
    /// `[t, n]`: the share of the sub-layer's result in each stream.
    pub post: B::Tensor,
    /// `[t, n, n]`: stream `k` receives `Σ_j comb[j, k] · stream_j`.
    pub comb: B::Tensor,
}
