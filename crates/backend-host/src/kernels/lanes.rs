//! Sixteen lanes of 32-bit floats, on whatever the machine has, and the inner loops on them.
//!
//! Every implementation of [`Lanes`] computes the same fused operations in the same order, so the
//! choice of instruction set changes no bit. The inner loops are written once and compiled for each.
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

/// Numbers in a vector.
pub(crate) const LANES: usize = 16;

/// The instruction sets with an implementation of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isa {
    /// Whatever the target has by itself, as the compiler sees fit.
    Baseline,
    /// NEON.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// AVX2 with fused multiply-add and half-precision floats.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 foundation.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// The same, with products of BF16 pairs where both sides are exact in BF16.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
}

impl Isa {
    /// AVX-512, where the machine has it.
    pub(crate) fn avx512() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") && Self::avx2().is_some() {
            return Some(Self::Avx512);
        }
        None
    }

    /// AVX-512 with products of BF16 pairs and lookups of bytes, where the machine has both.
    pub(crate) fn avx512_bf16() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512bf16")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vbmi")
            && Self::avx512().is_some()
        {
            return Some(Self::Avx512Bf16);
        }
        None
    }

    /// AVX2, where the machine has it.
    pub(crate) fn avx2() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
        {
            return Some(Self::Avx2);
        }
        None
    }

    /// NEON, where the machine has it. Vectors are read from memory as machines with little ends do.
    pub(crate) fn neon() -> Option<Self> {
        #[cfg(target_arch = "aarch64")]
        if cfg!(target_endian = "little") && std::arch::is_aarch64_feature_detected!("neon") {
            return Some(Self::Neon);
        }
        None
    }

    /// All that this machine can run.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Self> {
        let all = [
            Self::avx512_bf16(),
            Self::avx512(),
            Self::avx2(),
            Self::neon(),
            Some(Self::Baseline),
        ];
        all.into_iter().flatten().collect()
    }
}

/// Sixteen numbers.
///
/// # Safety
/// The functions of an implementation may be called only where its instruction set is available.
pub(super) unsafe trait Lanes: Copy {
    /// Rows by rows whose products are summed in registers at once.
    const TILE: [usize; 2];
    /// Rows by vectors of columns that are summed in registers at once, where rows are weighed.
    const WEIGHED: [usize; 2];

    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: &[f32; LANES]) -> Self;
    unsafe fn store(self, to: &mut [f32; LANES]);
    /// `self * by + to`, rounded once.
    unsafe fn fma(self, by: Self, to: Self) -> Self;
    /// The sum of the lanes, folded in halves.
    unsafe fn fold(self) -> f32;
    /// Begins to fetch what lies at an address, which may be none, into a core's second cache: the innermost one
    /// holds little more than what is worked on.
    unsafe fn prefetch(from: *const u8);
}

// SAFETY: plain arithmetic, available everywhere.
unsafe impl Lanes for [f32; LANES] {
    const TILE: [usize; 2] = [3, 2];
    const WEIGHED: [usize; 2] = [2, 1];

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        [x; LANES]
    }

    #[inline(always)]
    unsafe fn load(from: &[f32; LANES]) -> Self {
        *from
    }

    #[inline(always)]
    unsafe fn store(self, to: &mut [f32; LANES]) {
        *to = self;
    }

    #[inline(always)]
    unsafe fn fma(self, by: Self, to: Self) -> Self {
        std::array::from_fn(|lane| self[lane].mul_add(by[lane], to[lane]))
    }

    #[inline(always)]
    unsafe fn fold(mut self) -> f32 {
        let mut half = LANES / 2;
        while half > 0 {
            for lane in 0..half {
                self[lane] += self[lane + half];
            }
            half /= 2;
        }
        self[0]
    }

    #[inline(always)]
    unsafe fn prefetch(_from: *const u8) {}
}

/// Eight numbers twice.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(super) struct Pair(pub(super) __m256, pub(super) __m256);

/// The sum of four lanes, folded in halves.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn fold_quarter(x: __m128) -> f32 {
    // SAFETY: SSE is part of every x86-64.
    unsafe {
        let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
        _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps::<1>(x, x)))
    }
}

