//! The compressed rows of one source, for every sequence, and what its next rows still need.

use deepseek_core::operands::Chosen;
use deepseek_core::{Backend, DeviceTensor, Kernels, Result, RowFormat};

use crate::batch::Batch;
use crate::compress::{Compressor, Finish, Tail};

/// Rows that one sequence has completed, normalised, not yet turned.
#[derive(Debug)]
pub struct Finished<B: Backend> {
    /// The sequence's place.
    pub slot: usize,
    /// The index of the first.
    pub first: u32,
    /// `[n, width]`.
    pub rows: B::Tensor,
}

/// Compressed rows, found by index: row `index` of a sequence's part of the pool.
#[derive(Debug)]
pub struct Pool<B: Backend> {
    rows: B::Rows,
    capacity: u32,
    tails: Vec<Tail<B>>,
}

impl<B: Kernels> Pool<B> {
    /// Room for `capacity` rows of each of `sequences`. On the host, untouched rows cost nothing.
    ///
    /// # Errors
    /// What the device says.
    pub fn new(
        be: &B,
        format: RowFormat,
        width: usize,
        [sequences, capacity]: [usize; 2],
    ) -> Result<Self> {
        Ok(Self {
            rows: be.rows(format, width, sequences * capacity)?,
            capacity: capacity as u32,
            tails: (0..sequences).map(|_| Tail::default()).collect(),
        })
    }

    /// Takes the rows of a batch through `compressor` and returns what they complete.
    ///
    /// # Errors
    /// What the device says.
    pub fn advance(
        &mut self,
        be: &B,
        compressor: &Compressor<B>,
        x: &B::Tensor,
        batch: &Batch,
        rewind: u32,
    ) -> Result<Vec<Finished<B>>> {
        let made = compressor.contribute(be, x, batch.positions())?;
        let mut finished = Vec::new();
        for span in batch.spans() {
            let tail = &mut self.tails[span.slot];
            if let Some((first, rows)) = compressor.advance(be, &made, span, tail, rewind)? {
                let slot = span.slot;
                finished.push(Finished { slot, first, rows });
            }
        }
        Ok(finished)
    }

    /// Turns finished rows to the first position of their groups, rounds and stores them.
    ///
    /// # Errors
    /// What the device says.
    pub fn store(&mut self, be: &B, finished: &Finished<B>, finish: &Finish) -> Result<()> {
        let count = finished.rows.rows() as u32;
        let indices = finished.first..finished.first + count;
        let rows = finish.apply(be, &finished.rows, indices.clone())?;
        let base = finished.slot as u32 * self.capacity;
        let at: Vec<u32> = indices.map(|index| base + index).collect();
        be.write_rows(&mut self.rows, &at, &rows)
    }

    /// The rows that each row of a batch sees: those of finished groups, its own group included.
    #[must_use]
    pub fn seen(&self, batch: &Batch, ratio: u32) -> Chosen {
        let mut seen = Chosen::with_capacity(batch.positions().len());
        for span in batch.spans() {
            let base = span.slot as u32 * self.capacity;
            for position in span.at..span.end() {
                seen.push(std::iter::once(base..base + (position + 1) / ratio));
            }
        }
        seen
    }

    /// The pool.
    #[must_use]
    pub fn rows(&self) -> &B::Rows {
        &self.rows
    }

    /// What a sequence's next rows still need.
    ///
    /// # Panics
    /// If there is no such sequence.
    #[must_use]
    pub fn tail(&self, slot: usize) -> &Tail<B> {
        &self.tails[slot]
    }

    /// Ends a sequence.
    pub fn forget(&mut self, slot: usize) {
        self.tails[slot] = Tail::default();
    }
}

/// What a source keeps.
#[derive(Debug)]
pub struct Store<B: Backend> {
    /// The rows that queries attend to.
    pub entries: Pool<B>,
    /// The indexer's keys, row for row, where there is an indexer.
    pub keys: Option<Pool<B>>,
}
