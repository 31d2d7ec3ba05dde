//! Gated feed-forward networks and their weighted sum (`docs/models/deepseek-v4.md` §3.7, §5.1).

use crate::backend::{Backend, DeviceTensor, Unary};
use crate::error::Result;
use crate::format::Rounding;
use crate::host::HostTensor;
use crate::operands::{Experts, FeedForward, Routing, SwiGlu};

/// See [`Kernels::experts`](crate::Kernels::experts).
pub fn experts<B: Backend>(
    be: &B,
    x: &B::Tensor,
    routing: &Routing,
    bank: &dyn Experts<B>,
    form: SwiGlu,
) -> Result<B::Tensor> {
    let (tokens, hidden) = (x.rows(), x.width());
    // Visits sorted by expert, so that each expert is used once; the sort is stable, and `back`
    // undoes it, so that each token sums its experts in the order of its routing.
    let mut visits: Vec<u32> = (0..routing.experts.len() as u32).collect();
    visits.sort_by_key(|visit| routing.experts[*visit as usize]);
    let mut back = vec![0; visits.len()];
    for (place, visit) in visits.iter().enumerate() {
        back[*visit as usize] = place as u32;
    }
    let outputs = visits
        .chunk_by(|a, b| routing.experts[*a as usize] == routing.experts[*b as usize])
        .map(|visits| {
            let rows: Vec<u32> = visits
                .iter()
                .map(|visit| visit / routing.each as u32)
                .collect();
            let weights = visits
                .iter()
                .map(|visit| routing.weights[*visit as usize])
                .collect();
            let weights = be.upload(&HostTensor::new(&[visits.len(), 1], weights))?;
            let expert = bank.expert(routing.experts[visits[0] as usize])?;
            feed_forward(be, &be.gather(x, &rows)?, expert, Some(&weights), form)
        })
        .collect::<Result<Vec<_>>>()?;
    let outputs = be.concat(&outputs.iter().collect::<Vec<_>>(), 0)?;
    let outputs = be.reshape(
        &be.gather(&outputs, &back)?,
        &[tokens, routing.each, hidden],
    )?;
    be.reshape(&be.sum(&outputs, 1)?, &[tokens, hidden])
}

/// `w2 · (silu(min(w1·x, limit)) ⊙ clamp(w3·x, ±limit) ⊙ weights)`; `x: [t, hidden]`,
/// `weights: [t, 1]`. The routing weight multiplies before the last product, where the released
/// code has it.
pub fn feed_forward<B: Backend>(
    be: &B,
    x: &B::Tensor,
    network: &FeedForward<B>,
    weights: Option<&B::Tensor>,
    form: SwiGlu,
) -> Result<B::Tensor> {
    let SwiGlu { limit, input, bf16 } = form;
    let input = |x: &B::Tensor| match input {
        Some(rounding) => be.round(x, rounding),
        None => Ok(x.clone()),
    };
    let activation = |x: B::Tensor| {
        if bf16 {
            be.round(&x, Rounding::Bf16)
        } else {
            Ok(x)
        }
    };
    let x = input(x)?;
    let gate = activation(be.linear(&x, &network.gate)?)?;
    let up = activation(be.linear(&x, &network.up)?)?;
    let gate = be.map(
        &gate,
        Unary::Clamp {
            min: f32::NEG_INFINITY,
            max: limit,
        },
    )?;
    let up = be.map(
        &up,
        Unary::Clamp {
            min: -limit,
            max: limit,
        },
    )?;
    let mut inner = be.mul(&be.map(&gate, Unary::Silu)?, &up)?;
    if let Some(weights) = weights {
        inner = be.mul(&inner, weights)?;
    }
    activation(be.linear(&input(&activation(inner)?)?, &network.down)?)
}
