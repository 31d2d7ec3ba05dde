//! What can go wrong in a model.

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
    /// Loading was stopped before its end.
    #[error("interrupted while loading")]
    Interrupted,
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
