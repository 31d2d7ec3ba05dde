#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod bank;
pub mod mixture;

pub use bank::Bank;
pub use mixture::{Mixture, MixtureShape, RouteBy};
