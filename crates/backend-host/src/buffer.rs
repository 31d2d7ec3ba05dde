//! Memory of activations: aligned, and kept for the next tensor when one is dropped.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::{KEPT_BYTES_MAX, KEPT_BYTES_MIN};

/// Where numbers begin, in bytes: at a line of the cache, which holds a vector of any width.
const ALIGNMENT: usize = 64;
/// Numbers that may lie before the first that is aligned.
const SLACK: usize = ALIGNMENT / size_of::<f32>();

/// The memory that dropped tensors left, by its size.
///
/// A step of the model asks for the same sizes again and again. Memory that comes from the system
/// each time is cleared by it and touched page by page; this is neither.
#[derive(Default)]
pub(crate) struct Buffers {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_length: BTreeMap<usize, Vec<Vec<f32>>>,
    bytes: usize,
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffers({} bytes kept)", self.kept().bytes)
    }
}

impl Buffers {
    /// Room for `length` numbers. What it holds is unspecified: zeros, or what was left in it.
    pub(crate) fn take(self: &Arc<Self>, length: usize) -> Buffer {
        let size = size(length);
        let kept = if is_kept(size) {
            // Up to twice the size is no waste: it will be given back.
            self.kept().take(size, 2 * size)
        } else {
            None
        };
        let numbers = kept.unwrap_or_else(|| vec![0.0; size]);
        let first = numbers.as_ptr().align_offset(ALIGNMENT).min(SLACK);
        Buffer {
            numbers,
            first,
            length,
            home: Arc::clone(self),
        }
    }

    /// Nothing that holds the lock can fail halfway, so a poisoned one is as good.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn take(&mut self, least: usize, most: usize) -> Option<Vec<f32>> {
        let (length, found) = self.by_length.range_mut(least..=most).next()?;
        let (length, numbers) = (*length, found.pop());
        if found.is_empty() {
            self.by_length.remove(&length);
        }
        self.bytes -= length * size_of::<f32>();
        numbers
    }

    fn give(&mut self, numbers: Vec<f32>) {
        let bytes = numbers.len() * size_of::<f32>();
        if self.bytes + bytes <= KEPT_BYTES_MAX {
            self.bytes += bytes;
            self.by_length
                .entry(numbers.len())
                .or_default()
                .push(numbers);
        }
    }
}

/// Whether memory of so many numbers is kept.
fn is_kept(size: usize) -> bool {
    size * size_of::<f32>() >= KEPT_BYTES_MIN
}

/// Numbers to allocate for `length`: eight sizes between one power of two and the next, so that
/// neighbouring lengths use each other's memory.
fn size(length: usize) -> usize {
    let step = (length.next_power_of_two() / 16).max(SLACK);
    length.next_multiple_of(step) + SLACK
}

/// Numbers in memory of their own, which goes back where it came from.
pub(crate) struct Buffer {
    numbers: Vec<f32>,
    first: usize,
    length: usize,
    home: Arc<Buffers>,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let numbers = mem::take(&mut self.numbers);
        if is_kept(numbers.len()) {
            self.home.kept().give(numbers);
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers[self.first..][..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers[self.first..][..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_at_a_line_of_the_cache_and_are_as_many_as_asked_for() {
        let buffers = Arc::new(Buffers::default());
        for length in [0, 1, 15, 16, 17, 1000, 4095, 4096, 70_001] {
            let buffer = buffers.take(length);
            assert_eq!(buffer.len(), length);
            assert!(buffer.as_ptr().addr().is_multiple_of(ALIGNMENT), "{length}");
        }
    }

    #[test]
    fn a_dropped_buffer_is_given_out_again() {
        let buffers = Arc::new(Buffers::default());
        let mut first = buffers.take(10_000);
        first.fill(7.0);
        let place = first.as_ptr();
        drop(first);
        let second = buffers.take(9_990);
        assert_eq!((second.as_ptr(), second[0]), (place, 7.0));
        let third = buffers.take(10_000);
        assert_ne!(third.as_ptr(), place);
    }

    #[test]
    fn much_smaller_asks_leave_a_large_buffer_alone() {
        let buffers = Arc::new(Buffers::default());
        let large = buffers.take(1 << 20);
        let place = large.as_ptr();
        drop(large);
        assert_ne!(buffers.take(10_000).as_ptr(), place);
        assert_eq!(buffers.take(1 << 20).as_ptr(), place);
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let buffers = Arc::new(Buffers::default());
        let each = KEPT_BYTES_MAX / size_of::<f32>() / 8;
        let many: Vec<Buffer> = (0..12).map(|_| buffers.take(each)).collect();
        drop(many);
        let kept = buffers.kept().bytes;
        assert!(
            kept <= KEPT_BYTES_MAX && kept > KEPT_BYTES_MAX / 2,
            "{kept}"
        );
        let small: Vec<Buffer> = (0..12).map(|_| buffers.take(16)).collect();
        drop(small);
        assert_eq!(buffers.kept().bytes, kept);
    }
}
