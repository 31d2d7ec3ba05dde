//! What compressors pool: groups of tokens, some of the step and some from before it.

use crate::backend::Backend;
use crate::operands::Selection;

/// How a run of rows is pooled into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// All rows of a group with all their channels.
    Plain,
    /// Rows have two halves. The last `ratio` rows of a group take part with their second half,
    /// the rows before them (the previous group) with their first.
    Overlap {
        /// Tokens a compressed row stands for.
        ratio: usize,
    },
}

/// The contributions of the last tokens of every sequence, as a compressor keeps them between steps.
#[derive(Debug)]
pub struct PoolState<B: Backend> {
    /// What is pooled, as 32-bit floats.
    pub kv: B::Rows,
    /// The weights before the softmax, row for row.
    pub scores: B::Rows,
}

/// What [`Kernels::compress`](crate::Kernels::compress) pools in a step, and what it keeps.
#[derive(Debug)]
pub struct Groups<B: Backend> {
    /// The rows of the state that are read back, `[old_count]`.
    pub old: B::Ids,
    /// How many these are.
    pub old_count: usize,
    /// The rows of each group in their order, counted through the rows that are read back and then
    /// through those of the step. A list that is padded is so in front.
    pub members: Selection<B>,
    /// How many groups there are.
    pub count: usize,
    /// Where the state keeps each row of the step, `[t]`; [`NO_ROW`](crate::NO_ROW) if not.
    pub kept: B::Ids,
}
