//! The lightning indexer: scores of many keys, and the best of them.

use std::cmp::Ordering;
use std::ops::Range;

use deepseek_core::operands::{Blocks, Runs, ScoreRounding, TopK};
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
    seen: &Runs,
    top: &TopK,
) -> (Runs, Option<Runs>) {
    let queries = seen.queries();
    let mut chosen = Runs::with_capacity(queries);
    let mut candidates = top.blocks.map(|_| Runs::with_capacity(queries));
    if queries == 0 {
        return (chosen, candidates);
    }
    let heads = weights.len() / queries;
    let groups = groups(seen, heads, pool.count());
    let rows: usize = (0..queries).map(|query| seen.count(query)).sum();
    let cost = rows * heads * keys.width();
    let found = pool.each(groups.len(), cost, |group| {
        let group = groups[group].clone();
        let q = &q[group.start * heads * keys.width()..group.end * heads * keys.width()];
        let weights = &weights[group.start * heads..group.end * heads];
        scan(pool, q, weights, keys, (seen, group), top)
    });
    for (query, best) in found.into_iter().flatten().enumerate() {
        let runs = seen.runs(query);
        if seen.count(query) <= top.k {
            chosen.push(runs.iter().cloned());
            if let Some(candidates) = &mut candidates {
                candidates.push(runs.iter().cloned());
            }
            continue;
        }
        let blocks = best.peaks.as_deref().zip(top.blocks);
        let blocks = blocks.map(|(peaks, blocks)| kept_places(peaks, blocks, seen.count(query)));
        chosen.push_rows(rows_at(runs, best.places()));
        if let (Some(candidates), Some(places)) = (&mut candidates, blocks) {
            candidates.push_rows(rows_at(runs, places));
        }
    }
    (chosen, candidates)
}

/// The places of the blocks that stay, ascending.
fn kept_places(peaks: &[f32], blocks: Blocks, count: usize) -> Vec<u32> {
    let mut peaks = peaks.to_vec();
    if let Some(last) = peaks.last_mut() {
        *last = f32::INFINITY;
    }
    let mut kept = Vec::new();
    top_k(&peaks, blocks.keep, &mut kept);
    let places = kept.into_iter().flat_map(|block| {
        let first = block as usize * blocks.size;
        first as u32..count.min(first + blocks.size) as u32
    });
    places.collect()
}

/// The rows at ascending places of the runs.
fn rows_at(runs: &[Range<u32>], places: Vec<u32>) -> impl Iterator<Item = u32> + '_ {
    let (mut run, mut before) = (0, 0);
    places.into_iter().map(move |place| {
        while place - before >= runs[run].len() as u32 {
            before += runs[run].len() as u32;
            run += 1;
        }
        runs[run].start + (place - before)
    })
}

/// Neighbouring queries that see one run from the same row on, few enough that every thread has
/// work. A query that sees several runs is a group of its own.
fn groups(seen: &Runs, heads: usize, threads: usize) -> Vec<Range<usize>> {
    let most = (ROWS / heads.max(1)).max(1);
    let size = seen.queries().div_ceil(threads * 2).clamp(1, most);
    let first = |query| match seen.runs(query) {
        [] => Some(None),
        [run] => Some(Some(run.start)),
        _ => None,
    };
    let mut groups = Vec::new();
    let mut start = 0;
    for query in 1..=seen.queries() {
        let goes_on = query < seen.queries()
            && query - start < size
            && first(query).is_some_and(|row| first(start) == Some(row));
        if !goes_on {
            groups.push(start..query);
            start = query;
        }
    }
    groups
}

/// What a scan found for one query.
struct Best {
    top: Top,
    /// The best score of each block of its places, where blocks are asked for.
    peaks: Option<Vec<f32>>,
}

impl Best {
    /// Takes in the `visible` first keys of a block that begins at the place `start`.
    fn take(
        &mut self,
        start: usize,
        visible: usize,
        products: &[f32],
        weights: &[f32],
        top: &TopK,
    ) {
        let mut scores = [0.0_f32; COLUMNS];
        score(products, weights, top.round, &mut scores);
        self.top.offer(start as u32, &scores[..visible]);
        if let (Some(peaks), Some(blocks)) = (&mut self.peaks, top.blocks) {
            for (place, score) in (start..).zip(&scores[..visible]) {
                let peak = &mut peaks[place / blocks.size];
                *peak = peak.max(*score);
            }
        }
    }

    fn places(self) -> Vec<u32> {
        self.top.places()
    }
}