// SAFETY: needs AVX2 and FMA, which the callers of the trait's functions promise.
#[cfg(target_arch = "x86_64")]
unsafe impl Lanes for Pair {
    const TILE: [usize; 2] = [3, 2];
    const WEIGHED: [usize; 2] = [6, 1];

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: promised by the caller.
        let x = unsafe { _mm256_set1_ps(x) };
        Self(x, x)
    }

    #[inline(always)]
    unsafe fn load(from: &[f32; LANES]) -> Self {
        // SAFETY: eight numbers from the first.
        let low = unsafe { _mm256_loadu_ps(from.as_ptr()) };
        // SAFETY: eight numbers from the ninth.
        let high = unsafe { _mm256_loadu_ps(from[8..].as_ptr()) };
        Self(low, high)
    }

    #[inline(always)]
    unsafe fn store(self, to: &mut [f32; LANES]) {
        // SAFETY: eight numbers from the first.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), self.0) };
        // SAFETY: eight numbers from the ninth.
        unsafe { _mm256_storeu_ps(to[8..].as_mut_ptr(), self.1) };
    }

    #[inline(always)]
    unsafe fn fma(self, by: Self, to: Self) -> Self {
        // SAFETY: promised by the caller.
        let low = unsafe { _mm256_fmadd_ps(self.0, by.0, to.0) };
        // SAFETY: promised by the caller.
        let high = unsafe { _mm256_fmadd_ps(self.1, by.1, to.1) };
        Self(low, high)
    }

    #[inline(always)]
    unsafe fn fold(self) -> f32 {
        // SAFETY: promised by the caller.
        let eight = unsafe { _mm256_add_ps(self.0, self.1) };
        // SAFETY: promised by the caller.
        let (low, high) = (unsafe { _mm256_castps256_ps128(eight) }, unsafe {
            _mm256_extractf128_ps::<1>(eight)
        });
        // SAFETY: SSE is part of every x86-64.
        let four = unsafe { _mm_add_ps(low, high) };
        // SAFETY: as above.
        unsafe { fold_quarter(four) }
    }

    #[inline(always)]
    unsafe fn prefetch(from: *const u8) {
        // SAFETY: SSE is part of every x86-64, and a prefetch of nothing does nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.cast()) };
    }
}

// SAFETY: needs AVX-512F, which the callers of the trait's functions promise.
#[cfg(target_arch = "x86_64")]
unsafe impl Lanes for __m512 {
    const TILE: [usize; 2] = [6, 4];
    const WEIGHED: [usize; 2] = [6, 4];

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: promised by the caller.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(from: &[f32; LANES]) -> Self {
        // SAFETY: sixteen numbers.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn store(self, to: &mut [f32; LANES]) {
        // SAFETY: sixteen numbers.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), self) };
    }

    #[inline(always)]
    unsafe fn fma(self, by: Self, to: Self) -> Self {
        // SAFETY: promised by the caller.
        unsafe { _mm512_fmadd_ps(self, by, to) }
    }

    #[inline(always)]
    unsafe fn fold(self) -> f32 {
        // SAFETY: promised by the caller.
        let low = unsafe { _mm512_castps512_ps256(self) };
        // SAFETY: promised by the caller; 64-bit lanes hold pairs of ours.
        let high = unsafe { _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(self)) };
        // SAFETY: AVX-512F brings AVX.
        let high = unsafe { _mm256_castpd_ps(high) };
        // SAFETY: as above.
        let eight = unsafe { _mm256_add_ps(low, high) };
        // SAFETY: as above.
        let (low, high) = (unsafe { _mm256_castps256_ps128(eight) }, unsafe {
            _mm256_extractf128_ps::<1>(eight)
        });
        // SAFETY: SSE is part of every x86-64.
        let four = unsafe { _mm_add_ps(low, high) };
        // SAFETY: as above.
        unsafe { fold_quarter(four) }
    }

    #[inline(always)]
    unsafe fn prefetch(from: *const u8) {
        // SAFETY: SSE is part of every x86-64, and a prefetch of nothing does nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.cast()) };
    }
}

