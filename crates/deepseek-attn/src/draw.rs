//! A choice by chance, to be held against the indexer's.

use deepseek_core::operands::Runs;

/// `k` of the rows that each query sees, ascending; all of them where there are no more.
///
/// What is drawn depends on the seed, the query's position and the rows it sees, so that the same
/// prompt draws the same however it is cut and wherever its rows lie.
pub(crate) fn draw(seen: &Runs, positions: &[u32], k: usize, seed: u64) -> Runs {
    let mut drawn = Runs::with_capacity(positions.len());
    for (query, position) in positions.iter().enumerate() {
        let count = seen.count(query);
        let mut state = mix(seed ^ mix(u64::from(*position)));
        let mut wanted = k;
        // Knuth's selection sampling: each row is taken with the chance that is left for it.
        let rows = seen.rows(query).enumerate().filter(|(index, _)| {
            let left = (count - index) as u64;
            let taken = next(&mut state) % left < wanted as u64;
            wanted -= usize::from(taken);
            taken
        });
        drawn.push_rows(rows.map(|(_, row)| row).collect::<Vec<_>>());
    }
    drawn
}

/// The next of the generator SplitMix64, whose state needs no more than one addition.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mix(*state)
}

/// The mix of SplitMix64, by which numbers that lie close come out far apart.
fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What queries at `positions` draw that see all rows of a sequence from `base` on.
    fn drawn(base: u32, positions: &[u32], seed: u64) -> Vec<Vec<u32>> {
        let mut seen = Runs::with_capacity(positions.len());
        for position in positions {
            seen.push(std::iter::once(base..base + position + 1));
        }
        let drawn = draw(&seen, positions, 4, seed);
        (0..positions.len())
            .map(|query| drawn.rows(query).map(|row| row - base).collect())
            .collect()
    }

    #[test]
    fn a_query_draws_as_many_rows_as_it_sees_but_no_more_than_k() {
        let positions: Vec<u32> = (0..50).collect();
        for (position, rows) in positions.iter().zip(drawn(0, &positions, 1)) {
            assert_eq!(rows.len(), 4.min(*position as usize + 1));
            assert!(rows.is_sorted_by(|a, b| a < b), "{rows:?}");
            assert!(rows.last() <= Some(position), "{rows:?}");
        }
    }

    #[test]
    fn neither_the_batch_nor_the_place_of_the_rows_changes_a_draw() {
        let all = drawn(0, &[30, 31, 32], 7);
        assert_eq!(drawn(1000, &[31], 7)[0], all[1]);
        assert_ne!(drawn(0, &[31], 8)[0], all[1]);
        assert_ne!(all[0], all[1]);
    }

    #[test]
    fn every_row_is_drawn_as_often_as_any_other() {
        let mut counts = [0; 16];
        for seed in 0..4000 {
            for row in &drawn(0, &[15], seed)[0] {
                counts[*row as usize] += 1;
            }
        }
        // Each has a chance of a quarter: 1000 times, give or take 27.
        assert!(
            counts.iter().all(|count| (850..1150).contains(count)),
            "{counts:?}"
        );
    }
}