/// The best of each query of a group. Rows are counted by their place among those that are seen.
fn scan(
    pool: &Pool,
    q: &[f32],
    weights: &[f32],
    keys: &RowPool,
    (seen, group): (&Runs, Range<usize>),
    top: &TopK,
) -> Vec<Best> {
    let (width, queries) = (keys.width(), group.len());
    let heads = weights.len() / queries;
    let counts: Vec<usize> = group.clone().map(|query| seen.count(query)).collect();
    let scored = |count: usize| count > top.k;
    let mut best: Vec<Best> = counts
        .iter()
        .map(|count| Best {
            top: Top::new(top.k),
            peaks: top
                .blocks
                .filter(|_| scored(*count))
                .map(|blocks| vec![f32::NEG_INFINITY; count.div_ceil(blocks.size)]),
        })
        .collect();
    // All queries of a group begin at the same row, so the longest sight covers the others.
    let longest = (0..queries).max_by_key(|query| counts[*query]).unwrap_or(0);
    let runs = seen.runs(group.start + longest);
    let last = if scored(counts[longest]) {
        counts[longest]
    } else {
        0
    };
    let mut reader = Reader { runs, taken: 0 };
    let block = COLUMNS * width;
    let rooms = [block, block, q.len() / width * COLUMNS];
    pool.scratch(rooms, |[block, turned, products]| {
        for start in (0..last).step_by(COLUMNS) {
            let count = COLUMNS.min(last - start);
            reader.read(keys, &mut block[..count * width]);
            for (key, row) in block[..count * width].chunks_exact(width).enumerate() {
                row.iter()
                    .enumerate()
                    .for_each(|(c, x)| turned[c * COLUMNS + key] = *x);
            }
            columns(pool.isa(), q, turned, width, products);
            for (query, best) in best.iter_mut().enumerate() {
                let visible = counts[query].min(start + count).saturating_sub(start);
                if visible == 0 || !scored(counts[query]) {
                    continue;
                }
                let products = &products[query * heads * COLUMNS..][..heads * COLUMNS];
                let weights = &weights[query * heads..][..heads];
                best.take(start, visible, products, weights, top);
            }
        }
    });
    best
}

/// Reads rows of runs one after the other.
struct Reader<'a> {
    runs: &'a [Range<u32>],
    /// Rows of the first run that have been read.
    taken: u32,
}

impl Reader<'_> {
    /// Reads as many rows as `out` holds.
    fn read(&mut self, keys: &RowPool, out: &mut [f32]) {
        let mut rest = out;
        while !rest.is_empty() {
            let run = self.runs[0].start + self.taken..self.runs[0].end;
            let count = run.len().min(rest.len() / keys.width());
            let (now, later) = rest.split_at_mut(count * keys.width());
            keys.read_run(run.start..run.start + count as u32, now);
            self.taken += count as u32;
            if self.taken as usize == self.runs[0].len() {
                (self.runs, self.taken) = (&self.runs[1..], 0);
            }
            rest = later;
        }
    }
}

/// `Σ_h w_h · relu(p_h)` for each key of a block, in the order of the heads.
fn score(
    products: &[f32],
    weights: &[f32],
    round: Option<ScoreRounding>,
    scores: &mut [f32; COLUMNS],
) {
    scores.fill(0.0);
    for (products, weight) in products.as_chunks::<COLUMNS>().0.iter().zip(weights) {
        if round.is_some() {
            for (score, product) in scores.iter_mut().zip(products) {
                *score += bf16(bf16(*product).max(0.0) * weight);
            }
        } else {
            for (score, product) in scores.iter_mut().zip(products) {
                *score += product.max(0.0) * weight;
            }
        }
    }
    if round == Some(ScoreRounding::ProductsAndSum) {
        scores.iter_mut().for_each(|score| *score = bf16(*score));
    }
}

/// The best `k` of a stream of scores, ties to the earlier place.
struct Top {
    k: usize,
    /// Candidates, at most twice as many as are kept.
    held: Vec<(f32, u32)>,
    /// The worst score among the last `k` best: later ones must beat it.
    threshold: f32,
}

impl Top {
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

    fn places(mut self) -> Vec<u32> {
        self.trim();
        let mut places: Vec<u32> = self.held.into_iter().map(|(_, place)| place).collect();
        places.sort_unstable();
        places
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
    if k == 1 && !row.is_empty() {
        // What drafts ask of a whole vocabulary: no list of all is made.
        let best = |best: (f32, u32), (x, index): (f32, u32)| match x > best.0 {
            true => (x, index),
            false => best,
        };
        let least = (f32::NEG_INFINITY, 0);
        out.push(row.iter().copied().zip(0..).fold(least, best).1);
        return;
    }
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
            let mut best = Top::new(k);
            for (block, scores) in scores.chunks(64).enumerate() {
                best.offer(block as u32 * 64, scores);
            }
            let mut want = Vec::new();
            top_k(&scores, k, &mut want);
            assert_eq!(best.places(), want, "best {k}");
        }
    }
}
