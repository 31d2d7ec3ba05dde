//! One forward over a ragged batch, as attention sees it: rows, positions, and everything that a step
//! knows before its first layer, on the device.

use std::ops::Range;
use std::sync::Arc;

use deepseek_core::operands::{Groups, Runs, Selection};
use deepseek_core::rope::Rope;
use deepseek_core::{Kernels, NO_ROW, Result};

use crate::rooms::{Rooms, SourceKind};

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
    pub mask: WindowMask,
}

/// What the rows of a span see of the window, beside what came before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowMask {
    /// Each row itself and those before it, but none before position `from`.
    Causal {
        /// The first visible position; 0 unless a prompt was cut (`docs/models/deepseek-v41.md` §3.10).
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
    pub mask: WindowMask,
}

impl From<(usize, u32, usize)> for Part {
    /// `(slot, at, tokens)`, each row with all of its window.
    fn from((slot, at, tokens): (usize, u32, usize)) -> Self {
        Self {
            slot,
            at,
            tokens,
            mask: WindowMask::Causal { from: 0 },
        }
    }
}

impl Span {
    /// The position after its last row.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.at + self.rows.len() as u32
    }

    /// Its positions, one for each row.
    #[must_use]
    pub fn positions(&self) -> Range<u32> {
        self.at..self.end()
    }
}

/// Which frequencies a layer rotates by (`docs/models/deepseek-v4.md` §3.3).
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

/// The rows of a step with their positions, and what its layers need to know of both: made once a
/// step, on the device, so that no layer brings anything there.
#[derive(Debug)]
pub struct Batch<B: Kernels> {
    spans: Vec<Span>,
    positions: Vec<u32>,
    window_angles: B::Tensor,
    window: WindowStep<B>,
    compressed: Option<CompressedStep<B>>,
}

/// What a step does with the window of every layer.
#[derive(Debug)]
pub struct WindowStep<B: Kernels> {
    /// Where each row is stored, `[t]`.
    pub at: B::Ids,
    /// What each row sees, oldest first.
    pub seen: Selection<B>,
}

/// What a step knows for layers with compressed rows.
#[derive(Debug)]
struct CompressedStep<B: Kernels> {
    angles: B::Tensor,
    sources: Vec<SourceStep<B>>,
}

/// What a step does with the rows of every source of one kind.
#[derive(Debug)]
pub struct SourceStep<B: Kernels> {
    /// How the tokens of a group become one row; none where each is a row of its own.
    pub groups: Option<GroupStep<B>>,
    /// The rows that the step stores; none where it is known that it completes none.
    pub made: Option<MadeStep<B>>,
    /// The rows that each row of the step sees: those of finished groups, its own group included.
    pub seen: Selection<B>,
    /// The same, as the host knows it.
    pub seen_runs: Arc<Runs>,
}

/// The groups of a step, for a compressor.
#[derive(Debug)]
pub struct GroupStep<B: Kernels> {
    /// The place of each row in its group, `[t]`.
    pub places: B::Ids,
    /// What is pooled, and what is kept for later groups.
    pub groups: Groups<B>,
}

/// Where the rows that a step makes are stored, and by which angles they are rotated.
#[derive(Debug)]
pub struct MadeStep<B: Kernels> {
    /// Which rows are those of finished groups.
    pub done: Vec<MadeRows>,
    /// `[rows]`: a row of the pool, or [`NO_ROW`] for a group that stays open.
    pub at: B::Ids,
    /// `[rows, 2, pairs]`, of the first position of each group.
    pub angles: B::Tensor,
}

/// Rows of neighbouring groups that one sequence has finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeRows {
    /// The sequence's place in every pool.
    pub slot: usize,
    /// The first position of the first group.
    pub at: u32,
    /// Positions of a group.
    pub ratio: u32,
    /// The rows among those that the step makes.
    pub rows: Range<usize>,
}

impl<B: Kernels> Batch<B> {
    /// A batch of parts, in this order, for layers of every kind.
    pub fn new(
        be: &B,
        ropes: &Ropes,
        rooms: &Rooms,
        parts: impl IntoIterator<Item = impl Into<Part>>,
    ) -> Result<Self> {
        let mut batch = Self::windows(be, ropes, rooms, parts)?;
        let rope = &ropes.compressed;
        let (spans, positions) = (&batch.spans, &batch.positions);
        let sources = rooms.kinds().iter();
        batch.compressed = Some(CompressedStep {
            angles: be.upload(&rope.angles(positions).table())?,
            sources: sources
                .map(|kind| SourceStep::new(be, rope, rooms, kind, spans))
                .collect::<Result<_>>()?,
        });
        Ok(batch)
    }

