//! Stored weights as vectors: thirty-two codes at a time, decoded in registers.
//!
//! The plain twin is [`deepseek_core::quant::decode_row`], and the numbers are the same bits.
#![allow(unsafe_code, reason = "vector instructions")]
#![allow(
    clippy::multiple_unsafe_ops_per_block,
    reason = "one promise, that of the instruction set, covers all operations on registers"
)]
#![allow(
    clippy::wildcard_imports,
    reason = "the names of intrinsics are their own prefix"
)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
use std::ops::Range;

use deepseek_core::quant::{e8m0, f16, fp4, fp8, int};
use deepseek_core::weights::{Stride, WeightView};
use deepseek_core::{Format, ScaleFormat};

#[cfg(target_arch = "x86_64")]
use super::lanes::Pair;
use super::lanes::{LANES, Lanes};

/// Codes that are decoded together. They share a factor.
pub(super) const UNIT: usize = 2 * LANES;

/// Bytes that are fetched at once.
pub(super) const LINE: usize = 64;

/// How far before their turn codes are fetched, in bytes.
const AHEAD: usize = 32 << 10;

/// E4M3 codes are read as halves, which makes them smaller by this, and factors larger.
const FP8_FACTOR: f32 = 256.0;

/// A unit of codes of each format as vectors, and of what is multiplied with it.
///
/// # Safety
/// As with [`Lanes`].
pub(super) unsafe trait Decode: Lanes {
    /// The vectors of a unit.
    type Unit: Copy + AsRef<[Self]> + AsMut<[Self]>;
    /// How many those are.
    const VECTORS: usize;
    /// Rows of a matrix whose products with one, two, three and four others are summed in registers at once.
    const FEW: [usize; 4];

    /// The vectors of a unit of numbers, which begin here.
    unsafe fn unit(from: &[[f32; LANES]]) -> Self::Unit;
    unsafe fn f32(codes: &[[u8; 64]; 2]) -> Self::Unit;
    unsafe fn bf16(codes: &[[u8; 32]; 2]) -> Self::Unit;
    unsafe fn f16(codes: &[[u8; 32]; 2]) -> Self::Unit;
    /// The values, but for [`FP8_FACTOR`] too small, times `factor`. A code that is no number is
    /// read as one.
    unsafe fn fp8(codes: &[[u8; 16]; 2], factor: f32) -> Self::Unit;
    /// Adds to `sums` the products of rows `x` with the first units of rows of such codes, which all have the
    /// same `factors`, as far as there is a faster way than unit by unit, and returns how far that is. The sums
    /// are the same bits. Meanwhile as many codes are fetched from `ahead` on.
    #[inline(always)]
    unsafe fn fp8_ahead<const M: usize, const N: usize>(
        _x: [&[[f32; LANES]]; M],
        _codes: [&[[[u8; 16]; 2]]; N],
        _factors: &[f32],
        _ahead: *const u8,
        _sums: &mut [[Self; N]; M],
    ) -> usize {
        0
    }
    /// The values times what [`Decode::fp4_factors`] made of a factor, two codes a byte, low half first; in
    /// an order of its own.
    unsafe fn fp4(codes: &[[u8; 8]; 2], factor: f32) -> Self::Unit;
    /// The values times `factor`.
    unsafe fn int8(codes: &[[u8; 16]; 2], factor: f32) -> Self::Unit;
    /// The values times `factor`, two codes a byte, low half first.
    unsafe fn int4(codes: &[[u8; 8]; 2], factor: f32) -> Self::Unit;
    /// Brings lanes into the order that [`Decode::fp4`] has.
    unsafe fn fp4_arranged(self) -> Self;
    /// Brings them back.
    unsafe fn fp4_natural(self) -> Self;
    /// Turns the factors of a row into what [`Decode::fp4`] takes, and says whether it can.
    fn fp4_factors(factors: &mut [f32]) -> bool;
}

