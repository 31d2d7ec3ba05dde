//! One forward over a ragged batch, as attention sees it: rows, positions, angles.

use std::ops::Range;

use deepseek_core::rope::{Angles, Rope};

/// One sequence's rows of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The sequence's place in every pool.
    pub slot: usize,
    /// The position of its first row.
    pub at: u32,
    /// Its rows of the batch.
    pub rows: Range<usize>,
    /// What its rows see of the window.
    pub sight: Sight,
}

/// What the rows of a span see of the window, beside what came before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Each row itself and those before it, but none before position `from`.
    Causal {
        /// The first position in sight; 0 unless a prompt was cut (`docs/models/deepseek-v41.md`
        /// §3.10).
        from: u32,
    },
    /// Every row all rows of the span, and the window before the first (§5 there).
    Whole,
}

/// A sequence's part of a batch to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The sequence's place in every pool.
    pub slot: usize,
    /// The position of its first row.
    pub at: u32,
    /// How many rows it has.
    pub tokens: usize,
    /// What they see of the window.
    pub sight: Sight,
}

impl From<(usize, u32, usize)> for Part {
    /// `(slot, at, tokens)`, each row with all of its window.
    fn from((slot, at, tokens): (usize, u32, usize)) -> Self {
        Self {
            slot,
            at,
            tokens,
            sight: Sight::Causal { from: 0 },
        }
    }
}

impl Span {
    /// The position after its last row.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.at + self.rows.len() as u32
    }
}

/// Which frequencies a layer turns by (`docs/models/deepseek-v4.md` §3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeSet {
    /// The plain base, for layers with nothing but a window.
    Window,
    /// The base and YaRN of layers with compressed rows.
    Compressed,
}

/// Both sets of frequencies.
#[derive(Debug, Clone, PartialEq)]
pub struct Ropes {
    /// For [`RopeSet::Window`].
    pub window: Rope,
    /// For [`RopeSet::Compressed`].
    pub compressed: Rope,
}

impl Ropes {
    /// One of them.
    #[must_use]
    pub fn of(&self, set: RopeSet) -> &Rope {
        match set {
            RopeSet::Window => &self.window,
            RopeSet::Compressed => &self.compressed,
        }
    }
}

/// The rows of a step with their positions and angles.
#[derive(Debug, Clone)]
pub struct Batch {
    spans: Vec<Span>,
    positions: Vec<u32>,
    window: Angles,
    compressed: Angles,
}

impl Batch {
    /// A batch of parts, in this order.
    #[must_use]
    pub fn new(ropes: &Ropes, parts: impl IntoIterator<Item = impl Into<Part>>) -> Self {
        let mut positions = Vec::new();
        let spans = parts
            .into_iter()
            .map(|part| {
                let part: Part = part.into();
                let first = positions.len();
                positions.extend((part.at..).take(part.tokens));
                Span {
                    slot: part.slot,
                    at: part.at,
                    rows: first..positions.len(),
                    sight: part.sight,
                }
            })
            .collect();
        let window = ropes.window.angles(&positions);
        let compressed = ropes.compressed.angles(&positions);
        Self {
            spans,
            positions,
            window,
            compressed,
        }
    }

    /// The sequences' parts, in the order of their rows.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The position of each row.
    #[must_use]
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// The angles of each row.
    #[must_use]
    pub fn angles(&self, set: RopeSet) -> &Angles {
        match set {
            RopeSet::Window => &self.window,
            RopeSet::Compressed => &self.compressed,
        }
    }
}
