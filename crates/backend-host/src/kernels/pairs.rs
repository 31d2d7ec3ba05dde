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
use std::ops::RangeInclusive;

use super::codes::{Decode, LINE};
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

// SAFETY: needs AVX-512F, BW, BF16 and VBMI, which the callers of the trait's functions promise.
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

// SAFETY: needs AVX-512F, BW, BF16 and VBMI, which the callers of the trait's functions promise.
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

    /// Two units at a time: tables give the lower and the upper byte of each number, to whose exponents the
    /// factor's was added. A table serves as long as the factor stays, which is for a tile of the matrix.
    #[inline(always)]
    unsafe fn fp8_ahead<const M: usize, const N: usize>(
        x: [&[[f32; LANES]]; M],
        codes: [&[[[u8; 16]; 2]]; N],
        factors: &[f32],
        ahead: *const u8,
        sums: &mut [[Self; N]; M],
    ) -> usize {
        /// Places of eight codes: those of the first unit where the lower halves of quarters are joined, and those
        /// of the second where the upper ones are.
        const ORDER: [u64; 8] = [0, 4, 1, 5, 2, 6, 3, 7];
        let twos = factors.as_chunks::<2>().0;
        let (mut pairs, mut rows) = ([&[][..]; N], [&[][..]; M]);
        for (pairs, codes) in pairs.iter_mut().zip(codes) {
            *pairs = &codes.as_chunks::<2>().0[..twos.len()];
        }
        for (row, x) in rows.iter_mut().zip(x) {
            *row = &x.as_chunks::<2>().0[..twos.len()];
        }
        let mut held = *sums;
        // SAFETY: the tables are 256 bytes, two units are 64, and a prefetch may go anywhere; the rest is promised
        // by the caller.
        unsafe {
            let order = _mm512_loadu_si512(ORDER.as_ptr().cast());
            let sign = _mm512_set1_epi8(i8::MIN);
            let (mut of, mut tables) = (f32::NAN, [_mm512_setzero_si512(); 4]);
            for (at, [factor, other]) in twos.iter().enumerate() {
                let exponent = factor.to_bits() >> 23;
                if factor != other || !FP8_EXPONENTS.0.contains(&exponent) {
                    *sums = held;
                    return 2 * at;
                }
                if *factor != of {
                    (of, tables) = (*factor, fp8_tables(exponent));
                }
                let [low, high] = [&tables[..2], &tables[2..]];
                for j in 0..N {
                    Self::prefetch(ahead.wrapping_add((at * N + j) * LINE));
                    let codes = _mm512_loadu_si512(pairs[j][at].as_ptr().cast());
                    let codes = _mm512_permutexvar_epi64(order, codes);
                    let lower = _mm512_permutex2var_epi8(low[0], codes, low[1]);
                    let upper = _mm512_permutex2var_epi8(high[0], codes, high[1]);
                    // The upper byte, or the sign.
                    let upper = _mm512_ternarylogic_epi64::<0xf8>(upper, codes, sign);
                    let first = _mm512_castsi512_ps(_mm512_unpacklo_epi8(lower, upper));
                    let second = _mm512_castsi512_ps(_mm512_unpackhi_epi8(lower, upper));
                    for (sums, row) in held.iter_mut().zip(rows) {
                        let [one, two] = &row[at];
                        sums[j] = Self::load(one).fma(Self(first), sums[j]);
                        sums[j] = Self::load(two).fma(Self(second), sums[j]);
                    }
                }
            }
        }
        *sums = held;
        2 * twos.len()
    }

    /// The values have no more digits than BF16, so a table of words gives them: as large as they can be, and from
    /// their exponents the factor's distance is taken. A zero stays one, because nothing is less.
    #[inline(always)]
    unsafe fn fp4(codes: &[[u8; 8]; 2], factor: f32) -> [Self; 1] {
        /// Twice, for an index has five bits, and the uppermost is the next code's.
        const VALUES: [u16; 32] = {
            let halves = [0.0_f32, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
            let mut values = [0; 32];
            let mut code = 0;
            while code < 32 {
                let bits = (halves[code % 8] * FP4_FACTORS[1]).to_bits() >> 16;
                let is_negative = code % 16 > 8;
                values[code] = bits as u16 | if is_negative { 0x8000 } else { 0 };
                code += 1;
            }
            values
        };
        /// Where the bits of each word begin among those of eight codes.
        const PLACES: [[u8; 8]; 8] = {
            let mut places = [[0; 8]; 8];
            let mut word = 0;
            while word < 32 {
                places[word / 4][2 * (word % 4)] = (word / 8 * 4 + word % 4) as u8 * 4;
                word += 1;
            }
            places
        };
        // SAFETY: sixteen bytes of codes; the rest is promised by the caller.
        unsafe {
            let values = _mm512_loadu_si512(VALUES.as_ptr().cast());
            let codes = _mm512_broadcast_i32x4(_mm_loadu_si128(codes.as_ptr().cast()));
            let places = _mm512_loadu_si512(PLACES.as_ptr().cast());
            let codes = _mm512_multishift_epi64_epi8(places, codes);
            let values = _mm512_permutexvar_epi16(codes, values);
            let distance = _mm512_set1_epi32(factor.to_bits().cast_signed());
            [Self(_mm512_castsi512_ps(_mm512_subs_epu16(
                values, distance,
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

    /// Fours of the first sixteen codes and of the others take turns.
    #[inline(always)]
    unsafe fn fp4_arranged(self) -> Self {
        // SAFETY: promised by the caller.
        unsafe {
            let order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
            let fours = _mm512_castps_si512(self.0);
            Self(_mm512_castsi512_ps(_mm512_permutexvar_epi64(order, fours)))
        }
    }

    #[inline(always)]
    unsafe fn fp4_natural(self) -> Self {
        // SAFETY: promised by the caller.
        unsafe {
            let order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
            let fours = _mm512_castps_si512(self.0);
            Self(_mm512_castsi512_ps(_mm512_permutexvar_epi64(order, fours)))
        }
    }

    /// How far below the largest factor each is, in the exponents of two BF16 numbers.
    #[inline(always)]
    fn fp4_factors(factors: &mut [f32]) -> bool {
        let [least, most] = FP4_FACTORS;
        let fits = factors.iter().fold(true, |fits, factor| {
            fits & (*factor >= least) & (*factor <= most)
        });
        if fits {
            for factor in factors {
                let word = (most.to_bits() - factor.to_bits()) >> 16;
                *factor = f32::from_bits(word * 0x0001_0001);
            }
        }
        fits
    }
}

/// The E4M3 codes without their sign as BF16. The two that are no numbers are what stands there.
const FP8_VALUES: [u16; 128] = {
    let mut values = [0_u16; 128];
    let mut code = 1_u16;
    while code < 128 {
        let (exponent, mantissa) = (code >> 3, code & 7);
        values[code as usize] = if exponent > 0 {
            ((exponent + 120) << 7) | (mantissa << 4)
        } else {
            // 2^-9 times an integer, of which the uppermost digit goes without saying.
            let digits = 15 - mantissa.leading_zeros() as u16;
            ((118 + digits) << 7) | ((mantissa << (7 - digits)) & 0x7f)
        };
        code += 1;
    }
    values
};

/// The exponents of factors, as 32-bit floats have them, that keep each of [`FP8_VALUES`] within the exponents of
/// BF16, and the one that changes none: what is made for [`Decode::fp8`] is 2^8 larger.
const FP8_EXPONENTS: (RangeInclusive<u32>, u32) = (18..=254, 135);

/// The lower bytes of [`FP8_VALUES`] times a factor with this exponent, and the upper ones.
///
/// # Safety
/// As with [`Decode`] of [`Pairs`].
#[inline(always)]
unsafe fn fp8_tables(exponent: u32) -> [__m512i; 4] {
    const EVEN: [u8; 64] = {
        let mut places = [0; 64];
        let mut byte = 0;
        while byte < 64 {
            places[byte] = 2 * byte as u8;
            byte += 1;
        }
        places
    };
    // SAFETY: four times 64 bytes; the rest is promised by the caller.
    unsafe {
        let added = exponent.wrapping_sub(FP8_EXPONENTS.1) << 7;
        let added = _mm512_set1_epi16(added as i16);
        let quarters = FP8_VALUES.as_chunks::<32>().0;
        let mut values = [_mm512_setzero_si512(); 4];
        for (values, quarter) in values.iter_mut().zip(quarters) {
            *values = _mm512_loadu_si512(quarter.as_ptr().cast());
        }
        // All but the zero.
        values[0] = _mm512_mask_add_epi16(values[0], !1, values[0], added);
        for values in &mut values[1..] {
            *values = _mm512_add_epi16(*values, added);
        }
        let even = _mm512_loadu_si512(EVEN.as_ptr().cast());
        let odd = _mm512_add_epi8(even, _mm512_set1_epi8(1));
        [
            _mm512_permutex2var_epi8(values[0], even, values[1]),
            _mm512_permutex2var_epi8(values[2], even, values[3]),
            _mm512_permutex2var_epi8(values[0], odd, values[1]),
            _mm512_permutex2var_epi8(values[2], odd, values[3]),
        ]
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
