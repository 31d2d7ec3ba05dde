//! The lightning indexer (`docs/models/deepseek-v4.md` §3.6, `docs/models/deepseek-v41.md` §3.6).

use crate::backend::{Backend, DeviceTensor, Unary};
use crate::error::Result;
use crate::format::Rounding;
use crate::host::HostTensor;
use crate::operands::{Blocks, Chosen, Pick, Picked, ScoreRounding};

/// See [`Kernels::index_topk`](crate::Kernels::index_topk).
pub fn index_topk<B: Backend>(
    be: &B,
    q: &B::Tensor,
    weights: &B::Tensor,
    keys: &B::Rows,
    seen: &Chosen,
    pick: &Pick,
) -> Result<Picked> {
    let [_, heads, width] = q
        .shape()
        .try_into()
        .expect("queries are [tokens, heads, width]");
    let round = |x: B::Tensor, wanted: bool| {
        if wanted {
            be.round(&x, Rounding::Bf16)
        } else {
            Ok(x)
        }
    };
    let products_bf16 = pick.round.is_some();
    let sums_bf16 = pick.round == Some(ScoreRounding::ProductsAndSum);
    let mut chosen = Chosen::with_capacity(seen.queries());
    let mut candidates = pick.blocks.map(|_| Chosen::with_capacity(seen.queries()));
    for token in 0..seen.queries() {
        let rows: Vec<u32> = seen.rows(token).collect();
        if rows.len() <= pick.k {
            chosen.push(seen.runs(token).iter().cloned());
            if let Some(candidates) = &mut candidates {
                candidates.push(seen.runs(token).iter().cloned());
            }
            continue;
        }
        let keys = be.read_rows(keys, &rows)?;
        let q = be.reshape(&be.narrow(q, 0, token, 1)?, &[heads, width])?;
        let products = round(be.matmul_t(&q, &keys)?, products_bf16)?;
        let products = be.map(&products, Unary::Relu)?;
        let weights = be.reshape(&be.narrow(weights, 0, token, 1)?, &[heads, 1])?;
        let shares = round(be.mul(&products, &weights)?, products_bf16)?;
        let scores = round(be.sum(&shares, 0)?, sums_bf16)?;
        let best = be.top_k(&scores, pick.k)?;
        chosen.push_rows(best.into_iter().map(|place| rows[place as usize]));
        if let (Some(candidates), Some(blocks)) = (&mut candidates, pick.blocks) {
            let kept = best_blocks(be, be.download(&scores)?.data(), blocks)?;
            let size = blocks.size;
            candidates.push_rows(kept.into_iter().flat_map(|block| {
                let first = block as usize * size;
                rows[first..rows.len().min(first + size)].iter().copied()
            }));
        }
    }
    Ok(Picked {
        rows: chosen,
        candidates,
    })
}

/// The blocks that stay, ascending.
fn best_blocks<B: Backend>(be: &B, scores: &[f32], blocks: Blocks) -> Result<Vec<u32>> {
    let best = |block: &[f32]| block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut peaks: Vec<f32> = scores.chunks(blocks.size).map(best).collect();
    if let Some(last) = peaks.last_mut() {
        *last = f32::INFINITY;
    }
    let count = peaks.len();
    let peaks = be.upload(&HostTensor::new(&[1, count], peaks))?;
    be.top_k(&peaks, blocks.keep.min(count))
}
