//! Gated pooling of a run of tokens (`docs/models/deepseek-v4.md` §3.5).

use std::ops::Range;

use crate::backend::{Backend, DeviceTensor, Unary};
use crate::error::Result;
use crate::operands::Fold;

/// See [`Kernels::compress`](crate::Kernels::compress).
pub fn compress<B: Backend>(
    be: &B,
    kv: &B::Tensor,
    scores: &B::Tensor,
    groups: &[Range<usize>],
    fold: Fold,
) -> Result<B::Tensor> {
    let pooled = groups
        .iter()
        .map(|group| {
            let kv = members(be, kv, group, fold)?;
            let scores = members(be, scores, group, fold)?;
            let peak = be.map(&be.max(&scores, 0)?, Unary::scale(-1.0))?;
            let shares = be.map(&be.add(&scores, &peak)?, Unary::Exp)?;
            let total = be.map(&be.sum(&shares, 0)?, Unary::Recip)?;
            be.mul(&be.sum(&be.mul(&shares, &kv)?, 0)?, &total)
        })
        .collect::<Result<Vec<_>>>()?;
    be.concat(&pooled.iter().collect::<Vec<_>>(), 0)
}

/// The rows of a group with the channels that take part.
fn members<B: Backend>(
    be: &B,
    x: &B::Tensor,
    group: &Range<usize>,
    fold: Fold,
) -> Result<B::Tensor> {
    let rows = be.narrow(x, 0, group.start, group.len())?;
    let Fold::Overlap { ratio } = fold else {
        return Ok(rows);
    };
    let (width, before) = (x.width() / 2, group.len() - ratio);
    let current = be.narrow(&be.narrow(&rows, 0, before, ratio)?, 1, width, width)?;
    if before == 0 {
        return Ok(current);
    }
    let previous = be.narrow(&be.narrow(&rows, 0, 0, before)?, 1, 0, width)?;
    be.concat(&[&previous, &current], 0)
}
