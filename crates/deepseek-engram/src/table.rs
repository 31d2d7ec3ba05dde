//! One layer's table, which stays in its file: rows are looked up through the map.

use std::sync::{Mutex, PoisonError};

use deepseek_core::quant::{decode_packed, decode_row};
use deepseek_core::weights::{Access, Tensors, WeightView};
use deepseek_core::{HostTensor, Result};

use crate::address::{Addresses, SCALE_COLUMNS};
use crate::lru::Lru;

/// The rows of one layer: FP8 with a scale for 32 columns, or floats. Nothing is read when it is
/// loaded.
#[derive(Debug)]
pub struct Table {
    view: WeightView,
    columns: usize,
    held: Option<Mutex<Lru>>,
    /// Rows that are to be fetched: kept for their memory.
    soon: Mutex<Vec<u64>>,
}

impl Table {
    /// Finds `embed.weight: [rows, head_dim]` of `layer` and, for FP8, `embed.scale`.
    ///
    /// `resident` bounds the bytes of memory that the table takes: rows read of late are kept
    /// packed within it, and mapped pages are let go as soon as their rows are copied. Without a
    /// bound the operating system keeps of the file what it has room for.
    ///
    /// # Panics
    /// If the layer has no table.
    pub fn load(
        at: &Tensors<'_>,
        addresses: &Addresses,
        layer: usize,
        head_dim: usize,
        resident: Option<u64>,
    ) -> Result<Self> {
        // A table of more rows than can be addressed is in no file.
        let rows = usize::try_from(addresses.rows(layer)).unwrap_or(usize::MAX);
        let view = at
            .tiled([1, SCALE_COLUMNS])
            .matrix("embed.weight", [rows, head_dim])?;
        // Rows lie far from one another: reading ahead would fetch what nobody asks for.
        view.data.advise(0..view.data.len(), Access::Scattered);
        view.scales.advise(0..view.scales.len(), Access::Scattered);
        let row_bytes = view.row_bytes() + view.scale_row_bytes();
        Ok(Self {
            view,
            columns: addresses.columns(),
            held: resident.map(|bound| Mutex::new(Lru::new(bound, row_bytes))),
            soon: Mutex::default(),
        })
    }

    /// Begins to fetch rows from the file, without waiting: as soon as the ids of a step are known,
    /// long before its layer runs.
    pub fn prefetch(&self, slots: &[u64]) {
        let mut soon = self.soon.lock().unwrap_or_else(PoisonError::into_inner);
        soon.clear();
        soon.extend_from_slice(slots);
        soon.sort_unstable();
        soon.dedup();
        if let Some(held) = &self.held {
            let held = held.lock().unwrap_or_else(PoisonError::into_inner);
            soon.retain(|slot| !held.holds(*slot));
        }
        for slot in &*soon {
            self.advise(*slot as usize, Access::Soon);
        }
    }

    /// The rows of positions, side by side: `[n, columns * head_dim]`.
    ///
    /// # Panics
    /// If the slots are not whole positions, or not of this table.
    #[must_use]
    pub fn read(&self, slots: &[u64]) -> HostTensor {
        let mut rows = Vec::new();
        let shape = self.read_to(slots, &mut rows);
        HostTensor::new(&shape, rows)
    }

    /// The same in place of what `rows` held, and their shape.
    ///
    /// # Panics
    /// If the slots are not whole positions, or not of this table.
    pub fn read_to(&self, slots: &[u64], rows: &mut Vec<f32>) -> [usize; 2] {
        assert_eq!(
            slots.len() % self.columns,
            0,
            "{} rows at a position",
            self.columns
        );
        let width = self.view.shape[1];
        rows.resize(slots.len() * width, 0.0);
        let pairs = slots.iter().zip(rows.chunks_exact_mut(width));
        match &self.held {
            None => pairs.for_each(|(slot, out)| decode_row(&self.view, *slot as usize, out)),
            Some(held) => {
                let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
                pairs.for_each(|(slot, out)| self.read_within(&mut held, *slot, out));
            }
        }
        [slots.len() / self.columns, self.columns * width]
    }

    fn read_within(&self, held: &mut Lru, slot: u64, out: &mut [f32]) {
        if let Some(packed) = held.get(slot) {
            let (codes, scales) = packed.split_at(self.view.row_bytes());
            return decode_packed(self.view.format, codes, scales, out);
        }
        let index = slot as usize;
        decode_row(&self.view, index, out);
        held.insert(slot, self.view.row(index), self.view.row_scales(index));
        self.advise(index, Access::Over);
    }

    fn advise(&self, index: usize, access: Access) {
        let WeightView { data, scales, .. } = &self.view;
        let [row, line] = [self.view.row_bytes(), self.view.scale_row_bytes()];
        data.advise(index * row..(index + 1) * row, access);
        scales.advise(index * line..(index + 1) * line, access);
    }
}
