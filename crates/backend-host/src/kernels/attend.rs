//! Attention over gathered rows.

use deepseek_core::operands::{Runs, Softmax, WeightRounding};
use deepseek_core::quant::bf16;

use super::form::{Form, Known};
use super::lanes::weigh;
use super::pool::Pool;
use super::product::dots;
use super::rows::{Reader, RowPool};

/// Rows looked at together, at most: their logits and values pass through a core's own cache.
const BLOCK: usize = 128;

/// As few of them as are worth a thread of their own.
const BLOCK_MIN: usize = 32;

/// Numbers of all rows of a query up to which they are widened once. Those of more are widened for their logits
/// and again for their values, which takes less time than to fetch them from memory.
const KEPT: usize = 1 << 20;

/// See [`deepseek_core::Kernels::attend`]. `q: [t, heads, width]`, of which something is known; the result has the
/// same shape.
///
/// Queries are independent, and threads take turns with them. Where there are fewer queries than threads, they
/// share each: its rows for the logits, and then its heads.
pub(crate) fn attend(
    pool: &Pool,
    (q, known): (&[f32], Known),
    heads: usize,
    from: &[(&RowPool, &Runs)],
    sink: &[f32],
    softmax: Softmax,
    out: &mut [f32],
) {
    let width = from[0].0.width();
    let floats = Form::Floats(pool.isa());
    let formats = from.iter().map(|(rows, _)| rows.format());
    let form = Form::of_rows(pool.isa(), known, formats);
    let queries = q.len() / (heads * width);
    let list = |query| List {
        from,
        query,
        wide: floats.wide(width),
    };
    let wide = form.wide(width);
    let rows: usize = (0..queries).map(|query| list(query).count()).sum();
    let cost = rows * heads * width * 2;
    form.rows(pool, q, width, |q| {
        let of = |query: usize| &q[query * heads * wide..][..heads * wide];
        if queries >= pool.count() {
            pool.pieces(out, heads * width, cost, |query, out| {
                let q = (of(query), form);
                one(pool, q, list(query), sink, softmax, heads, out);
            });
            return;
        }
        let each = heads.div_ceil(pool.count());
        for (query, out) in out.chunks_exact_mut(heads * width).enumerate() {
            let q = (of(query), form);
            one(pool, q, list(query), sink, softmax, each, out);
        }
    });
}

/// The rows of one query, in their order.
#[derive(Clone, Copy)]
struct List<'a> {
    from: &'a [(&'a RowPool, &'a Runs)],
    query: usize,
    /// Numbers from one row to the next where they are widened: whole vectors.
    wide: usize,
}

impl List<'_> {
    fn count(&self) -> usize {
        let counts = self.from.iter().map(|(_, chosen)| chosen.count(self.query));
        counts.sum()
    }

    /// So many rows from one on where they lie, if they lie together and are floats in whole vectors already.
    fn lying(&self, mut first: usize, count: usize) -> Option<&[f32]> {
        for (rows, chosen) in self.from {
            for run in chosen.runs(self.query) {
                if first < run.len() {
                    let fits = rows.width() == self.wide && first + count <= run.len();
                    let start = run.start + first as u32;
                    return fits.then(|| rows.floats(start..start + count as u32))?;
                }
                first -= run.len();
            }
        }
        None
    }

    /// Widens as many rows as `out` holds, from one on. Zeros behind each change no sum.
    fn widen(&self, mut first: usize, out: &mut [f32]) {
        let mut rest = out;
        for (rows, chosen) in self.from {
            let count = chosen.count(self.query);
            let some = count.saturating_sub(first).min(rest.len() / self.wide);
            let (now, later) = rest.split_at_mut(some * self.wide);
            if some > 0 {
                Reader::at(chosen.runs(self.query), first as u32).read(rows, now, self.wide);
            }
            first = first.saturating_sub(count);
            rest = later;
        }
    }
}

