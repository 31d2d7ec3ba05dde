//! The memory of the device, shared out in blocks.
//!
//! Blocks go back when the last handle is dropped, at once and without waiting: what was asked for before
//! that runs before what is asked for of the next owner, because there is one queue. So the arena knows
//! nothing of what is queued, nor does it call the driver: it only says what to ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::{BLOCK_BYTES_MIN, LARGE_STEP, SHARED_BYTES_MAX, SLAB_BYTES};
use crate::view::Address;

/// Hears of a block before it may be handed out again.
pub(crate) type OnRelease = Box<dyn Fn(Address, usize) + Send + Sync>;

/// Blocks that are free, and how much there is.
pub(crate) struct Arena {
    state: Mutex<State>,
    bytes_max: Option<u64>,
    on_release: Option<OnRelease>,
}

#[derive(Debug, Default)]
struct State {
    /// Free blocks by size, the lowest address first, so that steps that ask for the same memory get the
    /// same.
    free: BTreeMap<usize, BTreeSet<Address>>,
    /// What is left of the last slab.
    slab: Option<(Address, usize)>,
    /// Bytes that the driver gave.
    held_bytes: u64,
    /// Those in blocks that have an owner.
    used_bytes: u64,
    /// How often the driver was asked.
    allocations: u64,
}

/// A block with an owner.
#[derive(Debug)]
pub(crate) struct Block {
    at: Address,
    bytes: usize,
    arena: Arc<Arena>,
}

impl Block {
    pub(crate) fn at(&self) -> Address {
        self.at
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(on_release) = &self.arena.on_release {
            on_release(self.at, self.bytes);
        }
        let mut state = self.arena.lock();
        state.used_bytes -= self.bytes as u64;
        state.give(self.at, self.bytes);
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.lock(), f)
    }
}

/// How much of an arena there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) held_bytes: u64,
    pub(crate) used_bytes: u64,
    pub(crate) allocations: u64,
}

