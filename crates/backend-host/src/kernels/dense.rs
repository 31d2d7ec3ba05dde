//! Products with weights and the plain row operations.

use deepseek_core::{Rotation, Rounding};

use super::form::{Form, Known};
use super::formats::round_row;
use super::lanes::{LANES, dots, weigh};
use super::matrix::Matrix;
use super::pool::{Pool, Tile};
use super::product::{bands, product};

/// Rows of a product of two activations that a thread makes at once, or numbers where there is but one row.
const STRIP: usize = 8;

/// How a product is rounded: number by number where it is made, or then, row by row.
fn split(to: Option<Rounding>) -> [Option<Rounding>; 2] {
    match to {
        Some(Rounding::Bf16) => [to, None],
        _ => [None, to],
    }
}

/// Rounds a rectangle, number by number.
pub(super) fn round_tile(pool: &Pool, tile: &mut Tile<'_>, to: Option<Rounding>) {
    if let Some(to) = to {
        (0..tile.rows()).for_each(|row| round_row(pool.isa(), tile.row(row), to));
    }
}

/// `x: [m, in] · weightᵀ` to `out: [m, out]`, of rows of which something is known, rounded as told.
pub(crate) fn linear(
    pool: &Pool,
    x: &[f32],
    weight: &Matrix,
    known: Known,
    to: Option<Rounding>,
    out: &mut [f32],
) {
    let [numbers, whole] = split(to);
    let [rows, inputs] = weight.shape;
    let m = x.len() / inputs;
    let form = Form::of(pool.isa(), known, [&**weight]);
    let wide = form.wide(inputs);
    let cost = m * rows * inputs;
    let (bands, strip) = bands(pool.count(), std::slice::from_ref(&(0..m)), wide, weight);
    form.rows(pool, x, inputs, |x| {
        pool.tiles(out, rows, (&bands, strip), cost, |[band, row], mut out| {
            let x = &x[bands[band].start * wide..bands[band].end * wide];
            product(pool, form, x, weight, row, &mut out);
            round_tile(pool, &mut out, numbers);
        });
    });
    round_in_place(pool, out, rows, whole);
}

/// Each of so many groups of numbers of rows of `x: [m, groups * in]` by the matrix `[out, in]` that `weight`
/// has for it, to `out: [m, groups * out]`, each rounded as told.
pub(crate) fn linear_grouped<'a>(
    pool: &Pool,
    x: &[f32],
    groups: usize,
    weight: impl Fn(usize) -> &'a Matrix + Sync,
    known: Known,
    to: Option<Rounding>,
    out: &mut [f32],
) {
    let [numbers, whole] = split(to);
    let [columns, inputs] = weight(0).shape;
    let m = x.len() / (groups * inputs);
    let views = (0..groups).map(|group| &**weight(group));
    let form = Form::of(pool.isa(), known.of_parts(), views);
    let wide = form.wide(inputs);
    let (bands, strip) = bands(pool.count(), std::slice::from_ref(&(0..m)), wide, weight(0));
    // No strip belongs to two groups.
    let strip = (1..=strip)
        .rev()
        .find(|strip| columns.is_multiple_of(*strip));
    let strip = strip.unwrap_or(1);
    pool.scratch([groups * m * wide], |[laid]| {
        // Rows of a group follow each other.
        pool.pieces(laid, wide, x.len(), |row, out| {
            let first = (row % m * groups + row / m) * inputs;
            form.lay(&x[first..first + inputs], out);
        });
        let (cost, shape) = (x.len() * columns, (&*bands, strip));
        pool.tiles(
            out,
            groups * columns,
            shape,
            cost,
            |[band, column], mut out| {
                let (group, rows) = (column / columns, &bands[band]);
                let x = &laid[(group * m + rows.start) * wide..(group * m + rows.end) * wide];
                product(pool, form, x, weight(group), column % columns, &mut out);
                round_tile(pool, &mut out, numbers);
            },
        );
    });
    round_in_place(pool, out, columns, whole);
}

