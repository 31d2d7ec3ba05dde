//! Products of matrices.
//!
//! Two inner loops carry all of them. [`dots`] multiplies rows by rows: lane `i` of a sum takes
//! elements `i`, `i + 16`, …, and the lanes are summed as [`Simd::sum`] says. [`axpys`] adds
//! multiples of rows: each element takes its terms in their order. Either order belongs to the
//! element alone, so no tile, batch or thread count changes a bit.

use deepseek_core::weights::WeightView;

use super::par::{Pool, least_rows};
use super::simd::{Chunk, LANES, Simd};

/// Chunks of a row that one pass of [`dots`] takes, so that the rows of a tile stay in the
/// innermost cache.
const PASS: usize = 64;
/// Rows whose sums are kept between passes.
const GROUP: usize = 32;
/// Floats of widened weights at a time: within a core's own cache.
const WIDENED: usize = 128 * 1024;

/// One product `out = x · weightᵀ`.
#[derive(Debug)]
pub(super) struct Product<'a> {
    pub(super) x: &'a [f32],
    pub(super) weight: &'a WeightView,
    pub(super) out: &'a mut [f32],
}

/// `out = x · weightᵀ`: `x: [t, in]`, `weight: [out, in]` in any format, `out: [t, out]`.
pub(crate) fn linear(pool: &Pool, x: &[f32], weight: &WeightView, out: &mut [f32]) {
    products(pool, vec![Product { x, weight, out }]);
}

/// Several products at once, which share the threads.
pub(super) fn products(pool: &Pool, products: Vec<Product<'_>>) {
    let total: usize = products.iter().map(|p| p.weight.shape[0]).sum();
    let even = total.div_ceil(8 * pool.threads()).next_multiple_of(4);
    // Sums lie by rows of the weight first, so that a thread writes one piece of memory.
    let mut turned: Vec<Vec<f32>> = Vec::new();
    let mut singles = Vec::new();
    let mut jobs = Vec::new();
    for product in products {
        let [rows, width] = product.weight.shape;
        let tokens = product.out.len() / rows.max(1);
        assert_eq!(product.x.len(), tokens * width, "{}: inputs", product.weight.name);
        if tokens > 2 * rows {
            let mut wide = vec![0.0; rows * width];
            widen(pool, product.weight, &mut wide);
            matmul_t(pool, product.x, &wide, width, product.out);
        } else if tokens == 1 {
            singles.push(product);
        } else if tokens > 0 {
            turned.push(vec![0.0; product.out.len()]);
            jobs.push(product);
        }
    }
    let mut tasks = Vec::new();
    let sums = turned.iter_mut().map(Vec::as_mut_slice);
    for (job, sums) in jobs.iter().zip(sums) {
        split(&mut tasks, even, job.x, job.weight, sums);
    }
    for single in singles {
        split(&mut tasks, even, single.x, single.weight, single.out);
    }
    pool.map(tasks, |wide: &mut Vec<f32>, task| task.run(pool, wide));
    for (job, sums) in jobs.into_iter().zip(&turned) {
        turn(pool, sums, job.weight.shape[0], job.out);
    }
}

/// A few rows of a weight and all tokens.
struct Task<'a> {
    x: &'a [f32],
    weight: &'a WeightView,
    first: usize,
    sums: &'a mut [f32],
}

fn split<'a>(
    tasks: &mut Vec<Task<'a>>,
    even: usize,
    x: &'a [f32],
    weight: &'a WeightView,
    sums: &'a mut [f32],
) {
    let [rows, width] = weight.shape;
    let tokens = sums.len() / rows;
    let block = even.min(WIDENED / width.max(1)).clamp(4, 64);
    for (index, sums) in sums.chunks_mut(block * tokens).enumerate() {
        tasks.push(Task { x, weight, first: index * block, sums });
    }
}

