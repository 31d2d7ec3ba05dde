//! A stored row as 32-bit floats, in loops that the compiler turns into vectors: the same values as
//! [`deepseek_core::quant::decode_row`], which is the plain twin.
#![allow(unsafe_code, reason = "compiled for each instruction set")]

use deepseek_core::Format;
use deepseek_core::quant::{f16, fp8};
use deepseek_core::weights::WeightView;

use super::lanes::{Lanes, for_each_isa};

for_each_isa! {
    /// Widens row `index` of a weight into `out: [columns]`.
    widen(weight: &WeightView, index: usize, out: &mut [f32]) = widen_on
}

/// The lanes only say what this is compiled for.
#[inline(always)]
unsafe fn widen_on<L: Lanes>(weight: &WeightView, index: usize, out: &mut [f32]) {
    let (row, scales) = (weight.row(index), weight.row_scales(index));
    match weight.format {
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
            let blocks = out.chunks_mut(tile[1]).zip(row.chunks(tile[1]));
            for (block, (out, codes)) in blocks.enumerate() {
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
                    *pair = [fp4(*code) * factor, fp4(code >> 4) * factor];
                }
            }
        }
    }
}

/// The value of an E2M1 code by arithmetic rather than a table, which vectors have no use for.
#[inline(always)]
pub(super) fn fp4(code: u8) -> f32 {
    let magnitude = u32::from(code & 7);
    let sign = u32::from(code & 8) << 28;
    // A code without exponent has no leading one: 0 or 0.5 is what is left above 1.
    let subnormal = f32::from_bits((magnitude << 22) + (127 << 23)) - 1.0;
    let normal = f32::from_bits((magnitude << 22) + (126 << 23));
    let value = if magnitude < 2 { subnormal } else { normal };
    f32::from_bits(value.to_bits() | sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_gives_every_fp4_code() {
        for code in 0..16 {
            assert_eq!(
                fp4(code).to_bits(),
                deepseek_core::quant::fp4::decode(code).to_bits()
            );
        }
    }
}
