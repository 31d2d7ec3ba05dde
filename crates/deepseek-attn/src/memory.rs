//! What attention remembers of every sequence: windows by layer, compressed rows by source.

use deepseek_core::operands::PoolState;
use deepseek_core::{Backend, Kernels, Result, RowFormat};

use crate::role::{Keys, Pooling, SourceId};
use crate::rooms::{Rooms, SourceKind};

/// The numbers that shape a memory. All sizes are per sequence unless they say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryConfig {
    /// Sequences that the pools have room for.
    pub sequences: usize,
    /// Positions a query sees through its window, its own included.
    pub window: usize,
    /// Rows of a window's ring. It is longer than the window by a step and by what may be taken back,
    /// so that a step writes before it reads, and a rewind needs no copy: rows of positions taken back
    /// are simply written again.
    pub ring: usize,
    /// Positions of the longest sequence.
    pub context: usize,
    /// Positions that may be taken back.
    pub rewind: u32,
    /// Channels of a row of keys and values.
    pub width: usize,
    /// How those of windows are kept.
    pub windows: RowFormat,
    /// How compressed ones are kept.
    pub entries: RowFormat,
    /// Channels of an indexer's key.
    pub key_width: usize,
    /// How keys are kept.
    pub keys: RowFormat,
}

/// What a source wants of a memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceConfig {
    /// Tokens a row stands for.
    pub ratio: u32,
    /// How they become one.
    pub pooling: Pooling,
    /// Where the indexer's keys come from, if there is one.
    pub keys: Keys,
}

/// Windows and stores on a device.
#[derive(Debug)]
pub struct Memory<B: Kernels> {
    windows: Vec<B::Rows>,
    stores: Vec<Store<B>>,
    rooms: Rooms,
}

/// What a source keeps.
#[derive(Debug)]
pub struct Store<B: Backend> {
    /// The rows that queries attend to.
    pub entries: Pool<B>,
    /// The indexer's keys, row for row, where there is an indexer.
    pub keys: Option<Pool<B>>,
    /// The source's kind, by its place among [`Rooms::kinds`].
    pub kind: usize,
}

/// Compressed rows, found by index, and what the next of them still need of the last tokens.
#[derive(Debug)]
pub struct Pool<B: Backend> {
    /// The rows.
    pub rows: B::Rows,
    /// Rings of contributions, found by position; none where each token is a row of its own, or where
    /// rows are made of others.
    pub tail: Option<PoolState<B>>,
}

impl<B: Kernels> Memory<B> {
    /// Rooms for `layers` windows and one store for each source.
    pub fn new(
        be: &B,
        config: &MemoryConfig,
        layers: usize,
        sources: &[SourceConfig],
    ) -> Result<Self> {
        let MemoryConfig {
            sequences,
            window,
            ring,
            context,
            rewind,
            ..
        } = *config;
        let kind = |source: &SourceConfig| SourceKind::new(source.ratio, source.pooling, rewind);
        let rooms = Rooms::new([window, ring, context], rewind, sources.iter().map(kind));
        let windows = (0..layers)
            .map(|_| be.rows(config.windows, config.width, sequences * ring))
            .collect::<Result<_>>()?;
        let stores = sources
            .iter()
            .map(|source| {
                let kind = kind(source);
                let count = sequences * rooms.entries(&kind) as usize;
                let tails = sequences * kind.tail_rows() as usize;
                let tail = |width: usize| match kind.pooling {
                    None => Ok(None),
                    Some(pool) => {
                        let width = width * (1 + usize::from(pool.overlap));
                        Ok(Some(PoolState {
                            kv: be.rows(RowFormat::F32, width, tails)?,
                            scores: be.rows(RowFormat::F32, width, tails)?,
                        }))
                    }
                };
                let keys = |tail| {
                    Ok(Some(Pool {
                        rows: be.rows(config.keys, config.key_width, count)?,
                        tail,
                    }))
                };
                Ok(Store {
                    entries: Pool {
                        rows: be.rows(config.entries, config.width, count)?,
                        tail: tail(config.width)?,
                    },
                    keys: match source.keys {
                        Keys::None => Ok(None),
                        Keys::Projected => keys(None),
                        Keys::Compressed => keys(tail(config.key_width)?),
                    }?,
                    kind: rooms.place(&kind),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            windows,
            stores,
            rooms,
        })
    }

    /// Where the rows of sequences lie.
    #[must_use]
    pub fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// The window of a layer.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn window_mut(&mut self, layer: usize) -> &mut B::Rows {
        &mut self.windows[layer]
    }

    /// The window of a layer.
    ///
    /// # Panics
    /// If there is no such layer.
    #[must_use]
    pub fn window(&self, layer: usize) -> &B::Rows {
        &self.windows[layer]
    }

    /// The store of a source.
    ///
    /// # Panics
    /// If there is no such source.
    pub fn store_mut(&mut self, source: SourceId) -> &mut Store<B> {
        &mut self.stores[source.0]
    }

    /// The store of a source.
    ///
    /// # Panics
    /// If there is no such source.
    #[must_use]
    pub fn store(&self, source: SourceId) -> &Store<B> {
        &self.stores[source.0]
    }
}
