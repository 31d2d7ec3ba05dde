//! The memory of a device: addresses that the host cannot follow, and the bytes that stand for them.
//!
//! Addresses are never given twice, so a stale pointer is always found. Between two blocks lies a gap that
//! belongs to the first, so a pointer that runs over its end is told apart from one that was freed. Every
//! byte knows whether it was ever written.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use crate::addresses::Space;
use crate::bits::Bits;

/// What the address of a block is a multiple of: no more than the vendors promise.
const ALIGN_BYTES: u64 = 64;
/// Addresses behind a block that are given to nobody.
const GAP_BYTES: u64 = 4096;

/// The memory of a device.
#[derive(Debug)]
pub struct Memory {
    space: Space,
    next: u64,
    blocks: BTreeMap<u64, Block>,
    used: usize,
    capacity: usize,
    pattern: u8,
}

#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    known: Bits,
    charge: usize,
}

/// Why a block could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{asked} bytes of {capacity}, {used} in use")]
pub struct Full {
    /// What was asked for, as it is charged.
    pub asked: usize,
    /// What is in use.
    pub used: usize,
    /// What there is.
    pub capacity: usize,
}

/// What is wrong with a pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// Not an address of this device.
    #[error("{0:#x} is no address of the device")]
    Outside(u64),
    /// An address that no block has, or has no longer.
    #[error("{0:#x} was freed, or never allocated")]
    Freed(u64),
    /// More than the block holds.
    #[error("{bytes} bytes at byte {offset} of a block of {size}")]
    Beyond {
        /// Where in the block.
        offset: usize,
        /// How many were asked for.
        bytes: usize,
        /// How many the block has.
        size: usize,
    },
    /// Not the beginning of its block.
    #[error("byte {offset} of a block, not its beginning")]
    Interior {
        /// Where in the block.
        offset: usize,
    },
}

/// A range within one block that was alive when it was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    block: u64,
    offset: usize,
    bytes: usize,
}

/// A range to read.
#[derive(Debug)]
pub struct Region<'a> {
    block: &'a Block,
    place: Place,
}

/// A range to write.
#[derive(Debug)]
pub struct RegionMut<'a> {
    block: &'a mut Block,
    place: Place,
    pattern: u8,
}

/// Bytes, and which of them were written.
#[derive(Debug, Clone)]
pub struct Snapshot {
    bytes: Vec<u8>,
    unknown: Vec<usize>,
}

impl Memory {
    /// A device with `capacity` bytes, at `space_bytes` addresses. What was never written reads as `pattern`.
    ///
    /// # Errors
    /// If the system has not so many addresses.
    pub fn new(space_bytes: usize, capacity: usize, pattern: u8) -> io::Result<Self> {
        let space = Space::reserve(space_bytes)?;
        Ok(Self {
            next: space.start(),
            space,
            blocks: BTreeMap::new(),
            used: 0,
            capacity,
            pattern,
        })
    }

