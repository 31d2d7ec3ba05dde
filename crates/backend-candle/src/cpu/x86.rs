//! The vectors of x86-64: AVX-512 as one register, AVX2 as two.

#[allow(clippy::wildcard_imports, reason = "half a hundred intrinsics")]
use std::arch::x86_64::*;

use super::simd::{Chunk, LANES, Simd};

/// AVX-512 F, BW, DQ and VL.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    /// # Safety
    /// The machine has AVX-512 F, BW, DQ and VL, and AVX2, FMA and F16C.
    #[inline(always)]
    pub(super) unsafe fn new() -> Self {
        Self(())
    }
}

impl Simd for Avx512 {
    type V = __m512;
    type Fp4 = __m512;
    const WIDE: bool = true;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: the token proves that the machine has AVX-512.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    fn load(self, from: &Chunk) -> __m512 {
        // SAFETY: a chunk is as long as the register, and an unaligned read asks no more.
        unsafe { from.as_ptr().cast::<__m512>().read_unaligned() }
    }

    #[inline(always)]
    fn store(self, x: __m512, to: &mut Chunk) {
        // SAFETY: a chunk is as long as the register, and an unaligned write asks no more.
        unsafe { to.as_mut_ptr().cast::<__m512>().write_unaligned(x) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves that the machine has AVX-512.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves that the machine has AVX-512.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the token proves that the machine has AVX-512.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn sum(self, x: __m512) -> f32 {
        // SAFETY: the token proves that the machine has AVX-512.
        unsafe { sum512(x) }
    }

    #[inline(always)]
    fn transpose(self, rows: [__m512; LANES]) -> [__m512; LANES] {
        // SAFETY: the token proves that the machine has AVX-512.
        unsafe { transpose512(rows) }
    }

    #[inline(always)]
    fn bf16(self, bytes: &[u8; 2 * LANES]) -> __m512 {
        // SAFETY: the token proves that the machine has AVX-512.
        unsafe { bf16_512(bytes) }
    }

    #[inline(always)]
    fn fp8(self, codes: &[u8; LANES]) -> __m512 {
        // SAFETY: the token proves that the machine has AVX-512.
        unsafe { fp8_512(codes) }
    }

    #[inline(always)]
    fn fp4_table(self, scale: f32) -> __m512 {
        self.mul(self.load(&FP4_VALUES), self.splat(scale))
    }

    #[inline(always)]
    fn fp4(self, codes: &[u8; LANES / 2], table: __m512) -> __m512 {
        // SAFETY: the token proves that the machine has AVX-512.
        unsafe { fp4_512(codes, table) }
    }
}

/// The values of the sixteen E2M1 codes.
const FP4_VALUES: Chunk = [
    0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0,
];

#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn sum512(x: __m512) -> f32 {
    sum256(_mm256_add_ps(
        _mm512_castps512_ps256(x),
        _mm512_extractf32x8_ps::<1>(x),
    ))
}

/// Transposes 4 by 4 within quarters of the registers, then the quarters.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose512(rows: [__m512; LANES]) -> [__m512; LANES] {
    let mut quads = rows;
    for rows in quads.as_chunks_mut::<4>().0 {
        let a = _mm512_unpacklo_ps(rows[0], rows[1]);
        let b = _mm512_unpackhi_ps(rows[0], rows[1]);
        let c = _mm512_unpacklo_ps(rows[2], rows[3]);
        let d = _mm512_unpackhi_ps(rows[2], rows[3]);
        let pair = |x, y| (_mm512_castps_pd(x), _mm512_castps_pd(y));
        let ((a, c), (b, d)) = (pair(a, c), pair(b, d));
        *rows = [
            _mm512_castpd_ps(_mm512_unpacklo_pd(a, c)),
            _mm512_castpd_ps(_mm512_unpackhi_pd(a, c)),
            _mm512_castpd_ps(_mm512_unpacklo_pd(b, d)),
            _mm512_castpd_ps(_mm512_unpackhi_pd(b, d)),
        ];
    }
    let mut out = rows;
    for j in 0..4 {
        let [a, b, c, d] = [quads[j], quads[4 + j], quads[8 + j], quads[12 + j]];
        let (even_ab, odd_ab) = (
            _mm512_shuffle_f32x4::<0x88>(a, b),
            _mm512_shuffle_f32x4::<0xdd>(a, b),
        );
        let (even_cd, odd_cd) = (
            _mm512_shuffle_f32x4::<0x88>(c, d),
            _mm512_shuffle_f32x4::<0xdd>(c, d),
        );
        out[j] = _mm512_shuffle_f32x4::<0x88>(even_ab, even_cd);
        out[4 + j] = _mm512_shuffle_f32x4::<0x88>(odd_ab, odd_cd);
        out[8 + j] = _mm512_shuffle_f32x4::<0xdd>(even_ab, even_cd);
        out[12 + j] = _mm512_shuffle_f32x4::<0xdd>(odd_ab, odd_cd);
    }
    out
}

