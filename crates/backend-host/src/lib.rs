#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod backend;
mod buffer;
mod fused;
mod kernel_set;
mod kernels;
mod limits;
mod shape;
mod tensor;
mod turns;

pub use backend::{Host, Rows, Weight};
pub use kernel_set::{KernelSet, NoKernelSet};
pub use kernels::Roofs;
pub use tensor::{Ids, Tensor};
