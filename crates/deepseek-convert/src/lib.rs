#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod conversion;
mod error;
mod folder;
pub mod journal;
mod limits;
mod matrix;
mod report;
mod shard;
mod target;

pub use conversion::{Conversion, Other, Progress};
pub use error::{Error, Result};
pub use report::{Kind, Report};
pub use target::Target;