/// Makes `$name` run `$body` compiled for the instruction set that it is given.
macro_rules! for_each_isa {
    ($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $result:ty)? = $body:ident) => {
        $(#[$doc])*
        pub(super) fn $name(isa: $crate::kernels::lanes::Isa, $($arg: $ty),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx2,fma,f16c")]
            unsafe fn avx512($($arg: $ty),*) $(-> $result)? {
                // SAFETY: compiled for AVX-512F.
                unsafe { $body::<std::arch::x86_64::__m512>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            unsafe fn avx2($($arg: $ty),*) $(-> $result)? {
                // SAFETY: compiled for AVX2 and FMA.
                unsafe { $body::<$crate::kernels::lanes::Pair>($($arg),*) }
            }
            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon")]
            unsafe fn neon($($arg: $ty),*) $(-> $result)? {
                // SAFETY: compiled for NEON.
                unsafe { $body::<$crate::kernels::neon::Quad>($($arg),*) }
            }
            match isa {
                // SAFETY: an `Isa` comes from functions of it that asked the machine.
                #[cfg(target_arch = "x86_64")]
                $crate::kernels::lanes::Isa::Avx512 | $crate::kernels::lanes::Isa::Avx512Bf16 => unsafe {
                    avx512($($arg),*)
                },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::kernels::lanes::Isa::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "aarch64")]
                $crate::kernels::lanes::Isa::Neon => unsafe { neon($($arg),*) },
                // SAFETY: plain arithmetic.
                $crate::kernels::lanes::Isa::Baseline => unsafe { $body::<[f32; $crate::kernels::lanes::LANES]>($($arg),*) },
            }
        }
    };
}

for_each_isa! {
    /// Dot products of all rows of `a: [m, width]` with all rows of `b: [n, width]`, written to
    /// `out: [n, m]`. The width must be a multiple of [`LANES`].
    dots(a: &[f32], b: &[f32], width: usize, out: &mut [f32]) = dots_on
}

for_each_isa! {
    /// `out: [m, width] += Σ_j a[m, j] · b[j, width]`, rows `j` in order. The width must be a
    /// multiple of [`LANES`]; rows of `a` have `n` numbers.
    weigh(a: &[f32], b: &[f32], n: usize, out: &mut [f32]) = weigh_on
}

/// Columns that [`columns_on`] takes at once.
pub(crate) const COLUMNS: usize = 4 * LANES;

pub(super) use for_each_isa;

/// Splits into whole vectors; what is left is dropped.
#[inline(always)]
pub(super) fn vectors(x: &[f32]) -> &[[f32; LANES]] {
    x.as_chunks().0
}

#[inline(always)]
pub(super) unsafe fn dots_on<L: Lanes>(a: &[f32], b: &[f32], width: usize, out: &mut [f32]) {
    // SAFETY: promised by the caller.
    unsafe {
        match L::TILE[1] {
            4 => dots_by::<L, 4>(a, b, width, out),
            _ => dots_by::<L, 2>(a, b, width, out),
        }
    }
}

/// Numbers of `a` that stay in the innermost cache while rows of `b` pass by.
const NEAR: usize = 4096;

/// `N` rows of `b` at once.
#[inline(always)]
unsafe fn dots_by<L: Lanes, const N: usize>(a: &[f32], b: &[f32], width: usize, out: &mut [f32]) {
    let m = a.len() / width;
    let block = (NEAR / width).max(L::TILE[0]);
    for first in (0..m).step_by(block) {
        let a = &a[first * width..m.min(first + block) * width];
        let mut b_rows = b.chunks_exact(N * width);
        let mut outs = out.chunks_exact_mut(N * m);
        for (b, out) in (&mut b_rows).zip(&mut outs) {
            // SAFETY: promised by the caller.
            unsafe { dots_strip::<L, N>(a, b, width, &mut out[first..], m) };
        }
        let rest = b_rows.remainder().chunks_exact(width);
        for (b, out) in rest.zip(outs.into_remainder().chunks_exact_mut(m)) {
            // SAFETY: promised by the caller.
            unsafe { dots_strip::<L, 1>(a, b, width, &mut out[first..], m) };
        }
    }
}

/// Some rows by `N` rows; results for one of the latter are `m` numbers after those for the one before.
#[inline(always)]
unsafe fn dots_strip<L: Lanes, const N: usize>(
    a: &[f32],
    b: &[f32],
    width: usize,
    out: &mut [f32],
    m: usize,
) {
    let rows = a.len() / width;
    let mut first = 0;
    while first < rows {
        let tall = height(rows - first, L::TILE[0]);
        let (a, out) = (&a[first * width..][..tall * width], &mut out[first..]);
        // SAFETY: promised by the caller.
        unsafe {
            match tall {
                1 => dots_tile::<L, 1, N>(a, b, width, out, m),
                2 => dots_tile::<L, 2, N>(a, b, width, out, m),
                3 => dots_tile::<L, 3, N>(a, b, width, out, m),
                4 => dots_tile::<L, 4, N>(a, b, width, out, m),
                5 => dots_tile::<L, 5, N>(a, b, width, out, m),
                _ => dots_tile::<L, 6, N>(a, b, width, out, m),
            }
        }
        first += tall;
    }
}

