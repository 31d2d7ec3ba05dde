//! What the verbs of [`Kernels`](crate::Kernels) take and give, beside tensors.

pub mod attention;
pub mod engram;
pub mod experts;
pub mod hyper;
pub mod linear;
pub mod moe;
pub mod pool;
pub mod selection;
pub mod token_table;

pub use attention::{Blocks, ScoreRounding, Softmax, TopK, TopKRows, WeightRounding};
pub use engram::EngramGate;
pub use experts::{ExpertBank, ExpertShare, ExpertViews, Residency, Visits};
pub use hyper::{HyperWeights, Mix, MixerConfig, StreamShares};
pub use linear::Linear;
pub use moe::{FeedForward, Gate, Inputs, MediaRows, Routing, Select, SwiGlu};
pub use pool::{Groups, PoolState, Pooling};
pub use selection::{Runs, Selection};
pub use token_table::TokenTable;
