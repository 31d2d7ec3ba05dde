//! Whether the numbers of a step are finite: asked of every layer as it runs, and read with the logits.

use std::ops::Range;

use deepseek_attn::{Batch, Criteria, MadeRows, Span};
use deepseek_core::{Backend, Kernels, Result};

use crate::decoder::{Place, Trouble};

/// What is asked of the rows of a step, in their order. Nothing of it waits.
#[derive(Debug)]
pub(crate) struct Checks<B: Backend> {
    asked: Vec<Asked>,
    flags: Vec<B::Tensor>,
    /// Whose rows those are, one question after the other.
    owned: Vec<Owned>,
    /// Which of the embedded rows are those of media, and so come from [`Place::Media`]; empty where none is.
    media: Vec<bool>,
}

/// Rows that were asked about, and where they came from.
#[derive(Debug)]
struct Asked {
    place: Place,
    owned: Range<usize>,
}

/// Rows of one sequence, `stride` positions from one to the next.
#[derive(Debug)]
struct Owned {
    slot: usize,
    at: u32,
    stride: u32,
    rows: Range<usize>,
}

impl From<&Span> for Owned {
    fn from(span: &Span) -> Self {
        Self {
            slot: span.slot,
            at: span.at,
            stride: 1,
            rows: span.rows.clone(),
        }
    }
}

impl From<&MadeRows> for Owned {
    fn from(made: &MadeRows) -> Self {
        Self {
            slot: made.slot,
            at: made.at,
            stride: made.ratio,
            rows: made.rows.clone(),
        }
    }
}

impl<B: Backend> Default for Checks<B> {
    fn default() -> Self {
        Self {
            asked: Vec::new(),
            flags: Vec::new(),
            owned: Vec::new(),
            media: Vec::new(),
        }
    }
}

impl<B: Kernels> Checks<B> {
    /// Forgets what was asked.
    pub(crate) fn clear(&mut self) {
        self.asked.clear();
        self.flags.clear();
        self.owned.clear();
        self.media.clear();
    }

    /// Asks about the rows `x` of `spans`, which come from `place`.
    pub(crate) fn ask(
        &mut self,
        be: &B,
        x: &B::Tensor,
        spans: &[Span],
        place: Place,
    ) -> Result<()> {
        self.ask_of(be, x, spans, place)
    }

    /// Asks about embedded rows, some of which are those of `media`.
    pub(crate) fn embedding(
        &mut self,
        be: &B,
        x: &B::Tensor,
        spans: &[Span],
        media: &[bool],
    ) -> Result<()> {
        self.media.extend_from_slice(media);
        self.ask_of(be, x, spans, Place::Embedding)
    }

    /// Asks about what rows were chosen by in `place`, and takes it.
    pub(crate) fn choice(
        &mut self,
        be: &B,
        criteria: &mut Criteria<B>,
        batch: &Batch<B>,
        place: Place,
    ) -> Result<()> {
        if let Some(keys) = criteria.keys.take()
            && let Some(made) = &batch.source(keys.kind).made
        {
            self.ask_of(be, &keys.rows, &made.done, place)?;
        }
        for x in criteria.queries.take().into_iter().flatten() {
            self.ask(be, &x, batch.spans(), place)?;
        }
        Ok(())
    }

    fn ask_of<'a, T: 'a>(
        &mut self,
        be: &B,
        x: &B::Tensor,
        owners: &'a [T],
        place: Place,
    ) -> Result<()>
    where
        Owned: From<&'a T>,
    {
        self.flags.push(be.finite(x)?);
        let first = self.owned.len();
        self.owned.extend(owners.iter().map(Owned::from));
        self.asked.push(Asked {
            place,
            owned: first..self.owned.len(),
        });
        Ok(())
    }

    /// The answers, on the device, behind what else is to be brought from it.
    pub(crate) fn flags_behind(&mut self, first: Option<B::Tensor>) -> &[B::Tensor] {
        if let Some(first) = first {
            self.flags.insert(0, first);
        }
        &self.flags
    }

    /// The sequences with rows that are not finite, and where they first have some, by the answers, of which
    /// `flags` has the one to each question.
    pub(crate) fn troubles<'a>(&self, flags: impl Fn(usize) -> &'a [f32]) -> Vec<(usize, Trouble)> {
        let mut troubles: Vec<(usize, Trouble)> = Vec::new();
        for (question, asked) in self.asked.iter().enumerate() {
            let flags = flags(question);
            if flags.iter().all(|flag| flag.is_finite()) {
                continue;
            }
            for owned in &self.owned[asked.owned.clone()] {
                let known = troubles.iter().any(|(slot, _)| *slot == owned.slot);
                let mut rows = owned.rows.clone();
                let lost = rows.find(|row| !flags[*row].is_finite());
                if let (Some(row), false) = (lost, known) {
                    let is_media = self.media.get(row).copied().unwrap_or(false);
                    let place = match asked.place {
                        Place::Embedding if is_media => Place::Media,
                        place => place,
                    };
                    let position = owned.at + (row - owned.rows.start) as u32 * owned.stride;
                    troubles.push((owned.slot, Trouble { place, position }));
                }
            }
        }
        troubles
    }
}