    /// Bytes that there are.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes in use, as they are charged.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used
    }

    /// Whether an address is the device's.
    #[must_use]
    pub fn holds(&self, address: u64) -> bool {
        (self.space.start()..self.space.end()).contains(&address)
    }

    /// The first address and the bytes of each block.
    pub fn blocks(&self) -> impl Iterator<Item = (u64, usize)> {
        self.blocks
            .iter()
            .map(|(start, block)| (*start, block.bytes.len()))
    }

    /// Makes a block of `bytes` that is charged as `charge` bytes.
    ///
    /// # Errors
    /// If memory or addresses are used up.
    pub fn alloc(&mut self, bytes: usize, charge: usize) -> Result<u64, Full> {
        let full = Full {
            asked: charge,
            used: self.used,
            capacity: self.capacity,
        };
        let end = self
            .next
            .checked_add(bytes as u64 + GAP_BYTES)
            .ok_or(full)?;
        let end = end.next_multiple_of(ALIGN_BYTES);
        if charge > self.capacity - self.used || end > self.space.end() {
            return Err(full);
        }
        let block = Block {
            bytes: vec![self.pattern; bytes],
            known: Bits::new(bytes),
            charge,
        };
        let start = self.next;
        self.blocks.insert(start, block);
        self.used += charge;
        self.next = end;
        Ok(start)
    }

    /// Frees the block that begins at `address`.
    ///
    /// # Errors
    /// If none does.
    pub fn free(&mut self, address: u64) -> Result<(), Misuse> {
        let place = self.locate(address, 0)?;
        if place.offset != 0 {
            let offset = place.offset;
            return Err(Misuse::Interior { offset });
        }
        let block = self.blocks.remove(&address).expect("it was just found");
        self.used -= block.charge;
        Ok(())
    }

    /// Where a range lies.
    ///
    /// # Errors
    /// If no live block holds all of it.
    pub fn locate(&self, address: u64, bytes: usize) -> Result<Place, Misuse> {
        if !self.holds(address) {
            return Err(Misuse::Outside(address));
        }
        let below = self.blocks.range(..=address).next_back();
        let (start, block) = below.ok_or(Misuse::Freed(address))?;
        let (offset, size) = ((address - start) as usize, block.bytes.len());
        if offset >= size + GAP_BYTES as usize {
            return Err(Misuse::Freed(address));
        }
        if offset > size || bytes > size - offset {
            return Err(Misuse::Beyond {
                offset,
                bytes,
                size,
            });
        }
        Ok(Place {
            block: *start,
            offset,
            bytes,
        })
    }

    /// A range to read.
    ///
    /// # Panics
    /// If its block has been freed since it was looked up.
    #[must_use]
    pub fn region(&self, place: Place) -> Region<'_> {
        let block = self.blocks.get(&place.block).expect("a live block");
        Region { block, place }
    }

    /// A range to write.
    ///
    /// # Panics
    /// If its block has been freed since it was looked up.
    pub fn region_mut(&mut self, place: Place) -> RegionMut<'_> {
        let block = self.blocks.get_mut(&place.block).expect("a live block");
        RegionMut {
            block,
            place,
            pattern: self.pattern,
        }
    }
}

impl Place {
    /// A part of it as a range of the block.
    fn within(&self, at: &Range<usize>) -> Range<usize> {
        assert!(
            at.start <= at.end && at.end <= self.bytes,
            "{at:?} of {}",
            self.bytes
        );
        self.offset + at.start..self.offset + at.end
    }
}

impl Region<'_> {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.block.bytes[self.place.within(&(0..self.place.bytes))]
    }

    /// The first byte of a part that was never written.
    #[must_use]
    pub fn first_unknown(&self, at: Range<usize>) -> Option<usize> {
        let unknown = self.block.known.first_unset(self.place.within(&at))?;
        Some(unknown - self.place.offset)
    }

    /// What is there, to be put elsewhere: bytes that were never written stay so.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let len = self.place.bytes;
        let next = |from: usize| self.first_unknown(from..len);
        let unknown = std::iter::successors(next(0), |last| next(last + 1));
        Snapshot {
            unknown: unknown.collect(),
            bytes: self.bytes().to_vec(),
        }
    }
}

