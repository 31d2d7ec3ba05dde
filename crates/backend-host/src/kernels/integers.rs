//! Products of integers: rows that were rounded to INT8 by weights of INT8 and INT4.
//!
//! A row is codes and a scale, as [`Rounding::Int8`](deepseek_core::Rounding::Int8) left them. Sums of integers
//! are exact, so the order of a row of INT8 is free. Where weights are INT4, each 128 columns are summed in
//! sixteen lanes, of which one takes eight neighbours; the lanes are added up as floats, with fused
//! multiply-adds by the scales, and folded in halves. So all kernel sets give the same bits.
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

use deepseek_core::Format;
use deepseek_core::quant::{int, int8_scale};
use deepseek_core::weights::WeightView;

use super::codes::Stored;
#[cfg(target_arch = "x86_64")]
use super::lanes::Pair;
use super::lanes::{Isa, LANES, Lanes, for_each_isa, height};
use super::pool::Tile;

/// Bytes of a vector: codes of eight bits, or pairs of four.
const BYTES: usize = 64;
/// Codes of four bits in a vector.
const HALVES: usize = 2 * BYTES;
/// What codes of four bits are larger by where they have no sign.
const OFFSET4: i32 = 8;
/// Rows of `x` that are multiplied at once, at most: with as many rows of the matrix their sums stay in registers.
const TALL: usize = 4;

/// How wide the codes of a weight are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bits {
    /// INT8.
    Eight,
    /// INT4.
    Four,
}

impl Bits {
    /// Those of all of these weights, if they can be multiplied as integers.
    pub(super) fn of<'a>(weights: impl IntoIterator<Item = &'a WeightView>) -> Option<Self> {
        let mut all = weights.into_iter().map(|weight| match weight.format {
            Format::Int8 => Some(Self::Eight),
            Format::Int4 { group } if group.is_multiple_of(HALVES) => Some(Self::Four),
            _ => None,
        });
        let first = all.next()?;
        first.filter(|_| all.all(|bits| bits == first))
    }

    /// Lanes of a row of so many numbers as it is laid out: its codes, what sums begin with, and its scale.
    pub(super) fn wide(self, numbers: usize) -> usize {
        match self {
            Self::Eight => numbers.div_ceil(BYTES) * LANES + LANES,
            Self::Four => numbers.div_ceil(HALVES) * 3 * LANES + LANES,
        }
    }
}

/// A row as it is laid out.
#[derive(Clone, Copy)]
struct Input<'a> {
    /// The codes, lengthened with zeros. Those for weights of four bits are the even ones of each [`HALVES`]
    /// and then the odd ones.
    codes: &'a [[u8; BYTES]],
    /// For weights of four bits, what the sums of each [`HALVES`] begin with, as bytes.
    starts: &'a [[u8; BYTES]],
    /// The sum of the codes.
    sum: i32,
    /// What a code of one is; no number where one of the row is none.
    scale: f32,
}

impl<'a> Input<'a> {
    fn of(x: &'a [f32], bits: Bits) -> Self {
        let (vectors, _) = bytes(x).as_chunks::<BYTES>();
        let (last, vectors) = vectors.split_last().expect("a scale behind the codes");
        let codes = match bits {
            Bits::Eight => vectors.len(),
            Bits::Four => vectors.len() / 3 * 2,
        };
        let (codes, starts) = vectors.split_at(codes);
        let [scale, sum] = [0, 4].map(|at| [last[at], last[at + 1], last[at + 2], last[at + 3]]);
        Self {
            codes,
            starts,
            sum: i32::from_le_bytes(sum),
            scale: f32::from_le_bytes(scale),
        }
    }
}

fn bytes(x: &[f32]) -> &[u8] {
    // SAFETY: a float is four bytes, and any bytes are bytes.
    unsafe { std::slice::from_raw_parts(x.as_ptr().cast(), size_of_val(x)) }
}

fn bytes_mut(x: &mut [f32]) -> &mut [u8] {
    // SAFETY: a float is four bytes, and any four bytes are a float.
    unsafe { std::slice::from_raw_parts_mut(x.as_mut_ptr().cast(), size_of_val(x)) }
}

for_each_isa! {
    /// Lays out a row that was rounded to INT8.
    lay(bits: Bits, row: &[f32], out: &mut [f32]) = lay_on
}