/// `a: [m, width] · bᵀ` of `b: [n, width]` to `out: [m, n]`.
pub(crate) fn matmul_t(pool: &Pool, a: &[f32], b: &[f32], width: usize, out: &mut [f32]) {
    let (m, n) = (a.len() / width, b.len() / width);
    let (form, cost) = (Form::Floats(pool.isa()), m * n * width);
    let wide = form.wide(width);
    form.rows(pool, a, width, |a| {
        form.rows(pool, b, width, |b| {
            if m == 1 {
                pool.pieces(out, STRIP, cost, |index, out| {
                    let b = &b[index * STRIP * wide..][..out.len() * wide];
                    dots(pool.isa(), b, a, wide, out);
                });
                return;
            }
            pool.pieces(out, STRIP * n.max(1), cost, |index, out| {
                let a = &a[index * STRIP * wide..][..out.len() / n * wide];
                dots(pool.isa(), b, a, wide, out);
            });
        });
    });
}

/// `a: [m, n] · b: [n, columns]` to `out: [m, columns]`.
pub(crate) fn matmul(pool: &Pool, a: &[f32], b: &[f32], n: usize, out: &mut [f32]) {
    let m = a.len() / n;
    let columns = out.len() / m;
    let form = Form::Floats(pool.isa());
    let wide = form.wide(columns);
    form.rows(pool, b, columns, |b| {
        pool.pieces(out, columns, m * n * columns, |row, out| {
            pool.scratch([wide], |[sums]| {
                sums.fill(0.0);
                weigh(pool.isa(), &a[row * n..][..n], b, n, sums);
                out.copy_from_slice(&sums[..columns]);
            });
        });
    });
}

/// How rows are normalised.
#[derive(Clone, Copy)]
pub(crate) struct Norm<'a> {
    /// `[width]`; none means ones.
    pub(crate) weight: Option<&'a [f32]>,
    /// Added to the mean square.
    pub(crate) eps: f32,
    /// How the result is rounded.
    pub(crate) rounding: Option<Rounding>,
}

/// Normalises rows of `width` to `out`.
pub(crate) fn rms_norm(pool: &Pool, x: &[f32], width: usize, norm: Norm<'_>, out: &mut [f32]) {
    let cost = x.len() * if norm.rounding.is_some() { 8 } else { 1 };
    pool.pieces(out, width, cost, |index, out| {
        let row = &x[index * width..][..width];
        let mean = sum_of_squares(row) / width as f32;
        let factor = 1.0 / (mean + norm.eps).sqrt();
        let pairs = out.iter_mut().zip(row);
        match norm.weight {
            Some(weight) => pairs
                .zip(weight)
                .for_each(|((out, x), weight)| *out = x * factor * weight),
            None => pairs.for_each(|(out, x)| *out = x * factor),
        }
        if let Some(rounding) = norm.rounding {
            round_row(pool.isa(), out, rounding);
        }
    });
}

/// 0 in `out` for each row of `x` whose numbers are all finite, NaN for each other. All numbers are
/// read, which takes less time than to stop at the first.
pub(crate) fn finite(x: &[f32], out: &mut [f32]) {
    let width = (x.len() / out.len().max(1)).max(1);
    for (out, row) in out.iter_mut().zip(x.chunks_exact(width)) {
        let magnitudes = row.iter().map(|x| x.to_bits() & 0x7fff_ffff);
        *out = if magnitudes.fold(0, u32::max) < f32::INFINITY.to_bits() {
            0.0
        } else {
            f32::NAN
        };
    }
}

fn sum_of_squares(row: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    for vector in whole {
        lanes
            .iter_mut()
            .zip(vector)
            .for_each(|(lane, x)| *lane += x * x);
    }
    lanes
        .iter_mut()
        .zip(rest)
        .for_each(|(lane, x)| *lane += x * x);
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}

