#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod chip;
mod driver;
mod limits;
mod lower;
mod neuware;
mod status;
mod visits;

pub use chip::CambriconChip;
pub use driver::CambriconDriver;
pub use neuware::MluQueue;
