//! The lightning indexer (spec `deepseek-v4.md` §3.6).

use crate::backend::{Backend, DeviceTensor, Unary};
use crate::error::Result;
use crate::format::Rounding;
use crate::kernels::{Chosen, Seen};

/// See [`Kernels::index_topk`](crate::Kernels::index_topk).
pub fn index_topk<B: Backend>(
    be: &B,
    q: &B::Tensor,
    weights: &B::Tensor,
    keys: &B::Rows,
    seen: &Seen,
    k: usize,
    bf16: bool,
) -> Result<Chosen> {
    let [_, heads, width] = q
        .shape()
        .try_into()
        .expect("queries are [tokens, heads, width]");
    let round = |x: B::Tensor| {
        if bf16 {
            be.round(&x, Rounding::Bf16)
        } else {
            Ok(x)
        }
    };
    let mut chosen = Chosen::with_capacity(seen.rows.len());
    for (token, rows) in seen.rows.iter().enumerate() {
        if rows.len() <= k {
            chosen.push([rows.clone()]);
            continue;
        }
        let keys = be.read_rows(keys, &rows.clone().collect::<Vec<_>>())?;
        let q = be.reshape(&be.narrow(q, 0, token, 1)?, &[heads, width])?;
        let products = be.map(&round(be.matmul_t(&q, &keys)?)?, Unary::Relu)?;
        let weights = be.reshape(&be.narrow(weights, 0, token, 1)?, &[heads, 1])?;
        let scores = round(be.sum(&round(be.mul(&products, &weights)?)?, 0)?)?;
        chosen.push_rows(
            be.top_k(&scores, k)?
                .into_iter()
                .map(|row| rows.start + row),
        );
    }
    Ok(chosen)
}
