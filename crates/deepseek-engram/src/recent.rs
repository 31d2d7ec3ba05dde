//! Rows that were read of late, within a bound of bytes.

use std::collections::HashMap;

/// What a row costs beside its bytes: a number, two links, and its share of a map that may just have
/// doubled.
const ROW_OVERHEAD: u64 = 80;

/// Packed rows, the one that was longest not asked for going first.
#[derive(Debug)]
pub(crate) struct Recent {
    row_bytes: usize,
    capacity: usize,
    /// The rows, place by place.
    bytes: Vec<u8>,
    /// Which row stands at a place, and its neighbours in the order of use.
    places: Vec<Place>,
    by_row: HashMap<u64, u32>,
    /// The places used last and longest ago; no matter while there are none.
    newest: u32,
    oldest: u32,
}

#[derive(Debug)]
struct Place {
    row: u64,
    newer: u32,
    older: u32,
}

impl Recent {
    pub(crate) fn new(bound_bytes: u64, row_bytes: usize) -> Self {
        let capacity = bound_bytes / (row_bytes as u64 + ROW_OVERHEAD);
        Self {
            row_bytes,
            capacity: capacity.min(u64::from(u32::MAX)) as usize,
            bytes: Vec::new(),
            places: Vec::new(),
            by_row: HashMap::new(),
            newest: 0,
            oldest: 0,
        }
    }

    pub(crate) fn holds(&self, row: u64) -> bool {
        self.by_row.contains_key(&row)
    }

    /// The bytes of a row that is held, which is now the newest.
    pub(crate) fn get(&mut self, row: u64) -> Option<&[u8]> {
        let place = *self.by_row.get(&row)?;
        if place != self.newest {
            self.unlink(place);
            self.link(place);
        }
        let start = place as usize * self.row_bytes;
        Some(&self.bytes[start..start + self.row_bytes])
    }

    /// Takes the bytes of a row that is not held, in two parts.
    pub(crate) fn insert(&mut self, row: u64, codes: &[u8], scales: &[u8]) {
        if self.capacity == 0 {
            return;
        }
        let place = if self.places.len() < self.capacity {
            self.bytes.resize(self.bytes.len() + self.row_bytes, 0);
            self.places.push(Place {
                row,
                newer: 0,
                older: 0,
            });
            (self.places.len() - 1) as u32
        } else {
            let place = self.oldest;
            self.unlink(place);
            self.by_row.remove(&self.places[place as usize].row);
            self.places[place as usize].row = row;
            place
        };
        let room = &mut self.bytes[place as usize * self.row_bytes..][..self.row_bytes];
        let (left, right) = room.split_at_mut(codes.len());
        left.copy_from_slice(codes);
        right.copy_from_slice(scales);
        self.by_row.insert(row, place);
        self.link(place);
    }

    /// Takes a place out of the order. The ends stand for themselves.
    fn unlink(&mut self, place: u32) {
        let Place { newer, older, .. } = self.places[place as usize];
        if place == self.newest {
            self.newest = older;
        } else {
            self.places[newer as usize].older = older;
        }
        if place == self.oldest {
            self.oldest = newer;
        } else {
            self.places[older as usize].newer = newer;
        }
    }

    /// Puts a place that is in no order before all others.
    fn link(&mut self, place: u32) {
        if self.by_row.len() == 1 {
            self.oldest = place;
        } else {
            self.places[self.newest as usize].newer = place;
            self.places[place as usize].older = self.newest;
        }
        self.newest = place;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against a list in the order of use, for small capacities and many collisions.
    #[test]
    fn the_row_longest_not_asked_for_goes_first() {
        for capacity in 0..6_u64 {
            let mut recent = Recent::new(capacity * (3 + ROW_OVERHEAD) + 2, 3);
            let mut list: Vec<u64> = Vec::new();
            let mut state = 1_u64;
            for step in 0..2000 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let row = (state >> 33) % 8;
                let bytes = [row as u8, 1, row as u8 ^ 0xff];
                assert_eq!(recent.holds(row), list.contains(&row), "step {step}");
                match recent.get(row) {
                    Some(held) => {
                        assert_eq!(held, bytes, "capacity {capacity}, step {step}");
                        list.retain(|own| *own != row);
                    }
                    None => recent.insert(row, &bytes[..2], &bytes[2..]),
                }
                list.insert(0, row);
                list.truncate(capacity as usize);
                assert_eq!(recent.by_row.len(), list.len(), "capacity {capacity}");
            }
        }
    }
}
