//! One bit for each byte of a block.

use std::ops::Range;

/// A bit for each of a number of bytes.
#[derive(Debug, Clone)]
pub struct Bits {
    words: Vec<u64>,
    len: usize,
}

impl Bits {
    /// So many bits, none of them set.
    #[must_use]
    pub fn new(len: usize) -> Self {
        Self {
            words: vec![0; len.div_ceil(64)],
            len,
        }
    }

    /// Sets or clears a range.
    pub fn put(&mut self, range: Range<usize>, value: bool) {
        self.check(&range);
        for (word, mask) in masks(range) {
            if value {
                self.words[word] |= mask;
            } else {
                self.words[word] &= !mask;
            }
        }
    }

    /// The first bit of a range that is not set.
    #[must_use]
    pub fn first_unset(&self, range: Range<usize>) -> Option<usize> {
        self.check(&range);
        masks(range).find_map(|(word, mask)| {
            let unset = !self.words[word] & mask;
            (unset != 0).then(|| word * 64 + unset.trailing_zeros() as usize)
        })
    }

    /// Whether all bits of a range are set.
    #[must_use]
    pub fn all(&self, range: Range<usize>) -> bool {
        self.first_unset(range).is_none()
    }

    fn check(&self, range: &Range<usize>) {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "bits {range:?} of {}",
            self.len
        );
    }
}

/// The words that a range lies in, and which bits of each.
fn masks(range: Range<usize>) -> impl Iterator<Item = (usize, u64)> {
    let words = range.start / 64..range.end.div_ceil(64);
    words.map(move |word| {
        let from = range.start.saturating_sub(word * 64);
        let to = (range.end - word * 64).min(64);
        (word, ones(to) & !ones(from))
    })
}

/// The lowest bits, 64 of them at most.
fn ones(count: usize) -> u64 {
    if count >= 64 {
        u64::MAX
    } else {
        (1 << count) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    #[test]
    fn ranges_agree_with_a_list_of_booleans() {
        const LEN: usize = 200;
        let mut dice = Dice::new(7);
        let mut bits = Bits::new(LEN);
        let mut list = [false; LEN];
        for _ in 0..2000 {
            let (a, b) = (dice.below(LEN + 1), dice.below(LEN + 1));
            let range = a.min(b)..a.max(b);
            let value = dice.coin();
            bits.put(range.clone(), value);
            list[range].fill(value);
            let (a, b) = (dice.below(LEN + 1), dice.below(LEN + 1));
            let range = a.min(b)..a.max(b);
            let want = range.clone().find(|index| !list[*index]);
            assert_eq!(bits.first_unset(range.clone()), want, "{range:?}");
            assert_eq!(bits.all(range), want.is_none());
        }
    }
}