// SAFETY: no more than the halves promise.
unsafe impl<L: Halves> Decode for L {
    type Unit = [L; 2];
    const VECTORS: usize = 2;
    const FEW: [usize; 4] = L::FEW;

    #[inline(always)]
    unsafe fn unit(from: &[[f32; LANES]]) -> [L; 2] {
        // SAFETY: promised by the caller.
        unsafe { [L::load(&from[0]), L::load(&from[1])] }
    }

    #[inline(always)]
    unsafe fn f32(codes: &[[u8; 64]; 2]) -> [L; 2] {
        // SAFETY: promised by the caller.
        unsafe { [L::f32(&codes[0]), L::f32(&codes[1])] }
    }

    #[inline(always)]
    unsafe fn bf16(codes: &[[u8; 32]; 2]) -> [L; 2] {
        // SAFETY: promised by the caller.
        unsafe { [L::bf16(&codes[0]), L::bf16(&codes[1])] }
    }

    #[inline(always)]
    unsafe fn f16(codes: &[[u8; 32]; 2]) -> [L; 2] {
        // SAFETY: promised by the caller.
        unsafe { [L::f16(&codes[0]), L::f16(&codes[1])] }
    }

    #[inline(always)]
    unsafe fn fp8(codes: &[[u8; 16]; 2], factor: f32) -> [L; 2] {
        // SAFETY: promised by the caller.
        unsafe { [L::fp8(&codes[0], factor), L::fp8(&codes[1], factor)] }
    }

    #[inline(always)]
    unsafe fn fp4(codes: &[[u8; 8]; 2], factor: f32) -> [L; 2] {
        // SAFETY: promised by the caller.
        unsafe { Halves::fp4(codes, factor) }
    }

    #[inline(always)]
    unsafe fn int8(codes: &[[u8; 16]; 2], factor: f32) -> [L; 2] {
        // SAFETY: promised by the caller.
        unsafe { [L::int8(&codes[0], factor), L::int8(&codes[1], factor)] }
    }

    #[inline(always)]
    unsafe fn int4(codes: &[[u8; 8]; 2], factor: f32) -> [L; 2] {
        // SAFETY: promised by the caller.
        unsafe { [L::int4(&codes[0], factor), L::int4(&codes[1], factor)] }
    }

    #[inline(always)]
    unsafe fn fp4_arranged(self) -> L {
        // SAFETY: promised by the caller.
        unsafe { Halves::fp4_arranged(self) }
    }

    #[inline(always)]
    unsafe fn fp4_natural(self) -> L {
        // SAFETY: promised by the caller.
        unsafe { Halves::fp4_natural(self) }
    }

    #[inline(always)]
    fn fp4_factors(_factors: &mut [f32]) -> bool {
        true
    }
}

/// Sixteen codes of each format as numbers.
///
/// # Safety
/// As with [`Lanes`].
pub(super) unsafe trait Halves: Lanes {
    /// See [`Decode::FEW`].
    const FEW: [usize; 4];

    unsafe fn f32(codes: &[u8; 64]) -> Self;
    unsafe fn bf16(codes: &[u8; 32]) -> Self;
    unsafe fn f16(codes: &[u8; 32]) -> Self;
    /// The values, but for [`FP8_FACTOR`] too small, times `factor`. A code that is no number is
    /// read as one.
    unsafe fn fp8(codes: &[u8; 16], factor: f32) -> Self;
    /// The values times `factor`, two codes a byte, low half first; in an order of its own.
    unsafe fn fp4(codes: &[[u8; 8]; 2], factor: f32) -> [Self; 2];
    /// The values times `factor`.
    unsafe fn int8(codes: &[u8; 16], factor: f32) -> Self;
    /// The values times `factor`, two codes a byte, low half first.
    unsafe fn int4(codes: &[u8; 8], factor: f32) -> Self;
    /// Brings lanes into the order that [`Halves::fp4`] has.
    #[inline(always)]
    unsafe fn fp4_arranged(self) -> Self {
        self
    }
    /// Brings them back.
    #[inline(always)]
    unsafe fn fp4_natural(self) -> Self {
        self
    }
}

