#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod address;
pub mod history;
pub mod layer;
pub mod table;

mod draw;
mod lru;

pub use address::{Addresses, Slots, TablesConfig};
pub use history::History;
pub use layer::{Engram, LayerConfig};
pub use table::Table;
