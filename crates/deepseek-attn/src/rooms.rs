//! Where the rows of sequences lie: the one place that maps a sequence, and a position or an index,
//! to a row of a pool.

use std::ops::Range;

use deepseek_core::Lists;

use crate::batch::Span;
use crate::role::Compression;

/// The fewest rows that a list of visible rows is padded to.
const PADDED_MIN: usize = 64;

/// The rooms of every sequence in every pool. All sizes are per sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rooms {
    window: u32,
    ring: u32,
    context: u32,
    rewind: u32,
    kinds: Vec<SourceKind>,
}

/// What the sources have in common that make their rows alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceKind {
    /// Tokens that a row stands for.
    pub ratio: u32,
    /// How they become one; none where each token is a row of its own.
    pub pooling: Option<PoolKind>,
}

/// How far a row's tokens reach, and how many contributions of a sequence are kept for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolKind {
    /// Whether a row also draws on the tokens of the row before it.
    pub overlap: bool,
    /// Rows of a ring of contributions.
    pub tail: u32,
}

impl SourceKind {
    /// Sources of this ratio and compression, in a memory of sequences that may be taken back by `rewind`.
    #[must_use]
    pub fn new(ratio: u32, compression: Compression, rewind: u32) -> Self {
        let pooling = match compression {
            Compression::Each => None,
            Compression::Gated { overlap, .. } => Some(PoolKind {
                overlap,
                tail: ratio * (1 + u32::from(overlap)) + rewind,
            }),
        };
        Self { ratio, pooling }
    }

    fn overlap(&self) -> u32 {
        u32::from(self.pooling.is_some_and(|pool| pool.overlap))
    }

    /// Rows of a ring of contributions, of each sequence.
    #[must_use]
    pub fn tail_rows(&self) -> u32 {
        self.pooling.map_or(0, |pool| pool.tail)
    }

    /// Where the contributions of neighbouring positions are kept, in their order.
    pub(crate) fn tail_runs(&self, slot: usize, positions: Range<u32>) -> [Range<u32>; 2] {
        ring_runs(slot, self.tail_rows(), positions)
    }

    /// Where the contribution of a position is kept.
    #[must_use]
    pub fn tail_row(&self, slot: usize, position: u32) -> u32 {
        slot as u32 * self.tail_rows() + position % self.tail_rows()
    }

    /// The first position whose contribution may still be needed when a sequence stands at `end` and
    /// may be taken back by `rewind`.
    #[must_use]
    pub fn needed_from(&self, end: u32, rewind: u32) -> u32 {
        let group = end.saturating_sub(rewind) / self.ratio;
        group.saturating_sub(self.overlap()) * self.ratio
    }

    /// The groups that a span makes rows of: those that it completes, or, where lists are padded, as
    /// many as it could complete from any position.
    pub(crate) fn groups(&self, span: &Span, lists: Lists) -> Range<u32> {
        let first = span.at / self.ratio;
        match lists {
            Lists::Runs => first..span.end() / self.ratio,
            Lists::Padded | Lists::Fixed => {
                first..first + (span.rows.len() as u32).div_ceil(self.ratio)
            }
        }
    }

    /// The first position before a span whose contribution is read back for its groups; below 0 where
    /// lists are padded.
    pub(crate) fn read_from(&self, span: &Span, lists: Lists) -> i64 {
        match lists {
            Lists::Runs => {
                let groups = self.groups(span, lists);
                if groups.is_empty() {
                    span.at.into()
                } else {
                    self.members(groups.start, span.end()).start.into()
                }
            }
            Lists::Padded | Lists::Fixed => i64::from(span.at) - self.members_most() as i64,
        }
    }

    /// The positions of a group that lie before `end`.
    pub(crate) fn members(&self, group: u32, end: u32) -> Range<u32> {
        group.saturating_sub(self.overlap()) * self.ratio..((group + 1) * self.ratio).min(end)
    }

    /// Positions of a group.
    pub(crate) fn members_most(&self) -> usize {
        (self.ratio * (1 + self.overlap())) as usize
    }
}

impl Rooms {
    /// Windows of `window` positions in rings of `ring` rows, and pools for `context` positions of
    /// sources of these kinds. Up to `rewind` positions may be taken back.
    ///
    /// # Panics
    /// If the ring is not longer than the window.
    #[must_use]
    pub fn new(
        [window, ring, context]: [usize; 3],
        rewind: u32,
        sources: impl IntoIterator<Item = SourceKind>,
    ) -> Self {
        assert!(
            ring > window,
            "a ring of {ring} rows for a window of {window}"
        );
        let mut kinds = Vec::new();
        for kind in sources {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        Self {
            window: window as u32,
            ring: ring as u32,
            context: context as u32,
            rewind,
            kinds,
        }
    }

    /// Positions a query sees through its window, its own included.
    #[must_use]
    pub fn window(&self) -> u32 {
        self.window
    }

    /// Positions that may be taken back.
    #[must_use]
    pub fn rewind(&self) -> u32 {
        self.rewind
    }

    /// Rows of a window's ring.
    #[must_use]
    pub fn ring(&self) -> u32 {
        self.ring
    }

    /// The kinds of sources there are.
    #[must_use]
    pub fn kinds(&self) -> &[SourceKind] {
        &self.kinds
    }

    /// The place of a kind among [`Rooms::kinds`].
    ///
    /// # Panics
    /// If there is no such kind.
    #[must_use]
    pub fn place(&self, kind: &SourceKind) -> usize {
        let place = self.kinds.iter().position(|own| own == kind);
        place.expect("a kind of source that there is")
    }

    /// The row of a window that a position has.
    #[must_use]
    pub fn window_row(&self, slot: usize, position: u32) -> u32 {
        slot as u32 * self.ring + position % self.ring
    }

    /// The rows of neighbouring positions in a window, in their order.
    pub(crate) fn window_runs(&self, slot: usize, positions: Range<u32>) -> [Range<u32>; 2] {
        ring_runs(slot, self.ring, positions)
    }

    /// Compressed rows of one sequence.
    #[must_use]
    pub fn entries(&self, kind: &SourceKind) -> u32 {
        self.context.div_ceil(kind.ratio)
    }

    /// The compressed row of this index of a sequence.
    #[must_use]
    pub fn entry_row(&self, kind: &SourceKind, slot: usize, index: u32) -> u32 {
        slot as u32 * self.entries(kind) + index
    }

    /// What a list of `count` visible rows is padded to: all that there are, or a power of two, so that
    /// shapes change a few times in the life of a sequence and not with every group, but never more.
    pub(crate) fn padded(&self, kind: &SourceKind, count: usize, lists: Lists) -> usize {
        let all = self.entries(kind) as usize;
        match lists {
            Lists::Fixed => all,
            Lists::Padded => count.next_power_of_two().max(PADDED_MIN).min(all),
            Lists::Runs => count,
        }
    }
}

/// The rows of neighbouring positions in rings of `ring` rows: one run, or two where the ring wraps. The
/// others are empty.
///
/// # Panics
/// If there are more positions than rows.
#[must_use]
pub fn ring_runs(slot: usize, ring: u32, positions: Range<u32>) -> [Range<u32>; 2] {
    if positions.is_empty() {
        return [0..0, 0..0];
    }
    assert!(
        positions.len() <= ring as usize,
        "{positions:?} in {ring} rows"
    );
    let base = slot as u32 * ring;
    let (start, end) = (positions.start % ring, (positions.end - 1) % ring + 1);
    if start < end {
        [base + start..base + end, 0..0]
    } else {
        [base + start..base + ring, base..base + end]
    }
}
