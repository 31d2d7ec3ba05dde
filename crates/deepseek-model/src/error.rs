//! What can go wrong in a model.

use deepseek_core::Parallel;

/// The error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint or the device.
    #[error(transparent)]
    Core(#[from] deepseek_core::Error),
    /// A decoder failed that is no model on a device.
    #[error("the decoder failed: {why}")]
    Decoder {
        /// What it says.
        why: String,
    },
    /// The device is one of another number of ranks than the plan was made for.
    #[error("a plan for {} ranks ({plan}) on one of {ranks}", .plan.world())]
    Ranks {
        /// How the plan divides the model.
        plan: Parallel,
        /// How many ranks the device is one of.
        ranks: usize,
    },
    /// The model has an n-gram memory, which is addressed by compressed ids, and none were given.
    #[error("the model needs the compressed ids of its tokenizer")]
    NoCompressedIds,
    /// The tokenizer is not the one that the model was made with.
    #[error(
        "the tokenizer has {tokens} tokens, {count} when compressed; the model has {vocabulary} and {want}"
    )]
    CompressedIds {
        /// Tokens of the tokenizer.
        tokens: usize,
        /// Compressed ids that they make.
        count: usize,
        /// Tokens of the model.
        vocabulary: usize,
        /// Compressed ids by the config.
        want: usize,
    },
    /// The config and the hashes do not agree on the size of a table.
    #[error("layer {layer}: an n-gram table of {rows} rows by the config, {hashed} by its hashes")]
    TableRows {
        /// The layer.
        layer: usize,
        /// Rows by the config.
        rows: u64,
        /// Rows by the primes of the hashes.
        hashed: u64,
    },
    /// The model cannot look at images.
    #[error("the model does not look at images")]
    NoVision,
    /// The model cannot listen to audio.
    #[error("the model does not listen to audio: no audio_config in its config.json")]
    NoAudio,
    /// What was saved of a sequence is not a state of this decoder.
    #[error("the saved sequence is not one of this decoder")]
    State,
    /// Loading was stopped before its end.
    #[error("interrupted while loading")]
    Interrupted,
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
