//! One primitive as data.

use std::fmt;
use std::sync::Arc;

use deepseek_core::{Rotation, Rounding, Unary};

use crate::matrix::Matrix;
use crate::view::View;

/// One primitive: shapes checked, memory of the result allotted, nothing left to decide but the call.
///
/// Floats are F32 or BF16. Sums are taken in 32 bits or more, and what goes into a BF16 result is rounded
/// once. Row numbers count from zero within the view that they are used on, and name rows that exist. A
/// result shares no byte with an operand.
#[derive(Debug, Clone, PartialEq)]
pub enum Op<F> {
    /// Every byte of `out` is `byte`.
    Fill {
        /// What is filled.
        out: View,
        /// With what.
        byte: u8,
    },
    /// The same numbers, BF16 as F32.
    Widen {
        /// BF16.
        x: View,
        /// F32, of the same dimensions.
        out: View,
    },
    /// The round trip through a format, row by row: `[rows, width]`, exact.
    Round {
        /// F32 or BF16.
        x: View,
        /// The format.
        to: Rounding,
        /// BF16 where that holds every result, else F32.
        out: View,
    },
    /// `x + by`, of I32.
    Shift {
        /// Row numbers.
        x: View,
        /// What is added.
        by: i32,
        /// Row numbers.
        out: View,
    },
    /// `[outer, length, inner]` out of `[outer, n, inner]`, any type.
    Slice {
        /// The whole.
        from: View,
        /// Where the part begins in the middle dimension.
        start: usize,
        /// The part.
        out: View,
    },
    /// `[outer, n_i, inner]`, one behind the other: `[outer, n, inner]`, any type.
    Concat {
        /// The parts, none of them empty.
        parts: Vec<View>,
        /// The whole.
        out: View,
    },
    /// Rows of `[n, width]`, any type.
    Gather {
        /// The rows there are.
        from: View,
        /// Which, `[m]`.
        at: View,
        /// `[m, width]`.
        out: View,
    },
    /// The same in each of several tables: `[t, n, block]` at `[t, k]` gives `[t, k, block]`, any type.
    Take {
        /// The tables.
        from: View,
        /// Which blocks of each.
        at: View,
        /// The blocks.
        out: View,
    },
    /// Stores rows in place. A row may be named several times where nobody reads what it is then.
    Scatter {
        /// `[n, width]`.
        into: View,
        /// Which, `[m]`.
        at: View,
        /// `[m, width]`, of the type of `into`.
        from: View,
    },
    /// `x · wᵀ`: `[m, in]` to `[m, out]`.
    Linear {
        /// F32 or BF16.
        x: View,
        /// One matrix.
        weight: Arc<Matrix<F>>,
        /// F32 or BF16.
        out: View,
    },
    /// The same by a matrix for each run of rows: run `i` ends before row `ends[i]`, begins where the one
    /// before it ends, and may be empty. Rows behind the last run are left as they are, or hold any numbers.
    Grouped {
        /// F32 or BF16, `[m, in]`.
        x: View,
        /// A stack of matrices.
        weight: Arc<Matrix<F>>,
        /// `[matrices]`; the last is at most `m`.
        ends: View,
        /// F32 or BF16, `[m, out]`.
        out: View,
    },
    /// `a · b`: `[batch, m, k]` by `[batch, k, n]` gives `[batch, m, n]`, F32.
    Matmul {
        /// F32 or BF16.
        a: View,
        /// Of the same type.
        b: View,
        /// F32.
        out: View,
    },
    /// `a · bᵀ`: `[batch, m, k]` by `[batch, n, k]` gives `[batch, m, n]`, F32.
    MatmulT {
        /// F32 or BF16.
        a: View,
        /// Of the same type.
        b: View,
        /// F32.
        out: View,
    },
    /// `a + b`, F32, of one rank; dimensions of length 1 are repeated.
    Add {
        /// One term.
        a: View,
        /// The other.
        b: View,
        /// The sum.
        out: View,
    },
    /// `a * b`, F32, of one rank; dimensions of length 1 are repeated.
    Mul {
        /// One factor.
        a: View,
        /// The other.
        b: View,
        /// The product.
        out: View,
    },
    /// `f` of every number, F32.
    Map {
        /// The function.
        f: Unary,
        /// Its arguments.
        x: View,
        /// Its values.
        out: View,
    },
    /// The sums over the middle of `[outer, n, inner]`, F32: `[outer, 1, inner]`.
    Sum {
        /// What is added.
        x: View,
        /// The sums.
        out: View,
    },
    /// The largest over the middle of `[outer, n, inner]`, F32: `[outer, 1, inner]`.
    Max {
        /// What is compared.
        x: View,
        /// The largest.
        out: View,
    },
    /// `weight ⊙ x / sqrt(mean(x²) + eps)` of each row of `[rows, width]`.
    RmsNorm {
        /// F32 or BF16.
        x: View,
        /// F32, `[width]`; none for ones.
        weight: Option<View>,
        /// Added to the mean.
        eps: f32,
        /// F32 or BF16.
        out: View,
    },
    /// Rotates adjacent pairs of the last `2 * pairs` channels of `[t, inner, width]`.
    Rope {
        /// F32 or BF16.
        x: View,
        /// F32, `[t, 2, pairs]`: cosines, then sines.
        angles: View,
        /// Which way.
        rotation: Rotation,
        /// F32.
        out: View,
    },
    /// Where the `k` largest of each row of `[t, n]` stand, ascending, of those alike the first ones; what is
    /// no number is the least.
    TopK {
        /// F32.
        x: View,
        /// I32, `[t, k]`.
        out: View,
    },
    /// 0 for each number that is not 0, `-∞` for each that is.
    Mask {
        /// I32.
        at: View,
        /// F32.
        out: View,
    },
    /// Sorts the visits of rows to experts by expert, those to one expert by row. A visit's number is that of
    /// its place in `experts`.
    Dispatch {
        /// I32, `[t, k]`: the experts that each row visits.
        experts: View,
        /// I32, `[t * k]`: the row of each visit, sorted.
        rows: View,
        /// I32, `[t * k]`: the number of each visit, sorted.
        visits: View,
        /// I32, `[t * k]`: where each visit came to stand.
        places: View,
        /// I32, `[experts]`: where the visits of each expert end, as [`Op::Grouped`] takes it.
        ends: View,
    },
    /// The sum of the `x` of all ranks, the same bits on each, F32.
    AllReduce {
        /// A term.
        x: View,
        /// The sum.
        out: View,
    },
    /// The `x` of all ranks, one behind the other, any type of floats.
    AllGather {
        /// The part of this rank.
        x: View,
        /// All parts: the ranks are its first dimension.
        out: View,
    },
}

