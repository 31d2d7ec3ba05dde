//! What differs between attention layers, and between releases: who publishes compressed rows, and
//! who chooses among them.

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
    /// Whether the layer makes those rows.
    pub publishes: bool,
    /// Which of the rows each query attends to.
    pub choice: Choice,
    /// Which frequencies the layer turns by.
    pub rope: RopeSet,
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
    },
}

impl Role {
    /// A layer with nothing but a window.
    pub const WINDOW: Self = Self {
        source: None,
        ratio: 0,
        publishes: false,
        choice: Choice::None,
        rope: RopeSet::Window,
    };

    /// Whether a compressed row also draws on the tokens of the row before it, and rows are chosen
    /// by an indexer: in V4 both hold for the ratio 4 alone (spec `deepseek-v4.md` §1.2).
    #[must_use]
    pub fn is_sparse(&self) -> bool {
        matches!(self.choice, Choice::Fresh { .. })
    }
}
