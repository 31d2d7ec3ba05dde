//! Requests, scheduling and sampling over a DeepSeek-V4 decoder.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bell;
mod desk;
mod engine;
mod events;
mod feed;
mod limits;
mod media;
mod medium;
mod request;
mod run;
mod sampler;
mod scheduler;
mod sequence;
mod source;
mod speculate;
pub mod toy;
mod turn;

pub use engine::Engine;
pub use events::{Canceller, Event, Events, Fault, Reason, Usage};
pub use limits::Limits;
pub use medium::{Medium, Piece};
pub use request::{Invalid, Placed, Refusal, Request};
pub use sampler::{Sampler, Sampling, SamplingOptions};
pub use source::{Source, Tape, TapeError};
pub use turn::{Delta, Prompt, Turn, TurnError, TurnOptions};
