//! Pools of cache rows in host memory, packed.
#![allow(unsafe_code, reason = "floats are read where they lie")]

use std::ops::Range;

use deepseek_core::{Error, NO_ROW, Result, RowFormat};
use memmap2::MmapMut;

use super::formats::{pack_row, unpack_row};
use super::lanes::Isa;

/// `count` rows of `width` channels. Pages that no row was written to cost no memory.
///
/// The pages are the system's own, not the allocator's: that clears what it gives out again, and with
/// it would touch every page of a pool.
pub(crate) struct RowPool {
    isa: Isa,
    format: RowFormat,
    width: usize,
    bytes: MmapMut,
}

impl std::fmt::Debug for RowPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RowPool({:?} of {})", self.format, self.width)
    }
}

impl RowPool {
    /// A pool of zeros.
    pub(crate) fn new(isa: Isa, format: RowFormat, width: usize, count: usize) -> Result<Self> {
        let full = |bytes| Error::OutOfMemory {
            device: "cpu".to_owned(),
            bytes,
        };
        let bytes = format.row_bytes(width).checked_mul(count);
        let bytes = bytes.filter(|bytes| *bytes <= isize::MAX as usize);
        let bytes = bytes.ok_or_else(|| full(usize::MAX))?;
        // No system maps nothing.
        let map = MmapMut::map_anon(bytes.max(1)).map_err(|_| full(bytes))?;
        Ok(Self {
            isa,
            format,
            width,
            bytes: map,
        })
    }

    /// How rows are kept.
    pub(crate) fn format(&self) -> RowFormat {
        self.format
    }

    /// Channels of a row.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Stores rows of `from` at `at`, but for those that go nowhere.
    pub(crate) fn write(&mut self, at: &[u32], from: &[f32]) {
        let rows = at.iter().zip(from.chunks_exact(self.width));
        for (row, from) in rows.filter(|(row, _)| **row != NO_ROW) {
            let places = self.places(*row..*row + 1);
            pack_row(self.isa, self.format, from, &mut self.bytes[places]);
        }
    }

    /// Reads the rows `at`; those that are none are zeros.
    pub(crate) fn read(&self, at: &[u32], out: &mut [f32]) {
        for (row, out) in at.iter().zip(out.chunks_exact_mut(self.width)) {
            match *row {
                NO_ROW => out.fill(0.0),
                row => self.read_run(row..row + 1, out),
            }
        }
    }

    /// A run of neighbours as they are packed.
    pub(crate) fn export(&self, run: Range<u32>) -> &[u8] {
        &self.bytes[self.places(run)]
    }

    /// Puts packed rows in the place of a run.
    ///
    /// # Errors
    /// [`Error::Rows`] if these are not just so many bytes.
    pub(crate) fn import(&mut self, run: Range<u32>, packed: &[u8]) -> Result<()> {
        let places = self.places(run);
        if packed.len() != places.len() {
            return Err(Error::Rows {
                bytes: packed.len(),
                want: places.len(),
            });
        }
        self.bytes[places].copy_from_slice(packed);
        Ok(())
    }

    /// Reads a run of neighbours.
    pub(crate) fn read_run(&self, run: Range<u32>, out: &mut [f32]) {
        if let Some(floats) = self.floats(run.clone()) {
            return out.copy_from_slice(floats);
        }
        let bytes = self.bytes[self.places(run)].chunks_exact(self.format.row_bytes(self.width));
        for (bytes, out) in bytes.zip(out.chunks_exact_mut(self.width)) {
            unpack_row(self.isa, self.format, bytes, out);
        }
    }

    /// Reads a run of neighbours to rows that are `wide` numbers apart, with zeros between them.
    fn read_apart(&self, run: Range<u32>, out: &mut [f32], wide: usize) {
        if wide == self.width {
            return self.read_run(run, out);
        }
        for (row, out) in run.zip(out.chunks_exact_mut(wide)) {
            let (own, rest) = out.split_at_mut(self.width);
            self.read_run(row..row + 1, own);
            rest.fill(0.0);
        }
    }

