//! Memory of activations and of row numbers: aligned, counted, and kept for the next one when the last
//! handle is dropped.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::limits::KEPT_BYTES_MAX;

/// Where numbers begin, in bytes: at a line of the cache, which holds a vector of any width.
const ALIGNMENT: usize = 64;
/// Numbers of four bytes in so much; as many may lie before the first that is aligned.
const LINE: usize = ALIGNMENT / 4;
/// Classes of sizes between one power of two and the next.
const STEPS: usize = 8;
/// Lines up to which every number of them is a class.
const LINES: usize = 2 * STEPS;

/// The memory that dropped buffers left, by its size.
///
/// A step of the model asks for the same sizes again and again. Memory that comes from the system
/// each time is cleared by it and touched page by page; this is neither.
#[derive(Default)]
pub(crate) struct Buffers<T> {
    kept: Mutex<Kept<T>>,
}

/// By class, blocks that nobody has.
struct Kept<T> {
    classes: Vec<Vec<Arc<Block<T>>>>,
    bytes: usize,
}

/// Numbers in one piece of memory, and whose they are when nobody has them.
struct Block<T> {
    numbers: Vec<T>,
    first: usize,
    class: usize,
    home: Weak<Buffers<T>>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            classes: Vec::new(),
            bytes: 0,
        }
    }
}

impl<T> fmt::Debug for Buffers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffers({} bytes kept)", self.kept().bytes)
    }
}

impl<T> Buffers<T> {
    /// Nothing that holds the lock can fail halfway, so a poisoned one is as good.
    fn kept(&self) -> MutexGuard<'_, Kept<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Copy + Default> Buffers<T> {
    /// Room for `length` numbers. What it holds is unspecified: zeros, or what was left in it.
    pub(crate) fn take(self: &Arc<Self>, length: usize) -> Buffer<T> {
        let (class, size) = class(length);
        // Up to twice the size is no waste: it will be given back.
        let most = self::class(2 * size).0;
        let kept = self.kept().take(class, most);
        let block = kept.unwrap_or_else(|| {
            let numbers = vec![T::default(); size + LINE];
            Arc::new(Block {
                first: numbers.as_ptr().align_offset(ALIGNMENT).min(LINE),
                numbers,
                class,
                home: Arc::downgrade(self),
            })
        });
        Buffer {
            block: Some(block),
            length,
        }
    }
}

impl<T> Block<T> {
    fn bytes(&self) -> usize {
        size_of_val(&*self.numbers)
    }
}

impl<T> Kept<T> {
    fn take(&mut self, least: usize, most: usize) -> Option<Arc<Block<T>>> {
        let mut classes = self.classes.iter_mut().take(most + 1).skip(least);
        let block = classes.find_map(Vec::pop)?;
        self.bytes -= block.bytes();
        Some(block)
    }

    /// Keeps a block. Beyond the bound larger ones make room for it, which are those of longer prompts.
    fn give(&mut self, block: Arc<Block<T>>) {
        let class = block.class;
        while self.bytes + block.bytes() > KEPT_BYTES_MAX {
            let mut larger = self.classes.iter_mut().skip(class + 1).rev();
            let Some(largest) = larger.find_map(Vec::pop) else {
                return;
            };
            self.bytes -= largest.bytes();
        }
        if self.classes.len() <= class {
            self.classes.resize_with(class + 1, Vec::new);
        }
        self.bytes += block.bytes();
        self.classes[class].push(block);
    }
}

/// The class of so many numbers, and how many are allocated for all of it: so that neighbouring lengths use
/// each other's memory. Few lines are a class for each number of them; then there are [`STEPS`] classes
/// from each power of two to the next.
fn class(length: usize) -> (usize, usize) {
    let lines = length.div_ceil(LINE).max(1);
    if lines <= LINES {
        return (lines - 1, lines * LINE);
    }
    let power = lines.next_power_of_two();
    let step = power / LINES;
    let steps = lines.div_ceil(step);
    let powers = (power / LINES).ilog2() as usize - 1;
    (
        LINES + powers * STEPS + (steps - STEPS - 1),
        steps * step * LINE,
    )
}

