//! Attention over gathered rows.

use deepseek_core::operands::{Runs, Softmax, WeightRounding};
use deepseek_core::quant::bf16;

use super::form::Form;
use super::lanes::{dots, weigh};
use super::pool::Pool;
use super::rows::RowPool;

/// Rows looked at together: their logits and values pass through a core's own cache.
const BLOCK: usize = 128;

/// See [`deepseek_core::Kernels::attend`]. `q: [t, heads, width]`, and so is the result.
///
/// Queries are independent. A single query is shared among threads by its heads, which are
/// independent too.
pub(crate) fn attend(
    pool: &Pool,
    q: &[f32],
    heads: usize,
    from: &[(&RowPool, &Runs)],
    sink: &[f32],
    softmax: Softmax,
    out: &mut [f32],
) {
    let width = from[0].0.width();
    let form = Form::Floats(pool.isa());
    let wide = form.wide(width);
    let queries = q.len() / (heads * width);
    let groups = if queries >= pool.count() {
        1
    } else {
        pool.count().min(heads)
    };
    let each = heads.div_ceil(groups);
    let rows: usize = (0..queries).map(|query| count(from, query)).sum();
    let cost = rows * heads * width * 2;
    form.rows(pool, q, width, |q| {
        let of = |query: usize| &q[query * heads * wide..][..heads * wide];
        if groups == 1 {
            pool.pieces(out, heads * width, cost, |query, out| {
                one(pool, of(query), from, query, sink, softmax, out);
            });
            return;
        }
        for (query, out) in out.chunks_exact_mut(heads * width).enumerate() {
            let q = of(query);
            pool.pieces(out, each * width, cost, |group, out| {
                let heads = out.len() / width;
                let q = &q[group * each * wide..][..heads * wide];
                let sink = &sink[group * each..][..heads];
                one(pool, q, from, query, sink, softmax, out);
            });
        }
    });
}

fn count(from: &[(&RowPool, &Runs)], query: usize) -> usize {
    from.iter()
        .flat_map(|(_, chosen)| chosen.runs(query))
        .map(ExactSizeIterator::len)
        .sum()
}

/// Some heads `q: [heads, width]` of one query, lengthened to whole vectors.
fn one(
    pool: &Pool,
    q: &[f32],
    from: &[(&RowPool, &Runs)],
    query: usize,
    sink: &[f32],
    softmax: Softmax,
    out: &mut [f32],
) {
    let (heads, width) = (sink.len(), from[0].0.width());
    let wide = q.len() / heads;
    let total = count(from, query);
    let all = total * heads;
    let rooms = [all, all, heads, heads * wide, heads * BLOCK, BLOCK * wide];
    pool.scratch(rooms, |[logits, weights, totals, sums, part, block]| {
        if width < wide {
            // Zeros behind each row change no sum.
            block.fill(0.0);
        }
        // Logits as `[rows, heads]`, blocks of rows in the order of the lists.
        let mut done = 0;
        blocks(from, query, (block, wide), |rows| {
            let count = rows.len() / wide;
            let logits = &mut logits[done * heads..][..count * heads];
            dots(pool.isa(), q, rows, wide, logits);
            done += count;
        });

        // Weights as `[heads, rows]`, and what divides them.
        for head in 0..heads {
            let weights = &mut weights[head * total..][..total];
            let logits = logits.iter().skip(head).step_by(heads);
            for (weight, logit) in weights.iter_mut().zip(logits) {
                *weight = logit * softmax.scale;
            }
            let peak = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            totals[head] = exponentials(weights, peak, softmax.round) + (sink[head] - peak).exp();
        }

        sums.fill(0.0);
        let mut done = 0;
        blocks(from, query, (block, wide), |rows| {
            let count = rows.len() / wide;
            let part = &mut part[..heads * count];
            for (head, part) in part.chunks_exact_mut(count).enumerate() {
                part.copy_from_slice(&weights[head * total + done..][..count]);
            }
            weigh(pool.isa(), part, rows, count, sums);
            done += count;
        });
        let sums = sums.chunks_exact(wide);
        for ((out, sums), total) in out.chunks_exact_mut(width).zip(sums).zip(&*totals) {
            let factor = 1.0 / total;
            out.iter_mut()
                .zip(sums)
                .for_each(|(out, sum)| *out = sum * factor);
        }
    });
}

/// Makes logits, of which `peak` is the largest, weights, and returns the sum of what was not
/// rounded.
fn exponentials(logits: &mut [f32], peak: f32, round: Option<WeightRounding>) -> f32 {
    let (rows, mut so_far) = match round {
        None | Some(WeightRounding::OnePeak) => (usize::MAX, peak),
        Some(WeightRounding::Chunks(rows)) => (rows, f32::NEG_INFINITY),
    };
    let mut sum = 0.0;
    for chunk in logits.chunks_mut(rows) {
        if so_far < peak {
            so_far = chunk.iter().copied().fold(so_far, f32::max);
        }
        let factor = (so_far - peak).exp();
        for x in chunk {
            let e = (*x - peak).exp();
            sum += e;
            *x = match round {
                None => e,
                Some(_) if so_far == peak => bf16(e),
                Some(_) => bf16((*x - so_far).exp()) * factor,
            };
        }
    }
    sum
}

/// The rows of a query in order, at most [`BLOCK`] at a time, `wide` numbers apart: where they lie if they
/// are floats in a run worth it, else widened into `block`, which has room for so many.
fn blocks(
    from: &[(&RowPool, &Runs)],
    query: usize,
    (block, wide): (&mut [f32], usize),
    mut each: impl FnMut(&[f32]),
) {
    let width = from[0].0.width();
    let mut held = 0;
    for (rows, chosen) in from {
        for run in chosen.runs(query) {
            let mut start = run.start;
            while start < run.end {
                let end = run.end.min(start + (BLOCK - held) as u32);
                let count = (end - start) as usize;
                let lies = count == BLOCK && wide == width;
                match rows.floats(start..end).filter(|_| lies) {
                    Some(floats) => each(floats),
                    None => {
                        let room = &mut block[held * wide..][..count * wide];
                        rows.read_apart(start..end, room, wide);
                        held += count;
                        if held == BLOCK {
                            each(block);
                            held = 0;
                        }
                    }
                }
                start = end;
            }
        }
    }
    if held > 0 {
        each(&block[..held * wide]);
    }
}
