//! The best of many scores, in time linear in their number.

use super::table::Table;

/// Scores that are looked at together.
const BLOCK: usize = 64;

/// Appends the indices of the `k` largest of `row`, ties to the lower index, in ascending order.
pub(crate) fn top_k(row: &[f32], k: usize, best: &mut Vec<u32>) {
    let mut chosen = Best::new(k);
    chosen.offer(Table::best(), row, 0);
    best.extend(chosen.rows());
}

/// The best scores seen so far, and a few more.
#[derive(Debug)]
pub(super) struct Best {
    k: usize,
    /// Score and row as one number: larger is better.
    found: Vec<u64>,
    /// What a later row must exceed, once there are `k`.
    bar: Option<f32>,
}

impl Best {
    pub(super) fn new(k: usize) -> Self {
        Self {
            k,
            found: Vec::with_capacity(2 * k.max(BLOCK)),
            bar: None,
        }
    }

    /// Offers rows from `first` on, all beyond those offered before. NaN counts as least.
    pub(super) fn offer(&mut self, table: &Table, scores: &[f32], first: u32) {
        for (block, first) in scores.chunks(BLOCK).zip((first..).step_by(BLOCK)) {
            // Most blocks hold nothing above the bar.
            if self.bar.is_some_and(|bar| !table.any_above(block, bar)) {
                continue;
            }
            for (score, row) in block.iter().zip(first..) {
                if self.bar.is_none_or(|bar| *score > bar) {
                    self.found.push(rank(*score, row));
                }
            }
            if self.found.len() + BLOCK > self.found.capacity() {
                self.cut();
            }
        }
    }

    /// Adds what was found among other rows.
    pub(super) fn merge(&mut self, other: Self) {
        self.found.extend(other.found);
    }

    /// Keeps the `k` best.
    fn cut(&mut self) {
        if self.found.len() > self.k && self.k > 0 {
            self.found
                .select_nth_unstable_by(self.k - 1, |a, b| b.cmp(a));
            self.bar = Some(score(self.found[self.k - 1]));
        }
        self.found.truncate(self.k);
    }

    /// The best rows in ascending order.
    pub(super) fn rows(mut self) -> Vec<u32> {
        self.cut();
        let mut rows: Vec<u32> = self.found.iter().map(|rank| !(*rank as u32)).collect();
        rows.sort_unstable();
        rows
    }
}

/// Orders by score, then by the lower row. Zeros of both signs are equal.
fn rank(score: f32, row: u32) -> u64 {
    let score = if score.is_nan() {
        f32::NEG_INFINITY
    } else {
        score + 0.0
    };
    let bits = score.to_bits();
    let order = if bits >> 31 == 1 {
        !bits
    } else {
        bits | 0x8000_0000
    };
    u64::from(order) << 32 | u64::from(!row)
}

/// The score in a rank.
fn score(rank: u64) -> f32 {
    let order = (rank >> 32) as u32;
    f32::from_bits(if order >> 31 == 1 {
        order & 0x7fff_ffff
    } else {
        !order
    })
}