impl Task<'_> {
    fn run(self, pool: &Pool, wide: &mut Vec<f32>) {
        let width = self.weight.shape[1];
        let tokens = self.x.len() / width;
        let padded = width.next_multiple_of(LANES);
        let rows = self.sums.len() / tokens;
        if wide.len() < rows * padded {
            wide.resize(rows * padded, 0.0);
        }
        let wide = &mut wide[..rows * padded];
        for (row, out) in wide.chunks_exact_mut(padded).enumerate() {
            out[width..].fill(0.0);
            widen_row(pool, self.weight, self.first + row, &mut out[..width]);
        }
        pool.table.dots(wide, &pad(self.x, width), padded, self.sums);
    }
}

/// Rows `at` of a weight matrix, widened: `out: [n, columns]`.
pub(crate) fn lookup(pool: &Pool, weight: &WeightView, at: &[u32], out: &mut [f32]) {
    for (row, out) in at.iter().zip(out.chunks_exact_mut(weight.shape[1])) {
        widen_row(pool, weight, *row as usize, out);
    }
}

fn widen_row(pool: &Pool, weight: &WeightView, row: usize, out: &mut [f32]) {
    pool.table.decode(weight.format, weight.row(row), weight.row_scales(row), out);
}

fn widen(pool: &Pool, weight: &WeightView, out: &mut [f32]) {
    let width = weight.shape[1];
    pool.for_rows(out, width, least_rows(width), |first, rows| {
        for (row, out) in rows.chunks_exact_mut(width).enumerate() {
            widen_row(pool, weight, first + row, out);
        }
    });
}

/// Rows of `width` with zeros behind them up to whole chunks; borrowed where there is nothing to do.
pub(super) fn pad(x: &[f32], width: usize) -> std::borrow::Cow<'_, [f32]> {
    let padded = width.next_multiple_of(LANES);
    if padded == width {
        return x.into();
    }
    let mut out = vec![0.0; x.len() / width * padded];
    for (row, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(padded)) {
        out[..width].copy_from_slice(row);
    }
    out.into()
}

/// `[rows, n]` to `[n, rows]`.
fn turn(pool: &Pool, from: &[f32], rows: usize, to: &mut [f32]) {
    let stride = from.len() / rows;
    pool.for_rows(to, rows, least_rows(rows).next_multiple_of(LANES), |first, to| {
        pool.table.transpose(&from[first..], stride, rows, to);
    });
}

/// `out = a · bᵀ`: `a: [m, k]`, `b: [n, k]`, `out: [m, n]`.
pub(crate) fn matmul_t(pool: &Pool, a: &[f32], b: &[f32], k: usize, out: &mut [f32]) {
    assert_eq!(out.len() * k * k, a.len() * b.len(), "a product of [m, {k}] and [n, {k}]");
    if out.is_empty() || k == 0 {
        return out.fill(0.0);
    }
    let (a, b) = (pad(a, k), pad(b, k));
    let (n, padded) = (b.len() / k.next_multiple_of(LANES), k.next_multiple_of(LANES));
    pool.for_rows(out, n, least_rows(n * k).next_multiple_of(4), |first, out| {
        let rows = out.len() / n;
        pool.table.dots(&a[first * padded..][..rows * padded], &b, padded, out);
    });
}

/// `out = a · b`: `a: [m, k]`, `b: [k, n]`, `out: [m, n]`; each sum in the order of `k`.
pub(crate) fn matmul(pool: &Pool, a: &[f32], b: &[f32], k: usize, out: &mut [f32]) {
    if out.is_empty() || k == 0 {
        return out.fill(0.0);
    }
    let n = b.len() / k;
    assert_eq!(out.len() * k, a.len() * n, "a product of [m, {k}] and [{k}, {n}]");
    let b = pad(b, n);
    let padded = n.next_multiple_of(LANES);
    pool.for_rows(out, n, least_rows(n * k).next_multiple_of(4), |first, out| {
        let a = &a[first * k..][..out.len() / n * k];
        if padded == n {
            return pool.table.axpys(a, &b, k, out);
        }
        let mut wide = vec![0.0; out.len() / n * padded];
        pool.table.axpys(a, &b, k, &mut wide);
        for (wide, out) in wide.chunks_exact(padded).zip(out.chunks_exact_mut(n)) {
            out.copy_from_slice(&wide[..n]);
        }
    });
}

