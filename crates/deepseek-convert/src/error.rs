//! What can go wrong in a conversion.

use std::path::{Path, PathBuf};

use crate::target::Target;

/// Why a checkpoint is not converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file or a folder.
    #[error("{}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The checkpoint does not hold.
    #[error(transparent)]
    Weights(#[from] deepseek_core::Error),
    /// The config is no object.
    #[error("config.json: {why}")]
    Config {
        /// What does not hold.
        why: String,
    },
    /// What would be converted has been converted before, with what that lost.
    #[error("the checkpoint is a conversion itself: {found}")]
    Converted {
        /// How it is stored.
        found: &'static str,
    },
    /// There is nothing to do.
    #[error("the checkpoint is stored as {target} already")]
    Nothing {
        /// What was asked for.
        target: Target,
    },
    /// The result would replace the checkpoint.
    #[error("{}: the folder of the checkpoint itself", out.display())]
    Same {
        /// Where it was to be written.
        out: PathBuf,
    },
    /// The folder has something else in it.
    #[error("{}: holds {found}, and no conversion", out.display())]
    Occupied {
        /// Where it was to be written.
        out: PathBuf,
        /// The first thing found.
        found: String,
    },
    /// The folder has another conversion in it.
    #[error("{}: holds a conversion of {what}", out.display())]
    Other {
        /// Where it was to be written.
        out: PathBuf,
        /// What it is a conversion of.
        what: String,
    },
    /// The record of what is done does not hold.
    #[error("{}: {why}", path.display())]
    Journal {
        /// The record.
        path: PathBuf,
        /// What does not hold.
        why: String,
    },
    /// The caller broke it off. What was finished is kept.
    #[error("interrupted")]
    Interrupted,
}

/// A result with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Names the file or folder that the system refused.
pub(crate) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Io {
        path: path.to_owned(),
        source,
    }
}