/// The lanes only say what this is compiled for.
#[inline(always)]
unsafe fn lay_on<L: Lanes>(bits: Bits, row: &[f32], out: &mut [f32]) {
    let scale = int8_scale(row);
    let is_finite = row.iter().fold(true, |all, x| all & x.is_finite());
    let (vectors, _) = bytes_mut(out).as_chunks_mut::<BYTES>();
    let (last, vectors) = vectors.split_last_mut().expect("a scale behind the codes");
    let mut sum = 0;
    match bits {
        Bits::Eight => {
            for (codes, row) in vectors.iter_mut().zip(row.chunks(BYTES)) {
                encode(row, scale, codes);
                sum += codes
                    .iter()
                    .map(|code| i32::from(code.cast_signed()))
                    .sum::<i32>();
            }
        }
        Bits::Four => {
            let (codes, starts) = vectors.split_at_mut(vectors.len() / 3 * 2);
            let pairs = codes.as_chunks_mut::<2>().0.iter_mut();
            for ((pair, starts), row) in pairs.zip(starts).zip(row.chunks(HALVES)) {
                let mut all = [0; HALVES];
                encode(row, scale, &mut all);
                let [even, odd] = pair;
                for ((even, odd), both) in even.iter_mut().zip(odd).zip(all.as_chunks::<2>().0) {
                    [*even, *odd] = *both;
                }
                let eights = all.as_chunks::<8>().0;
                for (start, eight) in starts.as_chunks_mut::<4>().0.iter_mut().zip(eights) {
                    let sum: i32 = eight.iter().map(|code| i32::from(code.cast_signed())).sum();
                    *start = (-OFFSET4 * sum).to_le_bytes();
                }
            }
        }
    }
    let scale = if is_finite { scale } else { f32::NAN };
    last[..4].copy_from_slice(&scale.to_le_bytes());
    last[4..8].copy_from_slice(&sum.to_le_bytes());
}

/// The codes of numbers, and zeros behind them.
#[inline(always)]
fn encode(row: &[f32], scale: f32, codes: &mut [u8]) {
    let (own, rest) = codes.split_at_mut(row.len());
    for (code, x) in own.iter_mut().zip(row) {
        *code = int::encode((x / scale).clamp(-int::MAX, int::MAX));
    }
    rest.fill(0);
}

/// Sixty-four codes, sixteen sums of their products, and how they are multiplied.
///
/// # Safety
/// As with [`Lanes`], for what [`product`] is compiled for.
unsafe trait Integers: Lanes {
    /// What codes of eight bits are larger by as they are multiplied.
    const OFFSET8: i32;
    type Codes: Copy;
    type Sums: Copy;

    /// Sums that begin so; bytes of sixteen integers.
    unsafe fn start(from: &[u8; BYTES]) -> Self::Sums;
    /// Codes of a row.
    unsafe fn row(codes: &[u8; BYTES]) -> Self::Codes;
    /// Codes of a weight of eight bits.
    unsafe fn eight(codes: &[u8; BYTES]) -> Self::Codes;
    /// The even and the odd codes of a weight of four bits, each larger by [`OFFSET4`].
    unsafe fn four(codes: &[u8; BYTES]) -> [Self::Codes; 2];
    /// To each sum the products of four neighbours of a row and a weight of eight bits.
    unsafe fn dot8(x: Self::Codes, w: Self::Codes, to: Self::Sums) -> Self::Sums;
    /// The same of a weight of four bits.
    unsafe fn dot4(x: Self::Codes, w: Self::Codes, to: Self::Sums) -> Self::Sums;
    /// All sums together.
    unsafe fn total(sums: Self::Sums) -> i32;
    /// The sums as floats.
    unsafe fn floats(sums: Self::Sums) -> Self;
}

/// Whole numbers of four bytes.
#[inline(always)]
fn integers(from: &[u8; BYTES]) -> [i32; LANES] {
    let numbers = from.as_chunks::<4>().0;
    std::array::from_fn(|lane| i32::from_le_bytes(numbers[lane]))
}

/// To each sum the products of four neighbours.
#[inline(always)]
fn dots(
    x: &[u8; BYTES],
    w: &[u8; BYTES],
    to: [i32; LANES],
    weight: impl Fn(u8) -> i32,
) -> [i32; LANES] {
    let (x, w) = (x.as_chunks::<4>().0, w.as_chunks::<4>().0);
    std::array::from_fn(|lane| {
        let pairs = x[lane].iter().zip(&w[lane]);
        pairs.fold(to[lane], |sum, (x, w)| {
            sum + i32::from(x.cast_signed()) * weight(*w)
        })
    })
}

// SAFETY: plain arithmetic, available everywhere.
unsafe impl Integers for [f32; LANES] {
    const OFFSET8: i32 = 0;
    type Codes = [u8; BYTES];
    type Sums = [i32; LANES];

