//! Tokens and the DeepSeek-V4 prompt encoding, both ways.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod detok;
mod encode;
mod error;
mod fixed;
mod message;
mod reader;
mod tokenizer;
mod wire;

pub use detok::Detokenizer;
pub use encode::{Edition, Effort, Encoded, Mode, Options, encode};
pub use error::{Error, Result};
pub use message::{Answer, Brief, Call, Conversation, Message, Task, Tool};
pub use reader::{Delta, Reader, Start, parse};
pub use tokenizer::{Tokenizer, marker};