#[inline]
#[target_feature(enable = "avx512f")]
fn bf16_512(bytes: &[u8; 2 * LANES]) -> __m512 {
    // SAFETY: the bytes are as long as the register, and an unaligned read asks no more.
    let halves = unsafe { bytes.as_ptr().cast::<__m256i>().read_unaligned() };
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
}

/// E4M3 shifted by seven is a half float of the same fields, with a bias greater by eight; the
/// conversion of halves takes subnormal ones at full speed. Only NaN needs care.
#[inline]
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vl")]
fn fp8_512(codes: &[u8; LANES]) -> __m512 {
    let wide = _mm256_slli_epi16::<7>(_mm256_cvtepi8_epi16(bytes16(codes)));
    let half = _mm256_and_si256(wide, _mm256_set1_epi16(0xbf80_u16 as i16));
    let magnitude = _mm256_and_si256(wide, _mm256_set1_epi16(0x3f80));
    let nan = _mm256_cmpeq_epi16_mask(magnitude, _mm256_set1_epi16(0x3f80));
    let half = _mm256_mask_mov_epi16(half, nan, _mm256_set1_epi16(0x7e00));
    _mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(256.0))
}

/// A byte beside itself shifted by 28: the low nibbles of the two halves are its two codes, and
/// the permutation looks at no other bits.
#[inline]
#[target_feature(enable = "avx512f")]
fn fp4_512(codes: &[u8; LANES / 2], table: __m512) -> __m512 {
    let bytes = _mm512_cvtepu8_epi64(_mm_set_epi64x(0, i64::from_le_bytes(*codes)));
    let codes = _mm512_or_si512(bytes, _mm512_slli_epi64::<28>(bytes));
    _mm512_permutexvar_ps(codes, table)
}

#[inline]
#[target_feature(enable = "sse2")]
fn bytes16(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: sixteen bytes are as long as the register, and an unaligned read asks no more.
    unsafe { bytes.as_ptr().cast::<__m128i>().read_unaligned() }
}

/// AVX2, FMA and F16C.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The machine has AVX2, FMA and F16C.
    #[inline(always)]
    pub(super) unsafe fn new() -> Self {
        Self(())
    }
}

/// Two registers as one vector, low lanes first.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Pair(__m256, __m256);

impl Simd for Avx2 {
    type V = Pair;
    type Fp4 = __m256;
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> Pair {
        // SAFETY: the token proves that the machine has AVX2.
        let half = unsafe { _mm256_set1_ps(x) };
        Pair(half, half)
    }

    #[inline(always)]
    fn load(self, from: &Chunk) -> Pair {
        // SAFETY: a chunk is as long as the pair, and an unaligned read asks no more.
        unsafe { from.as_ptr().cast::<Pair>().read_unaligned() }
    }

