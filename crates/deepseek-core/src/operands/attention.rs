//! Which rows attention reads, and how it weighs them.

use std::ops::Range;

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