/// `a · bᵀ` on one thread: `a: [m, k]`, `b: [n, k]`, `out: [m, n]`; `k` is whole chunks.
#[inline(always)]
pub(super) fn dots<S: Simd>(s: S, a: &[f32], b: &[f32], k: usize, out: &mut [f32]) {
    let (a, b, chunks) = (a.as_chunks().0, b.as_chunks().0, k / LANES);
    let n = b.len() / chunks;
    for (a, out) in a.chunks(GROUP * chunks).zip(out.chunks_mut(GROUP * n)) {
        if S::WIDE {
            columns::<S, 4, 4>(s, a, b, chunks, out);
        } else {
            columns::<S, 2, 2>(s, a, b, chunks, out);
        }
    }
}

/// At most [`GROUP`] rows of `a`, in tiles of `R` by `T`.
#[inline(always)]
fn columns<S: Simd, const R: usize, const T: usize>(
    s: S,
    a: &[Chunk],
    b: &[Chunk],
    chunks: usize,
    out: &mut [f32],
) {
    let n = b.len() / chunks;
    let whole = n / T * T;
    for first in (0..whole).step_by(T) {
        column::<S, R, T>(s, a, &b[first * chunks..], chunks, &mut out[first..], n);
    }
    for first in whole..n {
        column::<S, R, 1>(s, a, &b[first * chunks..], chunks, &mut out[first..], n);
    }
}

/// `T` columns of the result.
#[inline(always)]
fn column<S: Simd, const R: usize, const T: usize>(
    s: S,
    a: &[Chunk],
    b: &[Chunk],
    chunks: usize,
    out: &mut [f32],
    n: usize,
) {
    let rows = a.len() / chunks;
    let mut sums = [[s.splat(0.0); T]; GROUP];
    for first in (0..chunks).step_by(PASS) {
        let pass = PASS.min(chunks - first);
        let (a, b) = (&a[first..], &b[first..]);
        let whole = rows / R * R;
        for row in (0..whole).step_by(R) {
            tile::<S, R, T>(s, &a[row * chunks..], b, chunks, pass, &mut sums[row..]);
        }
        for row in whole..rows {
            tile::<S, 1, T>(s, &a[row * chunks..], b, chunks, pass, &mut sums[row..]);
        }
    }
    // Sixteen sums are added up at once: a third of the work of one by one.
    let mut flat = [s.splat(0.0); LANES];
    let each = LANES / T;
    for (group, sums) in sums[..rows].chunks(each).enumerate() {
        for (i, sums) in sums.iter().enumerate() {
            flat[i * T..][..T].copy_from_slice(sums);
        }
        let mut totals = [0.0; LANES];
        if sums.len() * T == 1 {
            totals[0] = s.sum(flat[0]);
        } else {
            s.store(s.sums(flat), &mut totals);
        }
        for (i, totals) in totals.chunks_exact(T).take(sums.len()).enumerate() {
            out[(group * each + i) * n..][..T].copy_from_slice(totals);
        }
    }
}

/// The inner loop of [`dots`]: `R` rows by `T` rows over `pass` chunks.
#[inline(always)]
fn tile<S: Simd, const R: usize, const T: usize>(
    s: S,
    a: &[Chunk],
    b: &[Chunk],
    stride: usize,
    pass: usize,
    sums: &mut [[S::V; T]],
) {
    let a: [&[Chunk]; R] = std::array::from_fn(|r| &a[r * stride..][..pass]);
    let b: [&[Chunk]; T] = std::array::from_fn(|t| &b[t * stride..][..pass]);
    let mut sum = [[s.splat(0.0); T]; R];
    sum.copy_from_slice(&sums[..R]);
    for i in 0..pass {
        let mut y = [s.splat(0.0); T];
        for t in 0..T {
            y[t] = s.load(&b[t][i]);
        }
        for r in 0..R {
            let x = s.load(&a[r][i]);
            for t in 0..T {
                sum[r][t] = s.fma(x, y[t], sum[r][t]);
            }
        }
    }
    sums[..R].copy_from_slice(&sum);
}

