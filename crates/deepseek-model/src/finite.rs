//! Whether the numbers of a step are finite: asked of every layer as it runs, and read with the logits.

use std::sync::Arc;

use deepseek_attn::Span;
use deepseek_core::{Backend, HostTensor, Result};

use crate::decoder::{Place, Trouble};

/// What is asked of the rows of a step, in their order. Nothing of it waits.
#[derive(Debug)]
pub(crate) struct Checks<B: Backend> {
    asked: Vec<Asked>,
    flags: Vec<B::Tensor>,
}

/// Rows that were asked about, and where they came from.
#[derive(Debug)]
struct Asked {
    place: Place,
    spans: Arc<[Span]>,
    /// Which rows are those of media, and so come from [`Place::Media`]; empty where none is.
    media: Vec<bool>,
}

impl<B: Backend> Default for Checks<B> {
    fn default() -> Self {
        Self {
            asked: Vec::new(),
            flags: Vec::new(),
        }
    }
}

impl<B: Backend> Checks<B> {
    /// Asks about the rows `x` of `spans`, which come from `place`.
    pub(crate) fn ask(
        &mut self,
        be: &B,
        x: &B::Tensor,
        spans: &[Span],
        place: Place,
    ) -> Result<()> {
        self.ask_of(be, x, spans, place, Vec::new())
    }

    /// Asks about embedded rows, some of which are those of `media`.
    pub(crate) fn embedding(
        &mut self,
        be: &B,
        x: &B::Tensor,
        spans: &[Span],
        media: &[bool],
    ) -> Result<()> {
        self.ask_of(be, x, spans, Place::Embedding, media.to_vec())
    }

    fn ask_of(
        &mut self,
        be: &B,
        x: &B::Tensor,
        spans: &[Span],
        place: Place,
        media: Vec<bool>,
    ) -> Result<()> {
        self.flags.push(be.finite(x)?);
        let spans = match self.asked.last() {
            Some(last) if *last.spans == *spans => Arc::clone(&last.spans),
            _ => spans.into(),
        };
        self.asked.push(Asked {
            place,
            spans,
            media,
        });
        Ok(())
    }

    /// The answers, on the device.
    pub(crate) fn flags(&self) -> impl Iterator<Item = &B::Tensor> {
        self.flags.iter()
    }

    /// The sequences with rows that are not finite, and where they first have some, by the answers.
    pub(crate) fn troubles(&self, flags: &[HostTensor]) -> Vec<(usize, Trouble)> {
        let mut troubles: Vec<(usize, Trouble)> = Vec::new();
        for (asked, flags) in self.asked.iter().zip(flags) {
            if flags.data().iter().all(|flag| flag.is_finite()) {
                continue;
            }
            for span in asked.spans.iter() {
                let known = troubles.iter().any(|(slot, _)| *slot == span.slot);
                let lost = span
                    .rows
                    .clone()
                    .find(|row| !flags.data()[*row].is_finite());
                if let (Some(row), false) = (lost, known) {
                    let place = match asked.media.get(row) {
                        Some(true) => Place::Media,
                        Some(false) | None => asked.place,
                    };
                    let position = span.at + (row - span.rows.start) as u32;
                    troubles.push((span.slot, Trouble { place, position }));
                }
            }
        }
        troubles
    }
}
