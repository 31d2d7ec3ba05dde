//! The lightning indexer (`docs/models/deepseek-v4.md` §3.6, `docs/models/deepseek-v41.md` §3.6).

use super::attend::GATHERED_MAX;
use crate::backend::{Backend, DeviceTensor, Unary};
use crate::error::Result;
use crate::format::Rounding;
use crate::operands::{Blocks, ScoreRounding, Selection, TopK, TopKRows};

/// More than any score: what lifts a block above all others.
const LIFT: f32 = 1e30;

/// See [`Kernels::index_topk`](crate::Kernels::index_topk).
///
/// All queries go together: what they see is padded to one length, and what is padding is masked.
pub fn index_topk<B: Backend>(
    be: &B,
    q: &B::Tensor,
    weights: &B::Tensor,
    keys: &B::Rows,
    seen: &Selection<B>,
    top: &TopK,
) -> Result<TopKRows<B>> {
    let (ids, n) = seen.ids(be)?;
    if n <= top.k {
        return Ok(TopKRows::all(&Selection::Rows { ids, k: n }, top));
    }
    // Whole blocks, so that they can be told apart by shape.
    let tokens = q.shape()[0];
    let wide = n.next_multiple_of(top.blocks.map_or(1, |blocks| blocks.size));
    let ids = if wide == n {
        ids
    } else {
        be.cut_ids(&ids, n, 0..tokens, wide)?
    };
    let mask = be.mask(&ids, &[tokens, wide])?;
    let scores = scores(be, q, weights, keys, (&ids, wide), top.round)?;
    let scores = be.add(&scores, &mask)?;
    let best = be.top_k(&scores, top.k)?;
    Ok(TopKRows {
        rows: Selection::Rows {
            ids: be.take_ids(&ids, wide, &best, top.k, 1)?,
            k: top.k,
        },
        candidates: match top.blocks {
            None => None,
            Some(blocks) => Some(candidates(be, &scores, &mask, &ids, blocks)?),
        },
    })
}

/// `Σ_h weights_h · relu(q_h · key)`, `[t, n]`, of the rows `ids: [t, n]`; as many queries at a time as
/// there is room for.
fn scores<B: Backend>(
    be: &B,
    q: &B::Tensor,
    weights: &B::Tensor,
    keys: &B::Rows,
    (ids, n): (&B::Ids, usize),
    round: Option<ScoreRounding>,
) -> Result<B::Tensor> {
    let [tokens, heads, width] = q
        .shape()
        .try_into()
        .expect("queries are [tokens, heads, width]");
    let bf16 = |x: B::Tensor, wanted: bool| {
        if wanted {
            be.round(&x, Rounding::Bf16)
        } else {
            Ok(x)
        }
    };
    let products_bf16 = round.is_some();
    let sums_bf16 = round == Some(ScoreRounding::ProductsAndSum);
    let most = (GATHERED_MAX / (n * width.max(heads))).max(1);
    let parts = (0..tokens)
        .step_by(most)
        .map(|first| {
            let count = most.min(tokens - first);
            let ids = if count == tokens {
                ids.clone()
            } else {
                be.cut_ids(ids, n, first..first + count, n)?
            };
            let keys = be.reshape(&be.read_rows(keys, &ids)?, &[count, n, width])?;
            let products = be.matmul_t(&be.narrow(q, 0, first, count)?, &keys)?;
            let products = be.map(&bf16(products, products_bf16)?, Unary::Relu)?;
            let weights = be.narrow(weights, 0, first, count)?;
            let weights = be.reshape(&weights, &[count, heads, 1])?;
            let shares = bf16(be.mul(&products, &weights)?, products_bf16)?;
            let scores = be.reshape(&be.sum(&shares, 1)?, &[count, n])?;
            bf16(scores, sums_bf16)
        })
        .collect::<Result<Vec<_>>>()?;
    be.concat(&parts.iter().collect::<Vec<_>>(), 0)
}

/// The rows of the blocks that stay. `scores`, `mask` and `ids` are `[t, n]`, of whole blocks; what is
/// no row is at the end of a query.
fn candidates<B: Backend>(
    be: &B,
    scores: &B::Tensor,
    mask: &B::Tensor,
    ids: &B::Ids,
    blocks: Blocks,
) -> Result<Selection<B>> {
    let (tokens, n) = (scores.shape()[0], scores.width());
    let count = n / blocks.size;
    let peaks = |x: &B::Tensor| {
        let x = be.reshape(x, &[tokens, count, blocks.size])?;
        be.reshape(&be.max(&x, 2)?, &[tokens, count])
    };
    // 1 for a block with a row, 0 for one without: the last with a row has none behind it.
    let real = be.map(&peaks(mask)?, Unary::Exp)?;
    let none = be.map(&be.narrow(&real, 1, 0, 1)?, Unary::scale(0.0))?;
    let next = be.concat(&[&be.narrow(&real, 1, 1, count - 1)?, &none], 1)?;
    let is_last = be.add(&real, &be.map(&next, Unary::scale(-1.0))?)?;
    let lifted = be.add(&peaks(scores)?, &be.map(&is_last, Unary::scale(LIFT))?)?;
    let keep = blocks.keep.min(count);
    let kept = be.top_k(&lifted, keep)?;
    Ok(Selection::Rows {
        ids: be.take_ids(ids, n, &kept, keep, blocks.size)?,
        k: keep * blocks.size,
    })
}
