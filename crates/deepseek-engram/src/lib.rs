#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod address;
pub mod history;
pub mod layer;
pub mod table;

mod draw;
mod lru;

pub use address::{Addresses, EngramShape, Slots};
pub use history::History;
pub use layer::{Engram, LayerShape};
pub use table::Table;
