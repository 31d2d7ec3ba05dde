//! The DeepSeek-V4 model: config, plan, blocks and drafts, ending in a decoder.
#![forbid(unsafe_code)]

pub mod decoder;
pub mod error;

pub use decoder::{Capacity, Decoder, Logits, SeqId, Span, Step, TokenId, Want};
pub use error::{Error, Result};
