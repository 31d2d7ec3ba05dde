//! The shape of a tensor, in place.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::limits::RANK_MAX;

/// The lengths of dimensions, outermost first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    lengths: [usize; RANK_MAX],
    rank: usize,
}

impl Shape {
    /// So many dimensions, of the length that each has by its number.
    ///
    /// # Panics
    /// If there are more than [`RANK_MAX`].
    pub(crate) fn of(rank: usize, length: impl Fn(usize) -> usize) -> Self {
        let mut shape = Self {
            lengths: [0; RANK_MAX],
            rank,
        };
        assert!(rank <= RANK_MAX, "{rank} dimensions, at most {RANK_MAX}");
        for (dim, own) in shape.iter_mut().enumerate() {
            *own = length(dim);
        }
        shape
    }
}

impl From<&[usize]> for Shape {
    fn from(lengths: &[usize]) -> Self {
        Self::of(lengths.len(), |dim| lengths[dim])
    }
}

impl Deref for Shape {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.lengths[..self.rank]
    }
}

impl DerefMut for Shape {
    fn deref_mut(&mut self) -> &mut [usize] {
        &mut self.lengths[..self.rank]
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
