//! One forward over a ragged batch, as attention sees it: rows, positions, and everything that a step
//! knows before its first layer, on the device.

use std::ops::Range;
use std::sync::Arc;

use deepseek_core::operands::{Groups, Runs, Selection};
use deepseek_core::rope::Rope;
use deepseek_core::{Few, Kernels, NO_ROW, Result};

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
    lists: BatchLists<B>,
    window_angles: B::Tensor,
    window: WindowStep<B>,
    compressed_angles: Option<B::Tensor>,
}

/// Memory that batches are made in, one after the other: a step that is like an earlier one asks for no more.
#[derive(Debug)]
pub struct BatchLists<B: Kernels> {
    spans: Vec<Span>,
    positions: Vec<u32>,
    /// What each row sees of the window.
    window: Arc<Runs>,
    sources: Vec<SourceStep<B>>,
    /// Those that the sources of an earlier batch have left.
    runs: Vec<SourceRuns>,
    staged: Staged,
}

impl<B: Kernels> Default for BatchLists<B> {
    fn default() -> Self {
        Self {
            spans: Vec::new(),
            positions: Vec::new(),
            window: Arc::default(),
            sources: Vec::new(),
            runs: Vec::new(),
            staged: Staged::default(),
        }
    }
}

/// Lists of runs that a source has.
#[derive(Debug, Default)]
struct SourceRuns {
    seen: Arc<Runs>,
    members: Arc<Runs>,
}

/// Lists of numbers on their way to the device.
#[derive(Debug, Default)]
struct Staged {
    at: Vec<u32>,
    starts: Vec<u32>,
    old: Vec<u32>,
    places: Vec<u32>,
    kept: Vec<u32>,
    angles: Vec<f32>,
}

impl Staged {
    /// No row numbers.
    fn clear(&mut self) {
        let Self {
            at,
            starts,
            old,
            places,
            kept,
            angles: _,
        } = self;
        for list in [at, starts, old, places, kept] {
            list.clear();
        }
    }
}

/// The angles at `positions`, which pass through `table`.
fn upload_angles<B: Kernels>(
    be: &B,
    rope: &Rope,
    positions: &[u32],
    table: &mut Vec<f32>,
) -> Result<B::Tensor> {
    table.clear();
    rope.tabulate(positions, table);
    be.upload_slice(&[positions.len(), 2, rope.frequencies().len()], table)
}

/// Puts other runs in the memory of earlier ones, unless somebody still holds those.
fn refill(runs: &mut Arc<Runs>, fill: impl FnOnce(&mut Runs)) {
    if Arc::get_mut(runs).is_none() {
        *runs = Arc::default();
    }
    let own = Arc::get_mut(runs).expect("nobody else holds it");
    own.clear();
    fill(own);
}

/// What a step does with the window of every layer.
#[derive(Debug)]
pub struct WindowStep<B: Kernels> {
    /// Where each row is stored, `[t]`.
    pub at: B::Ids,
    /// What each row sees, oldest first.
    pub seen: Selection<B>,
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
    /// The members of the groups, as the host knows them.
    member_runs: Arc<Runs>,
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
    pub done: Few<MadeRows>,
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
        Self::within(BatchLists::default(), be, ropes, rooms, parts)
    }

    /// The same in memory that an earlier one has left.
    pub fn within(
        lists: BatchLists<B>,
        be: &B,
        ropes: &Ropes,
        rooms: &Rooms,
        parts: impl IntoIterator<Item = impl Into<Part>>,
    ) -> Result<Self> {
        let mut batch = Self::windows_within(lists, be, ropes, rooms, parts)?;
        let rope = &ropes.compressed;
        let BatchLists {
            spans,
            positions,
            sources,
            runs,
            staged,
            ..
        } = &mut batch.lists;
        let angles = upload_angles(be, rope, positions, &mut staged.angles)?;
        batch.compressed_angles = Some(angles);
        let mut runs = runs.drain(..);
        for kind in rooms.kinds() {
            let runs = runs.next().unwrap_or_default();
            sources.push(SourceStep::new(
                be,
                rope,
                (rooms, kind),
                spans,
                runs,
                staged,
            )?);
        }
        drop(runs);
        Ok(batch)
    }

    /// A batch for layers with nothing but a window, such as those of drafters.
    pub fn windows(
        be: &B,
        ropes: &Ropes,
        rooms: &Rooms,
        parts: impl IntoIterator<Item = impl Into<Part>>,
    ) -> Result<Self> {
        Self::windows_within(BatchLists::default(), be, ropes, rooms, parts)
    }

    /// The same in memory that an earlier one has left.
    pub fn windows_within(
        mut lists: BatchLists<B>,
        be: &B,
        ropes: &Ropes,
        rooms: &Rooms,
        parts: impl IntoIterator<Item = impl Into<Part>>,
    ) -> Result<Self> {
        let BatchLists {
            spans,
            positions,
            window,
            staged,
            ..
        } = &mut lists;
        spans.clear();
        positions.clear();
        for part in parts {
            let part: Part = part.into();
            let first = positions.len();
            positions.extend((part.at..).take(part.tokens));
            spans.push(Span {
                slot: part.slot,
                at: part.at,
                rows: first..positions.len(),
                mask: part.mask,
            });
        }
        Ok(Self {
            window_angles: upload_angles(be, &ropes.window, positions, &mut staged.angles)?,
            window: WindowStep::new(be, rooms, spans, window, staged)?,
            compressed_angles: None,
            lists,
        })
    }

    /// The memory that it was made in, for another.
    #[must_use]
    pub fn into_lists(self) -> BatchLists<B> {
        let Self { mut lists, .. } = self;
        let left = lists.sources.drain(..).map(SourceStep::into_runs);
        lists.runs.extend(left);
        lists
    }

    /// The sequences' parts, in the order of their rows.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.lists.spans
    }

    /// The position of each row.
    #[must_use]
    pub fn positions(&self) -> &[u32] {
        &self.lists.positions
    }

    /// The angles of each row, `[t, 2, pairs]`.
    ///
    /// # Panics
    /// If the batch is for windows alone and those of compressed rows are asked for.
    #[must_use]
    pub fn angles(&self, set: RopeSet) -> &B::Tensor {
        match set {
            RopeSet::Window => &self.window_angles,
            RopeSet::Compressed => self
                .compressed_angles
                .as_ref()
                .expect("a batch for layers with compressed rows"),
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
        &self.lists.sources[kind]
    }
}

