//! What attention remembers of every sequence: windows by layer, compressed rows by source.

use std::ops::Range;

use deepseek_core::operands::PoolState;
use deepseek_core::{Backend, Error, Kernels, Result, RowFormat};

use crate::role::{Compression, Keys, SourceId};
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
    pub compression: Compression,
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
        let kind =
            |source: &SourceConfig| SourceKind::new(source.ratio, source.compression, rewind);
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

    /// Pools that the rows of a sequence lie in.
    #[must_use]
    pub fn pool_count(&self) -> usize {
        self.pools().count()
    }

    /// What a sequence that stands at the end of `positions` may still need: packed rows, pool by pool, of
    /// those from number `from` on, until they have `bytes` bytes or all are there. Of the compressed ones
    /// those alone that may be made or taken back within `positions`. Waits.
    pub fn export(
        &self,
        be: &B,
        slot: usize,
        positions: Range<u32>,
        from: usize,
        bytes: usize,
    ) -> Result<Vec<Vec<u8>>> {
        let places = self.places(slot, positions);
        let (mut packed, mut left) = (Vec::new(), bytes);
        for (rows, runs) in self.pools().zip(places).skip(from) {
            if left == 0 {
                break;
            }
            let own = export(be, rows, &runs)?;
            left = left.saturating_sub(own.len());
            packed.push(own);
        }
        Ok(packed)
    }

    /// Puts back what [`Memory::export`] gave for these positions, in a memory of the same numbers, until
    /// `bytes` bytes are there, and says how many of `packed` these were.
    ///
    /// # Errors
    /// [`Error::Rows`] if these are other rows.
    pub fn import(
        &mut self,
        be: &B,
        slot: usize,
        positions: Range<u32>,
        from: usize,
        packed: &[Vec<u8>],
        bytes: usize,
    ) -> Result<usize> {
        let places = self.places(slot, positions);
        let (mut count, mut left) = (0, bytes);
        for (rows, runs) in self.pools_mut().zip(places).skip(from) {
            if left == 0 {
                break;
            }
            let own = packed.get(count).map_or(&[][..], Vec::as_slice);
            import(be, rows, &runs, own)?;
            left = left.saturating_sub(own.len());
            count += 1;
        }
        Ok(count)
    }

    fn pools(&self) -> impl Iterator<Item = &B::Rows> {
        let stores = self.stores.iter();
        let pools = stores.flat_map(|store| std::iter::once(&store.entries).chain(&store.keys));
        self.windows.iter().chain(pools.flat_map(|pool| {
            let tail = pool.tail.iter();
            std::iter::once(&pool.rows).chain(tail.flat_map(|tail| [&tail.kv, &tail.scores]))
        }))
    }

    fn pools_mut(&mut self) -> impl Iterator<Item = &mut B::Rows> {
        let stores = self.stores.iter_mut();
        let pools =
            stores.flat_map(|store| std::iter::once(&mut store.entries).chain(&mut store.keys));
        self.windows.iter_mut().chain(pools.flat_map(|pool| {
            let tail = pool.tail.iter_mut();
            std::iter::once(&mut pool.rows)
                .chain(tail.flat_map(|tail| [&mut tail.kv, &mut tail.scores]))
        }))
    }

    /// The rows of each of [`Memory::pools`] that a sequence which stands at the end of `positions` may
    /// still need, but for compressed ones of earlier positions.
    fn places(&self, slot: usize, positions: Range<u32>) -> Vec<[Range<u32>; 2]> {
        let (rooms, end) = (&self.rooms, positions.end);
        let first = end.saturating_sub(rooms.window() + rooms.rewind());
        let window = rooms.window_runs(slot, first..end);
        let mut places = vec![window; self.windows.len()];
        for store in &self.stores {
            let kind = rooms.kinds()[store.kind];
            let base = rooms.entry_row(&kind, slot, 0);
            let needed = kind.needed_from(end, rooms.rewind());
            for pool in std::iter::once(&store.entries).chain(&store.keys) {
                let entries = base + positions.start / kind.ratio..base + end / kind.ratio;
                places.push([entries, 0..0]);
                if pool.tail.is_some() {
                    let tail = kind.tail_runs(slot, needed..end);
                    places.extend([tail.clone(), tail]);
                }
            }
        }
        places
    }
}

/// Rows of a pool, packed, run after run. Waits.
pub fn export<B: Backend>(be: &B, rows: &B::Rows, runs: &[Range<u32>]) -> Result<Vec<u8>> {
    let mut packed = Vec::new();
    for run in runs.iter().filter(|run| !run.is_empty()) {
        packed.extend(be.export_rows(rows, run.clone())?);
    }
    Ok(packed)
}

/// Puts packed rows where [`export`] took them.
///
/// # Errors
/// [`Error::Rows`] if these are not so many rows.
pub fn import<B: Backend>(
    be: &B,
    rows: &mut B::Rows,
    runs: &[Range<u32>],
    packed: &[u8],
) -> Result<()> {
    let count: usize = runs.iter().map(ExactSizeIterator::len).sum();
    let row = packed.len() / count.max(1);
    if row * count != packed.len() {
        return Err(Error::Rows {
            bytes: packed.len(),
            want: row * count,
        });
    }
    let mut rest = packed;
    for run in runs.iter().filter(|run| !run.is_empty()) {
        let (now, later) = rest.split_at(run.len() * row);
        be.import_rows(rows, run.clone(), now)?;
        rest = later;
    }
    Ok(())
}
