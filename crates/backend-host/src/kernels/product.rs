//! Rows times the rows of a stored matrix, decoded in registers.
//!
//! Every output is its own sum of sixteen lanes, so what may be arranged is only how many of them
//! are in flight and where their operands come from. What is multiplied are floats, or pairs of BF16
//! ([`Form`]); a row of `x` lies in as many vectors as that form needs. Integers are multiplied elsewhere
//! ([`integers`]).
#![allow(unsafe_code, reason = "compiled for each instruction set")]
#![allow(
    clippy::multiple_unsafe_ops_per_block,
    reason = "one promise, that of the instruction set, covers all operations on registers"
)]

use std::ops::Range;

use deepseek_core::weights::WeightView;
use deepseek_core::{Few, Format};

use super::codes::{
    Bf16, Codes, Decode, F16, F32, Fp4, Fp8, Int4, Int8, LINE, Stored, UNIT, factors, misread,
};
use super::form::{Form, for_each_form};
use super::formats::widen;
use super::integers;
use super::lanes::{LANES, dots_on, height, vectors};
use super::matrix::{Matrix, TOGETHER};
use super::pool::{Pool, Tile};

/// Rows of `x` up to which each code is decoded where it is multiplied. For more it is decoded into
/// memory, once for all.
const FEW: usize = 4;
/// Rows of the matrix that a thread takes at once for many rows of `x`.
const STRIP: usize = 32;
/// For few: rows of at least and at most so many bytes, and not more rows than that.
const STRIP_BYTES: [usize; 2] = [8 << 10, 64 << 10];
const STRIP_MAX: usize = 64;
/// Strips for each thread, where they are not too small: the more, the less the last one is waited for.
const STRIPS: usize = 4;
/// Lanes of a block of columns: longer ones pass through memory too often before they are multiplied, shorter ones
/// write their sums too often.
const BLOCK: usize = 1024;
/// Numbers of `x` that stay in a core's own cache while strips pass by.
const X_NUMBERS: usize = 1 << 18;

/// The bands of rows, of groups that are multiplied with a matrix like this one each, and the columns of a band
/// that [`product`] is given at once. `wide` numbers are a row of `x`.
pub(super) fn bands(
    threads: usize,
    groups: &[Range<usize>],
    wide: usize,
    weight: &Matrix,
) -> (Few<Range<usize>>, usize) {
    let most = (X_NUMBERS / wide).max(FEW);
    let split = |group: &Range<usize>| {
        let tall = group.len().div_ceil(group.len().div_ceil(most).max(1));
        let end = group.end;
        group
            .clone()
            .step_by(tall.max(1))
            .map(move |start| start..end.min(start + tall))
    };
    let few = groups.iter().all(|group| group.len() <= FEW);
    let strip = if few {
        let [least, most] = STRIP_BYTES.map(|bytes| bytes / weight.row_bytes().max(1));
        let share = weight.shape[0] * groups.len() / (threads * STRIPS);
        let strip = share.max(least).min(most).min(STRIP_MAX);
        // No row of a tile is left over, and what is known of rows is known of all.
        let whole = if strip < TOGETHER {
            weight.together()
        } else {
            TOGETHER
        };
        (strip / whole * whole).max(whole)
    } else {
        STRIP
    };
    (groups.iter().flat_map(split).collect(), strip)
}

/// Rows of `x`, laid out by [`Form::rows`], times rows of `weight` from `first` on, to `out`.
pub(super) fn product(
    pool: &Pool,
    form: Form,
    x: &[f32],
    weight: &Matrix,
    first: usize,
    out: &mut Tile<'_>,
) {
    let stored = Stored::new(weight);
    if let Form::Integers(isa, bits) = form {
        return integers::product(isa, bits, x, stored, first, out);
    }
    let units = stored.columns.div_ceil(UNIT);
    let lines = stored.lines(first..first + out.columns());
    let known = pool.scratch([lines.len() * units], |[room]| {
        if !factors_of(form, stored, lines.start, room) {
            return false;
        }
        let strip = Strip {
            weight: stored,
            first,
            line: lines.start,
            factors: room,
        };
        if out.rows() <= FEW {
            few(form, x, strip, out);
        } else {
            let [panel, sums] = rooms(out);
            pool.scratch([panel, sums], |[panel, sums]| {
                many(form, x, strip, panel, sums, out);
            });
        }
        true
    });
    let is_sound = || !codes_misread(form, stored, first, out.columns());
    if !known || !weight.is_sound(first..first + out.columns(), is_sound) {
        widened(pool, form, x, weight, first, out);
    }
}

