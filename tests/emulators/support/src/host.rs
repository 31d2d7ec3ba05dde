//! Bytes of the host that a caller of a C interface named by address and length.
#![allow(unsafe_code)]

use std::hash::{DefaultHasher, Hasher};
use std::ptr::copy_nonoverlapping;

/// Bytes of the host. No reference to them is ever made, because whoever gave them may write them.
#[derive(Debug, Clone, Copy)]
pub struct HostBytes {
    start: *mut u8,
    bytes: usize,
}

// SAFETY: an address and a length; what is read and written there is the promise of `new`.
unsafe impl Send for HostBytes {}

impl HostBytes {
    /// Takes an address and a length.
    ///
    /// # Safety
    /// As long as the result is used, the bytes are there, are written by nobody at the same moment,
    /// and may be written if the result writes them.
    #[must_use]
    pub unsafe fn new(start: *mut u8, bytes: usize) -> Self {
        Self { start, bytes }
    }

    /// How many they are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// What they are now.
    #[must_use]
    pub fn read(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.bytes];
        // SAFETY: the promise of `new`; a new vector overlaps nothing.
        unsafe { copy_nonoverlapping(self.start, bytes.as_mut_ptr(), self.bytes) };
        bytes
    }

    /// Writes the first of them.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn write(&self, bytes: &[u8]) {
        assert!(
            bytes.len() <= self.bytes,
            "within the bytes that were named"
        );
        // SAFETY: the promise of `new`, within its length; a slice of ours overlaps nothing of the host's.
        unsafe { copy_nonoverlapping(bytes.as_ptr(), self.start, bytes.len()) };
    }

    /// Writes all of them alike.
    pub fn fill(&self, byte: u8) {
        self.write(&vec![byte; self.bytes]);
    }

    /// A number that differs, in all likelihood, once one of them has changed.
    #[must_use]
    pub fn checksum(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.read());
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_written_and_summed() {
        let mut place = [1_u8, 2, 3, 4];
        // SAFETY: the array outlives the test and is used through this alone.
        let bytes = unsafe { HostBytes::new(place.as_mut_ptr(), 4) };
        let before = bytes.checksum();
        assert_eq!(bytes.read(), [1, 2, 3, 4]);
        bytes.write(&[9]);
        assert_ne!(bytes.checksum(), before);
        assert_eq!(bytes.read(), [9, 2, 3, 4]);
        bytes.fill(0xFF);
        assert_eq!(bytes.read(), [0xFF; 4]);
    }
}
