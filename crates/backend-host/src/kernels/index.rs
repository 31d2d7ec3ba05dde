//! The lightning indexer: scores of many keys, and the best of them.
#![allow(unsafe_code, reason = "compiled for each instruction set")]

use std::cmp::Ordering;
use std::ops::Range;

use deepseek_core::operands::{Blocks, Runs, ScoreRounding, TopK};
use deepseek_core::quant::bf16;

use super::lanes::{COLUMNS, Isa, Lanes, columns, for_each_isa};
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
    let parts = parts(seen, groups.len(), pool.count());
    let found = pool.each(groups.len() * parts.len(), cost, |index| {
        let (group, part) = (&groups[index / parts.len()], &parts[index % parts.len()]);
        let q = &q[group.start * heads * keys.width()..group.end * heads * keys.width()];
        let weights = &weights[group.start * heads..group.end * heads];
        scan(
            pool,
            q,
            weights,
            keys,
            (seen, group.clone(), part.clone()),
            top,
        )
    });
    let mut found = found.into_iter();
    let joined = groups.iter().flat_map(|_| {
        let parts = found.by_ref().take(parts.len());
        let join =
            |a: Vec<Best>, b: Vec<Best>| a.into_iter().zip(b).map(|(a, b)| a.join(b)).collect();
        parts.reduce(join).unwrap_or_default()
    });
    for (query, best) in joined.enumerate() {
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

/// Keys that are worth a thread of their own.
const PART: usize = 64 * COLUMNS;

/// The places of keys, in parts: as many that every thread has work, where there are few groups.
fn parts(seen: &Runs, groups: usize, threads: usize) -> Vec<Range<usize>> {
    let longest = (0..seen.queries()).map(|query| seen.count(query)).max();
    let longest = longest.unwrap_or(0);
    let count = if groups < threads * 2 && threads > 1 {
        (threads * 2).div_ceil(groups).min(longest.div_ceil(PART))
    } else {
        1
    };
    let size = longest
        .div_ceil(count.max(1))
        .next_multiple_of(COLUMNS)
        .max(COLUMNS);
    let part = |start: usize| start..start + size;
    (0..longest.max(1)).step_by(size).map(part).collect()
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
        isa: Isa,
        start: usize,
        visible: usize,
        products: &[f32],
        weights: &[f32],
        top: &TopK,
    ) {
        let mut scores = [0.0_f32; COLUMNS];
        // Most blocks hold nothing once the threshold has risen.
        let threshold = self.top.threshold;
        if score(isa, products, weights, top.round, threshold, &mut scores) {
            self.top.offer(start as u32, &scores[..visible]);
        }
        if let (Some(peaks), Some(blocks)) = (&mut self.peaks, top.blocks) {
            for (place, score) in (start..).zip(&scores[..visible]) {
                let peak = &mut peaks[place / blocks.size];
                *peak = peak.max(*score);
            }
        }
    }

    /// The best of two parts.
    fn join(mut self, other: Self) -> Self {
        self.top.join(other.top);
        if let (Some(peaks), Some(others)) = (&mut self.peaks, other.peaks) {
            for (peak, other) in peaks.iter_mut().zip(others) {
                *peak = peak.max(other);
            }
        }
        self
    }

    fn places(self) -> Vec<u32> {
        self.top.places()
    }
}