/// `a · b` on one thread: `a: [m, k]`, `b: [k, n]`, `out: [m, n]`; `n` is whole chunks.
#[inline(always)]
pub(super) fn axpys<S: Simd>(s: S, a: &[f32], b: &[f32], k: usize, out: &mut [f32]) {
    let (b, out) = (b.as_chunks().0, out.as_chunks_mut().0);
    if S::WIDE {
        blocks::<S, 4, 4>(s, a, b, k, out);
    } else {
        blocks::<S, 2, 2>(s, a, b, k, out);
    }
}

#[inline(always)]
fn blocks<S: Simd, const R: usize, const C: usize>(
    s: S,
    a: &[f32],
    b: &[Chunk],
    k: usize,
    out: &mut [Chunk],
) {
    let chunks = b.len() / k;
    let whole = chunks / C * C;
    for first in (0..whole).step_by(C) {
        block::<S, R, C>(s, a, b, k, out, first);
    }
    for first in whole..chunks {
        block::<S, R, 1>(s, a, b, k, out, first);
    }
}

/// `C` chunks of the columns from chunk `first`.
#[inline(always)]
fn block<S: Simd, const R: usize, const C: usize>(
    s: S,
    a: &[f32],
    b: &[Chunk],
    k: usize,
    out: &mut [Chunk],
    first: usize,
) {
    let chunks = b.len() / k;
    let rows = a.len() / k;
    let whole = rows / R * R;
    for row in (0..whole).step_by(R) {
        patch::<S, R, C>(s, &a[row * k..], b, k, &mut out[row * chunks..], first);
    }
    for row in whole..rows {
        patch::<S, 1, C>(s, &a[row * k..], b, k, &mut out[row * chunks..], first);
    }
}

/// The inner loop of [`axpys`]: `R` rows by `C` chunks over all of `k`.
#[inline(always)]
fn patch<S: Simd, const R: usize, const C: usize>(
    s: S,
    a: &[f32],
    b: &[Chunk],
    k: usize,
    out: &mut [Chunk],
    first: usize,
) {
    let chunks = b.len() / k;
    let a: [&[f32]; R] = std::array::from_fn(|r| &a[r * k..][..k]);
    let mut sum = [[s.splat(0.0); C]; R];
    for (l, row) in b.chunks_exact(chunks).take(k).enumerate() {
        let row = &row[first..][..C];
        let mut y = [s.splat(0.0); C];
        for c in 0..C {
            y[c] = s.load(&row[c]);
        }
        for r in 0..R {
            let x = s.splat(a[r][l]);
            for c in 0..C {
                sum[r][c] = s.fma(x, y[c], sum[r][c]);
            }
        }
    }
    for r in 0..R {
        let out = &mut out[r * chunks + first..][..C];
        for c in 0..C {
            s.store(sum[r][c], &mut out[c]);
        }
    }
}

/// Columns of `from` as rows of `to: [n, rows]`: entry `(c, r)` is `from[r * stride + c]`.
#[inline(always)]
pub(super) fn transpose<S: Simd>(s: S, from: &[f32], stride: usize, rows: usize, to: &mut [f32]) {
    let columns = to.len() / rows;
    for top in (0..rows).step_by(LANES) {
        for left in (0..columns).step_by(LANES) {
            let (high, wide) = (LANES.min(rows - top), LANES.min(columns - left));
            if high < LANES || wide < LANES {
                for c in left..left + wide {
                    for r in top..top + high {
                        to[c * rows + r] = from[r * stride + c];
                    }
                }
                continue;
            }
            let mut square = [s.splat(0.0); LANES];
            for (i, row) in square.iter_mut().enumerate() {
                *row = s.load(first_chunk(&from[(top + i) * stride + left..]));
            }
            for (i, column) in s.transpose(square).into_iter().enumerate() {
                let to = &mut to[(left + i) * rows + top..];
                s.store(column, to.first_chunk_mut().expect("a whole square"));
            }
        }
    }
}

#[inline(always)]
fn first_chunk(x: &[f32]) -> &Chunk {
    x.first_chunk().expect("a whole square")
}
