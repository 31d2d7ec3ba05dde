//! The verbs of the model: what is worth fusing on a device. Each has a provided body, written in
//! primitives, and that body is what the verb means.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::backend::Backend;
use crate::error::Result;
use crate::format::Rounding;
use crate::reference;

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
    pub shape: HyperShape,
}

/// The numbers that shape a mixer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HyperShape {
    /// Residual streams.
    pub streams: usize,
    /// Column passes of the Sinkhorn iteration.
    pub sinkhorn: usize,
    /// Added to `pre`, to the mixing matrix and to each of its sums.
    pub eps: f32,
    /// Added to the mean square of the flattened streams.
    pub norm_eps: f32,
}

/// How a sub-layer reads the streams and writes them back.
#[derive(Debug, Clone)]
pub struct Mix<B: Backend> {
    /// `[t, n]`: the share of each stream in what a sub-layer reads.
    pub pre: B::Tensor,
    /// `[t, n]`: the share of the sub-layer's result in each stream.
    pub post: B::Tensor,
    /// `[t, n, n]`: stream `k` receives `Σ_j comb[j, k] · stream_j`.
    pub comb: B::Tensor,
}

/// How a run of rows is pooled into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fold {
    /// All rows of a group with all their channels.
    Plain,
    /// Rows have two halves. The last `ratio` rows of a group take part with their second half,
    /// the rows before them (the previous group) with their first.
    Overlap {
        /// Tokens a compressed row stands for.
        ratio: usize,
    },
}

/// The rows of one pool that each query sees, or has chosen, as runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    ends: Vec<u32>,
    runs: Vec<Range<u32>>,
}

impl Chosen {
    /// No queries yet, with room for `queries`.
    #[must_use]
    pub fn with_capacity(queries: usize) -> Self {
        Self {
            ends: Vec::with_capacity(queries),
            runs: Vec::with_capacity(queries),
        }
    }

    /// Adds a query and its rows. Empty runs are dropped.
    pub fn push(&mut self, runs: impl IntoIterator<Item = Range<u32>>) {
        self.runs
            .extend(runs.into_iter().filter(|run| !run.is_empty()));
        self.ends
            .push(u32::try_from(self.runs.len()).expect("fewer runs than rows"));
    }

    /// Adds a query that attends to single rows, in the order given; neighbours become one run.
    pub fn push_rows(&mut self, rows: impl IntoIterator<Item = u32>) {
        let first = self.runs.len();
        for row in rows {
            match self.runs[first..].last_mut() {
                Some(run) if run.end == row => run.end += 1,
                _ => self.runs.push(row..row + 1),
            }
        }
        self.ends
            .push(u32::try_from(self.runs.len()).expect("fewer runs than rows"));
    }

    /// Adds the queries of another choice after ours.
    pub fn extend(&mut self, other: &Self) {
        for query in 0..other.queries() {
            self.push(other.runs(query).iter().cloned());
        }
    }

    /// How many queries there are.
    #[must_use]
    pub fn queries(&self) -> usize {
        self.ends.len()
    }

    /// The runs of one query.
    ///
    /// # Panics
    /// If there is no such query.
    #[must_use]
    pub fn runs(&self, query: usize) -> &[Range<u32>] {
        let start = if query == 0 {
            0
        } else {
            self.ends[query - 1] as usize
        };
        &self.runs[start..self.ends[query] as usize]
    }

    /// How many rows one query has.
    ///
    /// # Panics
    /// If there is no such query.
    #[must_use]
    pub fn count(&self, query: usize) -> usize {
        self.runs(query).iter().map(ExactSizeIterator::len).sum()
    }

    /// The rows of one query, in order.
    pub fn rows(&self, query: usize) -> impl Iterator<Item = u32> + '_ {
        self.runs(query).iter().cloned().flatten()
    }
}

/// What [`Kernels::index_topk`] picks for each query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// How many rows.
    pub k: usize,
    /// Blocks of rows to be kept as candidates of later layers.
    pub blocks: Option<Blocks>,
    /// What of a score is rounded to brain floats.
    pub round: Option<ScoreRounding>,
}

/// The two-level filter (`docs/models/deepseek-v41.md` §3.6): the visible rows of a query are cut
/// into blocks by their place from the first of them, a block counts as much as its best row, and
/// the block of the last row always stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    /// Rows of a block.
    pub size: usize,
    /// Blocks that stay.
    pub keep: usize,
}

/// Which parts of an index score are brain floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreRounding {
    /// Products, and what the weights make of them (`docs/models/deepseek-v41.md` §7.1, item 5).
    Products,
    /// Their sum as well (`docs/models/deepseek-v4.md` §5.1).
    ProductsAndSum,
}

/// What [`Kernels::index_topk`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picked {
    /// The best rows of each query, ascending.
    pub rows: Chosen,
    /// The rows of the best blocks, where those were asked for.
    pub candidates: Option<Chosen>,
}

