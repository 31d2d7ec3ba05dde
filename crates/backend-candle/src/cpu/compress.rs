//! Gated pooling of runs of tokens.

use std::ops::Range;

use deepseek_core::kernels::Fold;

use super::par::Pool;

/// Pools each group of rows into one: `Σ kv ⊙ softmax(scores)`, the softmax over the group for each
/// channel on its own. `kv`, `scores: [rows, width]`; returns `[groups, width]`, or half the width
/// with [`Fold::Overlap`].
pub(crate) fn compress(
    pool: &Pool,
    (kv, scores): (&[f32], &[f32]),
    width: usize,
    groups: &[Range<usize>],
    fold: Fold,
) -> Vec<f32> {
    let width = match fold {
        Fold::Plain => width,
        Fold::Overlap { .. } => width / 2,
    };
    let mut out = vec![0.0; groups.len() * width];
    pool.for_rows(&mut out, width, 1, |first, out| {
        for (out, group) in out.chunks_exact_mut(width).zip(&groups[first..]) {
            let kv = members(kv, group, fold, width);
            let scores = members(scores, group, fold, width);
            pool.table.fold_rows(&kv, &scores, out);
        }
    });
    out
}

/// The rows of a group with the channels that take part.
fn members<'a>(x: &'a [f32], group: &Range<usize>, fold: Fold, width: usize) -> Vec<&'a [f32]> {
    match fold {
        Fold::Plain => group
            .clone()
            .map(|row| &x[row * width..][..width])
            .collect(),
        Fold::Overlap { ratio } => {
            let current = group.end - ratio;
            let half = |row: usize| usize::from(row >= current);
            group
                .clone()
                .map(|row| &x[(2 * row + half(row)) * width..][..width])
                .collect()
        }
    }
}
