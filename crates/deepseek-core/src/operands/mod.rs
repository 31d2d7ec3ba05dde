//! What the verbs of [`Kernels`](crate::Kernels) take and give, beside tensors.

pub mod attention;
pub mod engram;
pub mod hyper;
pub mod linear;
pub mod moe;
pub mod token_table;

pub use attention::{Blocks, Chosen, Fold, Pick, Picked, ScoreRounding, Softmax, WeightRounding};
pub use engram::EngramGate;
pub use hyper::{HyperShape, HyperWeights, Mix, StreamShares};
pub use linear::Linear;
pub use moe::{Experts, FeedForward, Gate, Inputs, Routing, Select, SwiGlu};
pub use token_table::TokenTable;
