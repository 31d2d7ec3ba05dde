//! Prompts that are cut: rows that wait behind the first layers, and those that go on when a prompt ends.

use std::ops::Range;

use deepseek_attn::memory::{export, import};
use deepseek_attn::rooms::ring_runs;
use deepseek_attn::{Part, Span, WindowMask};
use deepseek_core::operands::Inputs;
use deepseek_core::{DeviceTensor, Few, Kernels, NO_ROW, RowFormat};

use super::{Flow, FlowLists, Model, Sequence};
use crate::block::Residual;
use crate::decoder::{Step, TokenId, Want};
use crate::error::Result;
use crate::limits::REWIND_MAX;
use crate::plan::Plan;

/// The last rows of every sequence that have run through the first layers alone, in rings by position.
#[derive(Debug)]
pub(crate) struct Replay<B: Kernels> {
    streams: B::Rows,
    shares: B::Rows,
    ring: u32,
}

/// What waits of one sequence, beside its rows. Those at or beyond where it stands have been taken back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pending {
    /// The position of the first.
    pub(crate) at: u32,
    pub(crate) tokens: Vec<TokenId>,
    pub(crate) media: Vec<bool>,
}

impl Pending {
    /// Nothing, from a position on.
    fn at(at: u32) -> Self {
        Self {
            at,
            tokens: Vec::new(),
            media: Vec::new(),
        }
    }

    /// Adds a span's own tokens to what waits before it.
    fn join<B: Kernels>(&mut self, flow: &Flow<B>, span: &Span) {
        let kept = span.at.saturating_sub(self.at);
        if kept == 0 {
            self.at = span.at;
        }
        self.tokens.truncate(kept as usize);
        self.media.truncate(kept as usize);
        let rows = span.rows.clone();
        self.tokens.extend(&flow.tokens[rows.clone()]);
        match flow.media.get(rows) {
            Some(media) => self.media.extend(media),
            None => self.media.resize(self.tokens.len(), false),
        }
    }

    /// Forgets what comes before a position.
    fn keep_from(&mut self, at: u32) {
        let gone = (at - self.at) as usize;
        self.tokens.drain(..gone);
        self.media.drain(..gone);
        self.at = at;
    }
}

impl<B: Kernels> Replay<B> {
    pub(super) fn new(be: &B, plan: &Plan) -> Result<Self> {
        let config = plan.config();
        let (n, ring) = (config.hyper.streams, config.window + REWIND_MAX as usize);
        let count = plan.sequences() * ring;
        Ok(Self {
            streams: be.rows(RowFormat::F32, n * config.hidden_size, count)?,
            shares: be.rows(RowFormat::F32, n, count)?,
            ring: ring as u32,
        })
    }

    fn row(&self, slot: usize, position: u32) -> u32 {
        slot as u32 * self.ring + position % self.ring
    }

    /// Stores the rows of a flow that have a place.
    fn store(&mut self, be: &B, residual: &Residual<B>, kept: &[u32]) -> Result<()> {
        if kept.iter().all(|row| *row == NO_ROW) {
            return Ok(());
        }
        let kept = be.ids(kept)?;
        let (streams, shares) = flat(be, residual)?;
        be.write_rows(&mut self.streams, &kept, &streams)?;
        Ok(be.write_rows(&mut self.shares, &kept, shares)?)
    }

    /// Rows of a flow behind those that wait at `old`: the ones that `rows` names.
    fn join(
        &self,
        be: &B,
        residual: &Residual<B>,
        old: &[u32],
        rows: &[u32],
    ) -> Result<Residual<B>> {
        // Gathered even where all go on, so that a step does the same for any number of tokens.
        let rows = be.ids(rows)?;
        if old.is_empty() {
            return Ok(residual.gather(be, &rows)?);
        }
        let old = be.ids(old)?;
        let (streams, shares) = flat(be, residual)?;
        let streams = be.concat(&[&be.read_rows(&self.streams, &old)?, &streams], 0)?;
        let shares = be.concat(&[&be.read_rows(&self.shares, &old)?, shares], 0)?;
        let [_, n, hidden] = dims(residual);
        let streams = be.gather(&streams, &rows)?;
        let count = streams.rows();
        Ok(Residual {
            streams: be.reshape(&streams, &[count, n, hidden])?,
            pre: Some(be.gather(&shares, &rows)?),
        })
    }

    /// Whether what waits of a sequence that stands at `end` fits its ring and lacks no position.
    pub(super) fn could_hold(&self, pending: &Pending, end: u32) -> bool {
        let Pending { at, tokens, media } = pending;
        let reaches = u64::from(*at) + tokens.len() as u64 >= u64::from(end);
        tokens.len() == media.len() && tokens.len() <= self.ring as usize && reaches
    }

    fn runs(&self, slot: usize, pending: &Pending, end: u32) -> [Range<u32>; 2] {
        ring_runs(slot, self.ring, pending.at.min(end)..end)
    }

    /// What waits of a sequence that stands at `end`, packed.
    pub(super) fn export(
        &self,
        be: &B,
        slot: usize,
        pending: &Pending,
        end: u32,
    ) -> Result<[Vec<u8>; 2]> {
        let runs = self.runs(slot, pending, end);
        Ok([
            export(be, &self.streams, &runs)?,
            export(be, &self.shares, &runs)?,
        ])
    }