// SAFETY: plain arithmetic, available everywhere.
unsafe impl Halves for [f32; LANES] {
    const FEW: [usize; 4] = [4, 2, 2, 1];

    #[inline(always)]
    unsafe fn f32(codes: &[u8; 64]) -> Self {
        let codes = codes.as_chunks::<4>().0;
        std::array::from_fn(|lane| f32::from_le_bytes(codes[lane]))
    }

    #[inline(always)]
    unsafe fn bf16(codes: &[u8; 32]) -> Self {
        let codes = codes.as_chunks::<2>().0;
        std::array::from_fn(|lane| f32::from_bits(u32::from(u16::from_le_bytes(codes[lane])) << 16))
    }

    #[inline(always)]
    unsafe fn f16(codes: &[u8; 32]) -> Self {
        let codes = codes.as_chunks::<2>().0;
        std::array::from_fn(|lane| f16::decode(u16::from_le_bytes(codes[lane])))
    }

    #[inline(always)]
    unsafe fn fp8(codes: &[u8; 16], factor: f32) -> Self {
        let factor = factor / FP8_FACTOR;
        codes.map(|code| fp8::decode(code) * factor)
    }

    #[inline(always)]
    unsafe fn fp4(codes: &[[u8; 8]; 2], factor: f32) -> [Self; 2] {
        let sixteen = |codes: &[u8; 8]| -> Self {
            std::array::from_fn(|lane| fp4::decode(codes[lane / 2] >> (4 * (lane % 2))) * factor)
        };
        [sixteen(&codes[0]), sixteen(&codes[1])]
    }

    #[inline(always)]
    unsafe fn int8(codes: &[u8; 16], factor: f32) -> Self {
        codes.map(|code| int::decode(code) * factor)
    }

    #[inline(always)]
    unsafe fn int4(codes: &[u8; 8], factor: f32) -> Self {
        std::array::from_fn(|lane| int::decode4(codes[lane / 2] >> (4 * (lane % 2))) * factor)
    }
}

/// Sixteen E4M3 codes as halves, 256 times smaller: the bits of an exponent and a mantissa stand
/// where a half has them, and codes without exponent become halves without.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn fp8_as_halves(codes: &[u8; 16]) -> __m256i {
    // SAFETY: sixteen bytes; AVX2 is promised by the caller.
    unsafe {
        let signed = _mm256_cvtepi8_epi16(_mm_loadu_si128(codes.as_ptr().cast()));
        // The sign was repeated over the uppermost bit of the exponent.
        _mm256_and_si256(
            _mm256_slli_epi16::<7>(signed),
            _mm256_set1_epi16(0xbfff_u16.cast_signed()),
        )
    }
}

/// Sixteen INT4 codes as bytes, in their order.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn int4_as_bytes(codes: &[u8; 8]) -> __m128i {
    // SAFETY: eight bytes; SSE2 is promised by the caller.
    unsafe {
        let codes = _mm_loadl_epi64(codes.as_ptr().cast());
        let (half, sign) = (_mm_set1_epi8(0x0f), _mm_set1_epi8(8));
        let even = _mm_and_si128(codes, half);
        let odd = _mm_and_si128(_mm_srli_epi16::<4>(codes), half);
        // A code of eight or more is negative: what is 8 above its place goes 16 below.
        _mm_sub_epi8(_mm_xor_si128(_mm_unpacklo_epi8(even, odd), sign), sign)
    }
}

/// Sixteen signed bytes times a factor.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn bytes_as_pair(codes: __m128i, factor: f32) -> Pair {
    // SAFETY: AVX2 is promised by the caller.
    unsafe {
        let factor = _mm256_set1_ps(factor);
        let low = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes));
        let high = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128::<8>(codes)));
        Pair(_mm256_mul_ps(low, factor), _mm256_mul_ps(high, factor))
    }
}