/// How [`Kernels::attend`] weighs rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Softmax {
    /// Factor on the logits.
    pub scale: f32,
    /// How the exponentials are rounded to brain floats before they weigh values. The sum that
    /// divides them is of what was not rounded.
    pub round: Option<WeightRounding>,
}

/// What the exponentials are taken against before they are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightRounding {
    /// The largest logit (`docs/models/deepseek-v4.md` §5.1).
    OnePeak,
    /// The largest logit so far, as one pass over chunks of so many rows has it; what it has added
    /// up is scaled when a larger one comes (`docs/models/deepseek-v41.md` §7.1, item 5).
    Chunks(usize),
}

/// How a router chooses experts.
#[derive(Debug)]
pub enum Select<B: Backend> {
    /// The best scores after adding a bias, which does not enter the weights.
    Score {
        /// `[1, experts]`, or `[2, experts]`: for rows of text, and for rows of other media
        /// (`docs/models/deepseek-v41.md` §3.8).
        bias: B::Tensor,
    },
    /// Fixed experts for each token id.
    Token(TokenTable),
}

/// The experts of each token id: `[vocabulary, each]`.
#[derive(Debug, Clone)]
pub struct TokenTable {
    entries: Box<[u32]>,
    each: usize,
}

impl TokenTable {
    /// Takes a table whose every entry is one of `experts`, which is checked here, once.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) for an entry that names no expert.
    ///
    /// # Panics
    /// If there are not whole rows of entries.
    pub fn new(name: &str, entries: &[i64], each: usize, experts: usize) -> Result<Self> {
        assert_eq!(entries.len() % each, 0, "whole rows of {each} entries");
        let number = |(index, entry): (usize, &i64)| match u32::try_from(*entry) {
            Ok(id) if (id as usize) < experts => Ok(id),
            _ => Err(crate::Error::Tensor {
                name: name.to_owned(),
                why: format!(
                    "row {} names expert {entry}, there are {experts}",
                    index / each
                ),
            }),
        };
        let entries = entries.iter().enumerate().map(number);
        Ok(Self {
            entries: entries.collect::<Result<_>>()?,
            each,
        })
    }

    /// The experts of `token`.
    ///
    /// # Panics
    /// If the token is not in the vocabulary.
    pub fn experts(&self, token: u32) -> impl Iterator<Item = u32> + '_ {
        let row = &self.entries[token as usize * self.each..][..self.each];
        row.iter().copied()
    }
}

/// What the rows of a step stand for.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The id of each row.
    pub tokens: &'a [u32],
    /// Whether it is a row of a picture or a sound; empty where none is.
    pub media: &'a [bool],
}

impl<'a> Inputs<'a> {
    /// Rows of text.
    #[must_use]
    pub fn text(tokens: &'a [u32]) -> Self {
        Self { tokens, media: &[] }
    }
}

/// A router (`docs/models/deepseek-v4.md` §3.7).
#[derive(Debug)]
pub struct Gate<B: Backend> {
    /// `[experts, hidden]`.
    pub projection: B::Weight,
    /// How experts are chosen.
    pub select: Select<B>,
    /// Experts per token.
    pub each: usize,
    /// Factor on the normalised weights.
    pub scale: f32,
}

/// The gate of an n-gram memory (`docs/models/deepseek-v41.md` §3.7).
#[derive(Debug)]
pub struct EngramGate<B: Backend> {
    /// `[n, hidden]`: the weights of streams and keys, multiplied.
    pub weight: B::Tensor,
    /// Added to the mean squares of streams and of keys.
    pub eps: f32,
}

/// Which experts each token visits, and with what weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Routing {
    /// `[t, each]`, ascending for each token, so that sums have one order.
    pub experts: Arc<[u32]>,
    /// `[t, each]`.
    pub weights: Arc<[f32]>,
    /// Experts per token.
    pub each: usize,
}

/// The three matrices of a gated feed-forward network.
#[derive(Debug)]
pub struct FeedForward<B: Backend> {
    /// `w1: [inner, hidden]`.
    pub gate: B::Weight,
    /// `w3: [inner, hidden]`.
    pub up: B::Weight,
    /// `w2: [hidden, inner]`.
    pub down: B::Weight,
}

/// What the matrices of a gated network do not say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SwiGlu {
    /// The gate is clamped to this from above and the other branch on both sides, before the
    /// activation; infinite for none.
    pub limit: f32,
    /// How the inputs of the products are rounded.
    pub input: Option<Rounding>,
    /// Whether outputs and the inner activation are brain floats.
    pub bf16: bool,
}

/// Where experts come from: all at hand, or fetched ahead of use.
pub trait Experts<B: Backend>: fmt::Debug + Send + Sync {
    /// One expert, ready to use.
    ///
    /// # Errors
    /// Whatever the device says while fetching it.
    fn expert(&self, id: u32) -> Result<&FeedForward<B>>;
}

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
