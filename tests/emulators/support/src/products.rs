//! Products of matrices, each sum in one order.

/// Columns that are summed side by side: their sums stay in the registers of any processor.
const COLUMNS: usize = 16;

/// `out[m, n] = a[m, k] b[k, n]`, each sum in the order of `k`, without fused roundings. `strides` tell how far apart
/// neighbours of both dimensions of `b` stand: `[n, 1]`, or `[1, k]` where it is another's transpose.
///
/// # Panics
/// If a side has fewer numbers.
pub fn matrix_product(
    a: &[f32],
    (b, strides): (&[f32], [usize; 2]),
    out: &mut [f32],
    [k, n]: [usize; 2],
) {
    let mut panel = vec![[0.0_f32; COLUMNS]; k];
    for first in (0..n).step_by(COLUMNS) {
        let count = COLUMNS.min(n - first);
        if strides[1] == 1 {
            for (step, to) in panel.iter_mut().enumerate() {
                let start = step * strides[0] + first;
                to[..count].copy_from_slice(&b[start..start + count]);
            }
        } else {
            for column in 0..count {
                let from = b[(first + column) * strides[1]..].iter();
                let to = panel.iter_mut().map(|row| &mut row[column]);
                to.zip(from.step_by(strides[0]))
                    .for_each(|(to, from)| *to = *from);
            }
        }
        for (row, out) in out.chunks_mut(n).enumerate() {
            let mut sums = [0.0_f32; COLUMNS];
            for (x, b) in a[row * k..][..k].iter().zip(&panel) {
                for (sum, y) in sums.iter_mut().zip(b) {
                    *sum += x * y;
                }
            }
            out[first..first + count].copy_from_slice(&sums[..count]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_sums_in_their_order_whichever_way_the_right_side_lies() {
        for [m, k, n] in [
            [1, 1, 1],
            [2, 1, 5],
            [3, 5, 17],
            [2, 0, 3],
            [4, 33, 16],
            [2, 7, 40],
        ] {
            let number = |seed: usize| ((seed * 2_654_435_761 % 1009) as f32 - 504.0) / 97.0;
            let a: Vec<f32> = (0..m * k).map(number).collect();
            let b: Vec<f32> = (0..k * n).map(|at| number(at + 7)).collect();
            let turned: Vec<f32> = (0..n * k).map(|at| b[at % k * n + at / k]).collect();
            let want = (0..m * n).map(|at| {
                let terms = (0..k).map(|step| a[at / n * k + step] * b[step * n + at % n]);
                terms.fold(0.0, |sum, term| sum + term)
            });
            let want: Vec<f32> = want.collect();
            for b in [(&b[..], [n, 1]), (&turned[..], [1, k.max(1)])] {
                let mut out = vec![f32::NAN; m * n];
                matrix_product(&a, b, &mut out, [k, n]);
                assert_eq!(out, want, "{m} {k} {n}");
            }
        }
    }
}
