//! Pools of cache rows in host memory, packed as their format says.

use std::alloc::{Layout, alloc_zeroed};
use std::ops::Range;

use deepseek_core::quant::{self, e8m0, fp4, fp8};
use deepseek_core::{Error, Format, Result, RowFormat, ScaleFormat};

use super::decode::decode;
use super::simd::Simd;
use super::table::Table;

/// A pool of `count` rows of `width` channels.
///
/// A row of codes is its codes, its scale bytes, then the channels that are not quantised.
#[derive(Debug)]
pub struct RowPool {
    format: RowFormat,
    width: usize,
    count: usize,
    bytes: Vec<u8>,
    table: &'static Table,
}

impl RowPool {
    /// A pool of zeros. Rows that nobody writes cost no memory.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the system refuses.
    pub(crate) fn new(format: RowFormat, width: usize, count: usize) -> Result<Self> {
        let size = format.row_bytes(width).saturating_mul(count);
        let Some(bytes) = zeroed(size) else {
            return Err(Error::OutOfMemory {
                device: "cpu".to_owned(),
                bytes: size,
            });
        };
        Ok(Self {
            format,
            width,
            count,
            bytes,
            table: Table::best(),
        })
    }

    /// Channels of a row.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Stores `from: [n, width]` at the rows `at`.
    pub(crate) fn write(&mut self, at: &[u32], from: &[f32]) {
        assert_eq!(from.len(), at.len() * self.width, "a place for each row");
        let size = self.format.row_bytes(self.width);
        for (row, from) in at.iter().zip(from.chunks_exact(self.width)) {
            pack(
                self.format,
                from,
                &mut self.bytes[*row as usize * size..][..size],
            );
        }
    }

    /// Reads the rows `at` as `out: [n, width]`.
    pub(crate) fn read(&self, at: &[u32], out: &mut [f32]) {
        assert_eq!(out.len(), at.len() * self.width, "room for each row");
        for (row, out) in at.iter().zip(out.chunks_exact_mut(self.width)) {
            self.read_run(self.table, *row..row + 1, self.width, out);
        }
    }

    /// Reads a run of rows, each to the head of `stride` numbers; the rest stays.
    pub(super) fn read_run(&self, table: &Table, run: Range<u32>, stride: usize, out: &mut [f32]) {
        assert!(
            run.end as usize <= self.count,
            "rows {run:?} of {}",
            self.count
        );
        let size = self.format.row_bytes(self.width);
        let packed = &self.bytes[run.start as usize * size..run.end as usize * size];
        table.unpack(self.format, packed, self.width, stride, out);
    }
}

/// Widens packed rows, each to the head of `stride` numbers.
#[inline(always)]
pub(super) fn unpack<S: Simd>(
    s: S,
    format: RowFormat,
    packed: &[u8],
    width: usize,
    stride: usize,
    out: &mut [f32],
) {
    let rows = packed
        .chunks_exact(format.row_bytes(width))
        .zip(out.chunks_exact_mut(stride));
    for (packed, out) in rows {
        let out = &mut out[..width];
        match format {
            RowFormat::F32 => decode(s, Format::F32, packed, &[], out),
            RowFormat::Bf16 => decode(s, Format::Bf16, packed, &[], out),
            RowFormat::Fp8 {
                block,
                tail,
                tail_bytes,
            } => {
                let (out, last) = out.split_at_mut(width - tail);
                let (codes, packed) = packed.split_at(out.len());
                let (scales, packed) = packed.split_at(out.len().div_ceil(block));
                let format = Format::Fp8 {
                    tile: [1, block],
                    scale: ScaleFormat::E8m0,
                };
                decode(s, format, codes, scales, out);
                let format = if tail_bytes == 2 {
                    Format::Bf16
                } else {
                    Format::F32
                };
                decode(s, format, packed, &[], last);
            }
            RowFormat::Fp4 { block } => {
                let (codes, scales) = packed.split_at(width / 2);
                decode(s, Format::Fp4 { block }, codes, scales, out);
            }
        }
    }
}

/// Zeroed bytes that the system provides when they are touched, or nothing when it cannot.
fn zeroed(size: usize) -> Option<Vec<u8>> {
    if size == 0 {
        return Some(Vec::new());
    }
    let layout = Layout::array::<u8>(size).ok()?;
    // SAFETY: the layout is not of size zero.
    let start = unsafe { alloc_zeroed(layout) };
    if start.is_null() {
        return None;
    }
    // SAFETY: the global allocator gave `start` for `size` bytes of alignment 1, all of them zero.
    Some(unsafe { Vec::from_raw_parts(start, size, size) })
}

fn pack(format: RowFormat, row: &[f32], out: &mut [u8]) {
    match format {
        RowFormat::F32 => pack_f32(row, out),
        RowFormat::Bf16 => pack_bf16(row, out),
        RowFormat::Fp8 {
            block,
            tail,
            tail_bytes,
        } => {
            let (row, last) = row.split_at(row.len() - tail);
            let (codes, out) = out.split_at_mut(row.len());
            let (scales, out) = out.split_at_mut(row.len().div_ceil(block));
            let blocks = row.chunks(block).zip(codes.chunks_mut(block)).zip(scales);
            for ((row, codes), byte) in blocks {
                let scale = quant::fp8_scale(row);
                *byte = e8m0::encode(scale);
                for (x, code) in row.iter().zip(codes) {
                    *code = fp8::encode((x / scale).clamp(-fp8::MAX, fp8::MAX));
                }
            }
            if tail_bytes == 2 {
                pack_bf16(last, out);
            } else {
                pack_f32(last, out);
            }
        }
        RowFormat::Fp4 { block } => {
            let (codes, scales) = out.split_at_mut(row.len() / 2);
            let blocks = row
                .chunks(block)
                .zip(codes.chunks_mut(block / 2))
                .zip(scales);
            for ((row, codes), byte) in blocks {
                let scale = quant::fp4_scale(row);
                *byte = e8m0::encode(scale);
                let code = |x: f32| fp4::encode((x / scale).clamp(-fp4::MAX, fp4::MAX));
                for (pair, out) in row.as_chunks::<2>().0.iter().zip(codes) {
                    *out = code(pair[0]) | code(pair[1]) << 4;
                }
            }
        }
    }
}

fn pack_f32(row: &[f32], out: &mut [u8]) {
    for (x, out) in row.iter().zip(out.as_chunks_mut().0) {
        *out = x.to_le_bytes();
    }
}

fn pack_bf16(row: &[f32], out: &mut [u8]) {
    for (x, out) in row.iter().zip(out.as_chunks_mut().0) {
        *out = ((quant::bf16(*x).to_bits() >> 16) as u16).to_le_bytes();
    }
}
