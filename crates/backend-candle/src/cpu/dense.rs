//! Products of matrices.
//!
//! Two inner loops carry all of them. [`dots`] multiplies rows by rows: lane `i` of a sum takes
//! elements `i`, `i + 16`, …, and the lanes are summed as [`Simd::sum`] says. [`axpys`] adds
//! multiples of rows: each element takes its terms in their order. Either order belongs to the
//! element alone, so no tile, batch or thread count changes a bit.

use std::ops::Range;

use deepseek_core::weights::WeightView;

use super::decode::Stored;
use super::par::{Pool, least_rows};
use super::simd::{Chunk, LANES, Simd};

/// Chunks of a row that one pass of [`dots`] takes: sixteen such pieces of `b` and four of `a` stay
/// in the innermost cache.
const PASS: usize = 32;
/// Rows of `a` whose sums are kept between passes.
const GROUP: usize = 32;
/// Rows of `b` that one pass of [`axpys`] takes, for the same reason.
const DEPTH: usize = 128;
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
    let mut jobs = Vec::new();
    for product in products {
        let [rows, width] = product.weight.shape;
        let tokens = product.out.len() / rows.max(1);
        assert_eq!(
            product.x.len(),
            tokens * width,
            "{}: inputs",
            product.weight.name
        );
        let input = match tokens {
            0 => continue,
            1 => Input::Token(product.x),
            _ => Input::Tokens(Panel::new(pool, product.x, width)),
        };
        // Sums lie by rows of the weight first, so that a thread writes one piece of memory.
        let sums = vec![0.0; if tokens == 1 { 0 } else { product.out.len() }];
        jobs.push((product, input, sums));
    }
    let mut tasks = Vec::new();
    for (Product { weight, out, .. }, input, sums) in &mut jobs {
        let sums = if sums.is_empty() { &mut **out } else { sums };
        let [rows, width] = weight.shape;
        let block = even.min(WIDENED / width.max(1)).clamp(4, 64);
        let tokens = sums.len() / rows;
        for (index, sums) in sums.chunks_mut(block * tokens).enumerate() {
            tasks.push(Task {
                x: input,
                weight,
                first: index * block,
                sums,
            });
        }
    }
    pool.map(tasks, |wide: &mut Vec<f32>, task| task.run(pool, wide));
    for (product, _, sums) in jobs {
        if !sums.is_empty() {
            turn(pool, &sums, product.weight.shape[0], product.out);
        }
    }
}

/// What a product multiplies.
enum Input<'a> {
    Token(&'a [f32]),
    Tokens(Panel),
}

/// A few rows of a weight and all tokens.
struct Task<'a> {
    x: &'a Input<'a>,
    weight: &'a WeightView,
    first: usize,
    sums: &'a mut [f32],
}

impl Task<'_> {
    fn run(self, pool: &Pool, wide: &mut Vec<f32>) {
        let stored = Stored {
            weight: self.weight,
            first: self.first,
        };
        let width = self.weight.shape[1];
        let one;
        let panel = match self.x {
            // Straight from the codes: a third of the time of widening first.
            Input::Token(x) if stored.is_regular() => {
                return pool.table.dot_stored(stored, x, self.sums);
            }
            Input::Token(x) => {
                one = Panel::of(x, width);
                &one
            }
            Input::Tokens(panel) => panel,
        };
        let stride = width.next_multiple_of(LANES);
        let rows = self.sums.len() / panel.count;
        let wide = aligned(wide, rows * stride);
        for (row, out) in wide.chunks_exact_mut(stride).enumerate() {
            out[width..].fill(0.0);
            widen_row(pool, self.weight, self.first + row, &mut out[..width]);
        }
        pool.table
            .dots(Rows::new(wide, stride), panel, self.sums, [panel.count, 1]);
    }
}

/// Rows `at` of a weight matrix, widened: `out: [n, columns]`.
pub(crate) fn lookup(pool: &Pool, weight: &WeightView, at: &[u32], out: &mut [f32]) {
    for (row, out) in at.iter().zip(out.chunks_exact_mut(weight.shape[1])) {
        widen_row(pool, weight, *row as usize, out);
    }
}

fn widen_row(pool: &Pool, weight: &WeightView, row: usize, out: &mut [f32]) {
    pool.table
        .decode(weight.format, weight.row(row), weight.row_scales(row), out);
}

/// Room for `length` numbers that begins where a vector may, so that none straddles two cache lines.
pub(super) fn aligned(room: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if room.len() < length + LANES {
        room.resize(length + LANES, 0.0);
    }
    let skip = room.as_ptr().align_offset(size_of::<Chunk>()).min(LANES);
    &mut room[skip..][..length]
}

