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

    /// No rows yet.
    pub(crate) fn slots(&self) -> Slots {
        self.addresses.slots()
    }

    /// Takes up the next tokens of a sequence; those of images break every n-gram.
    pub(crate) fn append(&self, history: &mut History, tokens: &[u32], media: &[bool]) -> Slots {
        let ids = tokens.iter().enumerate().map(|(row, token)| {
            let is_media = media.get(row).copied().unwrap_or(false);
            (!is_media).then(|| self.compressed[*token as usize])
        });
        history.append(&self.addresses, ids)
    }

    /// Has the rows of all tables brought into memory, without waiting for them.
    pub(crate) fn prefetch(&self, slots: &Slots) {
        for (table, hasher) in self.tables.iter().zip(self.addresses.tables()) {
            table.prefetch(slots.layer(hasher.layer));
        }
    }

    /// The rows of one table, `[t, columns * head_dim]`.
    pub(crate) fn lookup<B: Backend>(
        &self,
        be: &B,
        table: usize,
        slots: &Slots,
    ) -> CoreResult<B::Tensor> {
        let layer = self.addresses.tables()[table].layer;
        be.upload(&self.tables[table].read(slots.layer(layer)))
    }
}
