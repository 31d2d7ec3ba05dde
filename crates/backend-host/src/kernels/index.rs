//! The lightning indexer: scores of many keys, and the best of them.
#![allow(unsafe_code, reason = "compiled for each instruction set")]

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use deepseek_core::operands::{Blocks, Runs, ScoreRounding, TopK};
use deepseek_core::quant::bf16;

use super::form::{Form, Known, for_each_form};
use super::lanes::{COLUMNS, Isa, Lanes, columns_on, for_each_isa};
use super::pool::Pool;
use super::rows::{Reader, RowPool};

/// Queries times heads that share a block of turned keys: enough that turning costs little beside
/// the products, few enough that these stay in a core's own cache.
const ROWS: usize = 512;

/// Memory that searches take turns in.
#[derive(Debug, Default)]
pub(crate) struct Searches(Mutex<Vec<Search>>);

/// Where [`Searches::run`] puts what it finds.
pub(crate) struct Found<'a> {
    /// The best rows of each query.
    pub(crate) rows: &'a mut Runs,
    /// The rows of the best blocks, where those are asked for.
    pub(crate) candidates: Option<&'a mut Runs>,
}

impl Searches {
    /// See [`deepseek_core::Kernels::index_topk`]. `q: [t, heads, width]`, of which something is known, and
    /// `weights: [t, heads]`; `seen` says which keys each query sees.
    ///
    /// Keys are taken in blocks of [`COLUMNS`], turned so that lanes run over keys: a score is a sum
    /// over channels, or pairs of them, in order, and needs no folding. Scores pass through a threshold at once,
    /// so a query holds no more than twice what it keeps.
    pub(crate) fn run(
        &self,
        pool: &Pool,
        (q, known): (&[f32], Known),
        weights: &[f32],
        keys: (&RowPool, &Runs),
        top: &TopK,
        found: Found<'_>,
    ) {
        // Nothing that holds the lock can fail halfway, so a poisoned one is as good.
        let all = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut search = all().pop().unwrap_or_default();
        let form = Form::of_rows(pool.isa(), known, [keys.0.format()]);
        form.rows(pool, q, keys.0.width(), |q| {
            search.run((pool, form), (q, weights), keys, top, found);
        });
        all().push(search);
    }
}

/// What one search works in.
#[derive(Debug, Default)]
struct Search {
    /// Queries that are scored together.
    groups: Vec<Range<usize>>,
    /// Places of keys that are scored together.
    parts: Vec<Range<usize>>,
    /// What was found for the queries of a group in a part, the parts of a group one after the other.
    best: Vec<Vec<Best>>,
    /// Blocks that stay.
    kept: Vec<u32>,
}

impl Search {
    /// See [`Searches::run`], of queries that are laid out.
    fn run(
        &mut self,
        (pool, form): (&Pool, Form),
        (q, weights): (&[f32], &[f32]),
        (keys, seen): (&RowPool, &Runs),
        top: &TopK,
        mut found: Found<'_>,
    ) {
        let queries = seen.queries();
        found.rows.clear();
        if let Some(candidates) = &mut found.candidates {
            candidates.clear();
        }
        if queries == 0 {
            return;
        }
        let heads = weights.len() / queries;
        groups(seen, heads, pool.count(), &mut self.groups);
        let size = heads * keys.width();
        let count = self.groups.len();
        parts(seen, size, count, pool.count(), &mut self.parts);
        let (groups, parts) = (&self.groups, &self.parts);
        let turns = groups.len() * parts.len();
        if self.best.len() < turns {
            self.best.resize_with(turns, Vec::new);
        }
        let best = &mut self.best[..turns];
        let rows: usize = (0..queries).map(|query| seen.count(query)).sum();
        let cost = rows * heads * keys.width();
        pool.pieces(best, 1, cost, |index, best| {
            let (group, part) = (&groups[index / parts.len()], &parts[index % parts.len()]);
            let wide = form.wide(keys.width());
            let q = &q[group.start * heads * wide..group.end * heads * wide];
            let weights = &weights[group.start * heads..group.end * heads];
            let seen = (seen, group.clone(), part.clone());
            scan((pool, form), (q, weights), keys, seen, top, &mut best[0]);
        });
        for (group, best) in groups.iter().zip(best.chunks_exact_mut(parts.len())) {
            let (first, others) = best.split_first_mut().expect("keys have a part");
            for (query, best) in group.clone().zip(first) {
                for other in &mut *others {
                    best.join(&mut other[query - group.start]);
                }
                let (runs, count) = (seen.runs(query), seen.count(query));
                if count <= top.k {
                    found.rows.push(runs.iter().cloned());
                    if let Some(candidates) = &mut found.candidates {
                        candidates.push(runs.iter().cloned());
                    }
                    continue;
                }
                if let (Some(candidates), Some(blocks)) = (&mut found.candidates, top.blocks) {
                    let places = best.kept_places(pool, blocks, count, &mut self.kept);
                    candidates.push_rows(rows_at(runs, places));
                }
                found.rows.push_rows(rows_at(runs, best.top.places()));
            }
        }
    }
}

