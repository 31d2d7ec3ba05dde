#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod batch;
pub mod compress;
mod draw;
pub mod indexer;
pub mod layer;
pub mod memory;
pub mod role;
pub mod rooms;

pub use batch::{Batch, BatchLists, MadeRows, MadeStep, Part, RopeSet, Ropes, Span, WindowMask};
pub use layer::{Attention, AttentionConfig, Carry, Criteria, MadeKeys};
pub use memory::{Memory, MemoryConfig, SourceConfig};

pub use role::{Choice, Compression, Filter, Keys, Producer, Role, SourceId};
pub use rooms::{Rooms, SourceKind};
