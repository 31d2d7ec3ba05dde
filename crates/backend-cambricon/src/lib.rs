#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod chip;
mod driver;
mod limits;
mod lower;
mod neuware;
mod status;

pub use chip::CambriconChip;
pub use driver::{CambriconDriver, CambriconRuntime};
pub use neuware::MluQueue;