impl Arena {
    pub(crate) fn new(bytes_max: Option<u64>, on_release: Option<OnRelease>) -> Self {
        Self {
            state: Mutex::default(),
            bytes_max,
            on_release,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block of at least `bytes`, if one is free.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Option<Block> {
        let mut state = self.lock();
        let (at, bytes) = state.take(block_bytes(bytes))?;
        state.used_bytes += bytes as u64;
        Some(Block {
            at,
            bytes,
            arena: Arc::clone(self),
        })
    }

    /// What to ask the driver for where no block of `bytes` is free; nothing where the bound forbids it.
    pub(crate) fn growth(&self, bytes: usize) -> Option<usize> {
        let block = block_bytes(bytes);
        let growth = if block <= SHARED_BYTES_MAX {
            SLAB_BYTES
        } else {
            block
        };
        let held = self.lock().held_bytes;
        let fits = |most: u64| held.saturating_add(growth as u64) <= most;
        self.bytes_max.is_none_or(fits).then_some(growth)
    }

    /// Takes in what the driver gave for a [`growth`](Self::growth).
    pub(crate) fn adopt(&self, at: Address, bytes: usize) {
        let mut state = self.lock();
        state.allocations += 1;
        state.held_bytes += bytes as u64;
        if bytes != SLAB_BYTES {
            state.give(at, bytes);
        } else if let Some((at, rest)) = state.slab.replace((at, bytes)) {
            // What is left of the slab before serves the smallest of blocks.
            for start in (0..rest).step_by(BLOCK_BYTES_MIN) {
                state.give(at.plus(start), BLOCK_BYTES_MIN);
            }
        }
    }

    /// Takes out the free blocks that are allocations of their own, to be given back to the driver.
    pub(crate) fn trim(&self) -> Vec<Address> {
        let mut state = self.lock();
        let large = state.free.split_off(&(SHARED_BYTES_MAX + 1));
        let bytes = |(bytes, blocks): (&usize, &BTreeSet<Address>)| (bytes * blocks.len()) as u64;
        state.held_bytes -= large.iter().map(bytes).sum::<u64>();
        large.into_values().flatten().collect()
    }

    pub(crate) fn extent(&self) -> Extent {
        let state = self.lock();
        Extent {
            held_bytes: state.held_bytes,
            used_bytes: state.used_bytes,
            allocations: state.allocations,
        }
    }
}

impl State {
    /// A free block of this size, or a large one of up to a quarter more.
    fn take(&mut self, bytes: usize) -> Option<(Address, usize)> {
        let most = if bytes > SHARED_BYTES_MAX {
            bytes + bytes / 4
        } else {
            bytes
        };
        let found = self.free.range_mut(bytes..=most).next();
        if let Some((size, blocks)) = found {
            let size = *size;
            let at = blocks.pop_first();
            if blocks.is_empty() {
                self.free.remove(&size);
            }
            return at.map(|at| (at, size));
        }
        let shared = |(_, rest): &(Address, usize)| bytes <= SHARED_BYTES_MAX.min(*rest);
        let (at, rest) = self.slab.filter(shared)?;
        self.slab = Some((at.plus(bytes), rest - bytes));
        Some((at, bytes))
    }

    fn give(&mut self, at: Address, bytes: usize) {
        self.free.entry(bytes).or_default().insert(at);
    }
}

/// The size of the block for so many bytes: four sizes between powers of two, so that no more than a
/// quarter is lost, and whole pages for what is large.
fn block_bytes(bytes: usize) -> usize {
    if bytes > SHARED_BYTES_MAX {
        return match bytes.next_multiple_of(LARGE_STEP) {
            // A slab is no block.
            SLAB_BYTES => SLAB_BYTES + LARGE_STEP,
            large => large,
        };
    }
    let step = (bytes.next_power_of_two() / 8).max(BLOCK_BYTES_MIN);
    bytes.max(1).next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An arena whose driver gives memory from `at` on.
    fn grown(arena: &Arc<Arena>, bytes: usize, at: u64) -> Block {
        assert!(arena.take(bytes).is_none());
        let growth = arena.growth(bytes).expect("within the bound");
        arena.adopt(Address(at), growth);
        arena.take(bytes).expect("it has grown")
    }

    #[test]
    fn a_block_is_at_most_a_quarter_larger_than_what_it_is_for() {
        for bytes in (1..SHARED_BYTES_MAX).step_by(777) {
            let block = block_bytes(bytes);
            assert!(
                block >= bytes && block <= SHARED_BYTES_MAX,
                "{bytes}: {block}"
            );
            let lost = block - bytes;
            assert!(
                lost < BLOCK_BYTES_MIN || lost * 4 <= bytes,
                "{bytes}: {block}"
            );
            assert_eq!(block % BLOCK_BYTES_MIN, 0);
        }
        assert_eq!(block_bytes(SHARED_BYTES_MAX), SHARED_BYTES_MAX);
        assert_eq!(block_bytes(SHARED_BYTES_MAX + 1), LARGE_STEP);
        assert_ne!(block_bytes(SLAB_BYTES), SLAB_BYTES);
    }

    #[test]
    fn the_lowest_free_block_is_handed_out_first() {
        let arena = Arc::new(Arena::new(None, None));
        let first = grown(&arena, 100, 0x1000);
        let blocks: Vec<_> = (0..3).map(|_| arena.take(100).expect("a slab")).collect();
        let places: Vec<_> = blocks.iter().map(Block::at).collect();
        assert_eq!(first.at(), Address(0x1000));
        assert_eq!(places, [0x1200, 0x1400, 0x1600].map(Address));
        // Whatever the order in which they come back.
        let [a, b, c]: [Block; 3] = blocks.try_into().expect("three");
        drop(b);
        drop(c);
        drop(a);
        assert_eq!(arena.take(512).map(|block| block.at()), Some(places[0]));
        assert_eq!(arena.extent().used_bytes, 512);
        assert_eq!(arena.extent().allocations, 1);
    }

    #[test]
    fn a_block_goes_to_the_next_of_its_size_alone() {
        let arena = Arc::new(Arena::new(None, None));
        let small = grown(&arena, 100, 0x1000);
        let at = small.at();
        drop(small);
        assert_ne!(arena.take(600).map(|block| block.at()), Some(at));
        // A large one serves what is a little smaller.
        let large = grown(&arena, 9 * LARGE_STEP, 0x9000_0000);
        drop(large);
        assert!(arena.take(7 * LARGE_STEP).is_none());
        assert_eq!(
            arena.take(8 * LARGE_STEP).map(|block| block.bytes),
            Some(9 * LARGE_STEP)
        );
    }

    #[test]
    fn what_is_left_of_a_slab_is_used_up() {
        let arena = Arc::new(Arena::new(None, None));
        let mut kept = vec![grown(&arena, 1, 0)];
        while let Some(block) = arena.take(SHARED_BYTES_MAX) {
            kept.push(block);
        }
        assert_eq!(kept.len(), 8, "one small block and seven large ones");
        kept.push(grown(&arena, SHARED_BYTES_MAX, 1 << 30));
        let rest = SHARED_BYTES_MAX / BLOCK_BYTES_MIN - 1;
        let small: Vec<_> = (0..rest).map(|_| arena.take(1)).collect();
        let first_slab = |block: &Option<Block>| {
            block
                .as_ref()
                .is_some_and(|block| block.at < Address(SLAB_BYTES as u64))
        };
        assert!(small.iter().all(first_slab));
        assert!(!first_slab(&arena.take(1)));
    }

    #[test]
    fn the_bound_holds_and_what_is_free_can_be_given_back() {
        let bound = (SLAB_BYTES + 3 * LARGE_STEP) as u64;
        let arena = Arc::new(Arena::new(Some(bound), None));
        let _small = grown(&arena, 1, 0);
        let large = grown(&arena, 2 * LARGE_STEP, 1 << 30);
        assert_eq!(arena.growth(LARGE_STEP), Some(LARGE_STEP));
        assert_eq!(arena.growth(LARGE_STEP + 1), None);
        assert!(arena.trim().is_empty(), "it has an owner");
        drop(large);
        assert_eq!(arena.trim(), [Address(1 << 30)]);
        assert_eq!(arena.extent().held_bytes, SLAB_BYTES as u64);
        assert_eq!(arena.growth(3 * LARGE_STEP), Some(3 * LARGE_STEP));
    }

    #[test]
    fn whoever_listens_hears_of_a_block_before_it_is_free() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&heard);
        let listen = move |at, bytes| told.lock().expect("no panic").push((at, bytes));
        let arena = Arc::new(Arena::new(None, Some(Box::new(listen))));
        drop(grown(&arena, 700, 0));
        assert_eq!(*heard.lock().expect("no panic"), [(Address(0), 1024)]);
    }
}