/// The height of the next tile, at most `most`, of so many rows: all of nearly one height, so that none is
/// too small to keep busy.
#[inline(always)]
pub(super) fn height(rows: usize, most: usize) -> usize {
    rows.div_ceil(rows.div_ceil(most))
}

/// `M` rows by `N` rows: each loaded vector serves several products.
#[inline(always)]
unsafe fn dots_tile<L: Lanes, const M: usize, const N: usize>(
    a: &[f32],
    b: &[f32],
    width: usize,
    out: &mut [f32],
    stride: usize,
) {
    let a: [&[[f32; LANES]]; M] = std::array::from_fn(|i| vectors(&a[i * width..][..width]));
    let b: [&[[f32; LANES]]; N] = std::array::from_fn(|j| vectors(&b[j * width..][..width]));
    // SAFETY: promised by the caller.
    let mut sums = [[unsafe { L::splat(0.0) }; N]; M];
    for v in 0..width / LANES {
        // SAFETY: promised by the caller.
        let b: [L; N] = std::array::from_fn(|j| unsafe { L::load(&b[j][v]) });
        for i in 0..M {
            // SAFETY: promised by the caller.
            let a = unsafe { L::load(&a[i][v]) };
            for j in 0..N {
                // SAFETY: promised by the caller.
                sums[i][j] = unsafe { a.fma(b[j], sums[i][j]) };
            }
        }
    }
    for i in 0..M {
        for j in 0..N {
            // SAFETY: promised by the caller.
            out[j * stride + i] = unsafe { sums[i][j].fold() };
        }
    }
}

/// Rows of `b` that are weighed before the next columns: with their columns they stay in the innermost
/// cache.
const WEIGHED: usize = 64;

/// Columns up to which rows of `b` are read where they lie. Those of wider ones would fall on each other in
/// the cache, so a strip of them is copied together.
const NARROW: usize = 2 * COLUMNS;

#[inline(always)]
unsafe fn weigh_on<L: Lanes>(a: &[f32], b: &[f32], n: usize, out: &mut [f32]) {
    // SAFETY: promised by the caller.
    unsafe {
        match L::WEIGHED[1] {
            4 => weigh_by::<L, 4>(a, b, n, out),
            _ => weigh_by::<L, 1>(a, b, n, out),
        }
    }
}

/// `V` vectors of columns at once.
#[inline(always)]
unsafe fn weigh_by<L: Lanes, const V: usize>(a: &[f32], b: &[f32], n: usize, out: &mut [f32]) {
    let m = a.len() / n;
    let width = out.len() / m;
    assert!(width.is_multiple_of(LANES) && m * n <= a.len() && n * width <= b.len());
    let copies = width > NARROW && m > L::WEIGHED[0];
    let mut strip = [[[0.0; LANES]; V]; WEIGHED];
    for from in (0..n).step_by(WEIGHED) {
        let count = WEIGHED.min(n - from);
        let mut column = 0;
        while column < width {
            let wide = if width - column >= V * LANES { V } else { 1 };
            let mut rows = (b[from * width + column..].as_ptr(), width);
            if copies {
                for (j, strip) in strip[..count].iter_mut().enumerate() {
                    let row = vectors(&b[(from + j) * width + column..][..wide * LANES]);
                    strip[..wide].copy_from_slice(row);
                }
                rows = (strip.as_ptr().cast(), V * LANES);
            }
            let mut row = 0;
            while row < m {
                let tall = height(m - row, L::WEIGHED[0]);
                let a = (a[row * n + from..].as_ptr(), n);
                let out = (out[row * width + column..].as_mut_ptr(), width);
                // SAFETY: promised by the caller; the assertion above says that all rows and columns are there.
                unsafe {
                    match (tall, wide) {
                        (1, 1) => weigh_tile::<L, 1, 1>(a, rows, count, out),
                        (2, 1) => weigh_tile::<L, 2, 1>(a, rows, count, out),
                        (3, 1) => weigh_tile::<L, 3, 1>(a, rows, count, out),
                        (4, 1) => weigh_tile::<L, 4, 1>(a, rows, count, out),
                        (5, 1) => weigh_tile::<L, 5, 1>(a, rows, count, out),
                        (_, 1) => weigh_tile::<L, 6, 1>(a, rows, count, out),
                        (1, _) => weigh_tile::<L, 1, V>(a, rows, count, out),
                        (2, _) => weigh_tile::<L, 2, V>(a, rows, count, out),
                        (3, _) => weigh_tile::<L, 3, V>(a, rows, count, out),
                        (4, _) => weigh_tile::<L, 4, V>(a, rows, count, out),
                        (5, _) => weigh_tile::<L, 5, V>(a, rows, count, out),
                        (_, _) => weigh_tile::<L, 6, V>(a, rows, count, out),
                    }
                }
                row += tall;
            }
            column += wide * LANES;
        }
    }
}

