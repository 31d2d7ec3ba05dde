//! What is done to each row of an activation on its own: norms, rotations, roundings, mixtures.

use deepseek_core::backend::Turn;
use deepseek_core::quant::{e8m0, fp4, fp8};
use deepseek_core::rope::Angles;
use deepseek_core::{Rounding, Unary};

use super::math::bf16;
use super::par::{Pool, least_rows};
use super::simd::{LANES, Simd};

/// `f` of every number.
pub(crate) fn map(pool: &Pool, x: &mut [f32], f: Unary) {
    pool.for_rows(x, 1, least_rows(1), |_, x| pool.table.map(x, f));
}

/// `weight ⊙ x / sqrt(mean(x²) + eps)` of every row of `width`.
pub(crate) fn rms_norm(pool: &Pool, x: &mut [f32], width: usize, weight: Option<&[f32]>, eps: f32) {
    pool.for_rows(x, width, least_rows(width), |_, rows| {
        for row in rows.chunks_exact_mut(width) {
            pool.table.norm_row(row, weight, eps);
        }
    });
}

/// Rounds every row of `width`: bit for bit [`deepseek_core::quant::round_row`].
pub(crate) fn round_rows(pool: &Pool, x: &mut [f32], width: usize, to: Rounding) {
    pool.for_rows(x, width, least_rows(width), |_, rows| {
        for row in rows.chunks_exact_mut(width) {
            pool.table.round_row(row, to);
        }
    });
}

/// Rotates adjacent pairs of the last channels of `x: [rows, .., width]` by the row of `angles`.
pub(crate) fn rope(
    pool: &Pool,
    x: &mut [f32],
    rows: usize,
    width: usize,
    angles: &Angles,
    turn: Turn,
) {
    let pairs = angles.pairs();
    assert_eq!(angles.cos().len(), rows * pairs, "angles for {rows} rows");
    if x.is_empty() || pairs == 0 {
        return;
    }
    let each = x.len() / rows;
    let sin: Vec<f32> = match turn {
        Turn::Forward => angles.sin().to_vec(),
        Turn::Back => angles.sin().iter().map(|sin| -sin).collect(),
    };
    pool.for_rows(x, each, least_rows(each), |first, rows| {
        for (index, row) in rows.chunks_exact_mut(each).enumerate() {
            let at = (first + index) * pairs;
            let (cos, sin) = (&angles.cos()[at..][..pairs], &sin[at..][..pairs]);
            for row in row.chunks_exact_mut(width) {
                pool.table.rope_row(&mut row[width - 2 * pairs..], cos, sin);
            }
        }
    });
}