impl<B: Kernels> WindowStep<B> {
    fn new(
        be: &B,
        rooms: &Rooms,
        spans: &[Span],
        runs: &mut Arc<Runs>,
        staged: &mut Staged,
    ) -> Result<Self> {
        staged.clear();
        for span in spans {
            let rows = span.positions().map(|p| rooms.window_row(span.slot, p));
            staged.at.extend(rows);
        }
        refill(runs, |runs| {
            for span in spans {
                for position in span.positions() {
                    let first = |last: u32| (last + 1).saturating_sub(rooms.window());
                    let (first, last) = match span.mask {
                        WindowMask::Causal { from } => (first(position).max(from), position),
                        WindowMask::Whole => {
                            (span.at.saturating_sub(rooms.window()), span.end() - 1)
                        }
                    };
                    runs.push(rooms.window_runs(span.slot, first..last + 1));
                }
            }
        });
        Ok(Self {
            at: be.ids(&staged.at)?,
            seen: Selection::of(be, runs, rooms.window() as usize)?,
        })
    }
}

impl<B: Kernels> SourceStep<B> {
    fn new(
        be: &B,
        rope: &Rope,
        (rooms, kind): (&Rooms, &SourceKind),
        spans: &[Span],
        SourceRuns {
            mut seen,
            mut members,
        }: SourceRuns,
        staged: &mut Staged,
    ) -> Result<Self> {
        staged.clear();
        refill(&mut seen, |seen| {
            for span in spans {
                let first = rooms.entry_row(kind, span.slot, 0);
                for position in span.positions() {
                    let count = (position + 1) / kind.ratio;
                    seen.push(std::iter::once(first..first + count));
                }
            }
        });
        let (at, starts) = (&mut staged.at, &mut staged.starts);
        let mut done = Few::new();
        for span in spans {
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
        Ok(Self {
            groups: match kind.pooling {
                None => None,
                Some(_) => {
                    let from = (rooms, kind);
                    Some(GroupStep::new(be, from, spans, &mut members, staged)?)
                }
            },
            made: if staged.at.is_empty() {
                None
            } else {
                Some(MadeStep {
                    done,
                    at: be.ids(&staged.at)?,
                    angles: upload_angles(be, rope, &staged.starts, &mut staged.angles)?,
                })
            },
            seen: Selection::of(be, &seen, rooms.padded(kind, seen.most(), be.lists()))?,
            seen_runs: seen,
            member_runs: members,
        })
    }

    /// The lists that it was made in, which nothing else of it holds any more.
    fn into_runs(self) -> SourceRuns {
        SourceRuns {
            seen: self.seen_runs,
            members: self.member_runs,
        }
    }
}

impl<B: Kernels> GroupStep<B> {
    /// The rows of the pooled groups are counted through all that is read back of the sequences'
    /// tails, and then through the rows of the step.
    fn new(
        be: &B,
        (rooms, kind): (&Rooms, &SourceKind),
        spans: &[Span],
        runs: &mut Arc<Runs>,
        staged: &mut Staged,
    ) -> Result<Self> {
        let lists = be.lists();
        let Staged {
            old, places, kept, ..
        } = staged;
        let mut begins = Few::<usize>::new();
        for span in spans {
            begins.push(old.len());
            let positions = kind.read_from(span, lists)..span.at.into();
            old.extend(positions.map(|position| {
                u32::try_from(position).map_or(NO_ROW, |p| kind.tail_row(span.slot, p))
            }));
        }
        refill(runs, |groups| {
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
            }
        });
        for span in spans {
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
        Ok(Self {
            places: be.ids(places)?,
            groups: Groups {
                old: be.ids(old)?,
                old_count: old.len(),
                count: runs.queries(),
                members: Selection::ending(be, runs, kind.members_most())?,
                kept: be.ids(kept)?,
            },
        })
    }
}
