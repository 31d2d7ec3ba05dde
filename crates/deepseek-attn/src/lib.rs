#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod batch;
pub mod compress;
mod draw;
pub mod indexer;
pub mod layer;
pub mod memory;
pub mod role;
pub mod store;
pub mod window;

pub use batch::{Batch, Part, RopeSet, Ropes, Sight, Span};
pub use layer::{Attention, AttentionShape, Carry};
pub use memory::{Memory, MemoryShape};
pub use role::{Choice, Filter, Keys, Making, Pooling, Role, SourceId};