    /// A run of neighbours where it lies, if rows are kept as floats of this machine.
    pub(crate) fn floats(&self, run: Range<u32>) -> Option<&[f32]> {
        if self.format != RowFormat::F32 || cfg!(target_endian = "big") {
            return None;
        }
        let bytes = &self.bytes[self.places(run)];
        // SAFETY: any four bytes are a float.
        let (head, floats, tail) = unsafe { bytes.align_to::<f32>() };
        assert!(
            head.is_empty() && tail.is_empty(),
            "rows of floats begin at multiples of four in a map that begins a page"
        );
        Some(floats)
    }

    /// Where the bytes of a run of rows lie.
    fn places(&self, run: Range<u32>) -> Range<usize> {
        let row = self.format.row_bytes(self.width);
        run.start as usize * row..run.end as usize * row
    }
}

/// Reads rows of runs one after the other.
pub(super) struct Reader<'a> {
    runs: &'a [Range<u32>],
    /// Rows of the first run that have been read.
    taken: u32,
}

impl<'a> Reader<'a> {
    /// Begins behind so many rows, or at the end.
    pub(super) fn at(runs: &'a [Range<u32>], mut taken: u32) -> Self {
        let before = runs.iter().take_while(|run| {
            let passes = taken >= run.len() as u32;
            taken -= if passes { run.len() as u32 } else { 0 };
            passes
        });
        let before = before.count();
        Self {
            runs: &runs[before..],
            taken,
        }
    }

    /// Reads as many rows as `out` holds, `wide` numbers apart.
    pub(super) fn read(&mut self, rows: &RowPool, out: &mut [f32], wide: usize) {
        let mut rest = out;
        while !rest.is_empty() {
            let run = self.runs[0].start + self.taken..self.runs[0].end;
            let count = run.len().min(rest.len() / wide);
            let (now, later) = rest.split_at_mut(count * wide);
            rows.read_apart(run.start..run.start + count as u32, now, wide);
            self.taken += count as u32;
            if self.taken as usize == self.runs[0].len() {
                (self.runs, self.taken) = (&self.runs[1..], 0);
            }
            rest = later;
        }
    }
}

#[cfg(test)]
mod tests {
    use deepseek_core::quant::round_row;
    use deepseek_core::{Fp4Scale, Rounding};

    use super::*;

    #[test]
    fn what_was_rounded_before_comes_back_bit_for_bit() {
        let cases = [
            (RowFormat::F32, None),
            (RowFormat::Bf16, Some(Rounding::Bf16)),
            (
                RowFormat::Fp8 {
                    block: 64,
                    tail: 32,
                    tail_bytes: 4,
                },
                Some(Rounding::Fp8 {
                    block: 64,
                    tail: 32,
                }),
            ),
            (
                RowFormat::Fp4 {
                    block: 32,
                    scale: Fp4Scale::E8m0,
                },
                Some(Rounding::Fp4 {
                    block: 32,
                    scale: Fp4Scale::E8m0,
                }),
            ),
            (
                RowFormat::Fp4 {
                    block: 16,
                    scale: Fp4Scale::E4m3,
                },
                Some(Rounding::Fp4 {
                    block: 16,
                    scale: Fp4Scale::E4m3,
                }),
            ),
        ];
        for (format, rounding) in cases {
            let width = 224;
            let mut pool = RowPool::new(Isa::available()[0], format, width, 90).expect("room");
            for exponent in -40..40 {
                let magnitude = 2.0_f32.powi(exponent) * 1.37;
                let mut row: Vec<f32> = (0..width)
                    .map(|at| (at as f32 * 0.9).sin() * magnitude)
                    .collect();
                row[..64].fill(0.0);
                if let Some(rounding) = rounding {
                    round_row(&mut row, rounding);
                }
                let at = [(exponent + 40) as u32];
                pool.write(&at, &row);
                let mut back = vec![0.0; width];
                pool.read(&at, &mut back);
                // A negative zero may lose its sign nowhere either.
                let same = row
                    .iter()
                    .zip(&back)
                    .all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{format:?} at 2^{exponent}: {row:?} and {back:?}");
            }
        }
    }

    #[test]
    fn a_pool_beyond_all_memory_is_an_error() {
        let error = RowPool::new(Isa::available()[0], RowFormat::Bf16, 1 << 20, 1 << 42)
            .expect_err("no such room");
        assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    }
}