/// The plain way: rows are widened into memory, whatever they hold.
fn widened(
    pool: &Pool,
    form: Form,
    x: &[f32],
    weight: &WeightView,
    first: usize,
    out: &mut Tile<'_>,
) {
    let columns = weight.shape[1];
    let wide = form.wide(columns);
    let (tokens, count) = (out.rows(), out.columns());
    pool.scratch([columns, wide, tokens], |[row, laid, sums]| {
        for index in 0..count {
            widen(pool.isa(), weight, first + index, row);
            form.lay(row, laid);
            dots(form, x, laid, wide, sums);
            for (token, sum) in sums.iter().enumerate() {
                out.row(token)[index] = *sum;
            }
        }
    });
}

/// Rows of a matrix from `first` on, and the factors of their units: `[lines, units]`, for the lines of scales
/// from `line` on.
#[derive(Clone, Copy)]
pub(super) struct Strip<'a> {
    weight: Stored<'a>,
    first: usize,
    line: usize,
    factors: &'a [f32],
}

impl<'a> Strip<'a> {
    /// One row and what it is decoded with.
    #[inline(always)]
    fn row<F: Codes>(&self, index: usize) -> Row<'a, F> {
        let index = self.first + index;
        let count = self.weight.columns.div_ceil(UNIT);
        let (units, rest) = F::units(self.weight.row(index));
        let line = self.weight.line(index) - self.line;
        Row {
            units,
            rest,
            factors: &self.factors[line * count..][..count],
        }
    }
}

/// A stored row: whole units, the codes of less than one, and factors for both.
#[derive(Clone, Copy)]
struct Row<'a, F: Codes> {
    units: &'a [F::Unit],
    rest: &'a [u8],
    factors: &'a [f32],
}