/// The rows at ascending places of the runs.
fn rows_at(runs: &[Range<u32>], places: impl Iterator<Item = u32>) -> impl Iterator<Item = u32> {
    let (mut run, mut before) = (0, 0);
    places.map(move |place| {
        while place - before >= runs[run].len() as u32 {
            before += runs[run].len() as u32;
            run += 1;
        }
        runs[run].start + (place - before)
    })
}

/// Neighbouring queries that see one run from the same row on, few enough that every thread has
/// work. A query that sees several runs is a group of its own.
fn groups(seen: &Runs, heads: usize, threads: usize, groups: &mut Vec<Range<usize>>) {
    let most = (ROWS / heads.max(1)).max(1);
    let size = seen.queries().div_ceil(threads * 2).clamp(1, most);
    let first = |query| match seen.runs(query) {
        [] => Some(None),
        [run] => Some(Some(run.start)),
        _ => None,
    };
    groups.clear();
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
}

/// Multiply-adds of a part that is worth a thread of its own.
const PART: usize = 1 << 18;

/// The places of keys, of `size` numbers each for all heads, in parts: as many that every thread has work, where
/// there are few groups.
fn parts(seen: &Runs, size: usize, groups: usize, threads: usize, parts: &mut Vec<Range<usize>>) {
    let longest = (0..seen.queries()).map(|query| seen.count(query)).max();
    let longest = longest.unwrap_or(0);
    let count = if groups < threads * 2 && threads > 1 {
        let most = (longest * size).div_ceil(PART);
        (threads * 2).div_ceil(groups).min(most)
    } else {
        1
    };
    let size = longest
        .div_ceil(count.max(1))
        .next_multiple_of(COLUMNS)
        .max(COLUMNS);
    let part = |start: usize| start..start + size;
    parts.clear();
    parts.extend((0..longest.max(1)).step_by(size).map(part));
}

/// What a scan found for one query.
#[derive(Debug, Default)]
struct Best {
    top: Top,
    /// The best score of each block of its places, where blocks are asked for.
    peaks: Vec<f32>,
}

impl Best {
    /// Nothing yet, of `count` keys that are seen.
    fn clear(&mut self, count: usize, top: &TopK) {
        self.top.clear(top.k);
        let blocks = top.blocks.filter(|_| count > top.k);
        let blocks = blocks.map_or(0, |blocks| count.div_ceil(blocks.size));
        self.peaks.clear();
        self.peaks.resize(blocks, f32::NEG_INFINITY);
    }

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
        if let Some(blocks) = top.blocks {
            for (place, score) in (start..).zip(&scores[..visible]) {
                let peak = &mut self.peaks[place / blocks.size];
                *peak = peak.max(*score);
            }
        }
    }

    /// Takes in what was found in another part.
    fn join(&mut self, other: &mut Self) {
        self.top.join(&mut other.top);
        for (peak, other) in self.peaks.iter_mut().zip(&other.peaks) {
            *peak = peak.max(*other);
        }
    }

    /// The places of the blocks that stay, ascending, of `count` keys that are seen. Whatever its best row, the
    /// last block does.
    fn kept_places<'a>(
        &mut self,
        pool: &Pool,
        blocks: Blocks,
        count: usize,
        kept: &'a mut Vec<u32>,
    ) -> impl Iterator<Item = u32> + use<'a> {
        if let Some(last) = self.peaks.last_mut() {
            *last = f32::INFINITY;
        }
        kept.resize(blocks.keep.min(self.peaks.len()), 0);
        top_k(pool, &self.peaks, kept);
        kept.iter().flat_map(move |block| {
            let first = *block as usize * blocks.size;
            first as u32..count.min(first + blocks.size) as u32
        })
    }
}

