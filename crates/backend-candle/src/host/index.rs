//! The lightning indexer: scores of many keys, and the best of them.

use std::cmp::Ordering;
use std::ops::Range;

use deepseek_core::kernels::{Chosen, Seen};
use deepseek_core::quant::bf16;

use super::lanes::{COLUMNS, columns};
use super::pool::Pool;
use super::rows::RowPool;

/// Queries times heads that share a block of turned keys: enough that turning costs little beside
/// the products, few enough that these stay in a core's own cache.
const ROWS: usize = 512;

/// See [`deepseek_core::Kernels::index_topk`]. `q: [t, heads, width]`, `weights: [t, heads]`.
///
/// Keys are taken in blocks of [`COLUMNS`], turned so that lanes run over keys: a score is a sum
/// over channels in order, and needs no folding. Scores pass through a threshold at once, so a
/// query holds no more than twice what it keeps.
pub(crate) fn index_topk(
    pool: &Pool,
    q: &[f32],
    weights: &[f32],
    keys: &RowPool,
    seen: &Seen,
    k: usize,
    bf16: bool,
) -> Chosen {
    let queries = seen.rows.len();
    if queries == 0 {
        return Chosen::default();
    }
    let heads = weights.len() / queries;
    let groups: Vec<Range<usize>> = groups(seen, heads, pool.count());
    let rows: usize = seen.rows.iter().map(ExactSizeIterator::len).sum();
    let cost = rows * heads * keys.width();
    let found = pool.each(groups.len(), cost, |group| {
        let group = groups[group].clone();
        let q = &q[group.start * heads * keys.width()..group.end * heads * keys.width()];
        let weights = &weights[group.start * heads..group.end * heads];
        scan(pool, q, weights, keys, &seen.rows[group], k, bf16)
    });
    let mut chosen = Chosen::with_capacity(queries);
    let mut found = found.into_iter().flatten();
    for rows in &seen.rows {
        let best = found.next().expect("a list for each query");
        if rows.len() <= k {
            chosen.push([rows.clone()]);
        } else {
            chosen.push_rows(best);
        }
    }
    chosen
}

/// Neighbouring queries of one sequence, few enough that every thread has work.
fn groups(seen: &Seen, heads: usize, threads: usize) -> Vec<Range<usize>> {
    let most = (ROWS / heads.max(1)).max(1);
    let size = seen.rows.len().div_ceil(threads * 2).clamp(1, most);
    let mut groups = Vec::new();
    let mut start = 0;
    for query in 1..=seen.rows.len() {
        let whole = query - start == size;
        if query == seen.rows.len() || whole || seen.rows[query].start != seen.rows[start].start {
            groups.push(start..query);
            start = query;
        }
    }
    groups
}

/// The best rows of each query of a group, ascending.
fn scan(
    pool: &Pool,
    q: &[f32],
    weights: &[f32],
    keys: &RowPool,
    seen: &[Range<u32>],
    k: usize,
    round: bool,
) -> Vec<Vec<u32>> {
    let (width, queries) = (keys.width(), seen.len());
    let heads = weights.len() / queries;
    let mut best: Vec<Best> = (0..queries).map(|_| Best::new(k)).collect();
    let first = seen[0].start;
    let last = seen
        .iter()
        .filter(|rows| rows.len() > k)
        .map(|rows| rows.end)
        .max()
        .unwrap_or(first);
    let mut block = vec![0.0; COLUMNS * width];
    let mut turned = vec![0.0; width * COLUMNS];
    let mut products = vec![0.0; q.len() / width * COLUMNS];
    let mut scores = [0.0_f32; COLUMNS];
    for start in (first..last).step_by(COLUMNS) {
        let end = last.min(start + COLUMNS as u32);
        let count = (end - start) as usize;
        keys.read_run(start..end, &mut block[..count * width]);
        for (key, row) in block[..count * width].chunks_exact(width).enumerate() {
            row.iter()
                .enumerate()
                .for_each(|(c, x)| turned[c * COLUMNS + key] = *x);
        }
        columns(pool.isa(), q, &turned, width, &mut products);
        for (query, best) in best.iter_mut().enumerate() {
            let visible = seen[query].end.min(end).saturating_sub(start) as usize;
            if visible == 0 || seen[query].len() <= k {
                continue;
            }
            let products = &products[query * heads * COLUMNS..][..heads * COLUMNS];
            let weights = &weights[query * heads..][..heads];
            score(products, weights, round, &mut scores);
            best.offer(start, &scores[..visible]);
        }
    }
    best.into_iter().map(Best::rows).collect()
}