// SAFETY: needs AVX2, FMA and F16C, which the callers of the trait's functions promise.
#[cfg(target_arch = "x86_64")]
unsafe impl Halves for Pair {
    const FEW: [usize; 4] = [4, 2, 2, 1];

    #[inline(always)]
    unsafe fn f32(codes: &[u8; 64]) -> Self {
        let at = codes.as_ptr().cast::<f32>();
        // SAFETY: 64 bytes.
        unsafe { Self(_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(8))) }
    }

    #[inline(always)]
    unsafe fn bf16(codes: &[u8; 32]) -> Self {
        let half = |codes: &[u8; 16]| {
            // SAFETY: sixteen bytes; AVX2 is promised by the caller.
            unsafe {
                let codes = _mm256_cvtepu16_epi32(_mm_loadu_si128(codes.as_ptr().cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(codes))
            }
        };
        let [low, high] = halves(codes);
        Self(half(low), half(high))
    }

    #[inline(always)]
    unsafe fn f16(codes: &[u8; 32]) -> Self {
        // SAFETY: sixteen bytes; F16C is promised by the caller.
        let half =
            |codes: &[u8; 16]| unsafe { _mm256_cvtph_ps(_mm_loadu_si128(codes.as_ptr().cast())) };
        let [low, high] = halves(codes);
        Self(half(low), half(high))
    }

    #[inline(always)]
    unsafe fn fp8(codes: &[u8; 16], factor: f32) -> Self {
        // SAFETY: promised by the caller.
        unsafe {
            let codes = fp8_as_halves(codes);
            let factor = _mm256_set1_ps(factor);
            let low = _mm256_cvtph_ps(_mm256_castsi256_si128(codes));
            let high = _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(codes));
            Self(_mm256_mul_ps(low, factor), _mm256_mul_ps(high, factor))
        }
    }

    #[inline(always)]
    unsafe fn fp4(codes: &[[u8; 8]; 2], factor: f32) -> [Self; 2] {
        // SAFETY: sixteen bytes; AVX2 is promised by the caller.
        unsafe {
            let codes = _mm_loadu_si128(codes.as_ptr().cast());
            let half = _mm_set1_epi8(0x0f);
            let even = _mm_and_si128(codes, half);
            let odd = _mm_and_si128(_mm_srli_epi16::<4>(codes), half);
            let codes = _mm256_set_m128i(odd, even);
            // The values have no more digits than BF16: its lower bytes and its upper bytes.
            let lower = _mm_setr_epi8(
                0, 0, -128, -64, 0, 64, -128, -64, 0, 0, -128, -64, 0, 64, -128, -64,
            );
            let upper = _mm_setr_epi8(
                0, 63, 63, 63, 64, 64, 64, 64, -128, -65, -65, -65, -64, -64, -64, -64,
            );
            let lower = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(lower), codes);
            let upper = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(upper), codes);
            let (zero, factor) = (_mm256_setzero_si256(), _mm256_set1_ps(factor));
            let sixteen = |values: __m256i| {
                let first = _mm256_castsi256_ps(_mm256_unpacklo_epi16(zero, values));
                let second = _mm256_castsi256_ps(_mm256_unpackhi_epi16(zero, values));
                Self(_mm256_mul_ps(first, factor), _mm256_mul_ps(second, factor))
            };
            [
                sixteen(_mm256_unpacklo_epi8(lower, upper)),
                sixteen(_mm256_unpackhi_epi8(lower, upper)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn int8(codes: &[u8; 16], factor: f32) -> Self {
        // SAFETY: sixteen bytes; the rest is promised by the caller.
        unsafe { bytes_as_pair(_mm_loadu_si128(codes.as_ptr().cast()), factor) }
    }

    #[inline(always)]
    unsafe fn int4(codes: &[u8; 8], factor: f32) -> Self {
        // SAFETY: promised by the caller.
        unsafe { bytes_as_pair(int4_as_bytes(codes), factor) }
    }

    /// Of eight, the even ones come first.
    #[inline(always)]
    unsafe fn fp4_arranged(self) -> Self {
        // SAFETY: promised by the caller.
        unsafe {
            let order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
            Self(
                _mm256_permutevar8x32_ps(self.0, order),
                _mm256_permutevar8x32_ps(self.1, order),
            )
        }
    }

    #[inline(always)]
    unsafe fn fp4_natural(self) -> Self {
        // SAFETY: promised by the caller.
        unsafe {
            let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            Self(
                _mm256_permutevar8x32_ps(self.0, order),
                _mm256_permutevar8x32_ps(self.1, order),
            )
        }
    }
}

/// The two halves of thirty-two bytes.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn halves(codes: &[u8; 32]) -> [&[u8; 16]; 2] {
    let halves = codes.as_chunks::<16>().0;
    [&halves[0], &halves[1]]
}

