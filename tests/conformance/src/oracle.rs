//! The verbs that read lists of rows as loops over queries, as the papers write them: slow, and plain
//! enough to be believed. The provided bodies, which take all queries at once, are held against these,
//! and so are the overrides.

use anyhow::Result;
use deepseek_core::operands::{
    Blocks, Pooling, Runs, ScoreRounding, Softmax, TopK, WeightRounding,
};
use deepseek_core::{Backend, DeviceTensor, HostTensor, Rounding, Unary};

/// [`Kernels::attend`](deepseek_core::Kernels::attend), a query at a time.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If the queries have other than three dimensions.
pub fn attend<B: Backend>(
    be: &B,
    q: &B::Tensor,
    from: &[(&B::Rows, &Runs)],
    sink: &B::Tensor,
    softmax: Softmax,
) -> Result<B::Tensor> {
    let [tokens, heads, width] = q.shape().try_into()?;
    let sink = be.reshape(sink, &[heads, 1])?;
    let outputs = (0..tokens)
        .map(|token| {
            let keys = from
                .iter()
                .map(|(rows, runs)| (rows, runs.rows(token).collect::<Vec<u32>>()))
                .filter(|(_, at)| !at.is_empty())
                .map(|(rows, at)| Ok(be.read_rows(rows, &be.ids(&at)?)?))
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
            Ok(be.reshape(&out, &[1, heads, width])?)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(be.concat(&outputs.iter().collect::<Vec<_>>(), 0)?)
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
            Ok(be.mul(&weights, &factor)?)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(be.concat(&parts.iter().collect::<Vec<_>>(), 1)?)
}

/// [`Kernels::compress`](deepseek_core::Kernels::compress) of rows at hand, a group at a time: `kv` and
/// `scores` are those that a step reads back, and then its own.
///
/// # Errors
/// If the device fails.
pub fn compress<B: Backend>(
    be: &B,
    kv: &B::Tensor,
    scores: &B::Tensor,
    groups: &Runs,
    pooling: Pooling,
) -> Result<B::Tensor> {
    let pooled = (0..groups.queries())
        .map(|group| {
            let rows: Vec<u32> = groups.rows(group).collect();
            let kv = members(be, kv, &rows, pooling)?;
            let scores = members(be, scores, &rows, pooling)?;
            let peak = be.map(&be.max(&scores, 0)?, Unary::scale(-1.0))?;
            let shares = be.map(&be.add(&scores, &peak)?, Unary::Exp)?;
            let total = be.map(&be.sum(&shares, 0)?, Unary::Recip)?;
            Ok(be.mul(&be.sum(&be.mul(&shares, &kv)?, 0)?, &total)?)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(be.concat(&pooled.iter().collect::<Vec<_>>(), 0)?)
}

/// The rows of a group with the channels that take part.
fn members<B: Backend>(
    be: &B,
    x: &B::Tensor,
    group: &[u32],
    pooling: Pooling,
) -> Result<B::Tensor> {
    let rows = be.gather(x, &be.ids(group)?)?;
    let Pooling::Overlap { ratio } = pooling else {
        return Ok(rows);
    };
    let (width, before) = (x.width() / 2, group.len() - ratio);
    let current = be.narrow(&be.narrow(&rows, 0, before, ratio)?, 1, width, width)?;
    if before == 0 {
        return Ok(current);
    }
    let previous = be.narrow(&be.narrow(&rows, 0, 0, before)?, 1, 0, width)?;
    Ok(be.concat(&[&previous, &current], 0)?)
}

/// [`Kernels::index_topk`](deepseek_core::Kernels::index_topk), a query at a time: the best rows, and
/// the candidates where blocks are asked for.
///
/// # Errors
/// If the device fails.
pub fn index_topk<B: Backend>(
    be: &B,
    q: &B::Tensor,
    weights: &B::Tensor,
    keys: &B::Rows,
    seen: &Runs,
    top: &TopK,
) -> Result<(Runs, Option<Runs>)> {
    let [_, heads, width] = q.shape().try_into()?;
    let round = |x: B::Tensor, wanted: bool| -> Result<B::Tensor> {
        if wanted {
            Ok(be.round(&x, Rounding::Bf16)?)
        } else {
            Ok(x)
        }
    };
    let products_bf16 = top.round.is_some();
    let sums_bf16 = top.round == Some(ScoreRounding::ProductsAndSum);
    let mut chosen = Runs::with_capacity(seen.queries());
    let mut candidates = top.blocks.map(|_| Runs::with_capacity(seen.queries()));
    for token in 0..seen.queries() {
        let rows: Vec<u32> = seen.rows(token).collect();
        if rows.len() <= top.k {
            chosen.push(seen.runs(token).iter().cloned());
            if let Some(candidates) = &mut candidates {
                candidates.push(seen.runs(token).iter().cloned());
            }
            continue;
        }
        let keys = be.read_rows(keys, &be.ids(&rows)?)?;
        let q = be.reshape(&be.narrow(q, 0, token, 1)?, &[heads, width])?;
        let products = round(be.matmul_t(&q, &keys)?, products_bf16)?;
        let products = be.map(&products, Unary::Relu)?;
        let weights = be.reshape(&be.narrow(weights, 0, token, 1)?, &[heads, 1])?;
        let shares = round(be.mul(&products, &weights)?, products_bf16)?;
        let scores = round(be.sum(&shares, 0)?, sums_bf16)?;
        let best = be.ids_on_host(&be.top_k(&scores, top.k)?)?;
        chosen.push_rows(best.iter().map(|place| rows[*place as usize]));
        if let (Some(candidates), Some(blocks)) = (&mut candidates, top.blocks) {
            let kept = best_blocks(be, be.download(&scores)?.data(), blocks)?;
            let size = blocks.size;
            candidates.push_rows(kept.iter().flat_map(|block| {
                let first = *block as usize * size;
                rows[first..rows.len().min(first + size)].iter().copied()
            }));
        }
    }
    Ok((chosen, candidates))
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
    let kept = be.top_k(&peaks, blocks.keep.min(count))?;
    Ok(be.ids_on_host(&kept)?.to_vec())
}