/// Rows of whole chunks, `stride` apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    data: &'a [f32],
    width: usize,
    stride: usize,
}

impl<'a> Rows<'a> {
    /// Rows without gaps.
    pub(super) fn new(data: &'a [f32], width: usize) -> Self {
        Self {
            data,
            width,
            stride: width,
        }
    }

    /// The first `width` numbers of rows of `stride`.
    pub(super) fn within(data: &'a [f32], width: usize, stride: usize) -> Self {
        Self {
            data,
            width,
            stride,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.data.len() / self.stride
    }
}

/// Four rows side by side, chunk after chunk.
type Quad = [Chunk; 4];

/// Rows packed for [`dots`] in fours, so that the inner loop reads one stream. Unpacked, rows whose
/// length is a power of two compete for the same lines of a cache.
#[derive(Debug)]
pub(super) struct Panel {
    room: Vec<f32>,
    count: usize,
    chunks: usize,
}

impl Panel {
    /// Packs rows of `width` on one thread.
    pub(super) fn of(x: &[f32], width: usize) -> Self {
        let mut panel = Self::empty(x, width);
        let (chunks, length) = (panel.chunks, panel.length());
        pack(x, width, chunks, aligned(&mut panel.room, length));
        panel
    }

    fn new(pool: &Pool, x: &[f32], width: usize) -> Self {
        let mut panel = Self::empty(x, width);
        let (chunks, length) = (panel.chunks, panel.length());
        let row = chunks * size_of::<Quad>() / size_of::<f32>();
        pool.for_rows(
            aligned(&mut panel.room, length),
            row,
            least_rows(row),
            |first, out| {
                pack(&x[first * 4 * width..], width, chunks, out);
            },
        );
        panel
    }

    fn empty(x: &[f32], width: usize) -> Self {
        Self {
            room: Vec::new(),
            count: x.len() / width,
            chunks: width.div_ceil(LANES),
        }
    }

    fn length(&self) -> usize {
        self.count.next_multiple_of(4) * self.chunks * LANES
    }

    /// Sixteen rows at a time, as fours of `chunks`; the last may be fewer.
    fn blocks(&self) -> std::slice::Chunks<'_, Quad> {
        let skip = self
            .room
            .as_ptr()
            .align_offset(size_of::<Chunk>())
            .min(LANES);
        let lines = self.room[skip..][..self.length()].as_chunks().0;
        lines.as_chunks().0.chunks(4 * self.chunks)
    }
}

fn pack(x: &[f32], width: usize, chunks: usize, out: &mut [f32]) {
    let quads = out.as_chunks_mut::<LANES>().0.as_chunks_mut::<4>().0;
    for (quad, x) in quads.chunks_exact_mut(chunks).zip(x.chunks(4 * width)) {
        for (t, x) in x.chunks_exact(width).enumerate() {
            for (line, x) in quad.iter_mut().zip(x.chunks(LANES)) {
                line[t][..x.len()].copy_from_slice(x);
            }
        }
    }
}

/// Rows of `width` with zeros behind them up to whole chunks; borrowed where there is nothing to do.
fn pad(x: &[f32], width: usize) -> std::borrow::Cow<'_, [f32]> {
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
    pool.for_rows(
        to,
        rows,
        least_rows(rows).next_multiple_of(LANES),
        |first, to| {
            pool.table.transpose(&from[first..], stride, rows, to);
        },
    );
}

/// `out = a · bᵀ`: `a: [m, k]`, `b: [n, k]`, `out: [m, n]`.
pub(crate) fn matmul_t(pool: &Pool, a: &[f32], b: &[f32], k: usize, out: &mut [f32]) {
    if out.is_empty() || k == 0 {
        return out.fill(0.0);
    }
    let n = b.len() / k;
    assert_eq!(
        out.len() * k,
        a.len() * n,
        "a product of [m, {k}] and [{n}, {k}]"
    );
    let (a, stride) = (pad(a, k), k.next_multiple_of(LANES));
    let panel = Panel::new(pool, b, k);
    pool.for_rows(
        out,
        n,
        least_rows(n * k).next_multiple_of(4),
        |first, out| {
            let a = &a[first * stride..][..out.len() / n * stride];
            pool.table.dots(Rows::new(a, stride), &panel, out, [n, 1]);
        },
    );
}

