//! What attention remembers of every sequence: windows by layer, compressed rows by source.

use deepseek_core::{Kernels, Result, RowFormat};

use crate::role::SourceId;
use crate::store::{Pool, Store};
use crate::window::Window;

/// The rooms of a memory. All sizes are per sequence unless they say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryShape {
    /// Sequences that the pools have room for.
    pub sequences: usize,
    /// Positions a query sees through its window, its own included.
    pub window: usize,
    /// Rows of a window's ring.
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

/// Windows and stores on a device.
#[derive(Debug)]
pub struct Memory<B: Kernels> {
    windows: Vec<Window<B>>,
    stores: Vec<Store<B>>,
    rewind: u32,
}

impl<B: Kernels> Memory<B> {
    /// Rooms for `layers` windows and one store for each source: its ratio, and whether an indexer
    /// keeps keys for it.
    ///
    /// # Errors
    /// What the device says.
    pub fn new(
        be: &B,
        shape: &MemoryShape,
        layers: usize,
        sources: &[(u32, bool)],
    ) -> Result<Self> {
        let MemoryShape {
            sequences,
            window,
            ring,
            context,
            ..
        } = *shape;
        let windows = (0..layers)
            .map(|_| Window::new(be, shape.windows, shape.width, [sequences, ring, window]))
            .collect::<Result<_>>()?;
        let stores = sources
            .iter()
            .map(|(ratio, indexed)| {
                let room = [sequences, context.div_ceil(*ratio as usize)];
                let entries = Pool::new(be, shape.entries, shape.width, room)?;
                let keys = match indexed {
                    true => Some(Pool::new(be, shape.keys, shape.key_width, room)?),
                    false => None,
                };
                Ok(Store { entries, keys })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            windows,
            stores,
            rewind: shape.rewind,
        })
    }

    /// The window of a layer.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn window_mut(&mut self, layer: usize) -> &mut Window<B> {
        &mut self.windows[layer]
    }

    /// The window of a layer.
    ///
    /// # Panics
    /// If there is no such layer.
    #[must_use]
    pub fn window(&self, layer: usize) -> &Window<B> {
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

    /// Positions that may be taken back.
    #[must_use]
    pub fn rewind_max(&self) -> u32 {
        self.rewind
    }

    /// Ends a sequence.
    pub fn forget(&mut self, slot: usize) {
        for store in &mut self.stores {
            store.entries.forget(slot);
            if let Some(keys) = &mut store.keys {
                keys.forget(slot);
            }
        }
    }
}
