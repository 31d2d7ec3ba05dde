//! Weights on disk: mapped shards, proven headers, borrowed tensors.

mod view;

pub use view::{Bytes, WeightView};