/// Numbers in counted memory that goes back where it came from. A clone is a handle.
///
/// Should two threads drop the last two handles at the same moment, neither may see that it is the last:
/// then the memory goes back to the system.
pub(crate) struct Buffer<T> {
    /// There until it is dropped.
    block: Option<Arc<Block<T>>>,
    length: usize,
}

impl<T> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        Self {
            block: self.block.clone(),
            length: self.length,
        }
    }
}

impl<T> Buffer<T> {
    /// Its numbers, to be written.
    ///
    /// # Panics
    /// If there is another handle.
    pub(crate) fn edit(&mut self) -> &mut [T] {
        let block = self.block.as_mut().and_then(Arc::get_mut);
        let Block { numbers, first, .. } = block.expect("the one handle to a buffer");
        &mut numbers[*first..][..self.length]
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        let Some(mut block) = self.block.take() else {
            return;
        };
        let last = Arc::get_mut(&mut block);
        if let Some(home) = last.and_then(|block| block.home.upgrade()) {
            home.kept().give(block);
        }
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let block = self.block.as_ref().expect("there until it is dropped");
        &block.numbers[block.first..][..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffers() -> Arc<Buffers<f32>> {
        Arc::default()
    }

    #[test]
    fn numbers_begin_at_a_line_of_the_cache_and_are_as_many_as_asked_for() {
        let buffers = buffers();
        for length in [0, 1, 15, 16, 17, 255, 256, 257, 1000, 4095, 4096, 70_001] {
            let buffer = buffers.take(length);
            assert_eq!(buffer.len(), length);
            assert!(buffer.as_ptr().addr().is_multiple_of(ALIGNMENT), "{length}");
        }
    }

    #[test]
    fn classes_follow_one_another_and_waste_little() {
        let (mut before, mut reached) = (0, 0);
        for length in 0..20_000 {
            let (class, size) = class(length);
            assert!(class == before || class == before + 1, "{length}");
            assert_eq!(class != before, length > reached.max(LINE), "{length}");
            assert!(
                size >= length && size <= length + length / STEPS + LINE,
                "{length}"
            );
            (before, reached) = (class, size);
        }
    }

    #[test]
    fn a_dropped_buffer_is_given_out_again() {
        let buffers = buffers();
        for length in [3, 10_000] {
            let mut first = buffers.take(length);
            first.edit().fill(7.0);
            let place = first.as_ptr();
            drop(first);
            let second = buffers.take(length - 1);
            assert_eq!((second.as_ptr(), second[0]), (place, 7.0));
            let third = buffers.take(length);
            assert_ne!(third.as_ptr(), place);
        }
    }

    #[test]
    fn the_last_handle_gives_back() {
        let buffers = buffers();
        let first = buffers.take(100);
        let (place, second) = (first.as_ptr(), first.clone());
        drop(first);
        assert_ne!(buffers.take(100).as_ptr(), place);
        drop(second);
        let held = [buffers.take(100), buffers.take(100)];
        assert!(held.iter().any(|buffer| buffer.as_ptr() == place));
    }

    #[test]
    fn what_outlives_its_home_is_freed() {
        let buffers = buffers();
        let last = buffers.take(100);
        drop(buffers);
        assert_eq!(last.len(), 100);
    }

    #[test]
    fn much_smaller_asks_leave_a_large_buffer_alone() {
        let buffers = buffers();
        let large = buffers.take(1 << 20);
        let place = large.as_ptr();
        drop(large);
        assert_ne!(buffers.take(10_000).as_ptr(), place);
        assert_eq!(buffers.take(1 << 20).as_ptr(), place);
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let buffers = buffers();
        let each = KEPT_BYTES_MAX / size_of::<f32>() / 8;
        let many: Vec<_> = (0..12).map(|_| buffers.take(each)).collect();
        drop(many);
        let kept = buffers.kept().bytes;
        assert!(
            kept <= KEPT_BYTES_MAX && kept > KEPT_BYTES_MAX / 2,
            "{kept}"
        );
        // Small ones find room.
        let small: Vec<_> = (0..4).map(|_| buffers.take(each / 4)).collect();
        let places = || buffers.kept().classes[class(each / 4).0].len();
        assert_eq!(places(), 0);
        drop(small);
        assert!(places() == 4 && buffers.kept().bytes <= KEPT_BYTES_MAX);
    }
}
