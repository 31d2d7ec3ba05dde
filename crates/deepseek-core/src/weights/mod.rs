//! Weights on disk: mapped shards, proven headers, borrowed tensors.
//!
//! [`Checkpoint`] opens a folder, [`Shard`] a file. Whatever a file says is proven against the bytes
//! that exist before anything is allotted or believed: a file that lies is an error that names it or
//! the tensor, never a panic. [`Tensors`] then hands out what a layer asks for, by name and shape.

mod checkpoint;
mod dtype;
mod header;
mod limits;
mod shard;
mod source;
mod tensor;
mod view;

pub use checkpoint::Checkpoint;
pub use dtype::Dtype;
pub use shard::Shard;
pub use source::{TensorSource, Tensors};
pub use tensor::RawTensor;
pub use view::{Access, Bytes, Owner, Stride, WeightView};
