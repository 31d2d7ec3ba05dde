//! The ways in which the engine says no.

use std::fmt;

use deepseek_model::TokenId;

/// Why the engine did not take a request. The caller can act on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The queue is full. Try again later.
    #[error("busy: {waiting} requests are waiting")]
    Busy {
        /// Requests in the queue, which is all that it holds.
        waiting: usize,
    },
    /// The prompt has no tokens.
    #[error("the prompt is empty")]
    Empty,
    /// The prompt leaves no room for an answer.
    #[error("a prompt of {tokens} tokens, with its answer, in a context of {context}")]
    TooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens of the context, of which an answer needs at least one.
        context: u32,
    },
    /// An id is not in the vocabulary.
    #[error("token {id} in a vocabulary of {vocabulary}")]
    UnknownToken {
        /// The id.
        id: TokenId,
        /// The ids of the model are below this.
        vocabulary: u32,
    },
    /// The prompt holds an image or a video, and the model does not look at any.
    #[error("the model does not look at images")]
    NoVision,
    /// The prompt holds audio, and the model does not listen to any.
    #[error("the model does not listen to audio: no audio_config in its config.json")]
    NoAudio,
    /// A parameter is out of its bounds.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The engine has been told to close.
    #[error("the engine is closing")]
    Closing,
    /// The engine's thread panicked; there will be no more answers.
    #[error("the engine has ended: {why}")]
    Ended {
        /// What ended it.
        why: String,
    },
}

/// A parameter that is out of its bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {value}, must be {bounds}")]
pub struct Invalid {
    /// The parameter's name.
    pub field: &'static str,
    /// What was asked for.
    pub value: String,
    /// What may be asked for.
    pub bounds: String,
}

impl Invalid {
    /// A parameter, what was asked for and what may be.
    #[must_use]
    pub fn new(field: &'static str, value: impl fmt::Display, bounds: impl Into<String>) -> Self {
        Self {
            field,
            value: format!("{value}"),
            bounds: bounds.into(),
        }
    }
}
