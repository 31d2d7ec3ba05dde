//! The router (`docs/models/deepseek-v4.md` §3.7).

use crate::backend::{Backend, DeviceTensor, Unary};
use crate::error::Result;
use crate::operands::{Gate, Inputs, Routing, Select};

/// See [`Kernels::route`](crate::Kernels::route).
pub fn route<B: Backend>(
    be: &B,
    x: &B::Tensor,
    gate: &Gate<B>,
    rows: &Inputs<B>,
) -> Result<Routing<B>> {
    let (scores, experts) = choose_experts(be, x, gate, rows)?;
    let chosen = be.take(&scores, &experts, gate.top_k)?;
    let shares = be.map(&be.sum(&chosen, 1)?, Unary::Recip)?;
    let weights = be.map(&be.mul(&chosen, &shares)?, Unary::scale(gate.scale))?;
    Ok(Routing {
        experts,
        weights,
        scores,
        top_k: gate.top_k,
    })
}

/// The first half of [`route`], for a device that weighs experts in its own way: the score of every
/// expert, `[t, experts]`, and those that are chosen, `[t, top_k]`.
pub fn choose_experts<B: Backend>(
    be: &B,
    x: &B::Tensor,
    gate: &Gate<B>,
    rows: &Inputs<B>,
) -> Result<(B::Tensor, B::Ids)> {
    let scores = be.map(&be.linear(x, &gate.projection)?, Unary::SqrtSoftplus)?;
    let experts = match &gate.select {
        Select::Score { bias } => {
            let bias = match &rows.media {
                Some(media) if bias.rows() > 1 => be.gather(bias, &media.kinds)?,
                Some(_) | None => be.narrow(bias, 0, 0, 1)?,
            };
            be.top_k(&be.add(&scores, &bias)?, gate.top_k)?
        }
        Select::Token(table) => table.experts(be, &rows.tokens, x.rows())?,
    };
    Ok((scores, experts))
}
