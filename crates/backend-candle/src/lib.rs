#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod backend;
mod host;
mod kernels;
mod tensor;

pub use backend::{Candle, Rows, Weight};
pub use host::start_threads;
pub use tensor::Tensor;
