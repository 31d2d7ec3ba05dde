#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bank;
pub mod mixture;

pub use mixture::{Mixture, MixtureConfig, RouteBy};