impl RegionMut<'_> {
    /// Writes bytes from `at` on.
    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        let range = self.place.within(&(at..at + bytes.len()));
        self.block.known.put(range.clone(), true);
        self.block.bytes[range].copy_from_slice(bytes);
    }

    /// Writes all bytes alike.
    pub fn fill(&mut self, byte: u8) {
        let range = self.place.within(&(0..self.place.bytes));
        self.block.known.put(range.clone(), true);
        self.block.bytes[range].fill(byte);
    }

    /// Makes a part what it was before anything was written.
    pub fn forget(&mut self, at: Range<usize>) {
        let range = self.place.within(&at);
        self.block.known.put(range.clone(), false);
        self.block.bytes[range].fill(self.pattern);
    }

    /// Writes what stood elsewhere.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        self.write(0, &snapshot.bytes);
        for at in &snapshot.unknown {
            self.forget(*at..at + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Memory {
        Memory::new(1 << 30, 1000, 0xFF).expect("addresses")
    }

    #[test]
    fn a_pointer_is_what_it_is() {
        let mut memory = memory();
        let first = memory.alloc(100, 100).expect("room");
        let second = memory.alloc(50, 50).expect("room");
        assert_eq!((first % ALIGN_BYTES, second % ALIGN_BYTES), (0, 0));
        assert!(memory.locate(first + 40, 60).is_ok());
        assert!(memory.locate(first + 100, 0).is_ok());
        let beyond = |offset, bytes, size| Misuse::Beyond {
            offset,
            bytes,
            size,
        };
        let cases = [
            (first + 40, 61, beyond(40, 61, 100)),
            (first + 101, 0, beyond(101, 0, 100)),
            (second + 60, 1, beyond(60, 1, 50)),
            (memory.space.end(), 1, Misuse::Outside(memory.space.end())),
            (8, 1, Misuse::Outside(8)),
        ];
        for (address, bytes, want) in cases {
            assert_eq!(memory.locate(address, bytes), Err(want));
        }
        memory.free(first).expect("a block");
        assert_eq!(memory.locate(first + 40, 1), Err(Misuse::Freed(first + 40)));
        assert!(memory.locate(second, 50).is_ok());
    }

    #[test]
    fn a_block_is_freed_once_and_at_its_beginning() {
        let mut memory = memory();
        let block = memory.alloc(100, 100).expect("room");
        assert_eq!(memory.free(block + 4), Err(Misuse::Interior { offset: 4 }));
        assert_eq!(memory.used(), 100);
        memory.free(block).expect("a block");
        assert_eq!(memory.free(block), Err(Misuse::Freed(block)));
        assert_eq!(memory.used(), 0);
        assert_ne!(memory.alloc(100, 100), Ok(block), "given twice");
    }

    #[test]
    fn capacity_is_charged() {
        let mut memory = memory();
        let block = memory.alloc(900, 1000).expect("room");
        let full = memory.alloc(1, 1).expect_err("no room");
        assert_eq!((full.asked, full.used, full.capacity), (1, 1000, 1000));
        memory.free(block).expect("a block");
        memory.alloc(1, 1).expect("room");
    }

    #[test]
    fn what_was_never_written_is_known_and_travels() {
        let mut memory = memory();
        let block = memory.alloc(8, 8).expect("room");
        let place = memory.locate(block + 2, 4).expect("a place");
        assert_eq!(memory.region(place).bytes(), [0xFF; 4]);
        memory.region_mut(place).write(1, &[5, 6]);
        assert_eq!(memory.region(place).bytes(), [0xFF, 5, 6, 0xFF]);
        assert_eq!(memory.region(place).first_unknown(0..4), Some(0));
        assert_eq!(memory.region(place).first_unknown(1..3), None);

        let snapshot = memory.region(place).snapshot();
        let other = memory.alloc(4, 4).expect("room");
        let other = memory.locate(other, 4).expect("a place");
        memory.region_mut(other).restore(&snapshot);
        let unknown = [0..1, 1..3, 3..4].map(|at| memory.region(other).first_unknown(at));
        assert_eq!(unknown, [Some(0), None, Some(3)]);
        memory.region_mut(other).fill(1);
        assert_eq!(memory.region(other).first_unknown(0..4), None);
        memory.region_mut(other).forget(1..2);
        assert_eq!(memory.region(other).bytes(), [1, 0xFF, 1, 1]);
        assert_eq!(memory.region(other).first_unknown(0..4), Some(1));
    }
}