/// Rotates the last channels of `x: [rows, .., width]` to `out`, see
/// [`deepseek_core::Backend::rope`].
pub(crate) fn rope(
    pool: &Pool,
    x: &[f32],
    (rows, width): (usize, usize),
    (angles, pairs): (&[f32], usize),
    rotation: Rotation,
    out: &mut [f32],
) {
    let piece = x.len() / rows.max(1);
    if piece == 0 {
        return;
    }
    let sign = match rotation {
        Rotation::Forward => 1.0,
        Rotation::Inverse => -1.0,
    };
    pool.pieces(out, piece, x.len(), |row, out| {
        let (cos, sin) = angles[row * 2 * pairs..][..2 * pairs].split_at(pairs);
        let heads = x[row * piece..][..piece].chunks_exact(width);
        for (out, head) in out.chunks_exact_mut(width).zip(heads) {
            let (still, moving) = head.split_at(width - 2 * pairs);
            let (kept, turned) = out.split_at_mut(still.len());
            kept.copy_from_slice(still);
            let pairs = turned.as_chunks_mut::<2>().0.iter_mut();
            let pairs = pairs.zip(moving.as_chunks::<2>().0);
            for ((out, [a, b]), (cos, sin)) in pairs.zip(cos.iter().zip(sin)) {
                let sin = sin * sign;
                *out = [a * cos - b * sin, a * sin + b * cos];
            }
        }
    });
}

/// Rounds rows of `width` where they lie, where a rounding is given.
pub(crate) fn round_in_place(pool: &Pool, x: &mut [f32], width: usize, to: Option<Rounding>) {
    if let Some(to) = to {
        let cost = x.len() * 8;
        pool.pieces(x, width, cost, |_, row| round_row(pool.isa(), row, to));
    }
}

/// Rounds rows of `width` to `out`.
pub(crate) fn round_rows(pool: &Pool, x: &[f32], width: usize, to: Rounding, out: &mut [f32]) {
    pool.pieces(out, width, x.len() * 8, |index, out| {
        out.copy_from_slice(&x[index * width..][..width]);
        round_row(pool.isa(), out, to);
    });
}

#[cfg(test)]
mod tests {
    use deepseek_core::quant::decode_row;
    use deepseek_core::weights::{Bytes, WeightView};
    use deepseek_core::{Format, ScaleFormat};

    use super::super::formats::widen;
    use super::super::lanes::Isa;
    use super::*;

    fn view(format: Format, shape: [usize; 2], tile_row: usize) -> WeightView {
        let bytes = |count: usize, seed: usize| -> Vec<u8> {
            (0..count)
                .map(|at| (at * 131 + at / 7 + seed) as u8)
                .collect()
        };
        let scales = |count: usize, scale: ScaleFormat| -> Vec<u8> {
            match scale {
                ScaleFormat::E8m0 => bytes(count, 3).iter().map(|b| 110 + b % 20).collect(),
                ScaleFormat::F32 => (0..count)
                    .flat_map(|at| (0.01 * (at + 1) as f32).to_le_bytes())
                    .collect(),
            }
        };
        let [rows, columns] = shape;
        let floats = || (0..rows * columns).map(|at| (at as f32 * 0.37).sin());
        let (data, scales): (Vec<u8>, Vec<u8>) = match format {
            Format::F32 => (floats().flat_map(f32::to_le_bytes).collect(), Vec::new()),
            Format::Bf16 => (
                floats()
                    .flat_map(|x| x.to_le_bytes()[2..].to_vec())
                    .collect(),
                vec![],
            ),
            // Without the uppermost bit of the exponent all are finite.
            Format::F16 => {
                let halves = bytes(rows * columns, 7)
                    .into_iter()
                    .zip(bytes(rows * columns, 9));
                (
                    halves.flat_map(|(low, high)| [low, high & 0xbf]).collect(),
                    vec![],
                )
            }
            Format::Fp8 { tile, scale } => {
                let count = (rows + tile_row).div_ceil(tile[0]) * columns.div_ceil(tile[1]);
                (bytes(rows * columns, 5), scales(count, scale))
            }
            Format::Fp4 { block, scale } => (
                bytes(rows * columns / 2, 1),
                scales(rows * columns.div_ceil(block), scale),
            ),
            Format::Int8 => (bytes(rows * columns, 2), scales(rows, ScaleFormat::F32)),
            Format::Int4 { group } => (
                bytes(rows * columns / 2, 4),
                scales(rows * columns.div_ceil(group), ScaleFormat::F32),
            ),
        };
        let (data, scales) = (Bytes::from(data), Bytes::from(scales));
        WeightView {
            name: "w".to_owned(),
            format,
            shape,
            data,
            scales,
            tile_row,
            stride: None,
        }
    }

