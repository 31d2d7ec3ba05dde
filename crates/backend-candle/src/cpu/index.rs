//! The lightning indexer: the keys that suit each query best.

use std::ops::Range;

use deepseek_core::kernels::{Chosen, Seen};

use super::dense::{Rows, aligned};
use super::par::Pool;
use super::rows::RowPool;
use super::top_k::Best;

/// Keys that are widened and turned at a time: with 128 channels, 32 KiB.
const BLOCK: usize = 64;
/// Queries that share a block of keys.
const QUERIES: usize = 16;
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
        let mut tiles: Vec<(Range<usize>, Range<u32>)> = Vec::new();
        for (query, rows) in self.seen.rows.iter().enumerate() {
            if rows.len() <= self.k {
                continue;
            }
            match tiles.last_mut() {
                Some((queries, all))
                    if queries.end == query
                        && queries.len() < QUERIES
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

    fn run(&self, room: &mut Room, queries: Range<usize>, rows: Range<u32>) -> Vec<(usize, Best)> {
        let table = self.pool.table;
        let width = self.keys.width();
        let heads = self.weights.len() / self.seen.rows.len();
        let keys = aligned(&mut room.keys, BLOCK * width);
        let turned = aligned(&mut room.turned, BLOCK * width);
        room.products.resize(BLOCK * heads, 0.0);
        let mut scores = [0.0; BLOCK];
        let mut best: Vec<_> = queries.map(|query| (query, Best::new(self.k))).collect();
        for first in rows.clone().step_by(BLOCK) {
            let block = first..rows.end.min(first + BLOCK as u32);
            self.keys.read_run(table, block.clone(), width, keys);
            table.transpose(keys, width, BLOCK, turned);
            for (query, best) in &mut best {
                let seen = &self.seen.rows[*query];
                let (start, end) = (seen.start.max(block.start), seen.end.min(block.end));
                if start >= end {
                    continue;
                }
                let q = &self.q[*query * heads * width..][..heads * width];
                let weights = &self.weights[*query * heads..][..heads];
                table.axpys(q, Rows::new(turned, BLOCK), &mut room.products);
                table.weigh(&room.products, weights, self.bf16, &mut scores);
                let visible = (start - first) as usize..(end - first) as usize;
                best.offer(&scores[visible], start);
            }
        }
        best
    }
}
