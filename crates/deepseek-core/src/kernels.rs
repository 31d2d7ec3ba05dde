//! The verbs of the model: what is worth fusing on a device. Each has a provided body, written in
//! primitives, and that body is what the verb means.

use std::fmt;
use std::ops::Range;

use crate::collective::Collective;
use crate::error::Result;
use crate::few::Few;
use crate::format::Rounding;
use crate::operands::{
    EngramGate, ExpertShare, FeedForward, Gate, Groups, HyperWeights, Inputs, Linear, MediaRows,
    Mix, PoolState, Pooling, Residency, Routing, Selection, Softmax, StreamShares, SwiGlu, TopK,
    TopKRows, Visits,
};
use crate::reference;

/// The verbs. A provided body is the verb's meaning; an override may be faster and must agree.
pub trait Kernels: Collective {
    /// The routed experts of a layer, packed, grouped, streamed or cached as the device likes.
    type Experts: fmt::Debug + Send + Sync + 'static;

    /// Takes the experts of a layer, or a rank's share of them, of which `residency` may stay in the memory
    /// that the device has for them. A device that keeps all of them takes no notice of it.
    fn load_experts(&self, share: ExpertShare<'_>, residency: Residency) -> Result<Self::Experts>;

    /// The numbers of the experts that are in a bank.
    fn experts_in(&self, bank: &Self::Experts) -> Range<u32>;

    /// One expert of the bank, to be used now: what the provided body of [`experts`](Self::experts)
    /// visits.
    fn expert(&self, bank: &Self::Experts, id: u32) -> Result<FeedForward<Self>>;

    /// Tells that these experts will be visited within the step, so that a device may begin to fetch
    /// them. Does not wait. A device at whose hand all of them are does nothing.
    fn prefetch(&self, _bank: &Self::Experts, _ids: &Self::Ids) -> Result<()> {
        Ok(())
    }

    /// What is known of how these experts were used: nothing on a device that keeps all of them.
    fn visits(&self, _bank: &Self::Experts) -> Visits {
        Visits::default()
    }

    /// Reads the streams `[t, n, hidden]` into one `[t, hidden]`, and says how to write back.
    ///
    /// The streams are read with the mix's own `pre`, or, where given, with the one carried from
    /// the sub-layer before (`docs/models/deepseek-v41.md` §3.2). What is read is rounded.
    fn hc_pre(
        &self,
        streams: &Self::Tensor,
        weights: &HyperWeights<Self>,
        carried: Option<&Self::Tensor>,
        rounding: Option<Rounding>,
    ) -> Result<(Self::Tensor, Mix<Self>)> {
        reference::hc_pre(self, streams, weights, carried, rounding)
    }

    /// Writes a sub-layer's result `y: [t, hidden]` into the streams:
    /// `stream'_k = post_k · y + Σ_j comb[j, k] · stream_j`, rounded.
    fn hc_post(
        &self,
        y: &Self::Tensor,
        streams: &Self::Tensor,
        mix: &Mix<Self>,
        rounding: Option<Rounding>,
    ) -> Result<Self::Tensor> {
        reference::hc_post(self, y, streams, mix, rounding)
    }

    /// Reads the streams `[t, n, hidden]` into one `[t, hidden]`, rounded, and writes nothing back:
    /// `Σ_j share_j · stream_j`.
    fn hc_read(
        &self,
        streams: &Self::Tensor,
        shares: StreamShares<'_, Self>,
        rounding: Option<Rounding>,
    ) -> Result<Self::Tensor> {
        reference::hc_read(self, streams, shares, rounding)
    }

    /// Several products of one input `x: [.., in]`, with their roundings: one result `[.., out]` for
    /// each. Products that round their input alike share what was rounded.
    fn project(&self, x: &Self::Tensor, products: &[&Linear<Self>]) -> Result<Few<Self::Tensor>> {
        reference::project(self, x, products)
    }

    /// [`project`](Self::project) by one matrix.
    fn project_one(&self, x: &Self::Tensor, product: &Linear<Self>) -> Result<Self::Tensor> {
        Ok(self.project(x, &[product])?.remove(0))
    }

    /// Each group of channels of `x: [t, groups * in]` by a matrix `[out, in]` of its own, side by
    /// side again: `[t, groups * out]`.
    fn project_grouped(&self, x: &Self::Tensor, groups: &[Linear<Self>]) -> Result<Self::Tensor> {
        reference::project_grouped(self, x, groups)
    }

    /// Pools each group of rows into one: `Σ kv ⊙ softmax(scores)`, the softmax over the group for
    /// each channel on its own. `kv`, `scores`: `[t, width]`, what the rows of the step contribute;
    /// `state` holds what the steps before left, and keeps what later ones need. Returns
    /// `[groups, width]`, or half the width with [`Pooling::Overlap`], rounded; nothing where there are no
    /// groups. Sums run in the order of the rows.
    fn compress(
        &self,
        kv: &Self::Tensor,
        scores: &Self::Tensor,
        state: &mut PoolState<Self>,
        groups: &Groups<Self>,
        pooling: Pooling,
        rounding: Option<Rounding>,
    ) -> Result<Option<Self::Tensor>> {
        reference::compress(self, kv, scores, state, groups, pooling, rounding)
    }

    /// The lightning indexer: the `k` rows of each query with the highest
    /// `Σ_h weights_h · relu(q_h · key)` among those it sees, ties to the lower row; all that it
    /// sees when those are at most `k`. Candidates likewise, by blocks, which together hold no fewer
    /// than `k` rows. `q: [t, heads, width]`, `weights: [t, heads]`; what a query sees ascends.
    fn index_topk(
        &self,
        q: &Self::Tensor,
        weights: &Self::Tensor,
        keys: &Self::Rows,
        seen: &Selection<Self>,
        top: &TopK,
    ) -> Result<TopKRows<Self>> {
        reference::index_topk(self, q, weights, keys, seen, top)
    }

    /// Attention of `q: [t, heads, width]` over rows that are key and value at once, gathered from
    /// several pools, with a sink `[heads]` that only enlarges the denominator. Returns the shape
    /// of `q`.
    fn attend(
        &self,
        q: &Self::Tensor,
        from: &[(&Self::Rows, &Selection<Self>)],
        sink: &Self::Tensor,
        softmax: Softmax,
    ) -> Result<Self::Tensor> {
        reference::attend(self, q, from, sink, softmax)
    }

    /// Full attention, as the towers have it: rows stand in runs of `lengths`, and every query
    /// attends to every key of its run, `softmax(q · kᵀ / √width) · v` for each head, rounded. `q`,
    /// `k`, `v`: `[rows, heads, width]`, and so is the result. The memory it takes is bounded by a
    /// number of queries whose scores exist at a time.
    fn attend_dense(
        &self,
        q: &Self::Tensor,
        k: &Self::Tensor,
        v: &Self::Tensor,
        lengths: &[usize],
        rounding: Option<Rounding>,
    ) -> Result<Self::Tensor> {
        reference::attend_dense(self, q, k, v, lengths, rounding)
    }

    /// Routes `x: [t, hidden]` as `rows` are routed.
    fn route(
        &self,
        x: &Self::Tensor,
        gate: &Gate<Self>,
        rows: &Inputs<Self>,
    ) -> Result<Routing<Self>> {
        reference::route(self, x, gate, rows)
    }

    /// A gated feed-forward network on `x: [t, hidden]`:
    /// `w2 · (silu(min(w1·x, limit)) ⊙ clamp(w3·x, ±limit))`.
    fn feed_forward(
        &self,
        x: &Self::Tensor,
        network: &FeedForward<Self>,
        form: SwiGlu,
    ) -> Result<Self::Tensor> {
        reference::feed_forward(self, x, network, None, form)
    }

    /// The weighted sum of the routed experts on `x: [t, hidden]`, in the order of the routing. Those that
    /// are not in the bank add nothing.
    /// The provided body waits, to learn which are visited; no other does.
    fn experts(
        &self,
        x: &Self::Tensor,
        routing: &Routing<Self>,
        bank: &Self::Experts,
        form: SwiGlu,
    ) -> Result<Self::Tensor> {
        reference::experts(self, x, routing, bank, form)
    }

    /// Adds to each of the streams `[t, n, hidden]` what was recalled, as far as the stream agrees
    /// with it: `stream_j + g_j · value`, rounded, where `g_j` is 0 in rows of `media` and else
    /// `sigmoid(√a)`, `a` the weighted product of stream and key at unit scale over `√hidden`, its
    /// sign kept (`docs/models/deepseek-v41.md` §3.7). `recalled: [t, (n + 1) * hidden]` holds a
    /// key for each stream, then the value; `media` is none where no row is.
    fn engram(
        &self,
        streams: &Self::Tensor,
        recalled: &Self::Tensor,
        gate: &EngramGate<Self>,
        media: Option<&MediaRows<Self>>,
        rounding: Option<Rounding>,
    ) -> Result<Self::Tensor> {
        reference::engram(self, streams, recalled, gate, media, rounding)
    }
}
