//! What a model may write, as sets of token ids.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod error;
mod grammar;
mod limits;
mod schema;
mod vocabulary;

pub use error::Error;
pub use grammar::{Form, Grammar, Text};
pub use limits::Limits;
pub use vocabulary::Vocabulary;