/// All heads `q: [heads, ..]` of one query, laid out, some of them at a time where values are summed.
fn one(
    pool: &Pool,
    (q, form): (&[f32], Form),
    list: List<'_>,
    sink: &[f32],
    softmax: Softmax,
    each: usize,
    out: &mut [f32],
) {
    let (heads, total) = (sink.len(), list.count());
    let (wide, width) = (list.wide, out.len() / heads);
    let cost = total * out.len();
    let tall = if each < heads {
        total.div_ceil(pool.count()).clamp(BLOCK_MIN, BLOCK)
    } else {
        BLOCK
    };
    let count = |index: usize| tall.min(total - index * tall);
    let lies = |index: usize| list.lying(index * tall, count(index)).is_some();
    let all_lie = (0..total.div_ceil(tall)).all(lies);
    let kept = if !all_lie && total * wide <= KEPT {
        wide
    } else {
        0
    };
    // A block of rows has their logits `[rows, heads]`, and before them the rows, where they are kept.
    let block = tall * (kept + heads);
    pool.scratch([total.div_ceil(tall) * block], |[blocks]| {
        pool.pieces(blocks, block, cost, |index, block| {
            let (rows, logits) = block.split_at_mut(tall * kept);
            let logits = &mut logits[..count(index) * heads];
            let mut products = |rows: &[f32]| {
                form.rows(pool, rows, wide, |laid| {
                    dots(form, q, laid, form.wide(width), logits);
                });
            };
            if let Some(rows) = list.lying(index * tall, count(index)) {
                return products(rows);
            }
            let mut dots_of = |rows: &mut [f32]| {
                list.widen(index * tall, rows);
                products(rows);
            };
            if kept > 0 {
                dots_of(&mut rows[..count(index) * wide]);
            } else {
                pool.scratch([count(index) * wide], |[rows]| dots_of(rows));
            }
        });
        let blocks = || blocks.chunks_exact(block).enumerate();
        pool.pieces(out, each * width, cost, |group, out| {
            let (first, own) = (group * each, out.len() / width);
            let again = if all_lie || kept > 0 { 0 } else { tall * wide };
            let rooms = [own * total, own, own * wide, own * tall, again];
            pool.scratch(rooms, |[weights, totals, sums, part, again]| {
                // Weights as `[heads, rows]`, and what divides them.
                for head in 0..own {
                    let weights = &mut weights[head * total..][..total];
                    let logits = blocks().flat_map(|(_, block)| {
                        let logits = &block[tall * kept..];
                        logits.iter().skip(first + head).step_by(heads)
                    });
                    for (weight, logit) in weights.iter_mut().zip(logits) {
                        *weight = logit * softmax.scale;
                    }
                    let peak = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    let sunk = (sink[first + head] - peak).exp();
                    totals[head] = exponentials(weights, peak, softmax.round) + sunk;
                }
                sums.fill(0.0);
                for (index, block) in blocks() {
                    let rows = count(index);
                    let part = &mut part[..own * rows];
                    for (head, part) in part.chunks_exact_mut(rows).enumerate() {
                        part.copy_from_slice(&weights[head * total + index * tall..][..rows]);
                    }
                    if let Some(lying) = list.lying(index * tall, rows) {
                        weigh(pool.isa(), part, lying, rows, sums);
                    } else if kept > 0 {
                        weigh(pool.isa(), part, &block[..rows * wide], rows, sums);
                    } else {
                        let again = &mut again[..rows * wide];
                        list.widen(index * tall, again);
                        weigh(pool.isa(), part, again, rows, sums);
                    }
                }
                let sums = sums.chunks_exact(wide);
                for ((out, sums), total) in out.chunks_exact_mut(width).zip(sums).zip(&*totals) {
                    let factor = 1.0 / total;
                    out.iter_mut()
                        .zip(sums)
                        .for_each(|(out, sum)| *out = sum * factor);
                }
            });
        });
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
