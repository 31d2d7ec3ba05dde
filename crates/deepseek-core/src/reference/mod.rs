//! The provided bodies of the verbs: short, plain and slow, written in primitives only.
//!
//! They are what the verbs mean. The conformance suite runs them beside every override.

mod attend;
mod attend_dense;
mod compress;
mod engram;
mod experts;
mod hyper_connection;
mod indexer;
mod project;
mod route;

pub use attend::attend;
pub use attend_dense::{QUERY_ROWS, attend_dense};
pub use compress::compress;
pub use engram::engram;
pub use experts::{experts, feed_forward};
pub use hyper_connection::{hc_post, hc_pre, hc_read};
pub use indexer::index_topk;
pub use project::{project, project_grouped};
pub use route::{choose_experts, route};
