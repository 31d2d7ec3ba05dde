//! Gated pooling of runs of tokens.

use std::ops::Range;

use deepseek_core::kernels::Fold;

use super::par::Pool;

/// Pools each group of rows into one: `Σ kv ⊙ softmax(scores)`, the softmax over the group for each
/// channel on its own. `kv`, `scores: [rows, width]`; `out: [groups, width]`, or half the width with
/// [`Fold::Overlap`].
pub(crate) fn compress(
    pool: &Pool,
    kv: &[f32],
    scores: &[f32],
    groups: &[Range<usize>],
    fold: Fold,
    out: &mut [f32],
) {
    if out.is_empty() {
        return;
    }
    let width = out.len() / groups.len();
    pool.for_rows(out, width, 1, |first, out| {
        for (out, group) in out.chunks_exact_mut(width).zip(&groups[first..]) {
            let (kv, scores) = (
                members(kv, group, fold, width),
                members(scores, group, fold, width),
            );
            pool.table.fold_rows(&kv, &scores, out);
        }
    });
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
