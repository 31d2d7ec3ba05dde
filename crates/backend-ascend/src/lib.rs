#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod cann;
mod chip;
mod custom;
mod driver;
mod integers;
mod limits;
mod status;
mod translate;

pub use cann::Stream;
pub use chip::{AscendChip, Family};
pub use driver::{AscendDriver, AscendRuntime};