// SAFETY: needs AVX-512F and AVX2, which the callers of the trait's functions promise.
#[cfg(target_arch = "x86_64")]
unsafe impl Halves for __m512 {
    const FEW: [usize; 4] = [8, 4, 4, 4];

    #[inline(always)]
    unsafe fn f32(codes: &[u8; 64]) -> Self {
        // SAFETY: 64 bytes.
        unsafe { _mm512_loadu_ps(codes.as_ptr().cast()) }
    }

    #[inline(always)]
    unsafe fn bf16(codes: &[u8; 32]) -> Self {
        // SAFETY: 32 bytes; AVX-512F is promised by the caller.
        unsafe {
            let codes = _mm512_cvtepu16_epi32(_mm256_loadu_si256(codes.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(codes))
        }
    }

    #[inline(always)]
    unsafe fn f16(codes: &[u8; 32]) -> Self {
        // SAFETY: 32 bytes; AVX-512F is promised by the caller.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(codes.as_ptr().cast())) }
    }

    #[inline(always)]
    unsafe fn fp8(codes: &[u8; 16], factor: f32) -> Self {
        // SAFETY: promised by the caller.
        unsafe {
            let values = _mm512_cvtph_ps(fp8_as_halves(codes));
            _mm512_mul_ps(values, _mm512_set1_ps(factor))
        }
    }

    #[inline(always)]
    unsafe fn fp4(codes: &[[u8; 8]; 2], factor: f32) -> [Self; 2] {
        // SAFETY: AVX-512F is promised by the caller.
        unsafe {
            let values = _mm512_setr_ps(
                0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0,
                -6.0,
            );
            let values = _mm512_mul_ps(values, _mm512_set1_ps(factor));
            // Lanes take turns with the first eight codes and the others, which brings each to its
            // place by a shift alone. The table looks at four bits, so what stands above is left.
            let shifts =
                _mm512_setr_epi32(0, 0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20, 24, 24, 28, 28);
            let sixteen = |codes: [u8; 8]| {
                let codes = _mm512_set1_epi64(i64::from_le_bytes(codes));
                _mm512_permutexvar_ps(_mm512_srlv_epi32(codes, shifts), values)
            };
            [sixteen(codes[0]), sixteen(codes[1])]
        }
    }

    #[inline(always)]
    unsafe fn int8(codes: &[u8; 16], factor: f32) -> Self {
        // SAFETY: sixteen bytes; AVX-512F is promised by the caller.
        unsafe {
            let codes = _mm512_cvtepi8_epi32(_mm_loadu_si128(codes.as_ptr().cast()));
            _mm512_mul_ps(_mm512_cvtepi32_ps(codes), _mm512_set1_ps(factor))
        }
    }

    #[inline(always)]
    unsafe fn int4(codes: &[u8; 8], factor: f32) -> Self {
        // SAFETY: promised by the caller.
        unsafe {
            let codes = _mm512_cvtepi8_epi32(int4_as_bytes(codes));
            _mm512_mul_ps(_mm512_cvtepi32_ps(codes), _mm512_set1_ps(factor))
        }
    }

    #[inline(always)]
    unsafe fn fp4_arranged(self) -> Self {
        // SAFETY: promised by the caller.
        unsafe {
            let order = _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
            _mm512_permutexvar_ps(order, self)
        }
    }

    #[inline(always)]
    unsafe fn fp4_natural(self) -> Self {
        // SAFETY: promised by the caller.
        unsafe {
            let order = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
            _mm512_permutexvar_ps(order, self)
        }
    }
}

/// A format that is decoded in registers.
pub(super) trait Codes: Copy {
    /// [`UNIT`] codes.
    type Unit: Copy;

