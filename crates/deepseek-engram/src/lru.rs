//! Rows that were read of late, within a bound of bytes.

use lru::LruCache;

/// What a row costs beside its bytes: an entry in the order of use with its allocation, and its share
/// of a map that may just have doubled.
const ROW_OVERHEAD: u64 = 96;

/// Packed rows, of which the one least recently used goes first.
#[derive(Debug)]
pub(crate) struct Lru {
    row_bytes: usize,
    capacity: usize,
    /// The rows, place by place.
    bytes: Vec<u8>,
    /// The place of each row, in the order of use. It is bounded here: a cache with a bound of its
    /// own would reserve all of it at once.
    order: LruCache<u64, usize>,
}

impl Lru {
    pub(crate) fn new(bound_bytes: u64, row_bytes: usize) -> Self {
        let capacity = bound_bytes / (row_bytes as u64 + ROW_OVERHEAD);
        Self {
            row_bytes,
            capacity: usize::try_from(capacity).unwrap_or(usize::MAX),
            bytes: Vec::new(),
            order: LruCache::unbounded(),
        }
    }

    pub(crate) fn holds(&self, row: u64) -> bool {
        self.order.contains(&row)
    }

    /// The bytes of a row that is held, which is now the most recently used.
    pub(crate) fn get(&mut self, row: u64) -> Option<&[u8]> {
        let place = *self.order.get(&row)?;
        Some(&self.bytes[place * self.row_bytes..][..self.row_bytes])
    }

    /// Takes the bytes of a row that is not held, in two parts.
    pub(crate) fn insert(&mut self, row: u64, codes: &[u8], scales: &[u8]) {
        if self.capacity == 0 {
            return;
        }
        let place = if self.order.len() < self.capacity {
            self.bytes.resize(self.bytes.len() + self.row_bytes, 0);
            self.order.len()
        } else {
            let (_, place) = self.order.pop_lru().expect("the capacity is not zero");
            place
        };
        let room = &mut self.bytes[place * self.row_bytes..][..self.row_bytes];
        let (left, right) = room.split_at_mut(codes.len());
        left.copy_from_slice(codes);
        right.copy_from_slice(scales);
        self.order.put(row, place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against a list in the order of use, for small capacities and many collisions.
    #[test]
    fn the_row_longest_not_asked_for_goes_first() {
        for capacity in 0..6_u64 {
            let mut lru = Lru::new(capacity * (3 + ROW_OVERHEAD) + 2, 3);
            let mut list: Vec<u64> = Vec::new();
            let mut state = 1_u64;
            for step in 0..2000 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let row = (state >> 33) % 8;
                let bytes = [row as u8, 1, row as u8 ^ 0xff];
                assert_eq!(lru.holds(row), list.contains(&row), "step {step}");
                match lru.get(row) {
                    Some(held) => {
                        assert_eq!(held, bytes, "capacity {capacity}, step {step}");
                        list.retain(|own| *own != row);
                    }
                    None => lru.insert(row, &bytes[..2], &bytes[2..]),
                }
                list.insert(0, row);
                list.truncate(capacity as usize);
                assert_eq!(lru.order.len(), list.len(), "capacity {capacity}");
            }
        }
    }
}
