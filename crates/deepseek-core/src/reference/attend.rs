//! Attention over gathered rows with a sink (`docs/models/deepseek-v4.md` §3.4), and over all rows
//! without.

use crate::backend::{Backend, DeviceTensor, Unary};
use crate::error::Result;
use crate::format::Rounding;
use crate::operands::{Chosen, Softmax, WeightRounding};

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
            let logits = be.map(&logits, Unary::scale(softmax.scale))?;
            let peak = be.map(&be.max(&logits, 1)?, Unary::scale(-1.0))?;
            let weights = be.map(&be.add(&logits, &peak)?, Unary::Exp)?;
            let sunk = be.map(&be.add(&sink, &peak)?, Unary::Exp)?;
            let total = be.add(&be.sum(&weights, 1)?, &sunk)?;
            let weights = match softmax.round {
                None => weights,
                Some(WeightRounding::OnePeak) => be.round(&weights, Rounding::Bf16)?,
                Some(WeightRounding::Chunks(rows)) => by_chunks(be, &logits, &peak, rows)?,
            };
            let out = be.mul(&be.matmul(&weights, &keys)?, &be.map(&total, Unary::Recip)?)?;
            be.reshape(&out, &[1, heads, width])
        })
        .collect::<Result<Vec<_>>>()?;
    be.concat(&outputs.iter().collect::<Vec<_>>(), 0)
}

/// The exponentials of `logits: [heads, n]`, each rounded against the largest logit up to the end of
/// its chunk of `rows`, then brought to the peak of all, which is given as its negative.
fn by_chunks<B: Backend>(
    be: &B,
    logits: &B::Tensor,
    negative_peak: &B::Tensor,
    rows: usize,
) -> Result<B::Tensor> {
    let all = logits.width();
    let parts = (0..all)
        .step_by(rows)
        .map(|first| {
            let end = all.min(first + rows);
            let so_far = be.max(&be.narrow(logits, 1, 0, end)?, 1)?;
            let logits = be.narrow(logits, 1, first, end - first)?;
            let below = be.add(&logits, &be.map(&so_far, Unary::scale(-1.0))?)?;
            let weights = be.round(&be.map(&below, Unary::Exp)?, Rounding::Bf16)?;
            let factor = be.map(&be.add(&so_far, negative_peak)?, Unary::Exp)?;
            be.mul(&weights, &factor)
        })
        .collect::<Result<Vec<_>>>()?;
    be.concat(&parts.iter().collect::<Vec<_>>(), 1)
}