/// `M` rows by `V` vectors of columns, kept in registers over `count` rows of `b`. Each matrix is where it
/// begins and how far its rows are apart.
///
/// # Safety
/// As with [`Lanes`], and all rows and columns must be there.
#[inline(always)]
unsafe fn weigh_tile<L: Lanes, const M: usize, const V: usize>(
    (a, n): (*const f32, usize),
    (b, stride): (*const f32, usize),
    count: usize,
    (out, width): (*mut f32, usize),
) {
    // SAFETY: promised by the caller.
    unsafe {
        let mut sums = [[L::splat(0.0); V]; M];
        for (i, sums) in sums.iter_mut().enumerate() {
            for (v, sum) in sums.iter_mut().enumerate() {
                *sum = L::load(&*out.add(i * width + v * LANES).cast());
            }
        }
        for j in 0..count {
            let mut vectors = [L::splat(0.0); V];
            for (v, vector) in vectors.iter_mut().enumerate() {
                *vector = L::load(&*b.add(j * stride + v * LANES).cast());
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let a = L::splat(*a.add(i * n + j));
                for (sum, vector) in sums.iter_mut().zip(vectors) {
                    *sum = a.fma(vector, *sum);
                }
            }
        }
        for (i, sums) in sums.into_iter().enumerate() {
            for (v, sum) in sums.into_iter().enumerate() {
                sum.store(&mut *out.add(i * width + v * LANES).cast());
            }
        }
    }
}

/// `out: [m, columns] = a: [m, n] · b: [n, columns]`, summed in the order of `n` from zero, for exactly
/// [`COLUMNS`] columns.
///
/// # Safety
/// As with [`Lanes`].
#[inline(always)]
pub(super) unsafe fn columns_on<L: Lanes>(a: &[f32], b: &[f32], n: usize, out: &mut [f32]) {
    out.fill(0.0);
    // SAFETY: promised by the caller.
    unsafe { weigh_on::<L>(a, b, n, out) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order of summation, in so many words.
    fn dot(a: &[f32], b: &[f32]) -> f32 {
        let mut lanes = [0.0_f32; LANES];
        for (index, (a, b)) in a.iter().zip(b).enumerate() {
            lanes[index % LANES] = a.mul_add(*b, lanes[index % LANES]);
        }
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                lanes[lane] += lanes[lane + half];
            }
        }
        lanes[0]
    }

    fn numbers(seed: u32, count: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn dots_are_the_plain_order_on_every_instruction_set() {
        for isa in Isa::available() {
            for (m, n, width) in [
                (1, 1, 16),
                (4, 4, 32),
                (5, 7, 48),
                (3, 9, 16),
                (8, 1, 160),
                (14, 6, 32),
            ] {
                let (a, b) = (numbers(1, m * width), numbers(2, n * width));
                let mut out = vec![0.0; m * n];
                dots(isa, &a, &b, width, &mut out);
                for j in 0..n {
                    for i in 0..m {
                        let want = dot(&a[i * width..][..width], &b[j * width..][..width]);
                        let got = out[j * m + i];
                        assert_eq!(got.to_bits(), want.to_bits(), "{isa:?} {m}x{n}x{width}");
                    }
                }
            }
        }
    }

    #[test]
    fn weighing_is_the_plain_order_on_every_instruction_set() {
        for isa in Isa::available() {
            for (m, n, width) in [
                (1, 1, 16),
                (4, 3, 64),
                (5, 7, 80),
                (16, 66, 144),
                (9, 129, 16),
            ] {
                let (a, b) = (numbers(3, m * n), numbers(4, n * width));
                let start = numbers(5, m * width);
                let mut out = start.clone();
                weigh(isa, &a, &b, n, &mut out);
                for i in 0..m {
                    for c in 0..width {
                        let want = (0..n).fold(start[i * width + c], |sum, j| {
                            a[i * n + j].mul_add(b[j * width + c], sum)
                        });
                        assert_eq!(out[i * width + c].to_bits(), want.to_bits(), "{isa:?}");
                    }
                }
            }
        }
    }
}