/// The best of each query of a group, among the keys of a part. Rows are counted by their place among
/// those that are seen.
fn scan(
    pool: &Pool,
    q: &[f32],
    weights: &[f32],
    keys: &RowPool,
    (seen, group, part): (&Runs, Range<usize>, Range<usize>),
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
    // All queries of a group begin at the same row, so the longest list covers the others.
    let longest = (0..queries).max_by_key(|query| counts[*query]).unwrap_or(0);
    let runs = seen.runs(group.start + longest);
    let last = if scored(counts[longest]) {
        counts[longest]
    } else {
        0
    };
    let last = last.min(part.end);
    let mut reader = Reader::at(runs, part.start as u32);
    let block = COLUMNS * width;
    let rooms = [block, block, q.len() / width * COLUMNS];
    pool.scratch(rooms, |[block, turned, products]| {
        for start in (part.start..last).step_by(COLUMNS) {
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
                best.take(pool.isa(), start, visible, products, weights, top);
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

impl<'a> Reader<'a> {
    /// Begins behind so many rows, or at the end.
    fn at(runs: &'a [Range<u32>], mut taken: u32) -> Self {
        let before = runs.iter().take_while(|run| {
            let passes = taken >= run.len() as u32;
            taken -= if passes { run.len() as u32 } else { 0 };
            passes
        });
        let before = before.count();
        Self {
            runs: &runs[before..],
            taken,
        }
    }

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

for_each_isa! {
    /// `Σ_h w_h · relu(p_h)` for each key of a block, in the order of the heads, and whether one of them is
    /// above `threshold`.
    score(
        products: &[f32],
        weights: &[f32],
        round: Option<ScoreRounding>,
        threshold: f32,
        scores: &mut [f32; COLUMNS],
    ) -> bool = score_on
}

#[inline(always)]
unsafe fn score_on<L: Lanes>(
    products: &[f32],
    weights: &[f32],
    round: Option<ScoreRounding>,
    threshold: f32,
    scores: &mut [f32; COLUMNS],
) -> bool {
    let mut sums = [0.0; COLUMNS];
    for (products, weight) in products.as_chunks::<COLUMNS>().0.iter().zip(weights) {
        if round.is_some() {
            for (sum, product) in sums.iter_mut().zip(products) {
                *sum += bf16(bf16(*product).max(0.0) * weight);
            }
        } else {
            for (sum, product) in sums.iter_mut().zip(products) {
                *sum += product.max(0.0) * weight;
            }
        }
    }
    if round == Some(ScoreRounding::ProductsAndSum) {
        sums.iter_mut().for_each(|sum| *sum = bf16(*sum));
    }
    *scores = sums;
    sums.iter().fold(false, |any, sum| any | (*sum > threshold))
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

    /// Takes in what another found among other places.
    fn join(&mut self, other: Self) {
        self.held.extend(other.held);
        self.trim();
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
        let best =
            |best: (f32, u32), (x, index): (f32, u32)| if x > best.0 { (x, index) } else { best };
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
    use deepseek_core::RowFormat;

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
            let mut halves = [0, 256].map(|start| {
                let mut best = Top::new(k);
                for (block, scores) in scores[start..].chunks(64).take(4).enumerate() {
                    best.offer((start + block * 64) as u32, scores);
                }
                best
            });
            let [first, second] = &mut halves;
            second.join(std::mem::replace(first, Top::new(k)));
            let [_, joined] = halves;
            assert_eq!(joined.places(), want, "best {k} of two parts");
        }
    }

    /// What threads find apart is what one finds.
    #[test]
    fn keys_are_shared_among_threads() {
        let (width, heads, count) = (32, 3, 3 * PART + 100);
        let number = |at: usize| (at * 7919 % 1009) as f32 / 500.0 - 1.0;
        let mut keys =
            RowPool::new(Isa::available()[0], RowFormat::F32, width, count).expect("room");
        let places: Vec<u32> = (0..count as u32).collect();
        let rows: Vec<f32> = (0..count * width).map(number).collect();
        keys.write(&places, &rows);
        let end = count as u32;
        // One run, several with a hole, few keys, none.
        let seen: [&[Range<u32>]; 4] = [
            &[Range { start: 0, end }],
            &[3..PART as u32 + 7, PART as u32 + 9..end - 1],
            &[Range { start: 5, end: 45 }],
            &[],
        ];
        let mut runs = Runs::with_capacity(seen.len());
        seen.iter().for_each(|own| runs.push(own.iter().cloned()));
        let q: Vec<f32> = (0..seen.len() * heads * width)
            .map(|at| number(at + 3))
            .collect();
        let weights: Vec<f32> = (0..seen.len() * heads).map(|at| number(at + 5)).collect();
        for blocks in [None, Some(Blocks { size: 6, keep: 50 })] {
            for round in [None, Some(ScoreRounding::ProductsAndSum)] {
                let top = TopK {
                    k: 70,
                    blocks,
                    round,
                };
                let [alone, together] = [1, 3].map(|threads| {
                    index_topk(&Pool::new(threads), &q, &weights, &keys, &runs, &top)
                });
                assert_eq!(alone, together, "{top:?}");
            }
        }
    }
}
