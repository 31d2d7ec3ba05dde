#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod addresses;
mod attempt;
mod library;
pub mod signature;

pub use addresses::Addresses;
pub use attempt::{Attempt, list};
pub use library::{Binding, Library};
