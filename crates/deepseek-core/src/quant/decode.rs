//! A stored row as 32-bit floats.

use crate::format::{Format, ScaleFormat};
use crate::quant::{e8m0, f16, fp4, fp8, int};
use crate::weights::WeightView;

/// Widens row `index` of `view` into `out: [columns]`. Exact, but for the product with a float
/// scale, which rounds once.
///
/// # Panics
/// If `out` has another length than a row.
#[inline]
pub fn decode_row(view: &WeightView, index: usize, out: &mut [f32]) {
    assert_eq!(
        out.len(),
        view.shape[1],
        "{}: a row and its room",
        view.name
    );
    decode_packed(view.format, view.row(index), view.row_scales(index), out);
}

/// Widens a row that was taken out of its matrix. `row` and `scales` are what
/// [`WeightView::row`] and [`WeightView::row_scales`] gave, `out: [columns]`.
#[inline]
pub fn decode_packed(format: Format, row: &[u8], scales: &[u8], out: &mut [f32]) {
    match format {
        Format::F32 => {
            for (out, bytes) in out.iter_mut().zip(row.as_chunks::<4>().0) {
                *out = f32::from_le_bytes(*bytes);
            }
        }
        Format::Bf16 => {
            for (out, bytes) in out.iter_mut().zip(row.as_chunks::<2>().0) {
                *out = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
            }
        }
        Format::F16 => {
            for (out, bytes) in out.iter_mut().zip(row.as_chunks::<2>().0) {
                *out = f16::decode(u16::from_le_bytes(*bytes));
            }
        }
        Format::Fp8 { tile, scale } => {
            for (block, (out, codes)) in
                out.chunks_mut(tile[1]).zip(row.chunks(tile[1])).enumerate()
            {
                let factor = scale.decode(scales, block);
                for (out, code) in out.iter_mut().zip(codes) {
                    *out = fp8::decode(*code) * factor;
                }
            }
        }
        Format::Fp4 { block, scale } => {
            let blocks = out.chunks_mut(block).zip(row.chunks(block / 2));
            for (index, (out, codes)) in blocks.enumerate() {
                let factor = scale.decode(scales, index);
                for (pair, code) in out.as_chunks_mut::<2>().0.iter_mut().zip(codes) {
                    *pair = [fp4::decode(*code) * factor, fp4::decode(code >> 4) * factor];
                }
            }
        }
        Format::Int8 => {
            let factor = ScaleFormat::F32.decode(scales, 0);
            for (out, code) in out.iter_mut().zip(row) {
                *out = int::decode(*code) * factor;
            }
        }
        Format::Int4 { group } => {
            let groups = out.chunks_mut(group).zip(row.chunks(group / 2));
            for (index, (out, codes)) in groups.enumerate() {
                let factor = ScaleFormat::F32.decode(scales, index);
                for (pair, code) in out.as_chunks_mut::<2>().0.iter_mut().zip(codes) {
                    *pair = [
                        int::decode4(*code) * factor,
                        int::decode4(code >> 4) * factor,
                    ];
                }
            }
        }
    }
}

impl ScaleFormat {
    /// Bytes of one scale.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::E8m0 => 1,
            Self::F32 => 4,
        }
    }

    /// Scale `index` of a line of scales.
    ///
    /// # Panics
    /// If the line is shorter.
    #[must_use]
    pub fn decode(self, line: &[u8], index: usize) -> f32 {
        match self {
            Self::E8m0 => e8m0::decode(line[index]),
            Self::F32 => f32::from_le_bytes(line.as_chunks::<4>().0[index]),
        }
    }
}