for_each_form! {
    /// See [`factors`].
    factors_of(weight: Stored<'_>, line: usize, out: &mut [f32]) -> bool = factors_on
}

#[inline(always)]
unsafe fn factors_on<L: Decode>(weight: Stored<'_>, line: usize, out: &mut [f32]) -> bool {
    // SAFETY: promised by the caller.
    unsafe { factors::<L>(weight, line, out) }
}

for_each_form! {
    /// Rows of `a` times rows of `b`, which are `width` lanes each; see [`dots_on`].
    pub(super) dots(a: &[f32], b: &[f32], width: usize, out: &mut [f32]) = dots_on
}

for_each_form! {
    /// Whether one of `count` rows from `first` on is misread; see [`misread`].
    codes_misread(weight: Stored<'_>, first: usize, count: usize) -> bool = codes_misread_on
}

#[inline(always)]
unsafe fn codes_misread_on<L: Decode>(weight: Stored<'_>, first: usize, count: usize) -> bool {
    (first..first + count).any(|row| misread(weight.format, weight.row(row)))
}

for_each_form! {
    /// Few rows of `x` times a strip.
    few(x: &[f32], strip: Strip<'_>, out: &mut Tile<'_>) = few_on
}

#[inline(always)]
unsafe fn few_on<L: Decode>(x: &[f32], strip: Strip<'_>, out: &mut Tile<'_>) {
    // SAFETY: promised by the caller.
    unsafe {
        match strip.weight.format {
            Format::F32 => few_of::<L, F32>(x, strip, out),
            Format::Bf16 => few_of::<L, Bf16>(x, strip, out),
            Format::F16 => few_of::<L, F16>(x, strip, out),
            Format::Fp8 { .. } => few_of::<L, Fp8>(x, strip, out),
            Format::Fp4 { .. } => few_of::<L, Fp4>(x, strip, out),
            Format::Int8 => few_of::<L, Int8>(x, strip, out),
            Format::Int4 { .. } => few_of::<L, Int4>(x, strip, out),
        }
    }
}

#[inline(always)]
unsafe fn few_of<L: Decode, F: Codes>(x: &[f32], strip: Strip<'_>, out: &mut Tile<'_>) {
    let (tokens, count) = (out.rows(), out.columns());
    let mut row = 0;
    // Eight sums or more are in flight, so that none waits for its own last step.
    while row < count {
        let wide = L::FEW[tokens - 1].min(count - row);
        // SAFETY: promised by the caller.
        row += unsafe {
            match (tokens, wide) {
                (1, 8) => few_tile::<L, F, 1, 8>(x, strip, row, out),
                (1, 4..) => few_tile::<L, F, 1, 4>(x, strip, row, out),
                (1, _) => few_tile::<L, F, 1, 1>(x, strip, row, out),
                (2, 4..) => few_tile::<L, F, 2, 4>(x, strip, row, out),
                (2, 2..) => few_tile::<L, F, 2, 2>(x, strip, row, out),
                (2, _) => few_tile::<L, F, 2, 1>(x, strip, row, out),
                (3, 4..) => few_tile::<L, F, 3, 4>(x, strip, row, out),
                (3, 2..) => few_tile::<L, F, 3, 2>(x, strip, row, out),
                (3, _) => few_tile::<L, F, 3, 1>(x, strip, row, out),
                (_, 4..) => few_tile::<L, F, 4, 4>(x, strip, row, out),
                _ => few_tile::<L, F, 4, 1>(x, strip, row, out),
            }
        };
    }
}

/// `M` rows of `x` times `N` rows of the strip; returns `N`.
#[inline(always)]
unsafe fn few_tile<L: Decode, F: Codes, const M: usize, const N: usize>(
    x: &[f32],
    strip: Strip<'_>,
    first: usize,
    out: &mut Tile<'_>,
) -> usize {
    let wide = x.len() / M;
    let x: [&[[f32; LANES]]; M] = rows_of(x, wide, wide / LANES);
    let units = strip.weight.columns / UNIT;
    let (mut codes, mut factors) = ([&[][..]; N], [&[][..]; N]);
    for j in 0..N {
        let row: Row<'_, F> = strip.row(first + j);
        (codes[j], factors[j]) = (&row.units[..units], &row.factors[..units]);
    }
    let ahead = strip.weight.ahead(strip.first + first);
    let step = N * size_of::<F::Unit>();
    // SAFETY: promised by the caller.
    let mut sums = [[unsafe { L::splat(0.0) }; N]; M];
    // SAFETY: promised by the caller.
    let done = unsafe { F::ahead(x, codes, factors, ahead, &mut sums) };
    for unit in done..units {
        // SAFETY: promised by the caller.
        unsafe {
            for line in (0..step).step_by(LINE) {
                L::prefetch(ahead.wrapping_add(unit * step + line));
            }
            let mut held = [L::unit(&x[0][..L::VECTORS * units][L::VECTORS * unit..]); M];
            for (held, x) in held.iter_mut().zip(x) {
                *held = L::unit(&x[..L::VECTORS * units][L::VECTORS * unit..]);
                for x in held.as_mut() {
                    *x = F::arranged(*x);
                }
            }
            for j in 0..N {
                let w: L::Unit = F::decode::<L>(&codes[j][unit], factors[j][unit]);
                for (sums, x) in sums.iter_mut().zip(&held) {
                    for (x, w) in x.as_ref().iter().zip(w.as_ref()) {
                        sums[j] = x.fma(*w, sums[j]);
                    }
                }
            }
        }
    }
    if !strip.weight.columns.is_multiple_of(UNIT) {
        for j in 0..N {
            let row: Row<'_, F> = strip.row(first + j);
            let unit = F::lengthened(row.rest);
            // SAFETY: promised by the caller.
            let w: L::Unit = unsafe { F::decode::<L>(&unit, row.factors[units]) };
            for (sums, x) in sums.iter_mut().zip(x) {
                for (x, w) in x[L::VECTORS * units..].iter().zip(w.as_ref()) {
                    // SAFETY: promised by the caller.
                    sums[j] = unsafe { F::arranged(L::load(x)).fma(*w, sums[j]) };
                }
            }
        }
    }
    for (i, sums) in sums.into_iter().enumerate() {
        for (out, sum) in out.row(i)[first..].iter_mut().zip(sums) {
            // SAFETY: promised by the caller.
            *out = unsafe { F::natural(sum).fold() };
        }
    }
    N
}

/// The first `length` vectors of each of `M` rows, which are `wide` numbers apart.
#[inline(always)]
fn rows_of<const M: usize>(x: &[f32], wide: usize, length: usize) -> [&[[f32; LANES]]; M] {
    let mut rows = [&[][..]; M];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = &vectors(&x[i * wide..])[..length];
    }
    rows
}

/// The most rows of a strip that [`many`] decodes side by side.
const WIDE_MAX: usize = 4;

/// Numbers that [`many`] needs for decoded rows and for sums.
fn rooms(out: &Tile<'_>) -> [usize; 2] {
    let rows = out.columns().next_multiple_of(WIDE_MAX);
    [rows * BLOCK, rows * out.rows() * LANES]
}

for_each_form! {
    /// Many rows of `x` times a strip, in blocks of columns: the sums wait in memory between them,
    /// lane by lane.
    many(
        x: &[f32],
        strip: Strip<'_>,
        panel: &mut [f32],
        sums: &mut [f32],
        out: &mut Tile<'_>,
    ) = many_on
}

#[inline(always)]
unsafe fn many_on<L: Decode>(
    x: &[f32],
    strip: Strip<'_>,
    panel: &mut [f32],
    sums: &mut [f32],
    out: &mut Tile<'_>,
) {
    // SAFETY: promised by the caller.
    unsafe {
        match L::TILE[1] {
            4 => many_by::<L, 4>(x, strip, panel, sums, out),
            _ => many_by::<L, 2>(x, strip, panel, sums, out),
        }
    }
}

/// `N` rows of the strip side by side.
#[inline(always)]
unsafe fn many_by<L: Decode, const N: usize>(
    x: &[f32],
    strip: Strip<'_>,
    panel: &mut [f32],
    sums: &mut [f32],
    out: &mut Tile<'_>,
) {
    let (tokens, count) = (out.rows(), out.columns());
    let wide = x.len() / tokens;
    let sums = sums.as_chunks_mut::<LANES>().0;
    sums.fill([0.0; LANES]);
    for first in (0..wide).step_by(BLOCK) {
        let length = BLOCK.min(wide - first);
        for row in (0..count).step_by(N) {
            let panel = panel[row * length..][..N * length]
                .as_chunks_mut::<LANES>()
                .0;
            // SAFETY: promised by the caller.
            unsafe { unpack::<L, N>(strip, row..count.min(row + N), first, panel) };
        }
        for row in (0..count).step_by(N) {
            let panel = panel[row * length..][..N * length].as_chunks::<LANES>().0;
            let panel = panel.as_chunks::<N>().0;
            let sums = sums[row * tokens..][..N * tokens].as_chunks_mut::<N>().0;
            let mut token = 0;
            while token < tokens {
                let x = &x[token * wide + first..];
                let sums = &mut sums[token..];
                let tall = height(tokens - token, L::TILE[0]);
                // SAFETY: promised by the caller.
                token += unsafe {
                    match tall {
                        1 => tile::<L, 1, N>(x, wide, panel, sums),
                        2 => tile::<L, 2, N>(x, wide, panel, sums),
                        3 => tile::<L, 3, N>(x, wide, panel, sums),
                        4 => tile::<L, 4, N>(x, wide, panel, sums),
                        5 => tile::<L, 5, N>(x, wide, panel, sums),
                        _ => tile::<L, 6, N>(x, wide, panel, sums),
                    }
                };
            }
        }
    }
    for token in 0..tokens {
        for (row, out) in out.row(token).iter_mut().enumerate() {
            let sums = &sums[(row / N * tokens + token) * N + row % N];
            // SAFETY: promised by the caller.
            *out = unsafe { L::load(sums).fold() };
        }
    }
}

/// Decodes the columns of a block, which begins at `first`, of at most `N` rows, a vector of each in
/// turn.
#[inline(always)]
unsafe fn unpack<L: Decode, const N: usize>(
    strip: Strip<'_>,
    rows: Range<usize>,
    first: usize,
    panel: &mut [[f32; LANES]],
) {
    // SAFETY: promised by the caller.
    unsafe {
        match strip.weight.format {
            Format::F32 => unpack_of::<L, F32, N>(strip, rows, first, panel),
            Format::Bf16 => unpack_of::<L, Bf16, N>(strip, rows, first, panel),
            Format::F16 => unpack_of::<L, F16, N>(strip, rows, first, panel),
            Format::Fp8 { .. } => unpack_of::<L, Fp8, N>(strip, rows, first, panel),
            Format::Fp4 { .. } => unpack_of::<L, Fp4, N>(strip, rows, first, panel),
            Format::Int8 => unpack_of::<L, Int8, N>(strip, rows, first, panel),
            Format::Int4 { .. } => unpack_of::<L, Int4, N>(strip, rows, first, panel),
        }
    }
}

#[inline(always)]
unsafe fn unpack_of<L: Decode, F: Codes, const N: usize>(
    strip: Strip<'_>,
    rows: Range<usize>,
    first: usize,
    panel: &mut [[f32; LANES]],
) {
    let from = first / (L::VECTORS * LANES);
    for (j, row) in rows.enumerate() {
        let row: Row<'_, F> = strip.row(row);
        let vectors = panel.as_chunks_mut::<N>().0;
        let to = row.units.len().min(from + vectors.len() / L::VECTORS);
        // What will be wanted when this block was multiplied: the next of the row, or the first of the next strip.
        let ahead = if to < row.units.len() {
            (to - from) * size_of::<F::Unit>()
        } else {
            strip
                .weight
                .distance(STRIP)
                .wrapping_sub(from * size_of::<F::Unit>())
        };
        let (whole, rest) = vectors.split_at_mut((to - from) * L::VECTORS);
        let units = row.units[from..to].iter().zip(&row.factors[from..to]);
        for ((unit, factor), to) in units.zip(whole.chunks_exact_mut(L::VECTORS)) {
            // SAFETY: promised by the caller.
            unsafe {
                L::prefetch(std::ptr::from_ref(unit).cast::<u8>().wrapping_add(ahead));
                for (w, to) in F::decode::<L>(unit, *factor).as_ref().iter().zip(to) {
                    F::natural(*w).store(&mut to[j]);
                }
            }
        }
        let unit = F::lengthened(row.rest);
        let factor = row.factors.get(to).copied().unwrap_or_default();
        // SAFETY: promised by the caller.
        let unit: L::Unit = unsafe { F::decode::<L>(&unit, factor) };
        for (w, to) in unit.as_ref().iter().zip(rest) {
            // SAFETY: promised by the caller.
            unsafe { F::natural(*w).store(&mut to[j]) };
        }
    }
}

/// `M` rows of `x`, `wide` numbers apart, times a panel of `N` rows, added to their sums; returns
/// `M`.
#[inline(always)]
unsafe fn tile<L: Decode, const M: usize, const N: usize>(
    x: &[f32],
    wide: usize,
    panel: &[[[f32; LANES]; N]],
    sums: &mut [[[f32; LANES]; N]],
) -> usize {
    let length = panel.len();
    let x: [&[[f32; LANES]]; M] = rows_of(x, wide, length);
    let sums: &mut [[[f32; LANES]; N]; M] = sums.first_chunk_mut().expect("a sum of each");
    // SAFETY: promised by the caller.
    let (mut held, mut w) = unsafe { ([[L::splat(0.0); N]; M], [L::splat(0.0); N]) };
    for (held, sum) in held.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
        // SAFETY: promised by the caller.
        *held = unsafe { L::load(sum) };
    }
    for v in 0..length {
        // SAFETY: promised by the caller.
        unsafe {
            for (w, from) in w.iter_mut().zip(&panel[v]) {
                *w = L::load(from);
            }
            for i in 0..M {
                let x = L::load(&x[i][v]);
                for j in 0..N {
                    held[i][j] = x.fma(w[j], held[i][j]);
                }
            }
        }
    }
    for (held, sum) in held.as_flattened().iter().zip(sums.as_flattened_mut()) {
        // SAFETY: promised by the caller.
        unsafe { held.store(sum) };
    }
    M
}