/// The best of each query of a group, among the keys of a part. Rows are counted by their place among
/// those that are seen.
fn scan(
    (pool, form): (&Pool, Form),
    (q, weights): (&[f32], &[f32]),
    keys: &RowPool,
    (seen, group, part): (&Runs, Range<usize>, Range<usize>),
    top: &TopK,
    best: &mut Vec<Best>,
) {
    let (width, queries) = (keys.width(), group.len());
    let heads = weights.len() / queries;
    let count = |query: usize| seen.count(group.start + query);
    let scored = |count: usize| count > top.k;
    best.resize_with(queries, Best::default);
    for (query, best) in best.iter_mut().enumerate() {
        best.clear(count(query), top);
    }
    // All queries of a group begin at the same row, so the longest list covers the others.
    let longest = (0..queries).max_by_key(|query| count(*query)).unwrap_or(0);
    let runs = seen.runs(group.start + longest);
    let longest = count(longest);
    let last = if scored(longest) { longest } else { 0 };
    let last = last.min(part.end);
    let mut reader = Reader::at(runs, part.start as u32);
    let wide = form.wide(width);
    let rooms = [width, wide, q.len() / wide].map(|numbers| numbers * COLUMNS);
    pool.scratch(rooms, |[block, turned, products]| {
        for start in (part.start..last).step_by(COLUMNS) {
            let some = COLUMNS.min(last - start);
            let block = &mut block[..some * width];
            reader.read(keys, block, width);
            form.rows(pool, block, width, |laid| turn(laid, wide, turned));
            columns(form, q, turned, wide, products);
            for (query, best) in best.iter_mut().enumerate() {
                let sees = count(query);
                let visible = sees.min(start + some).saturating_sub(start);
                if visible == 0 || !scored(sees) {
                    continue;
                }
                let products = &products[query * heads * COLUMNS..][..heads * COLUMNS];
                let weights = &weights[query * heads..][..heads];
                best.take(pool.isa(), start, visible, products, weights, top);
            }
        }
    });
}

/// Writes rows of `wide` numbers, a multiple of four, as columns among [`COLUMNS`].
fn turn(rows: &[f32], wide: usize, turned: &mut [f32]) {
    /// Rows and columns that are turned in registers.
    const SIDE: usize = 4;

    let turned = turned.as_chunks_mut::<COLUMNS>().0;
    let some = rows.chunks_exact(SIDE * wide);
    let (done, rest) = (rows.len() - some.remainder().len(), some.remainder());
    for (rows, first) in some.zip((0..).step_by(SIDE)) {
        let rows: [&[[f32; SIDE]]; SIDE] =
            std::array::from_fn(|row| rows[row * wide..][..wide].as_chunks().0);
        for (four, turned) in turned.as_chunks_mut::<SIDE>().0[..wide / SIDE]
            .iter_mut()
            .enumerate()
        {
            let square = rows.map(|row| row[four]);
            for (column, turned) in turned.iter_mut().enumerate() {
                turned[first..first + SIDE].copy_from_slice(&square.map(|row| row[column]));
            }
        }
    }
    for (row, key) in rest.chunks_exact(wide).zip(done / wide..) {
        turned
            .iter_mut()
            .zip(row)
            .for_each(|(turned, x)| turned[key] = *x);
    }
}