    /// Splits a row into units; the rest may be less than one.
    fn units(row: &[u8]) -> (&[Self::Unit], &[u8]);

    /// A unit that begins with such codes and goes on with zeros.
    fn lengthened(codes: &[u8]) -> Self::Unit;

    /// The numbers of a unit, which `factor` was made for by [`factors`], each vector in the order
    /// of the format.
    ///
    /// # Safety
    /// As with [`Lanes`].
    unsafe fn decode<L: Decode>(unit: &Self::Unit, factor: f32) -> L::Unit;

    /// See [`Decode::fp8_ahead`]; here each row has factors of its own.
    ///
    /// # Safety
    /// As with [`Lanes`].
    #[inline(always)]
    unsafe fn ahead<L: Decode, const M: usize, const N: usize>(
        _x: [&[[f32; LANES]]; M],
        _codes: [&[Self::Unit]; N],
        _factors: [&[f32]; N],
        _ahead: *const u8,
        _sums: &mut [[L; N]; M],
    ) -> usize {
        0
    }

    /// Brings lanes into the order of the format.
    ///
    /// # Safety
    /// As with [`Lanes`].
    #[inline(always)]
    unsafe fn arranged<L: Decode>(lanes: L) -> L {
        lanes
    }

    /// Brings them back.
    ///
    /// # Safety
    /// As with [`Lanes`].
    #[inline(always)]
    unsafe fn natural<L: Decode>(lanes: L) -> L {
        lanes
    }
}

/// Implements [`Codes`] for `$format`, sixteen of whose codes are `$bytes` bytes.
macro_rules! codes {
    (
        $(#[$doc:meta])* $format:ident, $bytes:literal,
        |$unit:ident, $factor:ident| $decode:expr $(, $order:item)*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(super) struct $format;

        impl Codes for $format {
            type Unit = [[u8; $bytes]; 2];

            #[inline(always)]
            fn units(row: &[u8]) -> (&[Self::Unit], &[u8]) {
                let (units, _) = row.as_chunks().0.as_chunks();
                (units, &row[units.len() * 2 * $bytes..])
            }

            #[inline(always)]
            fn lengthened(codes: &[u8]) -> Self::Unit {
                let mut unit = [[0; $bytes]; 2];
                unit.as_flattened_mut()[..codes.len()].copy_from_slice(codes);
                unit
            }

            #[inline(always)]
            unsafe fn decode<L: Decode>($unit: &Self::Unit, $factor: f32) -> L::Unit {
                // SAFETY: promised by the caller.
                unsafe { $decode }
            }

            $($order)*
        }
    };
}

codes!(
    /// 32-bit floats.
    F32, 64, |unit, _factor| <L as Decode>::f32(unit)
);
codes!(
    /// The upper halves of 32-bit floats.
    Bf16, 32, |unit, _factor| <L as Decode>::bf16(unit)
);
codes!(
    /// Half-precision floats.
    F16, 32, |unit, _factor| <L as Decode>::f16(unit)
);
codes!(
    /// E4M3.
    Fp8, 16, |unit, factor| <L as Decode>::fp8(unit, factor),
    #[inline(always)]
    unsafe fn ahead<L: Decode, const M: usize, const N: usize>(
        x: [&[[f32; LANES]]; M],
        codes: [&[Self::Unit]; N],
        factors: [&[f32]; N],
        ahead: *const u8,
        sums: &mut [[L; N]; M],
    ) -> usize {
        // Rows of a tile share the line that their factors were made from.
        if factors.iter().any(|line| !std::ptr::eq(*line, factors[0])) {
            return 0;
        }
        // SAFETY: promised by the caller.
        unsafe { L::fp8_ahead(x, codes, factors[0], ahead, sums) }
    }
);
codes!(
    /// Signed bytes.
    Int8, 16, |unit, factor| <L as Decode>::int8(unit, factor)
);
codes!(
    /// Signed integers of four bits.
    Int4, 8, |unit, factor| <L as Decode>::int4(unit, factor)
);
codes!(
    /// E2M1.
    Fp4, 8, |unit, factor| <L as Decode>::fp4(unit, factor),
    #[inline(always)]
    unsafe fn arranged<L: Decode>(lanes: L) -> L {
        // SAFETY: promised by the caller.
        unsafe { Decode::fp4_arranged(lanes) }
    },
    #[inline(always)]
    unsafe fn natural<L: Decode>(lanes: L) -> L {
        // SAFETY: promised by the caller.
        unsafe { Decode::fp4_natural(lanes) }
    }
);

/// A matrix where it lies: what its rows are cut from, looked up once for all of them.
#[derive(Clone, Copy)]
pub(super) struct Stored<'a> {
    pub(super) format: Format,
    pub(super) columns: usize,
    codes: &'a [u8],
    row_bytes: usize,
    scales: &'a [u8],
    line_bytes: usize,
    /// How far apart rows and lines begin.
    apart: Stride,
    /// Rows that share their scales, and how many of them lie before the first row.
    tall: usize,
    before: usize,
}

impl<'a> Stored<'a> {
    pub(super) fn new(weight: &'a WeightView) -> Self {
        let tall = match weight.format {
            Format::F32 | Format::Bf16 | Format::F16 => usize::MAX,
            Format::Fp8 { tile, .. } => tile[0],
            Format::Fp4 { .. } | Format::Int8 | Format::Int4 { .. } => 1,
        };
        Self {
            format: weight.format,
            columns: weight.shape[1],
            codes: &weight.data,
            row_bytes: weight.row_bytes(),
            scales: &weight.scales,
            line_bytes: weight.scale_row_bytes(),
            apart: weight.distances(),
            tall,
            before: weight.tile_row,
        }
    }