    #[inline(always)]
    unsafe fn start(from: &[u8; BYTES]) -> [i32; LANES] {
        integers(from)
    }

    #[inline(always)]
    unsafe fn row(codes: &[u8; BYTES]) -> [u8; BYTES] {
        *codes
    }

    #[inline(always)]
    unsafe fn eight(codes: &[u8; BYTES]) -> [u8; BYTES] {
        *codes
    }

    #[inline(always)]
    unsafe fn four(codes: &[u8; BYTES]) -> [[u8; BYTES]; 2] {
        let codes = codes.map(|pair| pair ^ 0x88);
        [codes.map(|pair| pair & 0x0f), codes.map(|pair| pair >> 4)]
    }

    #[inline(always)]
    unsafe fn dot8(x: [u8; BYTES], w: [u8; BYTES], to: [i32; LANES]) -> [i32; LANES] {
        dots(&x, &w, to, |w| i32::from(w.cast_signed()))
    }

    #[inline(always)]
    unsafe fn dot4(x: [u8; BYTES], w: [u8; BYTES], to: [i32; LANES]) -> [i32; LANES] {
        dots(&x, &w, to, i32::from)
    }

    #[inline(always)]
    unsafe fn total(sums: [i32; LANES]) -> i32 {
        sums.iter().sum()
    }

    #[inline(always)]
    unsafe fn floats(sums: [i32; LANES]) -> Self {
        sums.map(|sum| sum as f32)
    }
}

/// Both halves of a vector.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Both(__m256i, __m256i);

#[cfg(target_arch = "x86_64")]
impl Both {
    #[inline(always)]
    unsafe fn load(from: &[u8; BYTES]) -> Self {
        // SAFETY: 64 bytes; the rest is promised by the caller.
        unsafe {
            let at = from.as_ptr().cast::<__m256i>();
            Self(_mm256_loadu_si256(at), _mm256_loadu_si256(at.add(1)))
        }
    }

    /// To each of eight sums twice the products of four neighbours, of which `w` has no sign and is small enough
    /// that two of them are numbers of 16 bits.
    #[inline(always)]
    unsafe fn dot(w: Self, x: Self, to: Self) -> Self {
        // SAFETY: promised by the caller.
        unsafe {
            let half = |w, x, to| {
                let pairs = _mm256_maddubs_epi16(w, x);
                _mm256_add_epi32(to, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
            };
            Self(half(w.0, x.0, to.0), half(w.1, x.1, to.1))
        }
    }
}

// SAFETY: needs AVX2 and FMA, which the callers of the trait's functions promise.
#[cfg(target_arch = "x86_64")]
unsafe impl Integers for Pair {
    const OFFSET8: i32 = 0;
    type Codes = Both;
    type Sums = Both;

    #[inline(always)]
    unsafe fn start(from: &[u8; BYTES]) -> Both {
        // SAFETY: promised by the caller.
        unsafe { Both::load(from) }
    }

    #[inline(always)]
    unsafe fn row(codes: &[u8; BYTES]) -> Both {
        // SAFETY: promised by the caller.
        unsafe { Both::load(codes) }
    }

    #[inline(always)]
    unsafe fn eight(codes: &[u8; BYTES]) -> Both {
        // SAFETY: promised by the caller.
        unsafe { Both::load(codes) }
    }

    #[inline(always)]
    unsafe fn four(codes: &[u8; BYTES]) -> [Both; 2] {
        // SAFETY: promised by the caller.
        unsafe {
            let (half, sign) = (
                _mm256_set1_epi8(0x0f),
                _mm256_set1_epi8(0x88_u8.cast_signed()),
            );
            let Both(low, high) = Both::load(codes);
            let [low, high] = [low, high].map(|codes| _mm256_xor_si256(codes, sign));
            let odd = |codes| _mm256_and_si256(_mm256_srli_epi16::<4>(codes), half);
            [
                Both(_mm256_and_si256(low, half), _mm256_and_si256(high, half)),
                Both(odd(low), odd(high)),
            ]
        }
    }

    /// No code of a row is -128, and a weight may be: so the row takes the sign of the weight.
    #[inline(always)]
    unsafe fn dot8(x: Both, w: Both, to: Both) -> Both {
        // SAFETY: promised by the caller.
        unsafe {
            let sizes = Both(_mm256_abs_epi8(w.0), _mm256_abs_epi8(w.1));
            let signed = Both(_mm256_sign_epi8(x.0, w.0), _mm256_sign_epi8(x.1, w.1));
            Both::dot(sizes, signed, to)
        }
    }