#[cfg(test)]
mod tests {
    use deepseek_core::ScaleFormat;
    use deepseek_core::quant::decode_row;
    use deepseek_core::weights::Bytes;

    use super::super::form::Known;
    use super::super::lanes::Isa;
    use super::*;

    /// Numbers without a pattern, from a seed.
    struct Draw(u64);

    impl Draw {
        fn next(&mut self) -> u32 {
            let (multiplier, increment) = (6_364_136_223_846_793_005, 1_442_695_040_888_963_407);
            self.0 = self.0.wrapping_mul(multiplier).wrapping_add(increment);
            (self.0 >> 32) as u32
        }

        fn bytes(&mut self, count: usize) -> Vec<u8> {
            (0..count).map(|_| self.next() as u8).collect()
        }

        fn below(&mut self, bound: usize) -> usize {
            self.next() as usize % bound
        }

        /// One in `rare` is hostile, the others are between -1 and 1.
        fn float(&mut self, rare: usize) -> f32 {
            const HOSTILE: [f32; 10] = [
                f32::NAN,
                f32::INFINITY,
                f32::NEG_INFINITY,
                f32::MAX,
                f32::MIN,
                f32::MIN_POSITIVE,
                1e-41,
                -1e-45,
                -0.0,
                0.0,
            ];
            match self.below(rare) {
                0 => HOSTILE[self.below(HOSTILE.len())],
                _ => (self.next() >> 8) as f32 / (1 << 23) as f32 - 1.0,
            }
        }