/// `out = a · b`: `a: [m, k]`, `b: [k, n]`, `out: [m, n]`; each sum in the order of `k`.
pub(crate) fn matmul(pool: &Pool, a: &[f32], b: &[f32], k: usize, out: &mut [f32]) {
    if out.is_empty() || k == 0 {
        return out.fill(0.0);
    }
    let n = b.len() / k;
    assert_eq!(
        out.len() * k,
        a.len() * n,
        "a product of [m, {k}] and [{k}, {n}]"
    );
    let b = pad(b, n);
    let padded = n.next_multiple_of(LANES);
    pool.for_rows(
        out,
        n,
        least_rows(n * k).next_multiple_of(4),
        |first, out| {
            let a = &a[first * k..][..out.len() / n * k];
            if padded == n {
                return pool.table.axpys(a, Rows::new(&b, n), out);
            }
            let mut wide = vec![0.0; out.len() / n * padded];
            pool.table.axpys(a, Rows::new(&b, padded), &mut wide);
            for (wide, out) in wide.chunks_exact(padded).zip(out.chunks_exact_mut(n)) {
                out.copy_from_slice(&wide[..n]);
            }
        },
    );
}

/// `a · bᵀ` on one thread: the product of row `i` of `a` and row `j` of `b` goes to
/// `out[i * steps[0] + j * steps[1]]`.
#[inline(always)]
pub(super) fn dots<S: Simd>(s: S, a: Rows<'_>, b: &Panel, out: &mut [f32], steps: [usize; 2]) {
    if S::WIDE {
        groups::<S, 4, 4>(s, a, b, out, steps);
    } else {
        groups::<S, 2, 2>(s, a, b, out, steps);
    }
}

/// Goes over `a` in pieces of [`GROUP`] rows, and over the blocks of `b`.
#[inline(always)]
fn groups<S: Simd, const R: usize, const T: usize>(
    s: S,
    a: Rows<'_>,
    b: &Panel,
    out: &mut [f32],
    steps: [usize; 2],
) {
    let stride = a.stride / LANES;
    let mut sums = [[s.splat(0.0); LANES]; GROUP];
    for (group, a) in a.data.as_chunks().0.chunks(GROUP * stride).enumerate() {
        let rows = a.len() / stride;
        let row = |row: usize| &a[row * stride..][..b.chunks];
        for (index, block) in b.blocks().enumerate() {
            let width = LANES.min(b.count - index * LANES);
            for first in (0..b.chunks).step_by(PASS) {
                let pass = Pass {
                    first,
                    last: b.chunks.min(first + PASS),
                    width,
                };
                let whole = rows / R * R;
                for r in (0..whole).step_by(R) {
                    let a: [&[Chunk]; R] = std::array::from_fn(|i| row(r + i));
                    strip::<S, R, T>(s, a, block, pass, &mut sums[r..]);
                }
                for r in whole..rows {
                    strip::<S, 1, T>(s, [row(r)], block, pass, &mut sums[r..]);
                }
            }
            for (row, sums) in sums[..rows].iter().enumerate() {
                let at = (group * GROUP + row) * steps[0] + index * LANES * steps[1];
                total(s, sums, &mut out[at..], width, steps[1]);
            }
        }
    }
}

/// Stores the first `width` of sixteen sums, `step` apart.
#[inline(always)]
fn total<S: Simd>(s: S, sums: &[S::V; LANES], out: &mut [f32], width: usize, step: usize) {
    if width < 4 {
        for (i, sum) in sums[..width].iter().enumerate() {
            out[i * step] = s.sum(*sum);
        }
        return;
    }
    let mut totals = [0.0; LANES];
    s.store(s.sums(*sums), &mut totals);
    if step == 1 {
        out[..width].copy_from_slice(&totals[..width]);
        return;
    }
    for (i, total) in totals[..width].iter().enumerate() {
        out[i * step] = *total;
    }
}

/// Which chunks of the rows, and how many rows of a block, a tile takes.
#[derive(Clone, Copy)]
struct Pass {
    first: usize,
    last: usize,
    width: usize,
}

/// `R` rows of `a` by the rows of a block.
#[inline(always)]
fn strip<S: Simd, const R: usize, const T: usize>(
    s: S,
    a: [&[Chunk]; R],
    block: &[Quad],
    pass: Pass,
    sums: &mut [[S::V; LANES]],
) {
    let chunks = a[0].len();
    let a = a.map(|a| &a[pass.first..pass.last]);
    for (index, quad) in block.chunks_exact(chunks).enumerate() {
        let (quad, column) = (&quad[pass.first..pass.last], index * 4);
        let width = (pass.width - column).min(4);
        let whole = width / T * T;
        let carry = pass.first > 0;
        for t in (0..whole).step_by(T) {
            tile::<S, R, T>(s, a, quad, t, carry, sums, column + t);
        }
        for t in whole..width {
            tile::<S, R, 1>(s, a, quad, t, carry, sums, column + t);
        }
    }
}

