//! The provided bodies of the verbs: short, plain and slow, written in primitives only.
//!
//! They are what the verbs mean. The conformance suite runs them beside every override.

mod attend;
mod compress;
mod engram;
mod experts;
mod hyper_connection;
mod indexer;
mod route;

pub use attend::{attend, attend_all};
pub use compress::compress;
pub use engram::engram;
pub use experts::{experts, feed_forward};
pub use hyper_connection::{hc_collapse, hc_head, hc_post, hc_pre};
pub use indexer::index_topk;
pub use route::route;