        fn scales(&mut self, count: usize, scale: ScaleFormat, rare: usize) -> Vec<u8> {
            let one = |_| match scale {
                ScaleFormat::E8m0 if self.below(rare) == 0 => vec![[0, 1, 254, 255][self.below(4)]],
                ScaleFormat::E8m0 => vec![120 + self.below(14) as u8],
                ScaleFormat::F32 => self.float(rare).to_le_bytes().to_vec(),
            };
            (0..count).flat_map(one).collect()
        }

        /// A matrix with any codes, but for most of those that are no numbers, which would hide
        /// the others; one scale in `rare` is hostile.
        fn matrix(&mut self, format: Format, shape: [usize; 2], rare: usize) -> WeightView {
            let [rows, columns] = shape;
            let tile_row = match format {
                Format::Fp8 { tile, .. } => self.below(tile[0]),
                _ => 0,
            };
            let count = rows * columns;
            let scales = match format {
                Format::Fp8 { tile, scale } => {
                    let lines = (tile_row + rows).div_ceil(tile[0]);
                    self.scales(lines * columns.div_ceil(tile[1]), scale, rare)
                }
                Format::Fp4 { block, scale } => {
                    self.scales(rows * columns.div_ceil(block), scale, rare)
                }
                Format::Int8 => self.scales(rows, ScaleFormat::F32, rare),
                Format::Int4 { group } => {
                    self.scales(rows * columns.div_ceil(group), ScaleFormat::F32, rare)
                }
                Format::F32 | Format::Bf16 | Format::F16 => Vec::new(),
            };
            let data: Vec<u8> = match format {
                Format::F32 => (0..count)
                    .flat_map(|_| self.float(rare).to_le_bytes())
                    .collect(),
                Format::Bf16 => (0..count)
                    .flat_map(|_| self.float(rare).to_le_bytes()[2..].to_vec())
                    .collect(),
                Format::F16 => {
                    let mut data = self.bytes(2 * count);
                    for high in data.iter_mut().skip(1).step_by(2) {
                        // No exponent of all ones.
                        *high &= if self.below(rare) == 0 { 0xff } else { 0xbf };
                    }
                    data
                }
                Format::Fp8 { .. } => {
                    let mut data = self.bytes(count);
                    for code in data.iter_mut().filter(|code| **code & 0x7f == 0x7f) {
                        *code ^= u8::from(self.below(rare) != 0);
                    }
                    data
                }
                Format::Fp4 { .. } | Format::Int4 { .. } => self.bytes(rows * (columns / 2)),
                Format::Int8 => self.bytes(count),
            };
            WeightView {
                name: "w".to_owned(),
                format,
                shape,
                data: Bytes::from(data),
                scales: Bytes::from(scales),
                tile_row,
                stride: None,
            }
        }
    }