    /// The same for layers with nothing but a window, such as those of drafters.
    pub fn windows(
        be: &B,
        ropes: &Ropes,
        rooms: &Rooms,
        parts: impl IntoIterator<Item = impl Into<Part>>,
    ) -> Result<Self> {
        let mut positions = Vec::new();
        let spans: Vec<Span> = parts
            .into_iter()
            .map(|part| {
                let part: Part = part.into();
                let first = positions.len();
                positions.extend((part.at..).take(part.tokens));
                Span {
                    slot: part.slot,
                    at: part.at,
                    rows: first..positions.len(),
                    mask: part.mask,
                }
            })
            .collect();
        Ok(Self {
            window_angles: be.upload(&ropes.window.angles(&positions).table())?,
            window: WindowStep::new(be, rooms, &spans)?,
            compressed: None,
            spans,
            positions,
        })
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

    /// The angles of each row, `[t, 2, pairs]`.
    ///
    /// # Panics
    /// If the batch is for windows alone and those of compressed rows are asked for.
    #[must_use]
    pub fn angles(&self, set: RopeSet) -> &B::Tensor {
        match set {
            RopeSet::Window => &self.window_angles,
            RopeSet::Compressed => &self.compressed().angles,
        }
    }

    /// What the step does with every window.
    #[must_use]
    pub fn window(&self) -> &WindowStep<B> {
        &self.window
    }

    /// What it does with every source of a kind, named by its place among [`Rooms::kinds`].
    ///
    /// # Panics
    /// If the batch is for windows alone.
    #[must_use]
    pub fn source(&self, kind: usize) -> &SourceStep<B> {
        &self.compressed().sources[kind]
    }

    fn compressed(&self) -> &CompressedStep<B> {
        let all = self.compressed.as_ref();
        all.expect("a batch for layers with compressed rows")
    }
}

impl<B: Kernels> WindowStep<B> {
    fn new(be: &B, rooms: &Rooms, spans: &[Span]) -> Result<Self> {
        let at: Vec<u32> = spans
            .iter()
            .flat_map(|span| span.positions().map(|p| rooms.window_row(span.slot, p)))
            .collect();
        let mut runs = Runs::with_capacity(at.len());
        for span in spans {
            for position in span.positions() {
                let first = |last: u32| (last + 1).saturating_sub(rooms.window());
                let (first, last) = match span.mask {
                    WindowMask::Causal { from } => (first(position).max(from), position),
                    WindowMask::Whole => (span.at.saturating_sub(rooms.window()), span.end() - 1),
                };
                runs.push(rooms.window_runs(span.slot, first..last + 1));
            }
        }
        Ok(Self {
            at: be.ids(&at)?,
            seen: Selection::of(be, &Arc::new(runs), rooms.window() as usize)?,
        })
    }
}

impl<B: Kernels> SourceStep<B> {
    fn new(be: &B, rope: &Rope, rooms: &Rooms, kind: &SourceKind, spans: &[Span]) -> Result<Self> {
        let rows = spans.iter().map(|span| span.rows.len()).sum();
        let mut seen = Runs::with_capacity(rows);
        let (mut at, mut starts, mut done) = (Vec::new(), Vec::new(), Vec::new());
        for span in spans {
            for position in span.positions() {
                let count = (position + 1) / kind.ratio;
                let first = rooms.entry_row(kind, span.slot, 0);
                seen.push(std::iter::once(first..first + count));
            }
            let groups = kind.groups(span, be.lists());
            let finished = groups.start..span.end() / kind.ratio;
            done.push(MadeRows {
                slot: span.slot,
                at: finished.start * kind.ratio,
                ratio: kind.ratio,
                rows: at.len()..at.len() + finished.len(),
            });
            for group in groups {
                let row = rooms.entry_row(kind, span.slot, group);
                at.push(if finished.contains(&group) {
                    row
                } else {
                    NO_ROW
                });
                starts.push(group * kind.ratio);
            }
        }
        let seen = Arc::new(seen);
        Ok(Self {
            groups: match kind.pooling {
                None => None,
                Some(_) => Some(GroupStep::new(be, rooms, kind, spans)?),
            },
            made: if at.is_empty() {
                None
            } else {
                Some(MadeStep {
                    done,
                    at: be.ids(&at)?,
                    angles: be.upload(&rope.angles(&starts).table())?,
                })
            },
            seen: Selection::of(be, &seen, rooms.padded(kind, seen.most(), be.lists()))?,
            seen_runs: seen,
        })
    }
}

impl<B: Kernels> GroupStep<B> {
    /// The rows of the pooled groups are counted through all that is read back of the sequences'
    /// tails, and then through the rows of the step.
    fn new(be: &B, rooms: &Rooms, kind: &SourceKind, spans: &[Span]) -> Result<Self> {
        let lists = be.lists();
        let mut old = Vec::new();
        let begins: Vec<usize> = spans
            .iter()
            .map(|span| {
                let begin = old.len();
                old.extend(
                    (kind.read_from(span, lists)..span.at.into()).map(|position| {
                        u32::try_from(position).map_or(NO_ROW, |p| kind.tail_row(span.slot, p))
                    }),
                );
                begin
            })
            .collect();
        let mut groups = Runs::default();
        let (mut places, mut kept) = (Vec::new(), Vec::new());
        for (span, begin) in spans.iter().zip(begins) {
            // What turns a position into a row: of what is read back, and of the step.
            let step = (old.len() + span.rows.start) as i64 - i64::from(span.at);
            let back = begin as i64 - kind.read_from(span, lists);
            for group in kind.groups(span, lists) {
                let members = kind.members(group, span.end());
                let split = members.end.min(span.at).max(members.start);
                let shift = |run: Range<u32>, by: i64| {
                    (i64::from(run.start) + by) as u32..(i64::from(run.end) + by) as u32
                };
                groups.push([
                    shift(members.start..split, back),
                    shift(split..members.end, step),
                ]);
            }
            let needed = kind.needed_from(span.end(), rooms.rewind());
            for position in span.positions() {
                places.push(position % kind.ratio);
                kept.push(if position < needed {
                    NO_ROW
                } else {
                    kind.tail_row(span.slot, position)
                });
            }
        }
        let count = groups.queries();
        Ok(Self {
            places: be.ids(&places)?,
            groups: Groups {
                old: be.ids(&old)?,
                old_count: old.len(),
                count,
                members: Selection::ending(be, &Arc::new(groups), kind.members_most())?,
                kept: be.ids(&kept)?,
            },
        })
    }
}
