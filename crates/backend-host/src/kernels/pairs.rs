//! Thirty-two BF16 numbers, multiplied in pairs: for what is exact in BF16 on both sides.
//!
//! The instruction rounds a pair's products and sum as it likes, and takes numbers below 2^-126 for zeros.
//! So sums differ from those of floats by roundings, and are the same bits for the same row and the same
//! weights, however many of them are multiplied at once.
#![cfg(target_arch = "x86_64")]
#![allow(unsafe_code, reason = "vector instructions")]
#![allow(
    clippy::multiple_unsafe_ops_per_block,
    reason = "one promise, that of the instruction set, covers all operations on registers"
)]
#![allow(
    clippy::wildcard_imports,
    reason = "the names of intrinsics are their own prefix"
)]

use std::arch::x86_64::*;
use std::mem;

use deepseek_core::weights::WeightView;
use deepseek_core::{Format, ScaleFormat};

use super::codes::{Decode, UNIT};
use super::lanes::{LANES, Lanes};

/// Thirty-two BF16 numbers, or sixteen sums.
#[derive(Clone, Copy)]
pub(super) struct Pairs(__m512);

impl Pairs {
    /// Two vectors of floats that are exact in BF16.
    #[inline(always)]
    unsafe fn packed([low, high]: [__m512; 2]) -> Self {
        // SAFETY: promised by the caller; both are 64 bytes without a meaning of their own.
        unsafe {
            Self(mem::transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(
                high, low,
            )))
        }
    }

    #[inline(always)]
    fn bf16(self) -> __m512bh {
        // SAFETY: both are 64 bytes without a meaning of their own.
        unsafe { mem::transmute::<__m512, __m512bh>(self.0) }
    }
}

// SAFETY: needs AVX-512F, BW and BF16, which the callers of the trait's functions promise.
unsafe impl Lanes for Pairs {
    const TILE: [usize; 2] = <__m512 as Lanes>::TILE;
    const WEIGHED: [usize; 2] = <__m512 as Lanes>::WEIGHED;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: promised by the caller.
        unsafe { Self(Lanes::splat(x)) }
    }

    #[inline(always)]
    unsafe fn load(from: &[f32; LANES]) -> Self {
        // SAFETY: promised by the caller.
        unsafe { Self(Lanes::load(from)) }
    }

    #[inline(always)]
    unsafe fn store(self, to: &mut [f32; LANES]) {
        // SAFETY: promised by the caller.
        unsafe { self.0.store(to) };
    }

    /// To each sum the products of a pair.
    #[inline(always)]
    unsafe fn fma(self, by: Self, to: Self) -> Self {
        // SAFETY: promised by the caller.
        unsafe { Self(_mm512_dpbf16_ps(to.0, self.bf16(), by.bf16())) }
    }

    #[inline(always)]
    unsafe fn fold(self) -> f32 {
        // SAFETY: promised by the caller.
        unsafe { self.0.fold() }
    }

    #[inline(always)]
    unsafe fn prefetch(from: *const u8) {
        // SAFETY: promised by the caller.
        unsafe { <__m512 as Lanes>::prefetch(from) };
    }
}

/// Factors by which E2M1 stays within the exponents of BF16.
const FP4_FACTORS: [f32; 2] = [f32::from_bits(2 << 23), f32::from_bits(252 << 23)];

// SAFETY: needs AVX-512F, BW and BF16, which the callers of the trait's functions promise.
unsafe impl Decode for Pairs {
    type Unit = [Self; 1];
    const VECTORS: usize = 1;
    const FEW: [usize; 4] = <__m512 as Decode>::FEW;

    #[inline(always)]
    unsafe fn unit(from: &[[f32; LANES]]) -> [Self; 1] {
        // SAFETY: promised by the caller.
        unsafe { [Self::load(&from[0])] }
    }

    #[inline(always)]
    unsafe fn f32(codes: &[[u8; 64]; 2]) -> [Self; 1] {
        // SAFETY: promised by the caller.
        unsafe { [Self::packed(<__m512 as Decode>::f32(codes))] }
    }

    #[inline(always)]
    unsafe fn bf16(codes: &[[u8; 32]; 2]) -> [Self; 1] {
        // SAFETY: 64 bytes.
        unsafe { [Self(_mm512_loadu_ps(codes.as_ptr().cast()))] }
    }

    #[inline(always)]
    unsafe fn f16(codes: &[[u8; 32]; 2]) -> [Self; 1] {
        // SAFETY: promised by the caller.
        unsafe { [Self::packed(<__m512 as Decode>::f16(codes))] }
    }

    #[inline(always)]
    unsafe fn fp8(codes: &[[u8; 16]; 2], factor: f32) -> [Self; 1] {
        // SAFETY: promised by the caller.
        unsafe { [Self::packed(<__m512 as Decode>::fp8(codes, factor))] }
    }

