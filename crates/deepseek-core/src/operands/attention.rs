//! Which rows attention reads, and how it weighs them.

use crate::backend::Backend;
use crate::operands::Selection;

/// What [`Kernels::index_topk`](crate::Kernels::index_topk) picks for each query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopK {
    /// How many rows.
    pub k: usize,
    /// Blocks of rows to be kept as candidates of later layers.
    pub blocks: Option<Blocks>,
    /// What of a score is rounded to BF16.
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

/// Which parts of an index score are BF16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreRounding {
    /// Products, and what the weights make of them (`docs/models/deepseek-v41.md` §7.1, item 5).
    Products,
    /// Their sum as well (`docs/models/deepseek-v4.md` §5.1).
    ProductsAndSum,
}

/// What [`Kernels::index_topk`](crate::Kernels::index_topk) found.
#[derive(Debug, Clone)]
pub struct TopKRows<B: Backend> {
    /// The best rows of each query, ascending.
    pub rows: Selection<B>,
    /// The rows of the best blocks, where those were asked for.
    pub candidates: Option<Selection<B>>,
}

impl<B: Backend> TopKRows<B> {
    /// All rows that are seen, where no query sees more than it keeps.
    #[must_use]
    pub fn all(seen: &Selection<B>, top: &TopK) -> Self {
        Self {
            rows: seen.clone(),
            candidates: top.blocks.map(|_| seen.clone()),
        }
    }
}

/// How [`Kernels::attend`](crate::Kernels::attend) weighs rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Softmax {
    /// Factor on the logits.
    pub scale: f32,
    /// How the exponentials are rounded to BF16 before they weigh values. The sum that
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
