//! The router (`docs/models/deepseek-v4.md` §3.7).

use crate::backend::{Backend, DeviceTensor, Unary};
use crate::error::Result;
use crate::operands::{Gate, Inputs, Routing, Select};

/// See [`Kernels::route`](crate::Kernels::route).
pub fn route<B: Backend>(
    be: &B,
    x: &B::Tensor,
    gate: &Gate<B>,
    rows: Inputs<'_>,
) -> Result<Routing> {
    let scores = be.map(&be.linear(x, &gate.projection)?, Unary::SqrtSoftplus)?;
    let experts: Vec<u32> = match &gate.select {
        Select::Score { bias } if rows.media.contains(&true) && bias.rows() > 1 => {
            let kinds: Vec<u32> = rows.media.iter().copied().map(u32::from).collect();
            be.top_k(&be.add(&scores, &be.gather(bias, &kinds)?)?, gate.each)?
        }
        Select::Score { bias } => {
            be.top_k(&be.add(&scores, &be.narrow(bias, 0, 0, 1)?)?, gate.each)?
        }
        Select::Token(table) => rows
            .tokens
            .iter()
            .flat_map(|token| {
                let mut experts: Vec<u32> = table.experts(*token).collect();
                experts.sort_unstable();
                experts
            })
            .collect(),
    };
    let scores = be.download(&scores)?;
    let mut weights = Vec::with_capacity(experts.len());
    for (token, experts) in experts.chunks(gate.each).enumerate() {
        let scores = scores.row(token);
        let total: f32 = experts.iter().map(|id| scores[*id as usize]).sum();
        weights.extend(
            experts
                .iter()
                .map(|id| scores[*id as usize] / total * gate.scale),
        );
    }
    debug_assert_eq!(weights.len(), x.rows() * gate.each);
    Ok(Routing {
        experts: experts.into(),
        weights: weights.into(),
        each: gate.each,
    })
}
