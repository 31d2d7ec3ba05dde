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
}

impl Span {
    /// The position after its last row.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.at + self.rows.len() as u32
    }
}

/// Which frequencies a layer turns by (spec `deepseek-v4.md` §3.3).
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

/// The rows of a step with their positions and angles.
#[derive(Debug, Clone)]
pub struct Batch {
    spans: Vec<Span>,
    positions: Vec<u32>,
    window: Angles,
    compressed: Angles,
}

impl Batch {
    /// A batch of `(slot, at, tokens)` spans, in this order.
    #[must_use]
    pub fn new(ropes: &Ropes, parts: impl IntoIterator<Item = (usize, u32, usize)>) -> Self {
        let mut positions = Vec::new();
        let spans = parts
            .into_iter()
            .map(|(slot, at, tokens)| {
                let first = positions.len();
                positions.extend((at..).take(tokens));
                Span {
                    slot,
                    at,
                    rows: first..positions.len(),
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
