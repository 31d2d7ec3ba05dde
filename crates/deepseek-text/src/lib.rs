//! Tokens and the prompt encodings of DeepSeek-V4 and V4.1, both ways.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod calls;
mod defaults;
mod detok;
mod encode;
mod engram_ids;
mod error;
mod fixed;
mod json;
mod message;
mod reader;
mod stops;
mod tokenizer;
mod v4;
mod v41;
mod wire;

pub use defaults::Defaults;
pub use detok::Detokenizer;
pub use encode::{Edition, Effort, Encoded, Mode, Options, Place, ToolChoice, encode};
pub use error::{Error, Misfit, Result};
pub use json::{Json, JsonError};
pub use message::{
    Answer, Brief, Call, Content, Conversation, Message, Part, Reading, Task, Tool, Video,
};
pub use reader::{Delta, Flaw, Reader, Stage, Start, parse};
pub use stops::Stops;
pub use tokenizer::{Tokenizer, marker};