    #[inline(always)]
    fn store(self, x: Pair, to: &mut Chunk) {
        // SAFETY: a chunk is as long as the pair, and an unaligned write asks no more.
        unsafe { to.as_mut_ptr().cast::<Pair>().write_unaligned(x) }
    }

    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: the token proves that the machine has AVX2.
        unsafe { add(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: the token proves that the machine has AVX2.
        unsafe { mul(a, b) }
    }

    #[inline(always)]
    fn fma(self, a: Pair, b: Pair, c: Pair) -> Pair {
        // SAFETY: the token proves that the machine has AVX2 and FMA.
        unsafe { fma(a, b, c) }
    }

    #[inline(always)]
    fn sum(self, x: Pair) -> f32 {
        // SAFETY: the token proves that the machine has AVX2.
        unsafe { sum_pair(x) }
    }

    #[inline(always)]
    fn transpose(self, rows: [Pair; LANES]) -> [Pair; LANES] {
        // SAFETY: the token proves that the machine has AVX2.
        unsafe { transpose_pairs(rows) }
    }

    #[inline(always)]
    fn bf16(self, bytes: &[u8; 2 * LANES]) -> Pair {
        // SAFETY: the token proves that the machine has AVX2.
        unsafe { bf16_pair(bytes) }
    }

    #[inline(always)]
    fn fp8(self, codes: &[u8; LANES]) -> Pair {
        // SAFETY: the token proves that the machine has AVX2 and F16C.
        unsafe { fp8_pair(codes) }
    }

    #[inline(always)]
    fn fp4_table(self, scale: f32) -> __m256 {
        self.mul(self.load(&FP4_VALUES), self.splat(scale)).0
    }

    #[inline(always)]
    fn fp4(self, codes: &[u8; LANES / 2], table: __m256) -> Pair {
        // SAFETY: the token proves that the machine has AVX2.
        unsafe { fp4_pair(codes, table) }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(a: Pair, b: Pair) -> Pair {
    Pair(_mm256_add_ps(a.0, b.0), _mm256_add_ps(a.1, b.1))
}

#[inline]
#[target_feature(enable = "avx2")]
fn mul(a: Pair, b: Pair) -> Pair {
    Pair(_mm256_mul_ps(a.0, b.0), _mm256_mul_ps(a.1, b.1))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn fma(a: Pair, b: Pair, c: Pair) -> Pair {
    Pair(
        _mm256_fmadd_ps(a.0, b.0, c.0),
        _mm256_fmadd_ps(a.1, b.1, c.1),
    )
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum_pair(x: Pair) -> f32 {
    sum256(_mm256_add_ps(x.0, x.1))
}

#[inline]
#[target_feature(enable = "avx")]
fn sum256(x: __m256) -> f32 {
    let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps::<1>(x, x)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn transpose_pairs(rows: [Pair; LANES]) -> [Pair; LANES] {
    let (top, bottom) = rows.split_at(8);
    let square = |rows: &[Pair], half: fn(&Pair) -> __m256| -> [__m256; 8] {
        std::array::from_fn(|i| half(&rows[i]))
    };
    let top_left = transpose8(square(top, |pair| pair.0));
    let top_right = transpose8(square(top, |pair| pair.1));
    let bottom_left = transpose8(square(bottom, |pair| pair.0));
    let bottom_right = transpose8(square(bottom, |pair| pair.1));
    let mut out = rows;
    for i in 0..8 {
        out[i] = Pair(top_left[i], bottom_left[i]);
        out[8 + i] = Pair(top_right[i], bottom_right[i]);
    }
    out
}

/// Transposes 4 by 4 within halves of the registers, then the halves.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose8(rows: [__m256; 8]) -> [__m256; 8] {
    let mut quads = rows;
    for rows in quads.as_chunks_mut::<4>().0 {
        let a = _mm256_unpacklo_ps(rows[0], rows[1]);
        let b = _mm256_unpackhi_ps(rows[0], rows[1]);
        let c = _mm256_unpacklo_ps(rows[2], rows[3]);
        let d = _mm256_unpackhi_ps(rows[2], rows[3]);
        *rows = [
            _mm256_shuffle_ps::<0x44>(a, c),
            _mm256_shuffle_ps::<0xee>(a, c),
            _mm256_shuffle_ps::<0x44>(b, d),
            _mm256_shuffle_ps::<0xee>(b, d),
        ];
    }
    let mut out = rows;
    for j in 0..4 {
        out[j] = _mm256_permute2f128_ps::<0x20>(quads[j], quads[4 + j]);
        out[4 + j] = _mm256_permute2f128_ps::<0x31>(quads[j], quads[4 + j]);
    }
    out
}

#[inline]
#[target_feature(enable = "avx2")]
fn bf16_pair(bytes: &[u8; 2 * LANES]) -> Pair {
    let (low, high) = bytes.split_at(LANES);
    let widen = |half: &[u8]| {
        let half = bytes16(half.first_chunk().expect("half of the bytes"));
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(half)))
    };
    Pair(widen(low), widen(high))
}

/// As [`fp8_512`].
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn fp8_pair(codes: &[u8; LANES]) -> Pair {
    let wide = _mm256_slli_epi16::<7>(_mm256_cvtepi8_epi16(bytes16(codes)));
    let half = _mm256_and_si256(wide, _mm256_set1_epi16(0xbf80_u16 as i16));
    let magnitude = _mm256_and_si256(wide, _mm256_set1_epi16(0x3f80));
    let nan = _mm256_cmpeq_epi16(magnitude, _mm256_set1_epi16(0x3f80));
    let half = _mm256_or_si256(half, _mm256_and_si256(nan, _mm256_set1_epi16(0x7e00)));
    let value = Pair(
        _mm256_cvtph_ps(_mm256_castsi256_si128(half)),
        _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(half)),
    );
    let factor = _mm256_set1_ps(256.0);
    mul(value, Pair(factor, factor))
}

/// As [`fp4_512`], but the permutation holds eight magnitudes, so the sign goes beside.
#[inline]
#[target_feature(enable = "avx2")]
fn fp4_pair(codes: &[u8; LANES / 2], table: __m256) -> Pair {
    let [a, b, c, d, e, f, g, h] = *codes;
    Pair(
        fp4_eight(i32::from_le_bytes([a, b, c, d]), table),
        fp4_eight(i32::from_le_bytes([e, f, g, h]), table),
    )
}

#[inline]
#[target_feature(enable = "avx2")]
fn fp4_eight(codes: i32, table: __m256) -> __m256 {
    let bytes = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(codes));
    let codes = _mm256_or_si256(bytes, _mm256_slli_epi64::<28>(bytes));
    let sign = _mm256_and_si256(_mm256_slli_epi32::<28>(codes), _mm256_set1_epi32(i32::MIN));
    let magnitude = _mm256_permutevar8x32_ps(table, codes);
    _mm256_xor_ps(magnitude, _mm256_castsi256_ps(sign))
}
