//! Sequences that are saved and put back: which rows, and which numbers beside them.

use std::ops::Range;

use deepseek_core::Kernels;

use super::{Model, Sequence};
use crate::decoder::{Kind, SeqId, SequenceState};
use crate::error::{Error, Result};
use crate::limits::REWIND_MAX;

/// The positions whose compressed rows are saved of a sequence that stands at `end`: all, or of a tail
/// those that may be taken back.
fn compressed(end: u32, kind: Kind) -> Range<u32> {
    match kind {
        Kind::Whole => 0..end,
        Kind::Tail(_) => end.saturating_sub(REWIND_MAX)..end,
    }
}

impl<B: Kernels> Model<B> {
    /// Adds rows of a place to `state`, which has those of the first pools, until `bytes` more are in it,
    /// and says whether it is whole. What drafts and cut prompts keep is a few rows, which come last.
    pub(super) fn export(
        &self,
        slot: usize,
        state: &mut SequenceState,
        bytes: usize,
    ) -> Result<bool> {
        let SequenceState {
            sequence,
            rows,
            kind,
        } = state;
        let (be, end) = (&self.be, sequence.position);
        let pools = self.memory.pool_count();
        let positions = compressed(end, *kind);
        rows.extend(self.memory.export(be, slot, positions, rows.len(), bytes)?);
        if rows.len() < pools {
            return Ok(false);
        }
        if let Some(drafter) = &self.drafter {
            rows.extend(drafter.export(be, slot, end)?);
        }
        if let (Some(replay), Some(pending)) = (&self.replay, &sequence.pending) {
            rows.extend(replay.export(be, slot, pending, end)?);
        }
        Ok(true)
    }

    /// Empties a place for a sequence, if it is one that this model could have.
    pub(super) fn vacate(&mut self, seq: SeqId, sequence: &Sequence) -> Result<()> {
        self.discard(seq);
        if self.could_have(sequence) {
            Ok(())
        } else {
            Err(Error::State)
        }
    }

    /// Puts the rows of the pools from number `from` on in their places, until `bytes` of them are there,
    /// and says from which to go on. Where all are, the sequence is there.
    pub(super) fn import(
        &mut self,
        slot: usize,
        state: &SequenceState,
        from: usize,
        bytes: usize,
    ) -> Result<Option<usize>> {
        let SequenceState {
            sequence,
            rows,
            kind,
        } = state;
        let (be, end) = (&self.be, sequence.position);
        let pools = self.memory.pool_count();
        let positions = compressed(end, *kind);
        let rest = rows.get(from..).unwrap_or_default();
        let next = from + self.memory.import(be, slot, positions, from, rest, bytes)?;
        if next < pools {
            return Ok(Some(next));
        }
        let rest = &mut rows.get(pools..).unwrap_or_default().iter();
        if let Some(drafter) = &mut self.drafter {
            drafter.import(be, slot, end, rest)?;
        }
        if let (Some(replay), Some(pending)) = (&mut self.replay, &sequence.pending) {
            replay.import(be, slot, (pending, end), rest)?;
        }
        if rest.next().is_some() {
            return Err(Error::State);
        }
        self.sequences[slot] = sequence.clone();
        Ok(None)
    }

    /// Whether the numbers of a sequence, which may come from anywhere, are such that every step can rely
    /// on them. Rows are held against their pools when they are put there.
    fn could_have(&self, sequence: &Sequence) -> bool {
        let Sequence {
            position,
            reached,
            settled,
            pending,
            history,
            trouble: _,
        } = sequence;
        let in_order = settled <= position && position <= reached;
        let fits = *reached as usize <= self.plan.context();
        let vocabulary = self.plan.config().vocab_size;
        let waits = match (&self.replay, pending) {
            (Some(replay), Some(pending)) => {
                let end = pending.at as usize + pending.tokens.len();
                replay.could_hold(pending, *position)
                    && end <= self.plan.context()
                    && pending.tokens.iter().all(|id| (*id as usize) < vocabulary)
            }
            (Some(_), None) => *position == 0,
            (None, pending) => pending.is_none(),
        };
        let remembers = match (&self.ngrams, history) {
            (Some(ngrams), Some(history)) => ngrams.could_have(history, [*position, *reached]),
            (Some(_), None) => *position == 0,
            (None, history) => history.is_none(),
        };
        in_order && fits && waits && remembers
    }
}
