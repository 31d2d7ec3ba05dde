//! What the operators compute: the contract of each, then plain loops. Nothing here is shared with a backend, so that a
//! comparison with one proves something.

pub(crate) mod groups;
pub(crate) mod index;
pub(crate) mod numbers;
pub(crate) mod products;
pub(crate) mod rows;
