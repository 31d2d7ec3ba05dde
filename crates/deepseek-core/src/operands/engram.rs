//! What gates an n-gram memory.

use crate::backend::Backend;

/// The gate of an n-gram memory (`docs/models/deepseek-v41.md` §3.7).
#[derive(Debug)]
pub struct EngramGate<B: Backend> {
    /// `[n, hidden]`: the weights of streams and keys, multiplied.
    pub weight: B::Tensor,
    /// Added to the mean squares of streams and of keys.
    pub eps: f32,
}
