//! Gated pooling of runs of tokens (`docs/models/deepseek-v4.md` §3.5).

use super::project::round;
use crate::backend::{Backend, DeviceTensor, Unary};
use crate::error::Result;
use crate::format::Rounding;
use crate::operands::{Groups, PoolState, Pooling};

/// See [`Kernels::compress`](crate::Kernels::compress). All groups go together.
pub fn compress<B: Backend>(
    be: &B,
    kv: &B::Tensor,
    scores: &B::Tensor,
    state: &mut PoolState<B>,
    groups: &Groups<B>,
    pooling: Pooling,
    rounding: Option<Rounding>,
) -> Result<Option<B::Tensor>> {
    let pooled = if groups.count == 0 {
        None
    } else {
        let joined = |rows: &B::Rows, step: &B::Tensor| {
            if groups.old_count == 0 {
                return Ok(step.clone());
            }
            be.concat(&[&be.read_rows(rows, &groups.old)?, step], 0)
        };
        let kv = joined(&state.kv, kv)?;
        let scores = joined(&state.scores, scores)?;
        let pooled = pool(be, &kv, &scores, groups, pooling)?;
        Some(round(be, pooled, rounding)?)
    };
    be.write_rows(&mut state.kv, &groups.kept, kv)?;
    be.write_rows(&mut state.scores, &groups.kept, scores)?;
    Ok(pooled)
}

/// `Σ kv ⊙ softmax(scores)` over the members of each group, `[groups, width]`.
fn pool<B: Backend>(
    be: &B,
    kv: &B::Tensor,
    scores: &B::Tensor,
    groups: &Groups<B>,
    pooling: Pooling,
) -> Result<B::Tensor> {
    let count = groups.count;
    let k = match pooling {
        Pooling::Plain => groups.members.most(),
        Pooling::Overlap { ratio } => 2 * ratio,
    };
    let ids = groups.members.ids_ending(be, k)?;
    let members = |x: &B::Tensor| {
        let rows = be.reshape(&be.gather(x, &ids)?, &[count, k, x.width()])?;
        let Pooling::Overlap { ratio } = pooling else {
            return Ok(rows);
        };
        let width = x.width() / 2;
        let previous = be.narrow(&be.narrow(&rows, 1, 0, ratio)?, 2, 0, width)?;
        let current = be.narrow(&be.narrow(&rows, 1, ratio, ratio)?, 2, width, width)?;
        be.concat(&[&previous, &current], 1)
    };
    let kv = members(kv)?;
    let scores = be.add(&members(scores)?, &be.mask(&ids, &[count, k, 1])?)?;
    let peak = be.map(&be.max(&scores, 1)?, Unary::scale(-1.0))?;
    let shares = be.map(&be.add(&scores, &peak)?, Unary::Exp)?;
    let total = be.map(&be.sum(&shares, 1)?, Unary::Recip)?;
    let pooled = be.mul(&be.sum(&be.mul(&shares, &kv)?, 1)?, &total)?;
    be.reshape(&pooled, &[count, pooled.width()])
}