impl<F> Op<F> {
    /// What it reads.
    #[must_use]
    pub fn reads(&self) -> Vec<View> {
        match self {
            Self::Fill { .. } => Vec::new(),
            Self::Concat { parts, .. } => parts.clone(),
            Self::Gather { from, at, .. }
            | Self::Take { from, at, .. }
            | Self::Scatter { from, at, .. } => vec![*from, *at],
            Self::Linear { x, weight, .. } => [&[*x][..], &weight.parts].concat(),
            Self::Grouped {
                x, weight, ends, ..
            } => [&[*x, *ends][..], &weight.parts].concat(),
            Self::Matmul { a, b, .. }
            | Self::MatmulT { a, b, .. }
            | Self::Add { a, b, .. }
            | Self::Mul { a, b, .. } => vec![*a, *b],
            Self::RmsNorm { x, weight, .. } => std::iter::once(*x).chain(*weight).collect(),
            Self::Rope { x, angles, .. } => vec![*x, *angles],
            Self::Dispatch { experts: x, .. }
            | Self::Slice { from: x, .. }
            | Self::Mask { at: x, .. }
            | Self::Widen { x, .. }
            | Self::Round { x, .. }
            | Self::Shift { x, .. }
            | Self::Map { x, .. }
            | Self::Sum { x, .. }
            | Self::Max { x, .. }
            | Self::TopK { x, .. }
            | Self::AllReduce { x, .. }
            | Self::AllGather { x, .. } => vec![*x],
        }
    }