    #[inline(always)]
    unsafe fn dot4(x: Both, w: Both, to: Both) -> Both {
        // SAFETY: promised by the caller.
        unsafe { Both::dot(w, x, to) }
    }

    #[inline(always)]
    unsafe fn total(sums: Both) -> i32 {
        // SAFETY: promised by the caller.
        unsafe {
            let eight = _mm256_add_epi32(sums.0, sums.1);
            let four = _mm_add_epi32(
                _mm256_castsi256_si128(eight),
                _mm256_extracti128_si256::<1>(eight),
            );
            let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
            let one = _mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two));
            _mm_cvtsi128_si32(one)
        }
    }

    #[inline(always)]
    unsafe fn floats(sums: Both) -> Self {
        // SAFETY: promised by the caller.
        unsafe { Self(_mm256_cvtepi32_ps(sums.0), _mm256_cvtepi32_ps(sums.1)) }
    }
}

// SAFETY: needs AVX-512F, BW and VNNI, which the callers of the trait's functions promise.
#[cfg(target_arch = "x86_64")]
unsafe impl Integers for __m512 {
    const OFFSET8: i32 = 128;
    type Codes = __m512i;
    type Sums = __m512i;

    #[inline(always)]
    unsafe fn start(from: &[u8; BYTES]) -> __m512i {
        // SAFETY: 64 bytes; the rest is promised by the caller.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[inline(always)]
    unsafe fn row(codes: &[u8; BYTES]) -> __m512i {
        // SAFETY: 64 bytes; the rest is promised by the caller.
        unsafe { _mm512_loadu_si512(codes.as_ptr().cast()) }
    }

    /// The instruction takes one side without a sign.
    #[inline(always)]
    unsafe fn eight(codes: &[u8; BYTES]) -> __m512i {
        // SAFETY: 64 bytes; the rest is promised by the caller.
        unsafe {
            let codes = _mm512_loadu_si512(codes.as_ptr().cast());
            _mm512_xor_si512(codes, _mm512_set1_epi8(0x80_u8.cast_signed()))
        }
    }

    #[inline(always)]
    unsafe fn four(codes: &[u8; BYTES]) -> [__m512i; 2] {
        // SAFETY: 64 bytes; the rest is promised by the caller.
        unsafe {
            let half = _mm512_set1_epi8(0x0f);
            let codes = _mm512_loadu_si512(codes.as_ptr().cast());
            let codes = _mm512_xor_si512(codes, _mm512_set1_epi8(0x88_u8.cast_signed()));
            [
                _mm512_and_si512(codes, half),
                _mm512_and_si512(_mm512_srli_epi16::<4>(codes), half),
            ]
        }
    }

    #[inline(always)]
    unsafe fn dot8(x: __m512i, w: __m512i, to: __m512i) -> __m512i {
        // SAFETY: promised by the caller.
        unsafe { _mm512_dpbusd_epi32(to, w, x) }
    }

    #[inline(always)]
    unsafe fn dot4(x: __m512i, w: __m512i, to: __m512i) -> __m512i {
        // SAFETY: promised by the caller.
        unsafe { _mm512_dpbusd_epi32(to, w, x) }
    }

    #[inline(always)]
    unsafe fn total(sums: __m512i) -> i32 {
        // SAFETY: promised by the caller.
        unsafe { _mm512_reduce_add_epi32(sums) }
    }

    #[inline(always)]
    unsafe fn floats(sums: __m512i) -> Self {
        // SAFETY: promised by the caller.
        unsafe { _mm512_cvtepi32_ps(sums) }
    }
}

/// Rows of `x`, laid out for weights of so many bits, times rows of `weight` from `first` on, to `out`.
pub(super) fn product(
    isa: Isa,
    bits: Bits,
    x: &[f32],
    weight: Stored<'_>,
    first: usize,
    out: &mut Tile<'_>,
) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma,f16c")]
    unsafe fn avx512(bits: Bits, x: &[f32], w: Stored<'_>, first: usize, out: &mut Tile<'_>) {
        // SAFETY: compiled for AVX-512 with VNNI.
        unsafe { product_on::<__m512>(bits, x, w, first, out) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn avx2(bits: Bits, x: &[f32], w: Stored<'_>, first: usize, out: &mut Tile<'_>) {
        // SAFETY: compiled for AVX2 and FMA.
        unsafe { product_on::<Pair>(bits, x, w, first, out) }
    }
    match isa {
        // SAFETY: an `Isa` comes from functions of it that asked the machine, and this asks for the rest.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Bf16 if has_vnni() => unsafe {
            avx512(bits, x, weight, first, out);
        },
        // SAFETY: these bring AVX2.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Bf16 | Isa::Avx2 => unsafe { avx2(bits, x, weight, first, out) },
        // What the compiler makes of it: on aarch64 that is NEON.
        // SAFETY: plain arithmetic.
        _ => unsafe { product_on::<[f32; LANES]>(bits, x, weight, first, out) },
    }
}

/// Whether the machine has products of bytes beside AVX-512.
#[cfg(target_arch = "x86_64")]
fn has_vnni() -> bool {
    is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512bw")
}

#[inline(always)]
unsafe fn product_on<L: Integers>(
    bits: Bits,
    x: &[f32],
    weight: Stored<'_>,
    first: usize,
    out: &mut Tile<'_>,
) {
    // SAFETY: promised by the caller.
    unsafe {
        match L::TILE[1] {
            4 => product_by::<L, 4>(bits, x, weight, first, out),
            _ => product_by::<L, 2>(bits, x, weight, first, out),
        }
    }
}

/// `N` rows of the matrix at once.
#[inline(always)]
unsafe fn product_by<L: Integers, const N: usize>(
    bits: Bits,
    x: &[f32],
    weight: Stored<'_>,
    first: usize,
    out: &mut Tile<'_>,
) {
    let count = out.columns();
    let mut row = 0;
    while row < count {
        // SAFETY: promised by the caller.
        row += unsafe {
            if count - row >= N {
                rows::<L, N>(bits, x, weight, [first, row], out)
            } else {
                rows::<L, 1>(bits, x, weight, [first, row], out)
            }
        };
    }
}

/// All rows of `x` times `N` rows of the matrix, which are columns of `out` from `row` on; returns `N`.
#[inline(always)]
unsafe fn rows<L: Integers, const N: usize>(
    bits: Bits,
    x: &[f32],
    weight: Stored<'_>,
    [first, row]: [usize; 2],
    out: &mut Tile<'_>,
) -> usize {
    let tokens = out.rows();
    let wide = x.len() / tokens;
    let from = first + row;
    let mut token = 0;
    while token < tokens {
        let tall = height(tokens - token, TALL.min(L::TILE[0]));
        let x = &x[token * wide..][..tall * wide];
        let at = [token, row];
        // SAFETY: promised by the caller.
        unsafe {
            match (bits, tall) {
                (Bits::Eight, 1) => tile8::<L, 1, N>(x, weight, from, at, out),
                (Bits::Eight, 2) => tile8::<L, 2, N>(x, weight, from, at, out),
                (Bits::Eight, 3) => tile8::<L, 3, N>(x, weight, from, at, out),
                (Bits::Eight, _) => tile8::<L, TALL, N>(x, weight, from, at, out),
                (Bits::Four, 1) => tile4::<L, 1, N>(x, weight, from, at, out),
                (Bits::Four, 2) => tile4::<L, 2, N>(x, weight, from, at, out),
                (Bits::Four, 3) => tile4::<L, 3, N>(x, weight, from, at, out),
                (Bits::Four, _) => tile4::<L, TALL, N>(x, weight, from, at, out),
            }
        }
        token += tall;
    }
    N
}

/// Each of `M` rows, which are as long.
#[inline(always)]
fn inputs<const M: usize>(x: &[f32], bits: Bits) -> [Input<'_>; M] {
    let wide = x.len() / M;
    let mut all = [Input::of(&x[..wide], bits); M];
    for (i, input) in all.iter_mut().enumerate() {
        *input = Input::of(&x[i * wide..][..wide], bits);
    }
    all
}

/// `N` rows of a matrix.
struct Rows<'a, const N: usize> {
    /// Their vectors.
    whole: [&'a [[u8; BYTES]]; N],
    /// What is less than one, lengthened with zeros.
    rest: Option<[[u8; BYTES]; N]>,
}

impl<'a, const N: usize> Rows<'a, N> {
    #[inline(always)]
    fn of(weight: Stored<'a>, from: usize) -> Self {
        let (mut whole, mut rest) = ([&[][..]; N], [[0; BYTES]; N]);
        let mut has_rest = false;
        for (j, (whole, rest)) in whole.iter_mut().zip(&mut rest).enumerate() {
            let (vectors, less) = weight.row(from + j).as_chunks::<BYTES>();
            *whole = vectors;
            rest[..less.len()].copy_from_slice(less);
            has_rest |= !less.is_empty();
        }
        Self {
            whole,
            rest: has_rest.then_some(rest),
        }
    }