    /// The order of summation, in so many words: missing numbers of the last vector are zeros.
    fn plain(x: &[f32], weight: &WeightView) -> Vec<f32> {
        let [rows, columns] = weight.shape;
        let mut out = Vec::new();
        let mut row = vec![0.0; columns];
        for x in x.chunks_exact(columns) {
            for index in 0..rows {
                decode_row(weight, index, &mut row);
                let mut lanes = [0.0_f32; LANES];
                for place in 0..columns.next_multiple_of(LANES) {
                    let [x, w] = [x, &row].map(|of| of.get(place).copied().unwrap_or(0.0));
                    lanes[place % LANES] = x.mul_add(w, lanes[place % LANES]);
                }
                for half in [8, 4, 2, 1] {
                    for lane in 0..half {
                        lanes[lane] += lanes[lane + half];
                    }
                }
                out.push(lanes[0]);
            }
        }
        out
    }

    /// In rectangles of this shape, or of the best.
    fn fast(
        pool: &Pool,
        known: Known,
        x: &[f32],
        weight: &WeightView,
        shape: Option<[usize; 2]>,
    ) -> Vec<f32> {
        let [rows, columns] = weight.shape;
        let form = Form::of(pool.isa(), known, [weight]);
        let weight = &Matrix::from(weight.clone());
        let tokens = x.len() / columns;
        let wide = form.wide(columns);
        let all = 0..tokens;
        let (bands, strip) = match shape {
            None => bands(pool.count(), &[all], wide, weight),
            Some([tall, strip]) => {
                let band = |start| start..tokens.min(start + tall);
                (all.step_by(tall).map(band).collect(), strip)
            }
        };
        let mut out = vec![f32::NAN; tokens * rows];
        form.rows(pool, x, columns, |x| {
            let shape = (&*bands, strip);
            pool.tiles(&mut out, rows, shape, usize::MAX, |[band, row], mut out| {
                let x = &x[bands[band].start * wide..bands[band].end * wide];
                product(pool, form, x, weight, row, &mut out);
            });
        });
        out
    }

    fn formats() -> Vec<Format> {
        let mut formats = vec![Format::F32, Format::Bf16, Format::F16, Format::Int8];
        formats.extend([128, 32, 64, 16].map(|group| Format::Int4 { group }));
        for scale in [ScaleFormat::E8m0, ScaleFormat::F32] {
            let tiles = [[128, 128], [32, 32], [16, 96], [8, 48]];
            formats.extend(tiles.map(|tile| Format::Fp8 { tile, scale }));
            formats.extend([32, 64, 16].map(|block| Format::Fp4 { block, scale }));
        }
        formats
    }

    #[track_caller]
    fn check(draw: &mut Draw, weight: &WeightView, tokens: usize, rare: usize) {
        let count = tokens * weight.shape[1];
        let x: Vec<f32> = (0..count).map(|_| draw.float(rare)).collect();
        let want = plain(&x, weight);
        for isa in Isa::available() {
            for (threads, shape) in [(1, None), (2, None), (2, Some([7, 5])), (1, Some([3, 11]))] {
                let pool = Pool::new(threads).with_isa(isa);
                let got = fast(&pool, Known::Nothing, &x, weight, shape);
                for (place, (got, want)) in got.iter().zip(&want).enumerate() {
                    assert!(
                        got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(),
                        "{} {:?} by {tokens} on {isa:?}, {shape:?}: {got} for {want} at {place}",
                        weight.format,
                        weight.shape,
                    );
                }
            }
        }
    }

