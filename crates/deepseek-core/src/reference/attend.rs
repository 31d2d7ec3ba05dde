//! Attention over gathered rows with a sink (spec `deepseek-v4.md` §3.4).

use crate::backend::{Backend, DeviceTensor, Unary};
use crate::error::Result;
use crate::format::Rounding;
use crate::kernels::{Chosen, Softmax};

/// See [`Kernels::attend`](crate::Kernels::attend).
pub fn attend<B: Backend>(
    be: &B,
    q: &B::Tensor,
    from: &[(&B::Rows, &Chosen)],
    sink: &B::Tensor,
    softmax: Softmax,
) -> Result<B::Tensor> {
    let [tokens, heads, width] = q
        .shape()
        .try_into()
        .expect("queries are [tokens, heads, width]");
    let sink = be.reshape(sink, &[heads, 1])?;
    let negate = Unary::Affine {
        mul: -1.0,
        add: 0.0,
    };
    let outputs = (0..tokens)
        .map(|token| {
            let keys = from
                .iter()
                .map(|(rows, chosen)| (rows, chosen.rows(token).collect::<Vec<u32>>()))
                .filter(|(_, at)| !at.is_empty())
                .map(|(rows, at)| be.read_rows(rows, &at))
                .collect::<Result<Vec<_>>>()?;
            let keys = be.concat(&keys.iter().collect::<Vec<_>>(), 0)?;
            let q = be.reshape(&be.narrow(q, 0, token, 1)?, &[heads, width])?;
            let logits = be.matmul_t(&q, &keys)?;
            let logits = be.map(
                &logits,
                Unary::Affine {
                    mul: softmax.scale,
                    add: 0.0,
                },
            )?;
            let peak = be.map(&be.max(&logits, 1)?, negate)?;
            let weights = be.map(&be.add(&logits, &peak)?, Unary::Exp)?;
            let sunk = be.map(&be.add(&sink, &peak)?, Unary::Exp)?;
            let total = be.add(&be.sum(&weights, 1)?, &sunk)?;
            let weights = if softmax.bf16 {
                be.round(&weights, Rounding::Bf16)?
            } else {
                weights
            };
            let out = be.mul(&be.matmul(&weights, &keys)?, &be.map(&total, Unary::Recip)?)?;
            be.reshape(&out, &[1, heads, width])
        })
        .collect::<Result<Vec<_>>>()?;
    be.concat(&outputs.iter().collect::<Vec<_>>(), 0)
}
