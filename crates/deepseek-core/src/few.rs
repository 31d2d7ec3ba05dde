//! Short lists.

use smallvec::SmallVec;

/// A list of what a step has a few of. As long as it is short it asks for no memory of its own.
pub type Few<T> = SmallVec<[T; 8]>;
