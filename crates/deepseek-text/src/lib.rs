//! Tokens and the prompt encodings of DeepSeek-V4 and V4.1, both ways.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod calls;
mod defaults;
mod delta;
mod detok;
mod encode;
mod engram_ids;
mod error;
mod fixed;
mod json;
mod layout;
mod message;
mod options;
mod reader;
mod start;
mod stops;
mod tokenizer;
mod v4;
mod v41;
mod wire;

pub use defaults::Defaults;
pub use delta::{Delta, Flaw};
pub use detok::Detokenizer;
pub use encode::{Encoded, Place, encode};
pub use error::{Error, Misfit, Result};
pub use json::{Json, JsonError};
pub use message::{
    Answer, Brief, Call, Content, Conversation, Message, Part, Reading, Task, Tool, Video,
};
pub use options::{Edition, Effort, Mode, Options, ToolChoice};
pub use reader::{Reader, parse};
pub use start::{Stage, Start};
pub use stops::Stops;
pub use tokenizer::{Tokenizer, marker};