    /// The codes of a row.
    #[inline(always)]
    pub(super) fn row(&self, index: usize) -> &'a [u8] {
        &self.codes[index * self.apart.codes..][..self.row_bytes]
    }

    /// How many bytes of codes so many rows are apart.
    #[inline(always)]
    pub(super) fn distance(&self, rows: usize) -> usize {
        rows * self.apart.codes
    }

    /// What is fetched while this row is multiplied: it may be no place of the matrix.
    #[inline(always)]
    pub(super) fn ahead(&self, index: usize) -> *const u8 {
        let row = self.codes.as_ptr().wrapping_add(index * self.apart.codes);
        row.wrapping_add(AHEAD)
    }

    /// Which line of scales a row has.
    #[inline(always)]
    pub(super) fn line(&self, index: usize) -> usize {
        (self.before + index) / self.tall
    }

    /// The lines of scales that some rows have.
    #[inline(always)]
    pub(super) fn lines(&self, rows: Range<usize>) -> Range<usize> {
        self.line(rows.start)..self.line(rows.end - 1) + 1
    }

    /// The scale, a 32-bit float, of one group of columns of a row.
    #[inline(always)]
    pub(super) fn scale(&self, index: usize, group: usize) -> f32 {
        let scales = self.line_scales(self.line(index)).as_chunks::<4>().0;
        f32::from_le_bytes(scales[group])
    }

