//! Sums and maxima over one dimension.

use super::pool::Pool;

/// Numbers that a thread takes at once.
const PIECE: usize = 1 << 12;
/// Numbers that a sum over neighbours adds up side by side.
const WIDE: usize = 32;

/// What is reduced: `length` places of one dimension, `inner` numbers apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dimension {
    /// Its length.
    pub(crate) length: usize,
    /// The product of the dimensions within.
    pub(crate) inner: usize,
}

impl Dimension {
    /// Dimension `dim` of a shape.
    pub(crate) fn of(shape: &[usize], dim: usize) -> Self {
        Self {
            length: shape[dim],
            inner: shape[dim + 1..].iter().product(),
        }
    }
}

/// The sum over one dimension of `x: [outer, length, inner]` to `out: [outer, inner]`.
///
/// Over neighbours, 32 sums run side by side over whole runs of 32 numbers and are folded in a fixed
/// order, then what is left is added one by one. Over rows, each column is added up in their order.
pub(crate) fn sum(pool: &Pool, x: &[f32], dim: Dimension, out: &mut [f32]) {
    if dim.inner == 1 {
        return rows(pool, x, dim.length, out, sum_of_neighbours);
    }
    blocks(pool, x, dim, out, |out, rows| {
        out.fill(0.0);
        for row in rows {
            out.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
    });
}

/// The largest over one dimension of `x: [outer, length, inner]` to `out: [outer, inner]`. A first
/// number that is none stays; later ones are passed over.
///
/// # Panics
/// If the dimension is empty.
pub(crate) fn max(pool: &Pool, x: &[f32], dim: Dimension, out: &mut [f32]) {
    assert!(dim.length > 0, "the largest of no numbers");
    if dim.inner == 1 {
        return rows(pool, x, dim.length, out, |row| {
            row.iter().copied().fold(row[0], larger)
        });
    }
    blocks(pool, x, dim, out, |out, rows| {
        out.copy_from_slice(rows.next().expect("the dimension is not empty"));
        for row in rows {
            out.iter_mut()
                .zip(row)
                .for_each(|(best, x)| *best = larger(*best, *x));
        }
    });
}

fn larger(best: f32, x: f32) -> f32 {
    if best < x { x } else { best }
}

fn sum_of_neighbours(row: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; WIDE];
    let (whole, rest) = row.as_chunks::<WIDE>();
    for vector in whole {
        lanes
            .iter_mut()
            .zip(vector)
            .for_each(|(lane, x)| *lane += x);
    }
    let eight: [f32; 8] = std::array::from_fn(|lane| {
        (lanes[lane] + lanes[8 + lane]) + (lanes[16 + lane] + lanes[24 + lane])
    });
    let four: [f32; 4] = std::array::from_fn(|lane| eight[lane] + eight[4 + lane]);
    let sum = (four[0] + four[1]) + (four[2] + four[3]);
    rest.iter().fold(sum, |sum, x| sum + x)
}

/// One number of each row of `length`.
fn rows(
    pool: &Pool,
    x: &[f32],
    length: usize,
    out: &mut [f32],
    reduce: impl Fn(&[f32]) -> f32 + Sync,
) {
    let piece = PIECE.div_ceil(length.max(1));
    pool.pieces(out, piece, x.len(), |index, out| {
        for (row, out) in out.iter_mut().enumerate() {
            *out = reduce(&x[(index * piece + row) * length..][..length]);
        }
    });
}

/// Has `reduce` make the columns of each block, or some of them where there is but one block: it is
/// given those columns of each row, in order.
fn blocks(
    pool: &Pool,
    x: &[f32],
    dim: Dimension,
    out: &mut [f32],
    reduce: impl Fn(&mut [f32], &mut dyn Iterator<Item = &[f32]>) + Sync,
) {
    let Dimension { length, inner } = dim;
    if out.is_empty() {
        return;
    }
    let piece = if out.len() == inner { PIECE } else { inner };
    pool.pieces(out, piece, x.len(), |index, out| {
        let (block, column) = (index * piece / inner, index * piece % inner);
        let wide = out.len();
        let row = |at| &x[(block * length + at) * inner + column..][..wide];
        reduce(out, &mut (0..length).map(row));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize) -> Vec<f32> {
        (0..count).map(|at| (at as f32 * 0.37).sin()).collect()
    }

    #[test]
    fn every_dimension_is_reduced_with_any_number_of_threads() {
        for shape in [
            [3, 5, 7],
            [1, 40, 3000],
            [90, 33, 1],
            [2000, 64, 2],
            [4, 1, 9],
        ] {
            let x = numbers(shape.iter().product());
            for dim in 0..3 {
                let it = Dimension::of(&shape, dim);
                let count = x.len() / it.length;
                let of = |place: usize| {
                    let (outer, inner) = (place / it.inner, place % it.inner);
                    let x = &x;
                    (0..it.length).map(move |at| x[(outer * it.length + at) * it.inner + inner])
                };
                let mut first = Vec::new();
                for threads in [1, 3] {
                    let pool = Pool::new(threads);
                    let (mut sums, mut best) = (vec![f32::NAN; count], vec![f32::NAN; count]);
                    sum(&pool, &x, it, &mut sums);
                    max(&pool, &x, it, &mut best);
                    for place in 0..count {
                        let want: f64 = of(place).map(f64::from).sum();
                        assert!(
                            (f64::from(sums[place]) - want).abs() < 1e-5,
                            "{shape:?} {dim}"
                        );
                        assert_eq!(best[place], of(place).fold(f32::MIN, f32::max));
                    }
                    if first.is_empty() {
                        first = sums;
                    } else {
                        assert_eq!(first, sums, "{shape:?} {dim}: {threads} threads");
                    }
                }
            }
        }
    }

    #[test]
    fn neighbours_are_added_up_in_one_order() {
        let row = numbers(100);
        let mut lanes = [0.0; 32];
        for (at, x) in row[..96].iter().enumerate() {
            lanes[at % 32] += x;
        }
        // Folded by quarters within pairs of eights, then by halves, then neighbour to neighbour.
        let l =
            |lane: usize| (lanes[lane] + lanes[lane + 8]) + (lanes[lane + 16] + lanes[lane + 24]);
        let f = |lane: usize| l(lane) + l(lane + 4);
        let want = ((f(0) + f(1)) + (f(2) + f(3))) + row[96] + row[97] + row[98] + row[99];
        let mut got = [0.0];
        sum(&Pool::new(1), &row, Dimension::of(&[1, 100], 1), &mut got);
        assert_eq!(got[0].to_bits(), want.to_bits());
    }

    #[test]
    fn the_sum_of_nothing_is_zero() {
        let mut out = [f32::NAN; 4];
        sum(&Pool::new(1), &[], Dimension::of(&[2, 0, 2], 1), &mut out);
        assert_eq!(out, [0.0; 4]);
    }
}
