//! Requests, scheduling and sampling over a DeepSeek-V4 decoder.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod constraint;
mod engine;
mod errand;
mod events;
mod limits;
mod logprobs;
mod media;
mod media_source;
mod places;
mod queue;
mod refusal;
mod request;
mod run;
mod sampler;
mod saved;
mod scheduler;
mod sequence;
mod speculate;
pub mod toy;
mod wake;

pub use constraint::{Constraint, ConstraintSource};
pub use engine::Engine;
pub use errand::PlaceError;
pub use events::{Canceller, Event, Events, Fault, Reason, RequestId, Usage};
pub use limits::Limits;
pub use logprobs::Logprobs;
pub use media_source::{MediaError, MediaKey, MediaKind, MediaShape, MediaSource, MediaStream};
pub use refusal::{Invalid, Refusal};
pub use request::{MediaSpan, Request};
pub use sampler::{Sampler, Sampling, SamplingOptions};
pub use saved::SavedPlace;