    /// What it writes.
    #[must_use]
    pub fn writes(&self) -> Vec<View> {
        match self {
            Self::Fill { out, .. }
            | Self::Widen { out, .. }
            | Self::Round { out, .. }
            | Self::Shift { out, .. }
            | Self::Slice { out, .. }
            | Self::Concat { out, .. }
            | Self::Gather { out, .. }
            | Self::Take { out, .. }
            | Self::Scatter { into: out, .. }
            | Self::Linear { out, .. }
            | Self::Grouped { out, .. }
            | Self::Matmul { out, .. }
            | Self::MatmulT { out, .. }
            | Self::Add { out, .. }
            | Self::Mul { out, .. }
            | Self::Map { out, .. }
            | Self::Sum { out, .. }
            | Self::Max { out, .. }
            | Self::RmsNorm { out, .. }
            | Self::Rope { out, .. }
            | Self::TopK { out, .. }
            | Self::Mask { out, .. }
            | Self::AllReduce { out, .. }
            | Self::AllGather { out, .. } => vec![*out],
            Self::Dispatch {
                rows,
                visits,
                places,
                ends,
                ..
            } => vec![*rows, *visits, *places, *ends],
        }
    }
}

/// One line: what is done, to what, and what comes of it.
impl<F> fmt::Display for Op<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fill { out, byte } => write!(f, "fill {out} with {byte:#04x}"),
            Self::Widen { x, out } => write!(f, "widen {x} -> {out}"),
            Self::Round { x, to, out } => write!(f, "round {x} to {to:?} -> {out}"),
            Self::Shift { x, by, out } => write!(f, "shift {x} by {by} -> {out}"),
            Self::Slice { from, start, out } => write!(f, "slice {from} from {start} -> {out}"),
            Self::Concat { parts, out } => {
                let parts: Vec<_> = parts.iter().map(|part| part.dims.to_string()).collect();
                write!(f, "concat {} -> {out}", parts.join(" "))
            }
            Self::Gather { from, at, out } => write!(f, "gather {from} at {at} -> {out}"),
            Self::Take { from, at, out } => write!(f, "take {from} at {at} -> {out}"),
            Self::Scatter { into, at, from } => write!(f, "scatter {from} at {at} into {into}"),
            Self::Linear { x, weight, out } => write!(f, "linear {x} by {weight} -> {out}"),
            Self::Grouped {
                x,
                weight,
                ends,
                out,
            } => write!(f, "grouped {x} by {weight} to {ends} -> {out}"),
            Self::Matmul { a, b, out } => write!(f, "matmul {a} by {b} -> {out}"),
            Self::MatmulT { a, b, out } => write!(f, "matmul_t {a} by {b} -> {out}"),
            Self::Add { a, b, out } => write!(f, "add {a} and {b} -> {out}"),
            Self::Mul { a, b, out } => write!(f, "mul {a} and {b} -> {out}"),
            Self::Map { f: of, x, out } => write!(f, "map {of:?} of {x} -> {out}"),
            Self::Sum { x, out } => write!(f, "sum {x} -> {out}"),
            Self::Max { x, out } => write!(f, "max {x} -> {out}"),
            Self::RmsNorm {
                x,
                weight,
                eps,
                out,
            } => {
                let by = weight.map_or(String::new(), |weight| format!(" by {weight}"));
                write!(f, "rms_norm {x}{by} eps {eps:e} -> {out}")
            }
            Self::Rope {
                x,
                angles,
                rotation,
                out,
            } => write!(f, "rope {x} by {angles} {rotation:?} -> {out}"),
            Self::TopK { x, out } => write!(f, "top_k {x} -> {out}"),
            Self::Mask { at, out } => write!(f, "mask {at} -> {out}"),
            Self::Dispatch { experts, ends, .. } => {
                write!(f, "dispatch {experts} to {} experts", ends.count())
            }
            Self::AllReduce { x, out } => write!(f, "all_reduce {x} -> {out}"),
            Self::AllGather { x, out } => write!(f, "all_gather {x} -> {out}"),
        }
    }
}