    fn views() -> Vec<Matrix> {
        let fp8 = |tile, scale| Format::Fp8 { tile, scale };
        let fp4 = |scale| Format::Fp4 { block: 32, scale };
        let views = vec![
            view(Format::F32, [9, 33], 0),
            view(Format::Bf16, [17, 64], 0),
            view(fp8([128, 128], ScaleFormat::E8m0), [130, 300], 0),
            view(fp8([32, 32], ScaleFormat::E8m0), [40, 96], 5),
            view(fp8([128, 128], ScaleFormat::F32), [7, 256], 120),
            view(Format::F16, [257, 255], 0),
            view(fp4(ScaleFormat::E8m0), [31, 128], 0),
            view(fp4(ScaleFormat::F32), [31, 96], 0),
            view(Format::Int8, [33, 97], 0),
            view(Format::Int4 { group: 128 }, [31, 256], 0),
            view(Format::Int4 { group: 8 }, [9, 72], 0),
        ];
        views.into_iter().map(Matrix::from).collect()
    }

    /// Equal bits; a NaN equals any other.
    fn same(a: &[f32], b: &[f32]) -> bool {
        let pair = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        a.len() == b.len() && a.iter().zip(b).all(pair)
    }

    #[test]
    fn widening_is_decoding() {
        for weight in views() {
            let (mut got, mut want) = (vec![0.0; weight.shape[1]], vec![0.0; weight.shape[1]]);
            for row in 0..weight.shape[0] {
                decode_row(&weight, row, &mut want);
                for isa in Isa::available() {
                    widen(isa, &weight, row, &mut got);
                    assert!(same(&got, &want), "{} row {row} {isa:?}", weight.format);
                }
            }
        }
    }

    #[test]
    fn a_row_of_a_product_is_the_same_bits_in_any_batch_and_on_any_instruction_set() {
        for weight in views() {
            let [outputs, inputs] = weight.shape;
            let x: Vec<f32> = (0..9 * inputs).map(|at| (at as f32 * 0.11).cos()).collect();
            let mut want = vec![0.0; 9 * outputs];
            linear(&Pool::new(1), &x, &weight, Known::Nothing, None, &mut want);
            for isa in Isa::available() {
                for threads in [1, 2, 3] {
                    let pool = Pool::new(threads).with_isa(isa);
                    for rows in [1, 2, 4, 5, 9] {
                        let mut got = vec![0.0; rows * outputs];
                        linear(
                            &pool,
                            &x[(9 - rows) * inputs..],
                            &weight,
                            Known::Nothing,
                            None,
                            &mut got,
                        );
                        let want = &want[(9 - rows) * outputs..];
                        let what = format!("{} {isa:?} {threads} threads", weight.format);
                        assert!(same(&got, want), "{what}, {rows} rows");
                    }
                }
            }
        }
    }

    #[test]
    fn a_product_is_what_the_plain_sum_gives() {
        for weight in views() {
            let [outputs, inputs] = weight.shape;
            let x: Vec<f32> = (0..2 * inputs).map(|at| (at as f32 * 0.23).sin()).collect();
            let mut got = vec![0.0; 2 * outputs];
            linear(&Pool::new(2), &x, &weight, Known::Nothing, None, &mut got);
            let mut row = vec![0.0; inputs];
            for output in 0..outputs {
                decode_row(&weight, output, &mut row);
                for (token, x) in x.chunks_exact(inputs).enumerate() {
                    let terms = || {
                        row.iter()
                            .zip(x)
                            .map(|(w, x)| f64::from(*w) * f64::from(*x))
                    };
                    let (want, size): (f64, f64) =
                        (terms().sum(), terms().map(f64::abs).sum::<f64>() + 1e-30);
                    let got = f64::from(got[token * outputs + output]);
                    let near = (got - want).abs() <= 1e-6 * size || want.is_nan() && got.is_nan();
                    assert!(
                        near,
                        "{} output {output}: {got}, want {want}",
                        weight.format
                    );
                }
            }
        }
    }
}
