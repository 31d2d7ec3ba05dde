//! What differs between attention layers, and between releases: who produces compressed rows, how
//! they are made, and who chooses among them.

use deepseek_core::operands::Blocks;

use crate::batch::RopeSet;

/// A layer whose compressed rows are kept, by its place among those layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub usize);

/// One layer's part in the keeping of compressed rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    /// Whose rows the layer reads; none for a layer with nothing but a window.
    pub source: Option<SourceId>,
    /// Tokens one of those rows stands for; 0 without a source.
    pub ratio: u32,
    /// How the layer makes those rows, if it does.
    pub produces: Option<Producer>,
    /// Which of the rows each query attends to.
    pub choice: Choice,
    /// Which frequencies the layer rotates by.
    pub rope: RopeSet,
}

/// How compressed rows are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    /// How the tokens of a group become one row.
    pub compression: Compression,
    /// Where the indexer's keys come from.
    pub keys: Keys,
}

/// How the tokens of a group become one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// A row for each token, as it is.
    Each,
    /// A weighted sum, the weights a softmax over the group for each channel on its own.
    Gated {
        /// Whether the place in the group enters the weights (`ape`).
        bias: bool,
        /// Whether a row also draws on the tokens of the row before it.
        overlap: bool,
    },
}

/// Where the keys come from that an indexer scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// There is no indexer.
    None,
    /// From a compressor of their own (`docs/models/deepseek-v4.md` §3.6).
    Compressed,
    /// From the rows, before these are rotated (`docs/models/deepseek-v41.md` §3.5).
    Projected,
}

/// Which of a source's rows a query attends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// None: the window alone.
    None,
    /// All that are visible (HCA).
    All,
    /// The best `k` by the layer's own indexer (CSA).
    Fresh {
        /// Rows per query.
        k: usize,
        /// The first level of a two-level choice.
        filter: Filter,
    },
    /// Any `k`, drawn anew for each query: what a choice is worth is seen when this takes its place.
    Random {
        /// Rows per query.
        k: usize,
        /// Where the draws begin; a query's rows follow from it and from its position.
        seed: u64,
    },
    /// Those of the last layer that chose.
    Carried,
}

/// The first level of a two-level choice (`docs/models/deepseek-v41.md` §3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// All visible rows are scored.
    Open,
    /// All visible rows are scored, and the best blocks kept as candidates of later layers.
    Keep(Blocks),
    /// Only the candidates are scored.
    Use,
}

impl Role {
    /// A layer with nothing but a window.
    pub const WINDOW: Self = Self {
        source: None,
        ratio: 0,
        produces: None,
        choice: Choice::None,
        rope: RopeSet::Window,
    };
}
