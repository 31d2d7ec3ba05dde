//! How the work of a model is divided among ranks: devices that each have a part of its weights.

use std::fmt;
use std::ops::Range;

use crate::collective::Collective;
use crate::error::Result;
use crate::format::Rounding;

/// A part of something that several ranks divide among them: number `index` of `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    index: usize,
    of: usize,
}

impl Share {
    /// All of it.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// Number `index` of `of` parts.
    ///
    /// # Panics
    /// If there is no such part.
    #[must_use]
    pub const fn new(index: usize, of: usize) -> Self {
        assert!(index < of, "a part is one of those that there are");
        Self { index, of }
    }

    /// Which part it is.
    #[must_use]
    pub const fn index(self) -> usize {
        self.index
    }

    /// How many parts there are.
    #[must_use]
    pub const fn of(self) -> usize {
        self.of
    }

    /// Whether there is no other part.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.of == 1
    }

    /// Its own of `count` things, in runs that differ by one at most and are alike where the number of
    /// parts divides `count`.
    #[must_use]
    pub const fn range(self, count: usize) -> Range<usize> {
        self.index * count / self.of..(self.index + 1) * count / self.of
    }

    /// The same of `length` things in blocks of `block`, which stay whole, the last one perhaps shorter.
    /// Where there are fewer blocks than parts, blocks are divided.
    #[must_use]
    pub const fn blocks(self, length: usize, block: usize) -> Range<usize> {
        let count = length.div_ceil(block);
        if count < self.of {
            return self.range(length);
        }
        let own = self.range(count);
        let end = own.end * block;
        own.start * block..if end < length { end } else { length }
    }

    /// How the terms of a sum over what is divided so become the sum, which whoever asks for it rounds.
    #[must_use]
    pub const fn sum(self) -> Sum {
        if self.is_whole() {
            Sum::Whole
        } else {
            Sum::OverRanks(None)
        }
    }
}

/// How many ranks share a model, and what each of them has of it. The larger of the two numbers is that of
/// the ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parallel {
    /// Ranks among which heads are divided, and with them the projections around attention. Where it is 1,
    /// every rank has all heads.
    pub tensor: usize,
    /// Ranks among which the routed experts are divided by their number. Where there are more ranks, those
    /// that have the same experts divide their inner width.
    pub expert: usize,
}

impl Default for Parallel {
    fn default() -> Self {
        Self::ALONE
    }
}

impl Parallel {
    /// One rank has all.
    pub const ALONE: Self = Self {
        tensor: 1,
        expert: 1,
    };

    /// How many ranks there are.
    #[must_use]
    pub fn world(self) -> usize {
        self.tensor.max(self.expert)
    }

    /// What one of them has.
    ///
    /// # Panics
    /// If there is no such rank.
    #[must_use]
    pub fn shares(self, rank: usize) -> Shares {
        let world = self.world();
        let of_one_expert = world / self.expert;
        Shares {
            heads: Share::new(rank % self.tensor, self.tensor),
            experts: Share::new(rank / of_one_expert, self.expert),
            inner: Share::new(rank % of_one_expert, of_one_expert),
            all: Share::new(rank, world),
        }
    }
}

impl fmt::Display for Parallel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tensor {}, expert {}", self.tensor, self.expert)
    }
}

/// What a rank has of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Of the groups of heads.
    pub heads: Share,
    /// Of the routed experts of a layer.
    pub experts: Share,
    /// Of the inner width of each of those.
    pub inner: Share,
    /// Of what all ranks divide: the inner width of shared experts, the rows of the output matrix, and so
    /// the sum that a mixture is.
    pub all: Share,
}

impl Shares {
    /// All of everything.
    pub const WHOLE: Self = Self {
        heads: Share::WHOLE,
        experts: Share::WHOLE,
        inner: Share::WHOLE,
        all: Share::WHOLE,
    };
}

/// How what a rank has computed of a sum becomes the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sum {
    /// It is the sum.
    Whole,
    /// It is one of the terms, which the ranks add up; the sum is rounded.
    OverRanks(Option<Rounding>),
}

impl Sum {
    /// The sum, on every rank, of which this one has `term`.
    pub fn of<B: Collective>(self, be: &B, term: B::Tensor) -> Result<B::Tensor> {
        match self {
            Self::Whole => Ok(term),
            Self::OverRanks(None) => be.all_reduce(&term),
            Self::OverRanks(Some(rounding)) => be.round(&be.all_reduce(&term)?, rounding),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_one_another_and_differ_by_one_at_most() {
        for (count, of) in [(8, 2), (3, 2), (7, 3), (2, 2), (1, 2), (0, 3)] {
            let mut next = 0;
            for index in 0..of {
                let own = Share::new(index, of).range(count);
                assert_eq!(own.start, next, "{count} in {of}");
                assert!((count / of..=count.div_ceil(of)).contains(&own.len()));
                next = own.end;
            }
            assert_eq!(next, count, "{count} in {of}");
        }
    }

    #[test]
    fn blocks_stay_whole_where_there_are_enough() {
        let of = |length, of| {
            let ranges = (0..of).map(|index| Share::new(index, of).blocks(length, 128));
            ranges.map(|own| own.end).collect::<Vec<_>>()
        };
        assert_eq!(of(2304, 4), [512, 1152, 1664, 2304]);
        assert_eq!(of(300, 2), [128, 300]);
        assert_eq!(of(128, 2), [64, 128]);
        assert_eq!(of(256, 1), [256]);
    }

    #[test]
    fn ranks_divide_experts_first_and_then_their_width() {
        let of = |tensor, expert, rank| {
            let Shares {
                heads,
                experts,
                inner,
                all,
            } = Parallel { tensor, expert }.shares(rank);
            [heads, experts, inner, all].map(|share| (share.index, share.of))
        };
        assert_eq!(of(2, 1, 1), [(1, 2), (0, 1), (1, 2), (1, 2)]);
        assert_eq!(of(1, 2, 1), [(0, 1), (1, 2), (0, 1), (1, 2)]);
        assert_eq!(of(2, 2, 1), [(1, 2), (1, 2), (0, 1), (1, 2)]);
        assert_eq!(of(4, 2, 1), [(1, 4), (0, 2), (1, 2), (1, 4)]);
        assert_eq!(of(4, 2, 2), [(2, 4), (1, 2), (0, 2), (2, 4)]);
        assert_eq!(Parallel::ALONE.shares(0), Shares::WHOLE);
    }
}