    /// How many vectors each has, the last of which may have been lengthened.
    #[inline(always)]
    fn count(&self) -> usize {
        self.whole[0].len() + usize::from(self.rest.is_some())
    }

    /// A vector of one of them.
    #[inline(always)]
    fn vector(&self, row: usize, index: usize) -> &[u8; BYTES] {
        match &self.rest {
            Some(rest) if index == self.whole[row].len() => &rest[row],
            _ => &self.whole[row][index],
        }
    }
}

/// `M` rows of `x` times `N` rows of eight bits.
#[inline(always)]
unsafe fn tile8<L: Integers, const M: usize, const N: usize>(
    x: &[f32],
    weight: Stored<'_>,
    from: usize,
    [token, row]: [usize; 2],
    out: &mut Tile<'_>,
) {
    let x: [Input<'_>; M] = inputs(x, Bits::Eight);
    let rows: Rows<'_, N> = Rows::of(weight, from);
    let count = rows.whole[0].len();
    // SAFETY: promised by the caller.
    let mut sums = [[unsafe { L::start(&[0; BYTES]) }; N]; M];
    let (mut codes, mut w) = ([&[][..]; M], [&[][..]; N]);
    for (codes, x) in codes.iter_mut().zip(&x) {
        *codes = &x.codes[..count];
    }
    for (w, whole) in w.iter_mut().zip(rows.whole) {
        *w = &whole[..count];
    }
    let ahead = weight.ahead(from);
    for block in 0..count {
        // SAFETY: promised by the caller.
        unsafe {
            let mut held = [L::eight(&w[0][block]); N];
            for (j, (held, w)) in held.iter_mut().zip(w).enumerate() {
                *held = L::eight(&w[block]);
                L::prefetch(ahead.wrapping_add((block * N + j) * BYTES));
            }
            for (sums, codes) in sums.iter_mut().zip(codes) {
                let x = L::row(&codes[block]);
                for (sum, w) in sums.iter_mut().zip(held) {
                    *sum = L::dot8(x, w, *sum);
                }
            }
        }
    }
    for (j, rest) in rows.rest.iter().flatten().enumerate() {
        for (sums, x) in sums.iter_mut().zip(&x) {
            // SAFETY: promised by the caller.
            sums[j] = unsafe { L::dot8(L::row(&x.codes[count]), L::eight(rest), sums[j]) };
        }
    }
    for (i, (sums, x)) in sums.into_iter().zip(&x).enumerate() {
        for (j, sum) in sums.into_iter().enumerate() {
            // SAFETY: promised by the caller.
            let sum = unsafe { L::total(sum) }.wrapping_sub(L::OFFSET8.wrapping_mul(x.sum));
            out.row(token + i)[row + j] = sum as f32 * (weight.scale(from + j, 0) * x.scale);
        }
    }
}

/// `M` rows of `x` times `N` rows of four bits.
#[inline(always)]
unsafe fn tile4<L: Integers, const M: usize, const N: usize>(
    x: &[f32],
    weight: Stored<'_>,
    from: usize,
    [token, row]: [usize; 2],
    out: &mut Tile<'_>,
) {
    let x: [Input<'_>; M] = inputs(x, Bits::Four);
    let rows: Rows<'_, N> = Rows::of(weight, from);
    let blocks = rows.count();
    let each = match weight.format {
        Format::Int4 { group } => group / HALVES,
        _ => 1,
    };
    // SAFETY: promised by the caller.
    let mut sums = [[unsafe { L::splat(0.0) }; N]; M];
    let ahead = weight.ahead(from);
    for group in 0..blocks.div_ceil(each) {
        // SAFETY: promised by the caller.
        let mut factors = [unsafe { L::splat(0.0) }; N];
        for (j, factor) in factors.iter_mut().enumerate() {
            // SAFETY: promised by the caller.
            *factor = unsafe { L::splat(weight.scale(from + j, group)) };
        }
        for block in group * each..blocks.min((group + 1) * each) {
            // SAFETY: promised by the caller.
            unsafe {
                let mut held = [L::four(&[0; BYTES]); N];
                for (j, held) in held.iter_mut().enumerate() {
                    *held = L::four(rows.vector(j, block));
                    L::prefetch(ahead.wrapping_add((block * N + j) * BYTES));
                }
                for (sums, x) in sums.iter_mut().zip(&x) {
                    let start = L::start(&x.starts[block]);
                    let even = L::row(&x.codes[2 * block]);
                    let odd = L::row(&x.codes[2 * block + 1]);
                    for j in 0..N {
                        let sum = L::dot4(even, held[j][0], start);
                        let sum = L::dot4(odd, held[j][1], sum);
                        sums[j] = L::floats(sum).fma(factors[j], sums[j]);
                    }
                }
            }
        }
    }
    for (i, (sums, x)) in sums.into_iter().zip(&x).enumerate() {
        for (j, sum) in sums.into_iter().enumerate() {
            // SAFETY: promised by the caller.
            out.row(token + i)[row + j] = unsafe { sum.fold() } * x.scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use deepseek_core::Rounding;
    use deepseek_core::quant::{decode_row, round_row};
    use deepseek_core::weights::Bytes;

    use super::super::form::{Form, Known};
    use super::super::matrix::Matrix;
    use super::super::pool::Pool;
    use super::super::product;
    use super::*;

    /// Numbers without a pattern, from a seed.
    struct Draw(u64);

    impl Draw {
        fn next(&mut self) -> u32 {
            let (multiplier, increment) = (6_364_136_223_846_793_005, 1_442_695_040_888_963_407);
            self.0 = self.0.wrapping_mul(multiplier).wrapping_add(increment);
            (self.0 >> 33) as u32
        }

        /// A row that was rounded.
        fn row(&mut self, columns: usize) -> Vec<f32> {
            let size = (self.next() % 9) as f32 + 0.5;
            let number = |_| ((self.next() % 4001) as f32 / 2000.0 - 1.0) * size;
            let mut row: Vec<f32> = (0..columns).map(number).collect();
            round_row(&mut row, Rounding::Int8);
            row
        }

        fn matrix(&mut self, format: Format, [rows, columns]: [usize; 2]) -> WeightView {
            let (bytes, scales) = match format {
                Format::Int4 { group } => (rows * columns / 2, rows * columns.div_ceil(group)),
                _ => (rows * columns, rows),
            };
            let scale = |_| (0.001 * (1 + self.next() % 99) as f32).to_le_bytes();
            let scales: Vec<u8> = (0..scales).flat_map(scale).collect();
            let data: Vec<u8> = (0..bytes).map(|_| (self.next() >> 3) as u8).collect();
            WeightView {
                name: "w".to_owned(),
                format,
                shape: [rows, columns],
                data: Bytes::from(data),
                scales: Bytes::from(scales),
                tile_row: 0,
                stride: None,
            }
        }
    }

    /// A product in so many words, which is near that of floats.
    fn plain(row: &[f32], weight: &WeightView, index: usize) -> f32 {
        let columns = row.len();
        let scale = int8_scale(row);
        let scales = weight.scales.as_chunks::<4>().0;
        let scale_of = |at: usize| f32::from_le_bytes(scales[at]);
        let x = |at: usize| (row[at] / scale).round() as i32;
        let got = match weight.format {
            Format::Int4 { group } => {
                let mut lanes = [0.0_f32; LANES];
                for first in (0..columns).step_by(128) {
                    let factor = scale_of(index * columns.div_ceil(group) + first / group);
                    for (lane, sum) in lanes.iter_mut().enumerate() {
                        let eight = first + 8 * lane..first + 8 * lane + 8;
                        let code = |at: usize| {
                            let pair = weight.data[(index * columns + at) / 2];
                            int::decode4(pair >> (4 * (at % 2))) as i32
                        };
                        let terms = eight.filter(|at| *at < columns).map(|at| x(at) * code(at));
                        *sum = (terms.sum::<i32>() as f32).mul_add(factor, *sum);
                    }
                }
                for half in [8, 4, 2, 1] {
                    for lane in 0..half {
                        lanes[lane] += lanes[lane + half];
                    }
                }
                lanes[0] * scale
            }
            _ => {
                let code = |at: usize| i32::from(weight.data[index * columns + at].cast_signed());
                let sum: i32 = (0..columns).map(|at| x(at) * code(at)).sum();
                sum as f32 * (scale_of(index) * scale)
            }
        };
        let mut own = vec![0.0; columns];
        decode_row(weight, index, &mut own);
        let terms = || row.iter().zip(&own).map(|(x, w)| f64::from(x * w));
        let (sum, size): (f64, f64) = (terms().sum(), terms().map(f64::abs).sum());
        assert!(
            (f64::from(got) - sum).abs() <= 1e-6 * size,
            "{got} for {sum}"
        );
        got
    }

    /// In rectangles of this shape, or of the best.
    fn fast(pool: &Pool, x: &[f32], weight: &WeightView, shape: Option<[usize; 2]>) -> Vec<f32> {
        let [rows, columns] = weight.shape;
        let form = Form::of(pool.isa(), Known::Int8, [weight]);
        let weight = &Matrix::from(weight.clone());
        assert!(matches!(form, Form::Integers(..)), "{}", weight.format);
        let tokens = x.len() / columns;
        let wide = form.wide(columns);
        let (bands, strip) = match shape {
            None => product::bands(
                pool.count(),
                std::slice::from_ref(&(0..tokens)),
                wide,
                weight,
            ),
            Some([tall, strip]) => {
                let band = |start| start..tokens.min(start + tall);
                ((0..tokens).step_by(tall).map(band).collect(), strip)
            }
        };
        let mut out = vec![f32::NAN; tokens * rows];
        form.rows(pool, x, columns, |x| {
            let shape = (&*bands, strip);
            pool.tiles(&mut out, rows, shape, usize::MAX, |[band, row], mut out| {
                let x = &x[bands[band].start * wide..bands[band].end * wide];
                product::product(pool, form, x, weight, row, &mut out);
            });
        });
        out
    }

    const FORMATS: [Format; 3] = [
        Format::Int8,
        Format::Int4 { group: 128 },
        Format::Int4 { group: 384 },
    ];

    #[test]
    fn integers_are_the_same_bits_on_every_set_and_in_any_shape() {
        let mut draw = Draw(1);
        for format in FORMATS {
            for columns in [2, 62, 64, 96, 128, 130, 384, 1000, 2304] {
                for tokens in [1, 2, 3, 9] {
                    let weight = draw.matrix(format, [11, columns]);
                    let x: Vec<f32> = (0..tokens).flat_map(|_| draw.row(columns)).collect();
                    let rows = x.chunks_exact(columns);
                    let all = |x| {
                        (0..11)
                            .map(|index| plain(x, &weight, index))
                            .collect::<Vec<_>>()
                    };
                    let want: Vec<f32> = rows.flat_map(all).collect();
                    for isa in Isa::available() {
                        for (threads, shape) in [(1, None), (2, Some([2, 3])), (1, Some([7, 5]))] {
                            let pool = Pool::new(threads).with_isa(isa);
                            let got = fast(&pool, &x, &weight, shape);
                            let what = format!("{format} of {columns} by {tokens} on {isa:?}");
                            let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
                            assert!(
                                got.iter().zip(&want).all(same),
                                "{what}: {got:?} for {want:?}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_code_is_multiplied_as_what_it_is() {
        for format in FORMATS {
            let columns = 384;
            let mut weight = Draw(2).matrix(format, [256, columns]);
            weight.scales = Bytes::from(1_f32.to_le_bytes().repeat(256 * 3));
            for place in [0, 1, 2, 63, 64, 127, 128, 200, 383] {
                let (bytes, at) = match format {
                    Format::Int8 => (columns, place),
                    _ => (columns / 2, place / 2),
                };
                let data = (0..=255_u8).flat_map(|code| {
                    let mut row = vec![0; bytes];
                    row[at] = code;
                    row
                });
                weight.data = Bytes::from(data.collect::<Vec<u8>>());
                for size in [127.0, -127.0, 1.0] {
                    let mut x = vec![0.0; columns];
                    // The largest decides the scale, and meets zeros.
                    x[(place + 2) % columns] = 127.0;
                    x[place] = size;
                    for isa in Isa::available() {
                        let got = fast(&Pool::new(1).with_isa(isa), &x, &weight, None);
                        for (code, got) in (0..=255_u8).zip(got) {
                            let want = match format {
                                Format::Int8 => int::decode(code),
                                _ => int::decode4(code >> (4 * (place % 2))),
                            };
                            assert_eq!(got, want * size, "{format}, {code} at {place} on {isa:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_number_that_is_none_is_none_in_its_row_alone() {
        let mut draw = Draw(3);
        for (format, lost) in FORMATS
            .into_iter()
            .zip([f32::NAN, f32::INFINITY, f32::NEG_INFINITY])
        {
            let weight = draw.matrix(format, [5, 256]);
            let mut x: Vec<f32> = (0..3).flat_map(|_| draw.row(256)).collect();
            x[256 + 77] = lost;
            for isa in Isa::available() {
                let got = fast(&Pool::new(1).with_isa(isa), &x, &weight, None);
                for (place, got) in got.iter().enumerate() {
                    assert_eq!(got.is_nan(), place / 5 == 1, "{format} on {isa:?}: {got}");
                }
            }
        }
    }
}
