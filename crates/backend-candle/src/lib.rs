#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod backend;
mod tensor;
mod threads;

pub use backend::{Candle, Ids, Rows, Weight};
pub use tensor::Tensor;
pub use threads::start_threads;