for_each_form! {
    /// See [`columns_on`]; both sides are laid out.
    columns(a: &[f32], b: &[f32], n: usize, out: &mut [f32]) = columns_on
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
#[derive(Debug, Default)]
struct Top {
    k: usize,
    /// Candidates, at most twice as many as are kept.
    held: Vec<(f32, u32)>,
    /// The worst score among the last `k` best: later ones must beat it.
    threshold: f32,
}

impl Top {
    /// Nothing yet, and `k` to be kept.
    fn clear(&mut self, k: usize) {
        self.k = k;
        self.held.clear();
        self.threshold = f32::NEG_INFINITY;
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
    fn join(&mut self, other: &mut Self) {
        self.held.append(&mut other.held);
        self.trim();
    }

    /// The places of the best, ascending.
    fn places(&mut self) -> impl Iterator<Item = u32> {
        self.trim();
        self.held.sort_unstable_by_key(|(_, place)| *place);
        self.held.iter().map(|(_, place)| *place)
    }
}

/// Higher scores first, then lower rows.
fn better(a: &(f32, u32), b: &(f32, u32)) -> Ordering {
    b.0.partial_cmp(&a.0)
        .unwrap_or(Ordering::Equal)
        .then(a.1.cmp(&b.1))
}

/// Writes the indices of the largest numbers of `row` to `out`, as many as it holds, ascending, ties to the
/// lower index. What is no number counts as the least.
pub(crate) fn top_k(pool: &Pool, row: &[f32], out: &mut [u32]) {
    let number = |x: &f32| if x.is_nan() { f32::NEG_INFINITY } else { *x };
    match out {
        [] => {}
        [only] => {
            // What drafts ask of a whole vocabulary: no second look at it is taken.
            let best = |best: (f32, u32), (x, index): (f32, u32)| {
                if x > best.0 { (x, index) } else { best }
            };
            let least = (f32::NEG_INFINITY, 0);
            *only = row.iter().copied().zip(0..).fold(least, best).1;
        }
        out => pool.scratch([row.len()], |[all]| {
            all.iter_mut().zip(row).for_each(|(to, x)| *to = number(x));
            let descending = |a: &f32, b: &f32| b.partial_cmp(a).unwrap_or(Ordering::Equal);
            let least = *all.select_nth_unstable_by(out.len() - 1, descending).1;
            // Of those that equal the least that is taken, the first ones are.
            let above = row.iter().filter(|x| **x > least).count();
            let mut ties = out.len() - above;
            let taken = row.iter().map(number).zip(0..).filter(|(x, _)| {
                let is_tie = *x == least && ties > 0;
                ties -= usize::from(is_tie);
                is_tie || *x > least
            });
            out.iter_mut()
                .zip(taken)
                .for_each(|(out, (_, index))| *out = index);
        }),
    }
}

#[cfg(test)]
mod tests {
    use deepseek_core::{Fp4Scale, RowFormat};

    use super::*;

    fn best_of(row: &[f32], k: usize) -> Vec<u32> {
        let mut out = vec![u32::MAX; k];
        top_k(&Pool::new(1), row, &mut out);
        out
    }

    fn top(k: usize) -> Top {
        let mut top = Top::default();
        top.clear(k);
        top
    }

    #[test]
    fn ties_go_to_the_lower_index() {
        let row = [1.0, 3.0, 3.0, 0.0, 3.0, f32::NAN];
        assert_eq!(best_of(&row, 2), [1, 2]);
        assert_eq!(best_of(&row, 5), [0, 1, 2, 3, 4]);
        assert_eq!(best_of(&row, 6), [0, 1, 2, 3, 4, 5]);
        assert_eq!(best_of(&[-0.0, 0.0, -1.0], 1), [0]);
        assert_eq!(best_of(&[-1.0, -0.0, 0.0, 0.0], 2), [1, 2]);
        assert_eq!(best_of(&[f32::NAN, f32::NEG_INFINITY, f32::NAN], 2), [0, 1]);
    }

    #[test]
    fn a_stream_gives_what_sorting_all_would() {
        for k in [1, 2, 7] {
            let scores: Vec<f32> = (0..500_u32).map(|i| (i * 7919 % 83) as f32).collect();
            let mut best = top(k);
            for (block, scores) in scores.chunks(64).enumerate() {
                best.offer(block as u32 * 64, scores);
            }
            let want = best_of(&scores, k);
            assert!(best.places().eq(want.iter().copied()), "best {k}");
            let mut halves = [0, 256].map(|start| {
                let mut best = top(k);
                for (block, scores) in scores[start..].chunks(64).take(4).enumerate() {
                    best.offer((start + block * 64) as u32, scores);
                }
                best
            });
            let [first, second] = &mut halves;
            second.join(first);
            assert!(second.places().eq(want), "best {k} of two parts");
        }
    }

    /// Rows of FP4 are searched in pairs where the machine can: which rows are found does not depend on how.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn keys_that_are_exact_in_bf16_are_found_in_pairs() {
        let Some(isa) = Isa::avx512_bf16() else {
            return;
        };
        let (heads, count, k) = (5, 1000, 40);
        for (width, scale) in [(64, Fp4Scale::E8m0), (96, Fp4Scale::E4m3)] {
            let format = RowFormat::Fp4 { block: 32, scale };
            let mut keys = RowPool::new(isa, format, width, count).expect("room");
            let places: Vec<u32> = (0..count as u32).collect();
            // Small integers: all sums of products are exact, whatever their order.
            let number = |at: usize| (at * 7919 % 1009 % 5) as f32 - 2.0;
            let rows: Vec<f32> = (0..count * width).map(number).collect();
            keys.write(&places, &rows);
            let mut runs = Runs::with_capacity(3);
            for end in [count as u32, 777, 500] {
                runs.push(std::iter::once(0..end));
            }
            let q: Vec<f32> = (0..3 * heads * width).map(|at| number(at + 3)).collect();
            let weights: Vec<f32> = (0..3 * heads).map(|at| number(at + 5)).collect();
            let round = Some(ScoreRounding::ProductsAndSum);
            let top = TopK {
                k,
                blocks: None,
                round,
            };
            let [floats, pairs] = [Known::Nothing, Known::Bf16].map(|known| {
                let pool = Pool::new(2).with_isa(isa);
                let is_paired = matches!(Form::of_rows(isa, known, [format]), Form::Pairs);
                assert_eq!(is_paired, known == Known::Bf16);
                let (mut rows, candidates) = (Runs::default(), None);
                let found = Found {
                    rows: &mut rows,
                    candidates,
                };
                let q = (&*q, known);
                Searches::default().run(&pool, q, &weights, (&keys, &runs), &top, found);
                rows
            });
            assert_eq!(floats, pairs, "{scale:?}");
            let pushed = (0..3).map(|query| floats.count(query));
            assert!(pushed.eq([k; 3]), "{scale:?}");
        }
    }

    #[test]
    fn rows_become_columns() {
        for some in [1, 3, 4, 7, COLUMNS] {
            let wide = 48;
            let rows: Vec<f32> = (0..some * wide).map(|at| at as f32).collect();
            let mut turned = vec![-1.0; wide * COLUMNS];
            turn(&rows, wide, &mut turned);
            for (at, x) in turned.iter().enumerate() {
                let (column, key) = (at / COLUMNS, at % COLUMNS);
                let want = if key < some {
                    rows[key * wide + column]
                } else {
                    -1.0
                };
                assert_eq!(*x, want, "{some} rows, column {column} of {key}");
            }
        }
    }

    /// What threads find apart is what one finds.
    #[test]
    fn keys_are_shared_among_threads() {
        /// Keys of a part.
        const MANY: usize = PART / (3 * 32);
        let (width, heads, count) = (32, 3, 3 * MANY + 100);
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
            &[3..MANY as u32 + 7, MANY as u32 + 9..end - 1],
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
                    let (pool, searches) = (Pool::new(threads), Searches::default());
                    // The second time in the memory of the first.
                    [(); 2].map(|()| {
                        let (mut rows, mut candidates) = (Runs::default(), Runs::default());
                        let found = Found {
                            rows: &mut rows,
                            candidates: top.blocks.map(|_| &mut candidates),
                        };
                        let q = (&*q, Known::Nothing);
                        searches.run(&pool, q, &weights, (&keys, &runs), &top, found);
                        (rows, candidates)
                    })
                });
                assert_eq!(alone, together, "{top:?}");
                assert_eq!(alone[0], alone[1], "{top:?}");
            }
        }
    }
}