/// The inner loop of [`dots`]: `R` rows by `T` of four from row `t`, onto what the passes before
/// left where there were some.
#[inline(always)]
fn tile<S: Simd, const R: usize, const T: usize>(
    s: S,
    a: [&[Chunk]; R],
    quad: &[Quad],
    t: usize,
    carry: bool,
    sums: &mut [[S::V; LANES]],
    column: usize,
) {
    let sums = &mut sums[..R];
    let mut sum = [[s.splat(0.0); T]; R];
    if carry {
        for r in 0..R {
            sum[r].copy_from_slice(&sums[r][column..][..T]);
        }
    }
    let a = a.map(|a| &a[..quad.len()]);
    for (i, line) in quad.iter().enumerate() {
        let line = &line[t..][..T];
        let mut y = [s.splat(0.0); T];
        for t in 0..T {
            y[t] = s.load(&line[t]);
        }
        for r in 0..R {
            let x = s.load(&a[r][i]);
            for t in 0..T {
                sum[r][t] = s.fma(x, y[t], sum[r][t]);
            }
        }
    }
    for r in 0..R {
        sums[r][column..][..T].copy_from_slice(&sum[r]);
    }
}

/// `a · b` on one thread: `a: [m, k]`, `b: [k, n]`, `out: [m, n]`.
#[inline(always)]
pub(super) fn axpys<S: Simd>(s: S, a: &[f32], b: Rows<'_>, out: &mut [f32]) {
    if S::WIDE {
        strips::<S, 4, 4>(s, a, b, out);
    } else {
        strips::<S, 2, 2>(s, a, b, out);
    }
}

/// Goes down `b` in passes of [`DEPTH`] rows, and over each in strips of `C` chunks.
#[inline(always)]
fn strips<S: Simd, const R: usize, const C: usize>(s: S, a: &[f32], b: Rows<'_>, out: &mut [f32]) {
    let (k, chunks) = (b.count(), b.width / LANES);
    let out = out.as_chunks_mut().0;
    let whole = chunks / C * C;
    for top in (0..k).step_by(DEPTH) {
        let deep = top..k.min(top + DEPTH);
        for first in (0..whole).step_by(C) {
            down::<S, R, C>(s, a, b, &deep, out, first);
        }
        for first in whole..chunks {
            down::<S, R, 1>(s, a, b, &deep, out, first);
        }
    }
}

/// `C` chunks of the columns from chunk `first`.
#[inline(always)]
fn down<S: Simd, const R: usize, const C: usize>(
    s: S,
    a: &[f32],
    b: Rows<'_>,
    deep: &Range<usize>,
    out: &mut [Chunk],
    first: usize,
) {
    let (k, chunks) = (b.count(), b.width / LANES);
    for (a, out) in a.chunks(R * k).zip(out.chunks_mut(R * chunks)) {
        if a.len() == R * k {
            patch::<S, R, C>(s, a, b, deep, out, first);
        } else {
            for (a, out) in a.chunks(k).zip(out.chunks_mut(chunks)) {
                patch::<S, 1, C>(s, a, b, deep, out, first);
            }
        }
    }
}

/// The inner loop of [`axpys`]: `R` rows by `C` chunks over the terms `deep`.
#[inline(always)]
fn patch<S: Simd, const R: usize, const C: usize>(
    s: S,
    a: &[f32],
    b: Rows<'_>,
    deep: &Range<usize>,
    out: &mut [Chunk],
    first: usize,
) {
    let (k, chunks) = (b.count(), b.width / LANES);
    let a: [&[f32]; R] = std::array::from_fn(|r| &a[r * k + deep.start..r * k + deep.end]);
    let mut sum = [[s.splat(0.0); C]; R];
    if deep.start > 0 {
        for r in 0..R {
            for c in 0..C {
                sum[r][c] = s.load(&out[r * chunks + first + c]);
            }
        }
    }
    let lines = &b.data[deep.start * b.stride..deep.end * b.stride];
    for (l, line) in lines
        .as_chunks()
        .0
        .chunks_exact(b.stride / LANES)
        .enumerate()
    {
        let line = &line[first..][..C];
        let mut y = [s.splat(0.0); C];
        for c in 0..C {
            y[c] = s.load(&line[c]);
        }
        for r in 0..R {
            let x = s.splat(a[r][l]);
            for c in 0..C {
                sum[r][c] = s.fma(x, y[c], sum[r][c]);
            }
        }
    }
    for r in 0..R {
        for c in 0..C {
            s.store(sum[r][c], &mut out[r * chunks + first + c]);
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
