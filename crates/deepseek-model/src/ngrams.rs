//! The n-gram tables of a model, and the way from its tokens to their rows.

use deepseek_core::weights::Tensors;
use deepseek_core::{Backend, Result as CoreResult};
use deepseek_engram::{Addresses, History, Slots, Table, TablesConfig};

use crate::config::{Config, EngramConfig};
use crate::error::{Error, Result};

/// All tables (`docs/models/deepseek-v41.md` §3.7).
#[derive(Debug)]
pub(crate) struct Ngrams {
    addresses: Addresses,
    /// The compressed id of each token.
    compressed: Vec<u32>,
    tables: Vec<Table>,
    /// The rows that the step at hand reads.
    slots: Slots,
    /// Rows of a table on their way to the device.
    rows: Vec<f32>,
}

impl Ngrams {
    /// Finds the tables, none of which is read. Of all together, `resident` bytes may stay in
    /// memory.
    pub(crate) fn load(
        tensors: &Tensors<'_>,
        config: &Config,
        engram: &EngramConfig,
        compressed: Vec<u32>,
        resident: Option<u64>,
    ) -> Result<Self> {
        let count = compressed.iter().max().map_or(0, |most| *most as usize + 1);
        if compressed.len() != config.vocab_size || count != engram.compressed {
            return Err(Error::CompressedIds {
                tokens: compressed.len(),
                count,
                vocabulary: config.vocab_size,
                want: engram.compressed,
            });
        }
        let addresses = Addresses::new(&TablesConfig {
            layers: engram.layers.clone(),
            max_ngram: engram.ngram,
            heads: engram.heads,
            head_dim: engram.head_dim,
            vocab_size: engram.vocabulary as u64,
            pad: compressed[engram.pad as usize],
            compressed_vocab: engram.compressed as u32,
        });
        let share = resident.map(|bytes| bytes / engram.layers.len() as u64);
        let tables = engram.layers.iter().zip(&engram.rows).map(|(layer, rows)| {
            let hashed = addresses.rows(*layer);
            if hashed != *rows as u64 {
                return Err(Error::TableRows {
                    layer: *layer,
                    rows: *rows as u64,
                    hashed,
                });
            }
            let at = tensors.at(&format!("layers.{layer}.engram"));
            let head_dim = engram.head_dim;
            Ok(Table::load(&at, &addresses, *layer, head_dim, share)?)
        });
        Ok(Self {
            tables: tables.collect::<Result<_>>()?,
            slots: addresses.slots(),
            rows: Vec::new(),
            addresses,
            compressed,
        })
    }

    /// The history of a sequence that has not begun.
    pub(crate) fn history(&self) -> History {
        History::new(&self.addresses)
    }

    /// Whether a history is that of a sequence that stands at the first of these positions and has stood at
    /// the second.
    pub(crate) fn could_have(&self, history: &History, [position, reached]: [u32; 2]) -> bool {
        let count = self.compressed.iter().max().map_or(0, |most| most + 1);
        let stands = [history.len(), history.reached()] == [position, reached].map(u64::from);
        let ring = history.ring();
        let fits = ring.len() == self.history().ring().len();
        stands && fits && ring.iter().flatten().all(|id| *id < count)
    }

    /// Begins a step, which reads no rows yet.
    pub(crate) fn begin(&mut self) {
        self.slots.clear();
    }

    /// Takes up the next tokens of a sequence in the step; those of images break every n-gram.
    pub(crate) fn append(&mut self, history: &mut History, tokens: &[u32], media: &[bool]) {
        let ids = tokens.iter().enumerate().map(|(row, token)| {
            let is_media = media.get(row).copied().unwrap_or(false);
            (!is_media).then(|| self.compressed[*token as usize])
        });
        history.append_to(&self.addresses, ids, &mut self.slots);
    }

    /// Has the rows of all tables brought into memory, without waiting for them.
    pub(crate) fn prefetch(&self) {
        for (table, hasher) in self.tables.iter().zip(self.addresses.tables()) {
            table.prefetch(self.slots.layer(hasher.layer));
        }
    }

    /// The rows of one table that the step reads, `[t, columns * head_dim]`.
    pub(crate) fn lookup<B: Backend>(&mut self, be: &B, table: usize) -> CoreResult<B::Tensor> {
        let layer = self.addresses.tables()[table].layer;
        let shape = self.tables[table].read_to(self.slots.layer(layer), &mut self.rows);
        be.upload_slice(&shape, &self.rows)
    }
}
