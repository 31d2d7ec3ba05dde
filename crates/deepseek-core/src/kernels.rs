//! The verbs of the model: what is worth fusing on a device. Each has a provided body, written in
//! primitives, and that body is what the verb means.

use std::ops::Range;

use crate::backend::Backend;
use crate::error::Result;
use crate::operands::{
    Chosen, EngramGate, Experts, Fold, Gate, HyperWeights, Inputs, Mix, Pick, Picked, Routing,
    Softmax, SwiGlu,
};
use crate::reference;

/// The verbs. A provided body is the verb's meaning; an override may be faster and must agree.
pub trait Kernels: Backend {
    /// Reads the streams `[t, n, hidden]` into one `[t, hidden]`, and says how to write back.
    ///
    /// The streams are read with the mix's own `pre`, or, where given, with the one carried from
    /// the sub-layer before (`docs/models/deepseek-v41.md` §3.2).
    fn hc_pre(
        &self,
        streams: &Self::Tensor,
        weights: &HyperWeights<Self>,
        carried: Option<&Self::Tensor>,
    ) -> Result<(Self::Tensor, Mix<Self>)> {
        reference::hc_pre(self, streams, weights, carried)
    }

    /// Writes a sub-layer's result `y: [t, hidden]` into the streams:
    /// `stream'_k = post_k · y + Σ_j comb[j, k] · stream_j`.
    fn hc_post(
        &self,
        y: &Self::Tensor,
        streams: &Self::Tensor,
        mix: &Mix<Self>,
    ) -> Result<Self::Tensor> {
        reference::hc_post(self, y, streams, mix)
    }

    /// Pools each group of rows into one: `Σ kv ⊙ softmax(scores)`, the softmax over the group for
    /// each channel on its own. `kv`, `scores`: `[rows, width]`; returns `[groups, width]`, or half
    /// the width with [`Fold::Overlap`]. Sums run in the order of the rows.
    fn compress(
        &self,
        kv: &Self::Tensor,
        scores: &Self::Tensor,
        groups: &[Range<usize>],
        fold: Fold,
    ) -> Result<Self::Tensor> {
        reference::compress(self, kv, scores, groups, fold)
    }

    /// The lightning indexer: the `k` rows of each query with the highest
    /// `Σ_h weights_h · relu(q_h · key)` among those it sees, ties to the lower row; all that it
    /// sees when those are at most `k`. Candidates likewise, by blocks. `q: [t, heads, width]`,
    /// `weights: [t, heads]`; what a query sees ascends.
    fn index_topk(
        &self,
        q: &Self::Tensor,
        weights: &Self::Tensor,
        keys: &Self::Rows,
        seen: &Chosen,
        pick: &Pick,
    ) -> Result<Picked> {
        reference::index_topk(self, q, weights, keys, seen, pick)
    }

    /// Attention of `q: [t, heads, width]` over rows that are key and value at once, gathered from
    /// several pools, with a sink `[heads]` that only enlarges the denominator. Returns the shape
    /// of `q`.
    fn attend(
        &self,
        q: &Self::Tensor,
        from: &[(&Self::Rows, &Chosen)],
        sink: &Self::Tensor,
        softmax: Softmax,
    ) -> Result<Self::Tensor> {
        reference::attend(self, q, from, sink, softmax)
    }

    /// Routes `x: [t, hidden]` as `rows` are routed.
    fn route(&self, x: &Self::Tensor, gate: &Gate<Self>, rows: Inputs<'_>) -> Result<Routing> {
        reference::route(self, x, gate, rows)
    }

    /// The weighted sum of the routed experts on `x: [t, hidden]`, in the order of the routing.
    fn experts(
        &self,
        x: &Self::Tensor,
        routing: &Routing,
        bank: &dyn Experts<Self>,
        form: SwiGlu,
    ) -> Result<Self::Tensor> {
        reference::experts(self, x, routing, bank, form)
    }

    /// Adds to each of the streams `[t, n, hidden]` what was recalled, as far as the stream agrees
    /// with it: `stream_j + g_j · value`, where `g_j` is 0 in rows of `media` and else
    /// `sigmoid(√a)`, `a` the weighted product of stream and key at unit scale over `√hidden`, its
    /// sign kept (`docs/models/deepseek-v41.md` §3.7). `recalled: [t, (n + 1) * hidden]` holds a
    /// key for each stream, then the value; `media` is empty where no row is.
    fn engram(
        &self,
        streams: &Self::Tensor,
        recalled: &Self::Tensor,
        gate: &EngramGate<Self>,
        media: &[bool],
    ) -> Result<Self::Tensor> {
        reference::engram(self, streams, recalled, gate, media)
    }
}