    #[test]
    fn a_product_is_the_plain_one_to_the_bit() {
        let mut draw = Draw(1);
        for format in formats() {
            for (shape, tokens) in [([13, 96], 1), ([9, 160], 3), ([5, 64], 4), ([7, 128], 2)] {
                let weight = draw.matrix(format, shape, usize::MAX);
                check(&mut draw, &weight, tokens, usize::MAX);
            }
            for (shape, tokens) in [([37, 1088], 9), ([3, 512], 5), ([6, 544], 13)] {
                let weight = draw.matrix(format, shape, usize::MAX);
                check(&mut draw, &weight, tokens, usize::MAX);
            }
        }
    }

    #[test]
    fn a_row_may_end_anywhere() {
        let mut draw = Draw(2);
        for format in formats() {
            for columns in [2, 14, 16, 18, 30, 34, 46, 48, 50, 510, 526, 530, 542] {
                for tokens in [1, 2, 6] {
                    let weight = draw.matrix(format, [9, columns], usize::MAX);
                    check(&mut draw, &weight, tokens, usize::MAX);
                }
            }
        }
    }

    #[test]
    fn what_is_no_ordinary_number_is_kept() {
        let mut draw = Draw(3);
        for format in formats() {
            for rare in [1, 2, 30, 500] {
                for (shape, tokens) in [([17, 224], 1), ([17, 222], 3), ([12, 600], 8)] {
                    let weight = draw.matrix(format, shape, rare);
                    check(&mut draw, &weight, tokens, rare);
                    check(&mut draw, &weight, tokens, usize::MAX);
                }
            }
        }
    }

    #[test]
    fn scales_near_the_largest_lose_nothing() {
        let mut draw = Draw(4);
        for scale in [ScaleFormat::E8m0, ScaleFormat::F32] {
            let tile = [1, 32];
            let mut weight = draw.matrix(Format::Fp8 { tile, scale }, [11, 96], usize::MAX);
            // Codes below 2^-6 and scales to which no factor can be added.
            let codes = draw.bytes(11 * 96).into_iter().map(|code| code & 0x87);
            weight.data = Bytes::from(codes.collect::<Vec<_>>());
            weight.scales = Bytes::from(match scale {
                ScaleFormat::E8m0 => vec![254; 33],
                ScaleFormat::F32 => f32::MAX.to_le_bytes().repeat(33),
            });
            let x: Vec<f32> = (0..96).map(|_| draw.float(usize::MAX) * 0.01).collect();
            assert!(plain(&x, &weight).iter().all(|sum| sum.is_finite()));
            check(&mut draw, &weight, 1, usize::MAX);
            check(&mut draw, &weight, 6, usize::MAX);
        }
    }

    #[test]
    fn every_code_is_what_it_is_alone() {
        let one = ScaleFormat::E8m0;
        let formats = [
            (Format::Bf16, 1 << 16, 2),
            (Format::F16, 1 << 16, 2),
            (
                Format::Fp8 {
                    tile: [1, 32],
                    scale: one,
                },
                1 << 8,
                1,
            ),
            (
                Format::Fp4 {
                    block: 32,
                    scale: one,
                },
                1 << 8,
                1,
            ),
            (Format::Int8, 1 << 8, 1),
            (Format::Int4 { group: 32 }, 1 << 8, 1),
        ];
        for (format, count, bytes) in formats {
            // Each code meets a one in a row of its own, and zeros elsewhere.
            let data: Vec<u8> = (0..count)
                .flat_map(|code: usize| {
                    let mut row = vec![0; 32 * bytes / 2];
                    row[..bytes].copy_from_slice(&code.to_le_bytes()[..bytes]);
                    row
                })
                .collect();
            let columns = match format {
                Format::Fp4 { .. } | Format::Int4 { .. } => 32,
                _ => 16,
            };
            let scales = match format {
                Format::Int8 | Format::Int4 { .. } => 0.5_f32.to_le_bytes().repeat(count),
                _ => vec![126; count],
            };
            let weight = WeightView {
                name: "w".to_owned(),
                format,
                shape: [count, columns],
                data: Bytes::from(data),
                scales: Bytes::from(scales),
                tile_row: 0,
                stride: None,
            };
            for place in [0, 1] {
                let mut x = vec![0.0; columns];
                x[place] = 1.0;
                let want = plain(&x, &weight);
                for isa in Isa::available() {
                    let got = fast(
                        &Pool::new(1).with_isa(isa),
                        Known::Nothing,
                        &x,
                        &weight,
                        None,
                    );
                    let same = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan();
                    assert!(got.iter().zip(&want).all(same), "{format} on {isa:?}");
                }
            }
        }
    }

