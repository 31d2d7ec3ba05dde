//! Round trips through the formats: what the released code does to activations.

use crate::format::{Fp4Scale, Rounding};
use crate::quant::{e8m0, fp4, fp8, int};

/// The smallest magnitude that sets an FP8 scale (`docs/models/deepseek-v4.md` §5.2, item 1).
const FP8_AMAX_MIN: f32 = 1e-4;
/// The smallest magnitude that sets an FP4 scale: `6 * 2^-126` (item 3).
const FP4_AMAX_MIN: f32 = 6.0 * f32::MIN_POSITIVE;
/// The same where scales are E4M3: six times the smallest of those (`docs/models/deepseek-v41.md`
/// §7.1).
const FP4_E4M3_AMAX_MIN: f32 = 6.0 / 512.0;
/// The smallest magnitude that sets an INT8 scale, so that no scale is zero.
const INT8_AMAX_MIN: f32 = int::MAX * f32::MIN_POSITIVE;

/// The nearest BF16 value, ties to even. NaN stays NaN.
#[must_use]
#[inline]
pub fn bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    if x.is_nan() {
        return f32::from_bits((bits | 0x0040_0000) & 0xffff_0000);
    }
    f32::from_bits(bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & 0xffff_0000)
}

/// Rounds one row in place.
///
/// # Panics
/// If the row is shorter than its unrounded tail, or for a Hadamard transform no power of two.
#[inline]
pub fn round_row(row: &mut [f32], to: Rounding) {
    match to {
        Rounding::Bf16 => row.iter_mut().for_each(|x| *x = bf16(*x)),
        Rounding::Fp8 { block, tail } => {
            let codes = row.len() - tail;
            for block in row[..codes].chunks_mut(block) {
                let scale = fp8_scale(block);
                for x in block {
                    *x = fp8::decode(fp8::encode((*x / scale).clamp(-fp8::MAX, fp8::MAX))) * scale;
                }
            }
        }
        Rounding::Fp4 { block, scale } => {
            for block in row.chunks_mut(block) {
                let scale = fp4_scale(block, scale);
                for x in block {
                    *x = fp4::decode(fp4::encode((*x / scale).clamp(-fp4::MAX, fp4::MAX))) * scale;
                }
            }
        }
        Rounding::HadamardFp4 { block, bf16 } => {
            hadamard(row);
            if bf16 {
                round_row(row, Rounding::Bf16);
            }
            let scale = Fp4Scale::E8m0;
            round_row(row, Rounding::Fp4 { block, scale });
        }
        Rounding::Int8 => {
            let scale = int8_scale(row);
            for x in row {
                *x = int::nearest((*x / scale).clamp(-int::MAX, int::MAX)) * scale;
            }
        }
    }
}

/// The scale of a row of activations in INT8.
#[must_use]
#[inline]
pub fn int8_scale(row: &[f32]) -> f32 {
    amax(row, INT8_AMAX_MIN) / int::MAX
}

/// The power-of-two scale of a block of activations in FP8.
#[must_use]
#[inline]
pub fn fp8_scale(block: &[f32]) -> f32 {
    e8m0::ceil_pow2(amax(block, FP8_AMAX_MIN) * (1.0 / fp8::MAX))
}

/// The scale of a block of activations in FP4.
#[must_use]
#[inline]
pub fn fp4_scale(block: &[f32], scale: Fp4Scale) -> f32 {
    match scale {
        Fp4Scale::E8m0 => e8m0::ceil_pow2(amax(block, FP4_AMAX_MIN) * (1.0 / fp4::MAX)),
        Fp4Scale::E4m3 => {
            let exact = amax(block, FP4_E4M3_AMAX_MIN) / fp4::MAX;
            fp8::decode(fp8::encode(exact.min(fp8::MAX)))
        }
    }
}

/// The largest magnitude of numbers, at least `least`; what is no number is passed over. Magnitudes are
/// compared as integers, which may be done in any order.
#[inline]
fn amax(block: &[f32], least: f32) -> f32 {
    let magnitude = |x: &f32| {
        let bits = x.to_bits() & 0x7fff_ffff;
        if bits > f32::INFINITY.to_bits() {
            0
        } else {
            bits
        }
    };
    f32::from_bits(block.iter().map(magnitude).fold(least.to_bits(), u32::max))
}

/// The normalised Walsh–Hadamard transform, natural order, in place.
///
/// # Panics
/// If the length is no power of two.
#[inline]
pub fn hadamard(row: &mut [f32]) {
    assert!(
        row.len().is_power_of_two(),
        "a Hadamard transform of {} channels",
        row.len()
    );
    let mut half = 1;
    while half < row.len() {
        for pair in row.chunks_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    let norm = (row.len() as f32).powf(-0.5);
    row.iter_mut().for_each(|x| *x *= norm);
}
