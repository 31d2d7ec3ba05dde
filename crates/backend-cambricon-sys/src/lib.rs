#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

pub mod abi;
mod error;
mod loader;
mod search;
mod status;
mod table;
pub mod types;

pub use backend_abi::{Attempt, signature};
pub use error::Unavailable;
pub use loader::{Lookup, Neuware};
pub use search::Search;
pub use status::{CODES, Status, status};
pub use table::{Library, Symbol, Tier};
