//! The compressed rows of one source, for every sequence, and what its next rows still need.

use deepseek_core::kernels::Seen;
use deepseek_core::{Backend, Kernels, Result, RowFormat};

use crate::batch::Batch;
use crate::compress::{Compressor, Tail};

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

    /// Takes the rows of a batch through `compressor` and stores what they complete.
    ///
    /// # Errors
    /// What the device says.
    pub fn publish(
        &mut self,
        be: &B,
        compressor: &Compressor<B>,
        x: &B::Tensor,
        batch: &Batch,
        rewind: u32,
    ) -> Result<()> {
        let (kv, scores) = compressor.contribute(be, x, batch.positions())?;
        for span in batch.spans() {
            let tail = &mut self.tails[span.slot];
            let finished = compressor.advance(be, (&kv, &scores), span, tail, rewind)?;
            if let Some((first, rows)) = finished {
                let count = span.end() / compressor.shape().ratio as u32 - first;
                let base = span.slot as u32 * self.capacity + first;
                let at: Vec<u32> = (base..base + count).collect();
                be.write_rows(&mut self.rows, &at, &rows)?;
            }
        }
        Ok(())
    }

    /// The rows that each row of a batch sees: those of finished groups, its own group included.
    #[must_use]
    pub fn seen(&self, batch: &Batch, ratio: u32) -> Seen {
        let rows = batch
            .spans()
            .iter()
            .flat_map(|span| {
                let base = span.slot as u32 * self.capacity;
                (span.at..span.end()).map(move |position| base..base + (position + 1) / ratio)
            })
            .collect();
        Seen { rows }
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