    /// Puts back what [`Replay::export`] gave.
    pub(super) fn import<'a>(
        &mut self,
        be: &B,
        slot: usize,
        (pending, end): (&Pending, u32),
        packed: &mut impl Iterator<Item = &'a Vec<u8>>,
    ) -> Result<()> {
        let runs = self.runs(slot, pending, end);
        for rows in [&mut self.streams, &mut self.shares] {
            let packed = packed.next().map_or(&[][..], Vec::as_slice);
            import(be, rows, &runs, packed)?;
        }
        Ok(())
    }
}

/// `[t, n * hidden]` and `[t, n]`.
fn flat<'a, B: Kernels>(be: &B, residual: &'a Residual<B>) -> Result<(B::Tensor, &'a B::Tensor)> {
    let [tokens, n, hidden] = dims(residual);
    let shares = residual.pre.as_ref().expect("a share carried from before");
    Ok((
        be.reshape(&residual.streams, &[tokens, n * hidden])?,
        shares,
    ))
}

fn dims<B: Kernels>(residual: &Residual<B>) -> [usize; 3] {
    residual
        .streams
        .shape()
        .try_into()
        .expect("streams are [tokens, streams, hidden]")
}

impl<B: Kernels> Model<B> {
    /// Of rows that have run through the first layers, those that run through the others now: of a
    /// prompt that goes on none, of one that ends its last ones (`docs/models/deepseek-v41.md`
    /// §3.10). Nothing where all go on.
    ///
    /// Which rows those are depends on the prompt alone, not on how it was cut into steps: what may
    /// be needed later is kept.
    pub(super) fn replay(&mut self, step: &Step, flow: &Flow<B>) -> Result<Option<Flow<B>>> {
        let FlowLists {
            mut tokens,
            mut media,
            batch,
            taps,
        } = self.spare.flow_lists();
        let be = &self.be;
        let replay = self.replay.as_mut().expect("prompts are cut");
        let window = self.plan.config().window as u32;
        let mut parts = Few::<Part>::new();
        let mut kept: Few<u32> = std::iter::repeat_n(NO_ROW, flow.tokens.len()).collect();
        // Places in rings, and rows of the step, as positions are taken up.
        let (mut old, mut taken) = (Few::<u32>::new(), Few::<Taken>::new());
        for (span, place) in step.spans.iter().zip(flow.batch.spans()) {
            let Sequence {
                pending, settled, ..
            } = &mut self.sequences[place.slot];
            let all = pending.get_or_insert_with(|| Pending::at(place.at));
            all.join(flow, place);
            let end = place.end();
            // Kept of answers, too: a later prompt may go on from them.
            let last = end.saturating_sub(window + REWIND_MAX).max(all.at);
            for position in last.max(place.at)..end {
                let row = place.rows.start + (position - place.at) as usize;
                kept[row] = replay.row(place.slot, position);
            }
            let whole = all.at <= *settled;
            let start = match span.want {
                Want::Nothing => None,
                // A continuation that fits the window, behind rows that have run through all layers.
                Want::Last if whole && end - *settled <= window => Some(*settled),
                Want::Last => Some(end.saturating_sub(window).max(all.at)),
                Want::All | Want::Best => Some((*settled).max(all.at)),
            };
            if let Some(start) = start {
                let from = if whole && start == *settled { 0 } else { start };
                for position in start..end {
                    taken.push(if position < place.at {
                        old.push(replay.row(place.slot, position));
                        Taken::Old(old.len() - 1)
                    } else {
                        Taken::Step(place.rows.start + (position - place.at) as usize)
                    });
                }
                let first = (start - all.at) as usize;
                parts.push(Part {
                    slot: place.slot,
                    at: start,
                    tokens: all.tokens.len() - first,
                    mask: WindowMask::Causal { from },
                });
                tokens.extend(&all.tokens[first..]);
                media.extend(&all.media[first..]);
                *settled = end;
            }
            all.keep_from(last);
        }
        let rows: Few<u32> = taken.iter().map(|row| row.among(old.len())).collect();
        let joined = if parts.is_empty() {
            None
        } else {
            Some(replay.join(be, &flow.residual, &old, &rows)?)
        };
        // Only now: what is kept may take the places of what was joined.
        replay.store(be, &flow.residual, &kept)?;
        let Some(residual) = joined else {
            self.spare.keep(FlowLists {
                tokens,
                media,
                batch,
                taps,
            });
            return Ok(None);
        };
        if !media.contains(&true) {
            media.clear();
        }
        Ok(Some(Flow {
            residual,
            inputs: Inputs::new(be, &tokens, &media)?,
            tokens,
            media,
            batch: self.batch(batch, parts)?,
            taps,
        }))
    }
}

/// Where a row comes from that goes on.
#[derive(Debug, Clone, Copy)]
enum Taken {
    Old(usize),
    Step(usize),
}

impl Taken {
    /// Its place where `old` rows stand before those of the step.
    fn among(self, old: usize) -> u32 {
        match self {
            Self::Old(row) => row as u32,
            Self::Step(row) => (old + row) as u32,
        }
    }
}
