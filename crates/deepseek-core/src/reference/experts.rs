//! Gated feed-forward networks and their weighted sum (`docs/models/deepseek-v4.md` §3.7, §5.1).

use crate::backend::{Backend, DeviceTensor, NO_ROW, Unary};
use crate::error::Result;
use crate::format::Rounding;
use crate::host::HostTensor;
use crate::kernels::Kernels;
use crate::operands::{FeedForward, Routing, SwiGlu};

/// See [`Kernels::experts`]. Waits once, to learn which experts are visited.
pub fn experts<B: Kernels>(
    be: &B,
    x: &B::Tensor,
    routing: &Routing<B>,
    bank: &B::Experts,
    form: SwiGlu,
) -> Result<B::Tensor> {
    let (tokens, hidden) = (x.rows(), x.width());
    let experts = be.ids_on_host(&routing.experts)?;
    let here = be.experts_in(bank);
    // Visits sorted by expert, so that each expert is used once; the sort is stable, and `back`
    // undoes it, so that each token sums its experts in the order of its routing. Those of other ranks
    // are rows of zeros.
    let all = 0..experts.len() as u32;
    let mut visits: Vec<u32> = all
        .filter(|visit| here.contains(&experts[*visit as usize]))
        .collect();
    if visits.is_empty() {
        return be.upload(&HostTensor::new(
            &[tokens, hidden],
            vec![0.0; tokens * hidden],
        ));
    }
    visits.sort_by_key(|visit| experts[*visit as usize]);
    let mut back = vec![NO_ROW; experts.len()];
    for (place, visit) in visits.iter().enumerate() {
        back[*visit as usize] = place as u32;
    }
    let rows: Vec<u32> = visits
        .iter()
        .map(|visit| visit / routing.top_k as u32)
        .collect();
    let x = be.gather(x, &be.ids(&rows)?)?;
    let weights = be.reshape(&routing.weights, &[experts.len(), 1])?;
    let weights = be.gather(&weights, &be.ids(&visits)?)?;
    let mut first = 0;
    let outputs = visits
        .chunk_by(|a, b| experts[*a as usize] == experts[*b as usize])
        .map(|visits| {
            let count = visits.len();
            let x = be.narrow(&x, 0, first, count)?;
            let weights = be.narrow(&weights, 0, first, count)?;
            first += count;
            let expert = be.expert(bank, experts[visits[0] as usize])?;
            feed_forward(be, &x, &expert, Some(&weights), form)
        })
        .collect::<Result<Vec<_>>>()?;
    let outputs = be.concat(&outputs.iter().collect::<Vec<_>>(), 0)?;
    let outputs = be.gather(&outputs, &be.ids(&back)?)?;
    let outputs = be.reshape(&outputs, &[tokens, routing.top_k, hidden])?;
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