/// `Σ_h w_h · relu(p_h)` for each key of a block, in the order of the heads.
fn score(products: &[f32], weights: &[f32], round: bool, scores: &mut [f32; COLUMNS]) {
    scores.fill(0.0);
    for (products, weight) in products.as_chunks::<COLUMNS>().0.iter().zip(weights) {
        if round {
            for (score, product) in scores.iter_mut().zip(products) {
                *score += bf16(bf16(*product).max(0.0) * weight);
            }
        } else {
            for (score, product) in scores.iter_mut().zip(products) {
                *score += product.max(0.0) * weight;
            }
        }
    }
    if round {
        scores.iter_mut().for_each(|score| *score = bf16(*score));
    }
}

/// The best `k` of a stream of scores, ties to the earlier row.
struct Best {
    k: usize,
    /// Candidates, at most twice as many as are kept.
    held: Vec<(f32, u32)>,
    /// The worst score among the last `k` best: later rows must beat it.
    threshold: f32,
}

impl Best {
    fn new(k: usize) -> Self {
        Self {
            k,
            held: Vec::new(),
            threshold: f32::NEG_INFINITY,
        }
    }

    fn offer(&mut self, first: u32, scores: &[f32]) {
        // Most blocks hold nothing once the threshold has risen, and this loop is all vectors.
        let threshold = self.threshold;
        if !scores
            .iter()
            .fold(false, |any, score| any | (*score > threshold))
        {
            return;
        }
        for (row, score) in (first..).zip(scores) {
            if *score > self.threshold {
                self.held.push((*score, row));
                if self.held.len() >= 2 * self.k {
                    self.trim();
                }
            }
        }
    }

    fn trim(&mut self) {
        if self.held.len() > self.k {
            self.held.select_nth_unstable_by(self.k - 1, better);
            self.held.truncate(self.k);
            self.threshold = self.held[self.k - 1].0;
        }
    }

    fn rows(mut self) -> Vec<u32> {
        self.trim();
        let mut rows: Vec<u32> = self.held.into_iter().map(|(_, row)| row).collect();
        rows.sort_unstable();
        rows
    }
}

/// Higher scores first, then lower rows.
fn better(a: &(f32, u32), b: &(f32, u32)) -> Ordering {
    b.0.partial_cmp(&a.0)
        .unwrap_or(Ordering::Equal)
        .then(a.1.cmp(&b.1))
}

/// Appends the indices of the `k` largest of `row`, ascending, ties to the lower index.
pub(crate) fn top_k(row: &[f32], k: usize, out: &mut Vec<u32>) {
    let mut all: Vec<(f32, u32)> = row.iter().copied().zip(0..).collect();
    let k = k.min(all.len());
    if k == 0 {
        return;
    }
    // Not a number sorts last, so that every order here is total.
    all.iter_mut()
        .filter(|(x, _)| x.is_nan())
        .for_each(|(x, _)| *x = f32::NEG_INFINITY);
    all.select_nth_unstable_by(k - 1, better);
    let first = out.len();
    out.extend(all[..k].iter().map(|(_, index)| *index));
    out[first..].sort_unstable();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_lower_index() {
        let mut out = Vec::new();
        top_k(&[1.0, 3.0, 3.0, 0.0, 3.0, f32::NAN], 2, &mut out);
        assert_eq!(out, [1, 2]);
        top_k(&[-0.0, 0.0, -1.0], 1, &mut out);
        assert_eq!(out, [1, 2, 0]);
    }

    #[test]
    fn a_stream_gives_what_sorting_all_would() {
        for k in [1, 2, 7] {
            let scores: Vec<f32> = (0..500_u32).map(|i| (i * 7919 % 83) as f32).collect();
            let mut best = Best::new(k);
            for (block, scores) in scores.chunks(64).enumerate() {
                best.offer(block as u32 * 64, scores);
            }
            let mut want = Vec::new();
            top_k(&scores, k, &mut want);
            assert_eq!(best.rows(), want, "best {k}");
        }
    }
}