    #[inline(always)]
    fn line_scales(&self, line: usize) -> &'a [u8] {
        &self.scales[line * self.apart.scales..][..self.line_bytes]
    }
}

/// Writes what each unit of rows is decoded with to `out: [lines, units]`, for the lines of scales from `first`
/// on, and says whether [`Codes`] can decode them so.
///
/// # Safety
/// As with [`Lanes`].
#[inline(always)]
pub(super) unsafe fn factors<L: Decode>(weight: Stored<'_>, first: usize, out: &mut [f32]) -> bool {
    let units = weight.columns.div_ceil(UNIT);
    let ahead = AHEAD / (weight.row_bytes * weight.tall.min(AHEAD)).max(1);
    let mut lines = (first..).zip(out.chunks_exact_mut(units));
    lines.all(|(line, out)| {
        let later = weight
            .scales
            .as_ptr()
            .wrapping_add((line + ahead) * weight.apart.scales);
        for byte in (0..weight.line_bytes).step_by(LINE) {
            // SAFETY: promised by the caller.
            unsafe { L::prefetch(later.wrapping_add(byte)) };
        }
        line_factors::<L>(weight, line, out)
    })
}

/// The factors of one line of scales.
#[inline(always)]
fn line_factors<L: Decode>(weight: Stored<'_>, line: usize, out: &mut [f32]) -> bool {
    let (block, scale, larger) = match weight.format {
        Format::F32 | Format::Bf16 | Format::F16 => return true,
        Format::Fp8 { tile, scale } => (tile[1], scale, FP8_FACTOR),
        Format::Fp4 { block, scale } => (block, scale, 1.0),
        Format::Int8 => (weight.columns.next_multiple_of(UNIT), ScaleFormat::F32, 1.0),
        Format::Int4 { group } => (group, ScaleFormat::F32, 1.0),
    };
    if !block.is_multiple_of(UNIT) {
        return false;
    }
    let scales = weight.line_scales(line);
    match scale {
        ScaleFormat::E8m0 => {
            let scales = scales.iter().map(|scale| e8m0::decode(*scale));
            spread(scales.map(|scale| scale * larger), block / UNIT, out);
        }
        ScaleFormat::F32 => {
            let scales = scales.as_chunks().0.iter();
            let scales = scales.map(|scale| f32::from_le_bytes(*scale));
            spread(scales.map(|scale| scale * larger), block / UNIT, out);
        }
    }
    match weight.format {
        Format::Fp4 { .. } => L::fp4_factors(out),
        // A number that overflows when it is made larger would be lost, and zeros behind the end of a row
        // times what is not finite are no zeros.
        _ => out.iter().all(|factor| factor.is_finite()),
    }
}

/// Writes each number `times` times.
#[inline(always)]
fn spread(mut from: impl Iterator<Item = f32>, times: usize, out: &mut [f32]) {
    /// Units of a tile of 128 columns, as releases have them.
    const USUAL: usize = 128 / UNIT;

    let rest = match times {
        1 => {
            out.iter_mut().zip(from).for_each(|(out, x)| *out = x);
            return;
        }
        USUAL => {
            let (whole, rest) = out.as_chunks_mut::<USUAL>();
            let all = whole.iter_mut().zip(&mut from);
            all.for_each(|(out, x)| *out = [x; USUAL]);
            rest
        }
        _ => out,
    };
    rest.chunks_mut(times)
        .zip(from)
        .for_each(|(out, x)| out.fill(x));
}

/// Whether a row holds a code that [`Codes`] reads as a number though it is none.
#[inline(always)]
pub(super) fn misread(format: Format, row: &[u8]) -> bool {
    match format {
        Format::F32 | Format::Bf16 | Format::F16 => false,
        Format::Fp4 { .. } | Format::Int8 | Format::Int4 { .. } => false,
        Format::Fp8 { .. } => row.iter().fold(0, |most, code| most.max(code & 0x7f)) == 0x7f,
    }
}
