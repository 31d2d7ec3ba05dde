//! Attention over gathered rows with a sink (`docs/models/deepseek-v4.md` §3.4), and over all rows
//! without.

use std::ops::Range;

use crate::backend::{Backend, DeviceTensor, Unary};
use crate::error::Result;
use crate::format::Rounding;
use crate::operands::{Selection, Softmax, WeightRounding};

/// Numbers that are gathered at a time: a quarter of a gibibyte. Queries beyond that take turns, so
/// that a long prompt does not need room for the rows of all its queries at once.
pub(crate) const GATHERED_MAX: usize = 1 << 26;

/// Rows of one pool for each query: ids `[t, k]`.
struct List<'a, B: Backend> {
    rows: &'a B::Rows,
    ids: B::Ids,
    k: usize,
}

/// See [`Kernels::attend`](crate::Kernels::attend).
///
/// All queries go together: lists of rows are padded to one length, and what is padding is masked. With
/// [`WeightRounding::Chunks`], chunks are counted in the padded lists.
pub fn attend<B: Backend>(
    be: &B,
    q: &B::Tensor,
    from: &[(&B::Rows, &Selection<B>)],
    sink: &B::Tensor,
    softmax: Softmax,
) -> Result<B::Tensor> {
    let tokens = q.shape()[0];
    let lists = from
        .iter()
        .map(|&(rows, selection)| {
            let (ids, k) = selection.ids(be)?;
            Ok(List { rows, ids, k })
        })
        .collect::<Result<Vec<_>>>()?;
    let rows: usize = lists.iter().map(|list| list.k).sum();
    let most = (GATHERED_MAX / (rows * q.width()).max(1)).max(1);
    if tokens <= most {
        return some_queries(be, q, &lists, sink, softmax);
    }
    let parts = (0..tokens)
        .step_by(most)
        .map(|first| {
            let some = first..tokens.min(first + most);
            let lists = lists
                .iter()
                .map(|list| {
                    let ids = be.cut_ids(&list.ids, list.k, some.clone(), list.k)?;
                    Ok(List { ids, ..*list })
                })
                .collect::<Result<Vec<_>>>()?;
            let q = be.narrow(q, 0, first, some.len())?;
            some_queries(be, &q, &lists, sink, softmax)
        })
        .collect::<Result<Vec<_>>>()?;
    be.concat(&parts.iter().collect::<Vec<_>>(), 0)
}

/// [`attend`] for as many queries as are gathered at a time.
fn some_queries<B: Backend>(
    be: &B,
    q: &B::Tensor,
    lists: &[List<'_, B>],
    sink: &B::Tensor,
    softmax: Softmax,
) -> Result<B::Tensor> {
    let [tokens, heads, width] = q
        .shape()
        .try_into()
        .expect("queries are [tokens, heads, width]");
    let sink = be.reshape(sink, &[heads, 1])?;
    let (mut keys, mut masks) = (Vec::new(), Vec::new());
    for List { rows, ids, k } in lists {
        keys.push(be.reshape(&be.read_rows(rows, ids)?, &[tokens, *k, width])?);
        masks.push(be.mask(ids, &[tokens, 1, *k])?);
    }
    let keys = be.concat(&keys.iter().collect::<Vec<_>>(), 1)?;
    let mask = be.concat(&masks.iter().collect::<Vec<_>>(), 2)?;

    let logits = be.map(&be.matmul_t(q, &keys)?, Unary::scale(softmax.scale))?;
    let logits = be.add(&logits, &mask)?;
    let peak = be.map(&be.max(&logits, 2)?, Unary::scale(-1.0))?;
    let weights = be.map(&be.add(&logits, &peak)?, Unary::Exp)?;
    let sunk = be.map(&be.add(&sink, &peak)?, Unary::Exp)?;
    let total = be.add(&be.sum(&weights, 2)?, &sunk)?;
    let weights = match softmax.round {
        None => weights,
        Some(WeightRounding::OnePeak) => be.round(&weights, Rounding::Bf16)?,
        Some(WeightRounding::Chunks(rows)) => by_chunks(be, &logits, &peak, rows)?,
    };
    be.mul(&be.matmul(&weights, &keys)?, &be.map(&total, Unary::Recip)?)
}

/// The exponentials of `logits: [t, heads, n]`, each rounded against the largest logit up to the end of
/// its chunk of `rows`, then brought to the peak of all, which is given as its negative.
fn by_chunks<B: Backend>(
    be: &B,
    logits: &B::Tensor,
    negative_peak: &B::Tensor,
    rows: usize,
) -> Result<B::Tensor> {
    /// Below any logit, so that a query without rows so far has a peak that is a number.
    const LOW: f32 = -1e30;
    let all = logits.width();
    let chunk = |Range { start, end }: Range<usize>| {
        let so_far = be.max(&be.narrow(logits, 2, 0, end)?, 2)?;
        let so_far = be.map(
            &so_far,
            Unary::Clamp {
                min: LOW,
                max: f32::INFINITY,
            },
        )?;
        let logits = be.narrow(logits, 2, start, end - start)?;
        let below = be.add(&logits, &be.map(&so_far, Unary::scale(-1.0))?)?;
        let weights = be.round(&be.map(&below, Unary::Exp)?, Rounding::Bf16)?;
        let factor = be.map(&be.add(&so_far, negative_peak)?, Unary::Exp)?;
        be.mul(&weights, &factor)
    };
    let parts = (0..all)
        .step_by(rows)
        .map(|first| chunk(first..all.min(first + rows)))
        .collect::<Result<Vec<_>>>()?;
    be.concat(&parts.iter().collect::<Vec<_>>(), 2)
}