    /// The values have no more digits than BF16, so a table of words gives them, to whose exponents the
    /// factor's was added.
    #[inline(always)]
    unsafe fn fp4(codes: &[[u8; 8]; 2], factor: f32) -> [Self; 1] {
        const VALUES: [u16; 16] = [
            0x0000, 0x3f00, 0x3f80, 0x3fc0, 0x4000, 0x4040, 0x4080, 0x40c0, 0x8000, 0xbf00, 0xbf80,
            0xbfc0, 0xc000, 0xc040, 0xc080, 0xc0c0,
        ];
        /// All but the zeros, twice: an index has five bits, of which the uppermost means nothing.
        const NUMBERS: u32 = 0xfefe_fefe;
        /// The byte of each word, and nothing above it: two words for each.
        const PLACES: [u32; 16] = {
            let mut places = [0x8000_8000; 16];
            let mut byte = 0;
            while byte < 16 {
                places[byte] += byte as u32 * 0x0001_0001;
                byte += 1;
            }
            places
        };
        // SAFETY: sixteen bytes of codes; the rest is promised by the caller.
        unsafe {
            let values = _mm512_broadcast_i64x4(_mm256_loadu_si256(VALUES.as_ptr().cast()));
            let exponents = _mm512_set1_epi32(factor.to_bits().cast_signed());
            let values = _mm512_mask_add_epi16(values, NUMBERS, values, exponents);
            // Each byte goes to two words, and the second looks at its upper half.
            let codes = _mm512_broadcast_i32x4(_mm_loadu_si128(codes.as_ptr().cast()));
            let places = _mm512_loadu_si512(PLACES.as_ptr().cast());
            let halves = _mm512_set1_epi32(4 << 16);
            let places = _mm512_srlv_epi16(_mm512_shuffle_epi8(codes, places), halves);
            [Self(_mm512_castsi512_ps(_mm512_permutexvar_epi16(
                places, values,
            )))]
        }
    }

    #[inline(always)]
    unsafe fn int8(codes: &[[u8; 16]; 2], factor: f32) -> [Self; 1] {
        // SAFETY: promised by the caller.
        unsafe { [Self::packed(<__m512 as Decode>::int8(codes, factor))] }
    }

    #[inline(always)]
    unsafe fn int4(codes: &[[u8; 8]; 2], factor: f32) -> [Self; 1] {
        // SAFETY: promised by the caller.
        unsafe { [Self::packed(<__m512 as Decode>::int4(codes, factor))] }
    }

    #[inline(always)]
    unsafe fn fp4_arranged(self) -> Self {
        self
    }

    #[inline(always)]
    unsafe fn fp4_natural(self) -> Self {
        self
    }

    /// What is added to two BF16 numbers to multiply them by a power of two.
    #[inline(always)]
    fn fp4_factors(factors: &mut [f32]) -> bool {
        let [least, most] = FP4_FACTORS;
        let fits = factors.iter().fold(true, |fits, factor| {
            fits & (*factor >= least) & (*factor <= most)
        });
        if fits {
            for factor in factors {
                let word = (factor.to_bits() >> 16).wrapping_sub(0x3f80) & 0xffff;
                *factor = f32::from_bits(word * 0x0001_0001);
            }
        }
        fits
    }
}

/// Whether the numbers of a weight are exact in BF16, in units that are decoded here.
pub(super) fn takes(weight: &WeightView) -> bool {
    match weight.format {
        Format::Fp8 { tile, scale } => scale == ScaleFormat::E8m0 && tile[1].is_multiple_of(UNIT),
        Format::Fp4 { block, scale } => scale == ScaleFormat::E8m0 && block.is_multiple_of(UNIT),
        Format::Bf16 => true,
        // Scales of INT8 and INT4 have more digits.
        Format::F32 | Format::F16 | Format::Int8 | Format::Int4 { .. } => false,
    }
}

/// A row of numbers that are exact in BF16, and zeros behind them, two in the room of one.
pub(super) fn pack(row: &[f32], out: &mut [f32]) {
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn pack(row: &[f32], out: &mut [f32]) {
        let (units, rest) = row.as_chunks::<{ 2 * LANES }>();
        let mut last = [0.0; 2 * LANES];
        last[..rest.len()].copy_from_slice(rest);
        let units = units.iter().chain(std::iter::once(&last));
        for (out, unit) in out.as_chunks_mut::<LANES>().0.iter_mut().zip(units) {
            // SAFETY: compiled for what it needs; two vectors of numbers.
            unsafe {
                let at = unit.as_ptr();
                let unit = [_mm512_loadu_ps(at), _mm512_loadu_ps(at.add(LANES))];
                Pairs::packed(unit).store(out);
            }
        }
    }
    // SAFETY: what is laid out in pairs is laid out so because the machine has the instructions.
    unsafe { pack(row, out) }
}