    /// Formats that are multiplied in pairs, where the machine can, and the pools for it.
    fn paired() -> Option<(Vec<Format>, [Pool; 2])> {
        let isa = Isa::avx512_bf16()?;
        let scale = ScaleFormat::E8m0;
        let tiles = [[128, 128], [32, 32], [16, 96]];
        let tiles = tiles.map(|tile| Format::Fp8 { tile, scale });
        let blocks = [32, 64].map(|block| Format::Fp4 { block, scale });
        let pools = [1, 2].map(|threads| Pool::new(threads).with_isa(isa));
        Some(([&tiles[..], &blocks].concat(), pools))
    }

    /// Numbers that are exact in BF16.
    fn exact(draw: &mut Draw, count: usize, rare: usize) -> Vec<f32> {
        let one = |_| f32::from_bits(draw.float(rare).to_bits() & 0xffff_0000);
        (0..count).map(one).collect()
    }

    #[test]
    fn pairs_differ_by_roundings_alone() {
        let Some((formats, [pool, _])) = paired() else {
            return;
        };
        let mut draw = Draw(5);
        for format in formats {
            for (shape, tokens) in [([13, 96], 1), ([9, 1120], 3), ([37, 1088], 9), ([5, 50], 6)] {
                let weight = draw.matrix(format, shape, usize::MAX);
                let x = exact(&mut draw, tokens * shape[1], usize::MAX);
                let got = fast(&pool, Known::Bf16, &x, &weight, None);
                let want = plain(&x, &weight);
                let mut row = vec![0.0; shape[1]];
                for (place, (got, want)) in got.iter().zip(&want).enumerate() {
                    decode_row(&weight, place % shape[0], &mut row);
                    let x = &x[place / shape[0] * shape[1]..][..shape[1]];
                    let all: f32 = x.iter().zip(&row).map(|(x, w)| (x * w).abs()).sum();
                    let error = (got - want).abs();
                    assert!(error <= all * 1e-6, "{format} {shape:?}: {got} for {want}");
                }
            }
        }
    }

    #[test]
    fn pairs_are_the_same_bits_in_any_shape() {
        let Some((formats, pools)) = paired() else {
            return;
        };
        let mut draw = Draw(6);
        for format in formats {
            for rare in [usize::MAX, 30, 2] {
                for columns in [30, 96, 510, 1120] {
                    let weight = draw.matrix(format, [19, columns], rare);
                    let x = exact(&mut draw, 11 * columns, rare);
                    let alone = |x| fast(&pools[0], Known::Bf16, x, &weight, None);
                    let want: Vec<f32> = x.chunks_exact(columns).flat_map(alone).collect();
                    for pool in &pools {
                        for shape in [None, Some([7, 5]), Some([3, 11])] {
                            let got = fast(pool, Known::Bf16, &x, &weight, shape);
                            for (got, want) in got.iter().zip(&want) {
                                let same = got.to_bits() == want.to_bits();
                                let what = format!("{format} of {columns}, {shape:?}");
                                assert!(same || got.is_nan() && want.is_nan(), "{what}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_code_is_multiplied_in_pairs_as_what_it_is() {
        let Some((formats, [pool, _])) = paired() else {
            return;
        };
        for format in formats {
            // A matrix of one row a code, beside which all are zeros, by rows of one in one place.
            let codes = match format {
                Format::Fp4 { .. } => 16,
                _ => 256,
            };
            let mut draw = Draw(7);
            let mut weight = draw.matrix(format, [codes, 64], usize::MAX);
            for scale in [1, 2, 9, 10, 100, 127, 200, 246, 252, 253, 255] {
                weight.scales = Bytes::from(vec![scale; weight.scales.len()]);
                for place in [0, 1, 2, 31, 32, 63] {
                    let data = (0..codes).flat_map(|code| {
                        let mut row = vec![0_u8; 64];
                        row[place] = code as u8;
                        let halves = |pair: &[u8]| pair[0] | pair[1] << 4;
                        match format {
                            Format::Fp4 { .. } => row.chunks(2).map(halves).collect(),
                            _ => row,
                        }
                    });
                    weight.data = Bytes::from(data.collect::<Vec<_>>());
                    let mut x = vec![0.0; 64];
                    x[place] = 1.0;
                    let want = plain(&x, &weight);
                    let got = fast(&pool, Known::Bf16, &x, &weight, None);
                    for (code, (got, want)) in got.iter().zip(&want).enumerate() {
                        // Numbers that BF16 has no exponent for are zeros to the instruction.
                        let is_tiny = want.abs() < f32::MIN_POSITIVE && *got == 0.0;
                        let same = got == want || got.is_nan() && want.is_nan() || is_tiny;
                        assert!(same, "{format}, {code} by {scale}: {got} for {want}");
                    }
                }
            }
        }
    }
}
