//! Tokens and the prompt encodings of DeepSeek-V4 and V4.1, both ways.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod defaults;
mod detok;
mod encode;
mod engram_ids;
mod error;
mod fixed;
mod message;
mod reader;
mod tokenizer;
mod v4;
mod v41;
mod wire;

pub use defaults::Defaults;
pub use detok::Detokenizer;
pub use encode::{Edition, Effort, Encoded, Mode, Options, Place, ToolChoice, encode};
pub use error::{Error, Result};
pub use message::{Answer, Brief, Call, Content, Conversation, Message, Part, Task, Tool, Video};
pub use reader::{Delta, Reader, Stage, Start, parse};
pub use tokenizer::{Tokenizer, marker};
