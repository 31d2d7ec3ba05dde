#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod aligned;
mod arena;
mod backend;
pub mod compose;
mod composed;
mod driver;
mod failure;
mod graphs;
pub mod host;
mod kernels;
pub mod limits;
mod load;
mod machine;
mod matrix;
mod offload;
mod op;
mod operands;
mod queue;
mod staging;
mod steps;
mod tensor;
mod thread;
pub mod trial;
mod verb;
mod view;
mod workspace;

pub use aligned::Allocations;
pub use composed::{ComposedDriver, Runtime};
pub use driver::{Chip, Driver, Form};
pub use failure::{Failure, Meaning, one_line};
pub use machine::Machine;
pub use matrix::{Matrix, Packed, Part, widened_dtype};
pub use offload::{Captures, Choice, Entry, Offload, Options, Usage};
pub use op::Op;
pub use queue::{Flight, Pinned, Queue, Way};
pub use tensor::{Experts, Ids, Rows, Tensor, Weight};
pub use verb::{Declined, Listed, RouteBy, Verb};
pub use view::{Address, DType, Dims, Numbering, View};
pub use workspace::Workspace;
