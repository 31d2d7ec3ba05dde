//! The lightning indexer: the keys that suit each query best.

use std::ops::Range;

use deepseek_core::kernels::{Chosen, Seen};

use super::dense::{Rows, aligned};
use super::par::Pool;
use super::rows::RowPool;
use super::top_k::Best;

/// Keys that are widened and turned at a time: with 128 channels, 32 KiB.
const BLOCK: usize = 64;
/// Rows of queries, one for each head, that share a block of widened keys: many, because widening
/// and turning a block costs as much as eight such rows.
const ROWS: usize = 512;
/// Rows of queries that are multiplied at a time, so that their products stay in the innermost
/// cache.
const ROWS_AT_ONCE: usize = 64;
/// Keys below which a range is not split among threads.
const PART_MIN: usize = 4096;

/// The arguments of the indexer that every thread reads.
struct Search<'a> {
    pool: &'a Pool,
    q: &'a [f32],
    weights: &'a [f32],
    keys: &'a RowPool,
    seen: &'a Seen,
    k: usize,
    bf16: bool,
}

/// The `k` rows of each query with the highest `Σ_h weights_h · relu(q_h · key)` among those it
/// sees: `q: [t, heads, width]`, `weights: [t, heads]`.
///
/// The lanes of a vector are keys, so a score is a sum over the channels in their order.
pub(crate) fn index_topk(
    pool: &Pool,
    q: &[f32],
    weights: &[f32],
    keys: &RowPool,
    seen: &Seen,
    k: usize,
    bf16: bool,
) -> Chosen {
    assert_eq!(
        q.len(),
        weights.len() * keys.width(),
        "a weight for each head of {}",
        keys.width()
    );
    let search = Search {
        pool,
        q,
        weights,
        keys,
        seen,
        k,
        bf16,
    };
    let tasks = search.tasks();
    let parts = pool.map(tasks, |room: &mut Room, (queries, rows)| {
        search.run(room, queries, rows)
    });
    let mut best: Vec<Option<Best>> = Vec::new();
    best.resize_with(seen.rows.len(), || None);
    for (query, part) in parts.into_iter().flatten() {
        match &mut best[query] {
            Some(best) => best.merge(part),
            none => *none = Some(part),
        }
    }
    let mut chosen = Chosen::with_capacity(seen.rows.len());
    for (rows, best) in seen.rows.iter().zip(best) {
        match best {
            Some(best) => chosen.push_rows(best.rows()),
            None => chosen.push([rows.clone()]),
        }
    }
    chosen
}

/// What one thread works in.
#[derive(Default)]
struct Room {
    keys: Vec<f32>,
    turned: Vec<f32>,
    products: Vec<f32>,
}

impl Search<'_> {
    /// Neighbouring queries over ranges that overlap, cut into parts for the threads.
    fn tasks(&self) -> Vec<(Range<usize>, Range<u32>)> {
        let queries_max = (ROWS / self.heads()).max(16);
        let mut tiles: Vec<(Range<usize>, Range<u32>)> = Vec::new();
        for (query, rows) in self.seen.rows.iter().enumerate() {
            if rows.len() <= self.k {
                continue;
            }
            match tiles.last_mut() {
                Some((queries, all))
                    if queries.end == query
                        && queries.len() < queries_max
                        && rows.start < all.end
                        && all.start < rows.end =>
                {
                    queries.end += 1;
                    *all = all.start.min(rows.start)..all.end.max(rows.end);
                }
                _ => tiles.push((query..query + 1, rows.clone())),
            }
        }
        let parts = (4 * self.pool.threads()).div_ceil(tiles.len().max(1));
        let mut tasks = Vec::new();
        for (queries, rows) in tiles {
            let part = rows
                .len()
                .div_ceil(parts)
                .next_multiple_of(BLOCK)
                .max(PART_MIN);
            for first in rows.clone().step_by(part) {
                tasks.push((queries.clone(), first..rows.end.min(first + part as u32)));
            }
        }
        tasks
    }

    fn heads(&self) -> usize {
        self.weights.len() / self.seen.rows.len()
    }

    fn run(&self, room: &mut Room, queries: Range<usize>, rows: Range<u32>) -> Vec<(usize, Best)> {
        let table = self.pool.table;
        let (width, heads) = (self.keys.width(), self.heads());
        let keys = aligned(&mut room.keys, BLOCK * width);
        let turned = aligned(&mut room.turned, BLOCK * width);
        let group = (ROWS_AT_ONCE / heads).max(1);
        let products = aligned(&mut room.products, BLOCK * heads * group);
        let mut best: Vec<_> = queries.map(|query| (query, Best::new(self.k))).collect();
        for first in rows.clone().step_by(BLOCK) {
            let block = first..rows.end.min(first + BLOCK as u32);
            self.keys.read_run(table, block.clone(), width, keys);
            table.transpose(keys, width, BLOCK, turned);
            for best in best.chunks_mut(group) {
                let q = &self.q[best[0].0 * heads * width..][..best.len() * heads * width];
                let products = &mut products[..best.len() * heads * BLOCK];
                table.axpys(q, Rows::new(turned, BLOCK), products);
                let parts = products.chunks_exact(heads * BLOCK);
                for ((query, best), products) in best.iter_mut().zip(parts) {
                    self.offer(*query, best, products, &block);
                }
            }
        }
        best
    }

    /// Scores a block from its `products: [heads, BLOCK]` and offers what the query sees of it.
    fn offer(&self, query: usize, best: &mut Best, products: &[f32], block: &Range<u32>) {
        let seen = &self.seen.rows[query];
        let (start, end) = (seen.start.max(block.start), seen.end.min(block.end));
        if start >= end {
            return;
        }
        let (table, heads) = (self.pool.table, self.heads());
        let mut scores = [0.0; BLOCK];
        table.weigh(
            products,
            &self.weights[query * heads..][..heads],
            self.bf16,
            &mut scores,
        );
        let visible = (start - block.start) as usize..(end - block.start) as usize;
        best.offer(table, &scores[visible], start);
    }
}
