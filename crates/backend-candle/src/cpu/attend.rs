//! Attention of each query over its own rows, which are keys and values at once.

use std::ops::Range;

use deepseek_core::kernels::{Chosen, Softmax};

use super::dense::{Panel, Rows, aligned};
use super::par::{Pool, least_rows};
use super::rows::RowPool;
use super::simd::LANES;

/// Attention of `q: [t, heads, width]` over the rows of several pools, with a sink `[heads]` that
/// only enlarges the denominator; returns the shape of `q`.
///
/// Threads take queries, or heads of one query; a head's result is the same either way.
pub(crate) fn attend(
    pool: &Pool,
    q: &[f32],
    heads: usize,
    from: &[(&RowPool, &Chosen)],
    sink: &[f32],
    softmax: Softmax,
) -> Vec<f32> {
    let mut out = vec![0.0; q.len()];
    let Some((rows, chosen)) = from.first() else {
        return out;
    };
    let (width, tokens) = (rows.width(), chosen.queries());
    let each = heads * width;
    assert_eq!(q.len(), tokens * each, "{tokens} queries of {heads} heads");
    assert_eq!(sink.len(), heads, "a sink for each head");
    let attention = Attention {
        pool,
        from,
        softmax,
        width,
    };
    if tokens >= pool.threads() {
        pool.for_rows(&mut out, each, 1, |first, out| {
            let mut room = Room::default();
            let mut keys = Vec::new();
            for (index, out) in out.chunks_exact_mut(each).enumerate() {
                let query = first + index;
                let keys = attention.gather(query, &mut keys);
                attention.heads(&mut room, &q[query * each..][..each], keys, sink, out);
            }
        });
        return out;
    }
    let group = heads.div_ceil(pool.threads()).next_multiple_of(4);
    for (query, (q, out)) in q
        .chunks_exact(each)
        .zip(out.chunks_exact_mut(each))
        .enumerate()
    {
        let mut keys = Vec::new();
        let keys = attention.gather_all(query, &mut keys);
        let tasks = q.chunks(group * width).zip(sink.chunks(group));
        let tasks = tasks.zip(out.chunks_mut(group * width)).collect();
        pool.map(tasks, |room: &mut Room, ((q, sink), out)| {
            attention.heads(room, q, keys, sink, out);
        });
    }
    out
}

/// What every thread reads.
struct Attention<'a> {
    pool: &'a Pool,
    from: &'a [(&'a RowPool, &'a Chosen)],
    softmax: Softmax,
    width: usize,
}

/// What one thread works in.
#[derive(Default)]
struct Room {
    logits: Vec<f32>,
    values: Vec<f32>,
}

impl Attention<'_> {
    /// The rows of a query in order.
    fn gather<'k>(&self, query: usize, keys: &'k mut Vec<f32>) -> &'k [f32] {
        let keys = self.room(query, keys);
        let mut rest = &mut *keys;
        for (rows, run) in self.runs(query) {
            let (part, after) = rest.split_at_mut(run.len() * self.stride());
            self.read(rows, run, part);
            rest = after;
        }
        keys
    }

    /// As [`Self::gather`], by all threads.
    fn gather_all<'k>(&self, query: usize, keys: &'k mut Vec<f32>) -> &'k [f32] {
        let keys = self.room(query, keys);
        let mut rest = &mut *keys;
        let least = least_rows(self.stride()) as u32;
        let mut tasks = Vec::new();
        for (rows, mut run) in self.runs(query) {
            while !run.is_empty() {
                let head = run.start..run.end.min(run.start + least);
                run.start = head.end;
                let (part, after) = rest.split_at_mut(head.len() * self.stride());
                tasks.push((rows, head, part));
                rest = after;
            }
        }
        self.pool.map(tasks, |(): &mut (), (rows, run, part)| {
            self.read(rows, run, part);
        });
        keys
    }

    fn read(&self, rows: &RowPool, run: Range<u32>, out: &mut [f32]) {
        let padded = self.width.next_multiple_of(LANES);
        rows.read_run(self.pool.table, run, self.stride(), out);
        out.chunks_exact_mut(self.stride())
            .for_each(|row| row[self.width..padded].fill(0.0));
    }

    fn room<'k>(&self, query: usize, keys: &'k mut Vec<f32>) -> &'k mut [f32] {
        let count: usize = self.runs(query).map(|(_, run)| run.len()).sum();
        aligned(keys, count * self.stride())
    }

    fn runs(&self, query: usize) -> impl Iterator<Item = (&RowPool, Range<u32>)> {
        self.from.iter().flat_map(move |(rows, chosen)| {
            chosen
                .runs(query)
                .iter()
                .map(move |run| (*rows, run.clone()))
        })
    }

    /// Whole chunks and one more: rows a power of two apart compete for the same lines of a cache.
    fn stride(&self) -> usize {
        self.width.next_multiple_of(LANES) + LANES
    }

    /// Some heads of one query: `q`, `out: [heads, width]`, `keys: [n, stride]`, `sink: [heads]`.
    fn heads(&self, room: &mut Room, q: &[f32], keys: &[f32], sink: &[f32], out: &mut [f32]) {
        let (table, padded) = (self.pool.table, self.width.next_multiple_of(LANES));
        let keys = Rows::within(keys, padded, self.stride());
        let count = keys.count();
        if count == 0 {
            return out.fill(0.0);
        }
        let logits = aligned(&mut room.logits, sink.len() * count);
        table.dots(keys, &Panel::of(q, self.width), logits, [1, count]);
        let mut totals = Vec::with_capacity(sink.len());
        for (logits, sink) in logits.chunks_exact_mut(count).zip(sink) {
            totals.push(table.soften(logits, *sink, self.softmax));
        }
        let values = aligned(&mut room.values, sink.len() * padded);
        table.axpys(logits, keys, values);
        let heads = out
            .chunks_exact_mut(self.width)
            .zip(values.chunks_exact(padded));
        for ((out, values), total) in heads.zip(totals) {
            let share = 1.0 / total;
            for (out, value) in out.iter_mut().zip(values) {
                *out = value * share;
            }
        }
    }
}
