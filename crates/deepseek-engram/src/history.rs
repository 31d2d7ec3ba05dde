//! What one sequence remembers: its last few compressed ids.

use crate::address::{Addresses, Slots};

/// The last compressed ids of a sequence, in a ring by position. Where a row is read depends on ids
/// alone, so this is all the state there is, and taking the sequence back moves a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The id at position `p` stands at `p % ring.len()`; nothing for an image's token.
    ring: Vec<Option<u32>>,
    /// Positions so far.
    len: u64,
    /// Positions that there have been: the ring holds the last of these.
    reached: u64,
}

impl History {
    /// Positions that may be taken back.
    pub const REWIND_MAX: u64 = 16;

    /// An empty one.
    #[must_use]
    pub fn new(addresses: &Addresses) -> Self {
        let before = addresses.max_ngram() - 1;
        Self {
            ring: vec![None; before + Self::REWIND_MAX as usize],
            len: 0,
            reached: 0,
        }
    }

    /// One that stands at `len` and has stood at `reached`, of the ids of another's [`ring`](Self::ring).
    #[must_use]
    pub fn from_ring(ring: Vec<Option<u32>>, len: u64, reached: u64) -> Self {
        Self { ring, len, reached }
    }

    /// The ids: that of position `p` stands at `p` modulo their number.
    #[must_use]
    pub fn ring(&self) -> &[Option<u32>] {
        &self.ring
    }

    /// The furthest that it has stood.
    #[must_use]
    pub fn reached(&self) -> u64 {
        self.reached
    }

    /// Positions so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes the next positions, by compressed id, or nothing for a token of an image (its
    /// delimiters included), and tells which rows they read. How a text is cut into calls makes no
    /// difference.
    ///
    /// # Panics
    /// If the addresses are not those that this history was made for.
    pub fn append(
        &mut self,
        addresses: &Addresses,
        ids: impl IntoIterator<Item = Option<u32>>,
    ) -> Slots {
        let mut slots = addresses.slots();
        self.append_to(addresses, ids, &mut slots);
        slots
    }

    /// The same, where the rows come behind those of other sequences of a step.
    ///
    /// # Panics
    /// If the addresses are not those that this history was made for.
    pub fn append_to(
        &mut self,
        addresses: &Addresses,
        ids: impl IntoIterator<Item = Option<u32>>,
        slots: &mut Slots,
    ) {
        let room = self.ring.len() as u64;
        let before = addresses.max_ngram() - 1;
        assert_eq!(
            room,
            before as u64 + Self::REWIND_MAX,
            "the ring and the n-grams"
        );
        for id in ids {
            self.ring[(self.len % room) as usize] = id;
            let first = self.len.saturating_sub(before as u64);
            let back = (first..=self.len).rev();
            addresses.push(back.map(|at| self.ring[(at % room) as usize]), slots);
            self.len += 1;
            self.reached = self.reached.max(self.len);
        }
    }

    /// Takes the sequence back to its first `len` positions.
    ///
    /// # Panics
    /// If it has fewer, or had more than [`History::REWIND_MAX`] more.
    pub fn rewind(&mut self, len: u64) {
        let (now, reached) = (self.len, self.reached);
        assert!(len <= now, "back to {len} of {now}");
        assert!(
            reached - len <= Self::REWIND_MAX,
            "back to {len} of {reached}"
        );
        self.len = len;
    }
}
