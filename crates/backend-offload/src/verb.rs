//! A verb of the model as data, for a chip that has an operator for the whole of it.

use std::fmt;
use std::sync::Arc;

use deepseek_core::operands::{MixerConfig, Softmax, SwiGlu, TopK};

use crate::matrix::Matrix;
use crate::view::{DType, View};

/// A verb and its operands. Each means what the provided body of the same name in
/// [`Kernels`](deepseek_core::Kernels) means; where its results lie comes with the call.
///
/// Whether a chip takes it is asked before the call ([`Chip::takes`](crate::Chip::takes)), of its shapes,
/// types and numbers: nothing in it is read for that.
#[derive(Debug, Clone, PartialEq)]
pub enum Verb<F> {
    /// Results: what is read `[t, hidden]`; then F32 `post: [t, n]`, `comb: [t, n, n]`, and where shares are carried
    /// `pre: [t, n]`.
    HcPre {
        /// F32 or BF16, `[t, n, hidden]`.
        streams: View,
        /// `[(2 + n) * n, n * hidden]`.
        projection: Arc<Matrix<F>>,
        /// F32, a factor for each row of the projection.
        scale: View,
        /// F32, a term for each row of the projection.
        base: View,
        /// Streams, passes and epsilons.
        config: MixerConfig,
        /// F32, `[t, n]`: the shares by which streams are read, where not by the mix's own.
        carried: Option<View>,
        /// What is kept of what is read: F32 or BF16.
        dtype: DType,
    },
    /// Result: `[t, n, hidden]`.
    HcPost {
        /// F32 or BF16, `[t, hidden]`.
        y: View,
        /// F32 or BF16, `[t, n, hidden]`.
        streams: View,
        /// F32, `[t, n]`.
        post: View,
        /// F32, `[t, n, n]`.
        comb: View,
        /// What is kept of the streams: F32 or BF16.
        dtype: DType,
    },
    /// Result: the best rows of each query, I32 `[t, k]`, as in `seen`.
    IndexTopk {
        /// F32 or BF16, `[t, heads, width]`.
        q: View,
        /// F32 or BF16, `[t, heads]`.
        weights: View,
        /// F32 or BF16, `[rows, width]`, the first of them zeros.
        keys: View,
        /// I32, `[t, n]`, ascending, padded behind with 0; `n` is more than `k`.
        seen: View,
        /// How many rows, without candidates.
        top: TopK,
    },
    /// Result: F32, the shape of `q`.
    Attend {
        /// F32 or BF16, `[t, heads, width]`.
        q: View,
        /// The rows of each pool.
        from: Vec<Listed>,
        /// F32, `[heads]`.
        sink: View,
        /// Scale and rounding.
        softmax: Softmax,
    },
    /// Results: where they are chosen by score, I32 `[t, k]`, the experts; then F32 their weights `[t, k]`
    /// and the scores `[t, experts]`.
    Route {
        /// F32 or BF16, `[t, hidden]`.
        x: View,
        /// `[experts, hidden]`.
        projection: Arc<Matrix<F>>,
        /// How experts are chosen.
        by: RouteBy,
        /// Experts for each row.
        top_k: usize,
        /// Factor on the weights.
        scale: f32,
    },
    /// Products of one input, each row of which is rounded to INT8. Results: `[m, out]` for each matrix, of its type.
    Project {
        /// F32 or BF16, `[m, in]`.
        x: View,
        /// Matrices, and what is kept of their products: F32 or BF16.
        products: Vec<(Arc<Matrix<F>>, DType)>,
    },
    /// The same by a matrix for each run of rows, as [`Op::Grouped`](crate::Op::Grouped) has it. Result: `[m, out]`, F32 or BF16.
    Grouped {
        /// F32 or BF16, `[m, in]`.
        x: View,
        /// A stack of matrices.
        weight: Arc<Matrix<F>>,
        /// I32, `[matrices]`: where the run of each ends; the last is `m`.
        ends: View,
        /// What is kept of the products.
        dtype: DType,
    },
    /// Result: F32, `[t, hidden]`.
    Experts {
        /// F32 or BF16, `[t, hidden]`.
        x: View,
        /// I32, `[t, k]`.
        experts: View,
        /// F32, `[t, k]`.
        weights: View,
        /// A stack of `[2 * inner, hidden]`: the gate above the other branch.
        gate_up: Arc<Matrix<F>>,
        /// A stack of `[hidden, inner]`.
        down: Arc<Matrix<F>>,
        /// The activation and its roundings.
        form: SwiGlu,
    },
}

/// Rows of a pool for each query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Listed {
    /// F32 or BF16, `[rows, width]`, the first of them zeros.
    pub rows: View,
    /// I32, `[t, k]`, padded with 0.
    pub at: View,
}

/// How [`Verb::Route`] chooses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RouteBy {
    /// The best scores after adding F32 `[1, experts]` or `[t, experts]`.
    Score(View),
    /// These, I32 `[t, k]`.
    Given(View),
}

/// Why a chip does not take a verb: what it has, and what was asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declined(pub String);

impl<F> Verb<F> {
    /// Its name among the [`Kernels`](deepseek_core::Kernels). Products of experts are a part of theirs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::HcPre { .. } => "hc_pre",
            Self::HcPost { .. } => "hc_post",
            Self::IndexTopk { .. } => "index_topk",
            Self::Attend { .. } => "attend",
            Self::Route { .. } => "route",
            Self::Project { .. } => "project",
            Self::Grouped { .. } => "experts' products",
            Self::Experts { .. } => "experts",
        }
    }
}

/// One line: the verb and its operands.
impl<F> fmt::Display for Verb<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::HcPre {
                streams,
                projection,
                carried,
                ..
            } => {
                write!(f, " {streams} by {projection}")?;
                carried.map_or(Ok(()), |carried| write!(f, " read by {carried}"))
            }
            Self::HcPost { y, streams, .. } => write!(f, " {y} into {streams}"),
            Self::IndexTopk {
                q, keys, seen, top, ..
            } => write!(f, " {q} of {keys} at {seen} best {}", top.k),
            Self::Attend { q, from, .. } => {
                write!(f, " {q}")?;
                from.iter()
                    .try_for_each(|Listed { rows, at }| write!(f, " to {rows} at {at}"))
            }
            Self::Route { x, projection, .. } => write!(f, " {x} by {projection}"),
            Self::Project { x, products } => {
                write!(f, " {x}")?;
                let mut products = products.iter();
                products.try_for_each(|(weight, _)| write!(f, " by {weight}"))
            }
            Self::Grouped {
                x, weight, ends, ..
            } => write!(f, " {x} by {weight} to {ends}"),
            Self::Experts {
                x,
                experts,
                gate_up,
                down,
                ..
            } => write!(f, " {x} to {experts} by {gate_up} and {down}"),
        }
    }
}