#[inline(always)]
pub(super) fn rope_row<S: Simd>(_: S, row: &mut [f32], cos: &[f32], sin: &[f32]) {
    for (([a, b], cos), sin) in row.as_chunks_mut().0.iter_mut().zip(cos).zip(sin) {
        (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
    }
}

/// The mean of the squares.
#[inline(always)]
pub(super) fn mean_square<S: Simd>(s: S, row: &[f32]) -> f32 {
    let (chunks, tail) = row.as_chunks::<LANES>();
    let mut last = [0.0; LANES];
    last[..tail.len()].copy_from_slice(tail);
    let mut sum = s.splat(0.0);
    for chunk in chunks.iter().chain([&last]) {
        let x = s.load(chunk);
        sum = s.fma(x, x, sum);
    }
    s.sum(sum) / row.len() as f32
}

#[inline(always)]
pub(super) fn norm_row<S: Simd>(s: S, row: &mut [f32], weight: Option<&[f32]>, eps: f32) {
    let factor = 1.0 / (mean_square(s, row) + eps).sqrt();
    match weight {
        Some(weight) => row
            .iter_mut()
            .zip(weight)
            .for_each(|(x, w)| *x = *x * factor * w),
        None => row.iter_mut().for_each(|x| *x *= factor),
    }
}

/// `out = Σ_j shares_j · parts_j`, in that order; `parts: [shares, out]`.
#[inline(always)]
pub(super) fn mix_row<S: Simd>(_: S, shares: &[f32], parts: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    for (share, part) in shares.iter().zip(parts.chunks_exact(out.len())) {
        for (out, x) in out.iter_mut().zip(part) {
            *out = share.mul_add(*x, *out);
        }
    }
}

/// As [`deepseek_core::quant::round_row`], bit for bit, without a branch or a code in between.
#[inline(always)]
pub(super) fn round_row<S: Simd>(_: S, row: &mut [f32], to: Rounding) {
    match to {
        Rounding::Bf16 => row.iter_mut().for_each(|x| *x = bf16(*x)),
        Rounding::Fp8 { block, tail } => {
            let codes = row.len() - tail;
            for block in row[..codes].chunks_mut(block) {
                let scale = e8m0::ceil_pow2(amax(block, 1e-4) * (1.0 / fp8::MAX));
                // A power of two far from the ends: its inverse is exact.
                let inverse = 1.0 / scale;
                for x in block {
                    *x = near_fp8((*x * inverse).clamp(-fp8::MAX, fp8::MAX)) * scale;
                }
            }
        }
        Rounding::Fp4 { block } => round_fp4(row, block),
        Rounding::HadamardFp4 { block, bf16: brain } => {
            hadamard(row);
            if brain {
                row.iter_mut().for_each(|x| *x = bf16(*x));
            }
            round_fp4(row, block);
        }
    }
}

#[inline(always)]
fn round_fp4(row: &mut [f32], block: usize) {
    for block in row.chunks_mut(block) {
        let scale = e8m0::ceil_pow2(amax(block, 6.0 * f32::MIN_POSITIVE) * (1.0 / fp4::MAX));
        let inverse = 1.0 / scale;
        for x in block {
            *x = near_fp4((*x * inverse).clamp(-fp4::MAX, fp4::MAX)) * scale;
        }
    }
}

/// The largest magnitude, at least `least`; the same in any order.
#[inline(always)]
fn amax(block: &[f32], least: f32) -> f32 {
    let (chunks, tail) = block.as_chunks::<LANES>();
    let mut lanes = [least; LANES];
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = if x.abs() > *lane { x.abs() } else { *lane };
        }
    }
    lanes
        .iter()
        .chain(tail)
        .fold(least, |amax, x| amax.max(x.abs()))
}

/// The nearest value of E4M3, ties to even; within its range.
#[inline(always)]
fn near_fp8(x: f32) -> f32 {
    let magnitude = x.abs();
    let bits = magnitude.to_bits();
    let normal = bits.wrapping_add(0x0007_ffff + ((bits >> 20) & 1)) & 0xfff0_0000;
    let small = (magnitude + 16_384.0) - 16_384.0;
    let near = if magnitude < 0.015_625 {
        small
    } else {
        f32::from_bits(normal)
    };
    let near = if x.is_nan() { f32::NAN } else { near };
    f32::from_bits(near.to_bits() | (x.to_bits() & 0x8000_0000))
}

/// The nearest value of E2M1, ties to even; within its range. NaN becomes zero.
#[inline(always)]
fn near_fp4(x: f32) -> f32 {
    let magnitude = x.abs();
    let bits = magnitude.to_bits();
    let normal = bits.wrapping_add(0x001f_ffff + ((bits >> 22) & 1)) & 0xffc0_0000;
    let small = (magnitude + 4_194_304.0) - 4_194_304.0;
    let near = if magnitude < 1.0 {
        small
    } else {
        f32::from_bits(normal)
    };
    let near = if x.is_nan() { 0.0 } else { near };
    f32::from_bits(near.to_bits() | (x.to_bits() & 0x8000_0000))
}

/// As [`deepseek_core::quant::hadamard`].
#[inline(always)]
fn hadamard(row: &mut [f32]) {
    assert!(
        row.len().is_power_of_two(),
        "a Hadamard transform of {} channels",
        row.len()
    );
    let mut half = 1;
    while half < row.len() {
        for pair in row.chunks_exact_mut(2 * half) {
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
