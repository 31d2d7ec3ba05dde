//! What can go wrong in a model.

/// The error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint or the device.
    #[error(transparent)]
    Core(#[from] deepseek_core::Error),
    /// The device finished a step with numbers that are none.
    #[error("the model yields logits that are not numbers at position {position}")]
    NotANumber {
        /// Where.
        position: u32,
    },
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
