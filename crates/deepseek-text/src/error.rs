//! The ways in which text can fail: a tokenizer file that lies, a marker that is missing, a
//! conversation that cannot be read.

/// What this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of this crate, named by the thing that is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The tokenizer file is larger than any that is known.
    #[error("tokenizer: {bytes} bytes in the file, at most {max} are read")]
    TooLarge {
        /// Bytes in the file.
        bytes: u64,
        /// [`Tokenizer::FILE_BYTES_MAX`](crate::Tokenizer::FILE_BYTES_MAX).
        max: u64,
    },
    /// The tokenizer file is no JSON, or a field of it has the wrong type.
    #[error("tokenizer: not a readable tokenizer.json")]
    Json(#[source] serde_json::Error),
    /// The file asks for a part that this reader does not know.
    #[error("tokenizer: {part} is {found}, expected {expected}")]
    Unsupported {
        /// The field of the file.
        part: &'static str,
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// The file holds no tokens at all, or more than ids can count.
    #[error("tokenizer: {found} tokens in the file, between 1 and {max} are possible")]
    Count {
        /// Tokens in the file.
        found: usize,
        /// The most that are possible.
        max: usize,
    },
    /// One token text stands in the file twice.
    #[error("tokenizer: token {token:?} has id {first} and id {second}")]
    DoubledToken {
        /// The text of the token.
        token: String,
        /// The id read first.
        first: u32,
        /// The id read later; equal to `first` when the same line is repeated.
        second: u32,
    },
    /// One id stands in the file twice.
    #[error("tokenizer: id {id} is {first:?} and {second:?}")]
    DoubledId {
        /// The id.
        id: u32,
        /// The token read first.
        first: String,
        /// The token read later.
        second: String,
    },
    /// An id beyond the number of tokens, which leaves a gap before it.
    #[error("tokenizer: token {token:?} has id {id}, the file has {count} tokens")]
    Gap {
        /// The text of the token.
        token: String,
        /// Its id.
        id: u32,
        /// Tokens in the file.
        count: usize,
    },
    /// A token with no text, which would stand everywhere.
    #[error("tokenizer: id {id} has no text")]
    EmptyToken {
        /// The id.
        id: u32,
    },
    /// A byte that no base token spells, so that some text could not be encoded.
    #[error("tokenizer: no token for byte {byte:#04x}")]
    MissingByte {
        /// The byte.
        byte: u8,
    },
    /// A base token with a character outside the byte alphabet.
    #[error("tokenizer: base token {token:?} is not written in the byte alphabet")]
    Alphabet {
        /// The text of the token.
        token: String,
    },
    /// A merge of tokens that are no base tokens, or whose union is none.
    #[error("tokenizer: merge {index} of {left:?} and {right:?}: {missing:?} is no base token")]
    Merge {
        /// The place of the merge in the file.
        index: usize,
        /// The left token.
        left: String,
        /// The right token.
        right: String,
        /// The token that is not in the base vocabulary.
        missing: String,
    },
    /// A merge that is no pair.
    #[error("tokenizer: merge {index} is {found:?}, expected two tokens")]
    MergeForm {
        /// The place of the merge in the file.
        index: usize,
        /// What stands there.
        found: String,
    },
    /// The library that encodes text refused.
    #[error("tokenizer")]
    Library(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A control token that the tokenizer does not have.
    #[error("tokenizer: marker {marker} is missing")]
    MissingMarker {
        /// The text of the marker.
        marker: String,
    },
    /// An id beyond the vocabulary.
    #[error("id {id}: the vocabulary has {size} ids")]
    UnknownId {
        /// The id.
        id: u32,
        /// The size of the vocabulary.
        size: usize,
    },
    /// A text too long to be encoded.
    #[error("text of {bytes} bytes, at most {max} are encoded")]
    TextTooLong {
        /// Bytes of the text.
        bytes: usize,
        /// [`Tokenizer::TEXT_BYTES_MAX`](crate::Tokenizer::TEXT_BYTES_MAX).
        max: usize,
    },
    /// A tiny vocabulary of a size that cannot be made.
    #[error("tiny tokenizer: {size} ids asked for, between {min} and {max} are possible")]
    TinySize {
        /// The size asked for.
        size: usize,
        /// The smallest possible.
        min: usize,
        /// The largest possible.
        max: usize,
    },
    /// A conversation that is no list of messages.
    #[error("conversation")]
    Conversation(#[source] Misfit),
    /// Tools that are no list of functions.
    #[error("tools")]
    Tools(#[source] Misfit),
    /// A conversation without a message, which nothing answers.
    #[error("conversation: no messages, there is nothing to answer")]
    Silent,
    /// A conversation whose last word the model has already.
    #[error(
        "conversation: message {message} is the assistant's and the last, there is nothing to answer"
    )]
    Answered {
        /// The place of the message, from zero.
        message: usize,
    },
    /// A part of a kind that is not known.
    #[error(
        "conversation: message {message}: content: part {part}: type {kind:?}, expected text, \
         image_url, input_audio, audio_url or video_url"
    )]
    Part {
        /// The place of the message, from zero.
        message: usize,
        /// The place of the part in it, from zero.
        part: usize,
        /// What it calls itself.
        kind: String,
    },
    /// An effort that the model does not know.
    #[error("effort {found}, expected {expected}")]
    Effort {
        /// What was asked for.
        found: String,
        /// What may be.
        expected: &'static str,
    },
    /// A call was required of a model that is to think first.
    #[error("a tool call is required in thinking mode, it can be in chat mode alone")]
    ToolChoice,
    /// A tool that is no object with a name, and maybe a description and parameters.
    #[error("tool {index}: not a function with a name")]
    Tool {
        /// The place of the tool in its message, from zero.
        index: usize,
        /// What is wrong.
        source: Misfit,
    },
}

/// What is wrong in a conversation, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misfit(String);

impl Misfit {
    pub(crate) fn new(place: &str, what: impl std::fmt::Display) -> Self {
        Self(match place {
            "" => what.to_string(),
            place => format!("{place}: {what}"),
        })
    }
}
