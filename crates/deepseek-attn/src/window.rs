//! The ring of recent rows of one layer, for every sequence.

use deepseek_core::operands::Chosen;
use deepseek_core::{Backend, Result, RowFormat};

use crate::batch::{Batch, Sight};

/// Recent rows, found by position: row `position mod ring` of a sequence's part of the pool.
///
/// The ring is longer than the window by a step and by what may be taken back, so that a step
/// writes before it reads, and a rewind needs no copy: rows of positions taken back are simply
/// written again.
#[derive(Debug)]
pub struct Window<B: Backend> {
    rows: B::Rows,
    ring: u32,
    window: u32,
}

impl<B: Backend> Window<B> {
    /// Rings of `ring` rows for `sequences`, through which a query sees `window` positions.
    ///
    /// # Errors
    /// What the device says.
    pub fn new(
        be: &B,
        format: RowFormat,
        width: usize,
        [sequences, ring, window]: [usize; 3],
    ) -> Result<Self> {
        assert!(
            ring > window,
            "a ring of {ring} rows for a window of {window}"
        );
        let rows = be.rows(format, width, sequences * ring)?;
        Ok(Self {
            rows,
            ring: ring as u32,
            window: window as u32,
        })
    }

    /// The pool.
    #[must_use]
    pub fn rows(&self) -> &B::Rows {
        &self.rows
    }

    /// Stores the rows of a batch, `kv: [rows, width]`.
    ///
    /// # Errors
    /// What the device says.
    pub fn write(&mut self, be: &B, kv: &B::Tensor, batch: &Batch) -> Result<()> {
        let at: Vec<u32> = batch
            .spans()
            .iter()
            .flat_map(|span| (span.at..span.end()).map(|position| self.row(span.slot, position)))
            .collect();
        be.write_rows(&mut self.rows, &at, kv)
    }

    /// What each row of a batch sees, oldest first.
    #[must_use]
    pub fn chosen(&self, batch: &Batch) -> Chosen {
        let mut chosen = Chosen::with_capacity(batch.positions().len());
        for span in batch.spans() {
            for position in span.at..span.end() {
                let (first, last) = match span.sight {
                    Sight::Causal { from } => {
                        let first = (position + 1).saturating_sub(self.window);
                        (first.max(from), position)
                    }
                    Sight::Whole => (span.at.saturating_sub(self.window), span.end() - 1),
                };
                let (start, end) = (self.row(span.slot, first), self.row(span.slot, last) + 1);
                if start < end {
                    chosen.push(std::iter::once(start..end));
                } else {
                    let base = span.slot as u32 * self.ring;
                    chosen.push([start..base + self.ring, base..end]);
                }
            }
        }
        chosen
    }

    fn row(&self, slot: usize, position: u32) -> u32 {
        slot as u32 * self.ring + position % self.ring
    }
}
