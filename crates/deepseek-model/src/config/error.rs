//! Why a config is refused.

use serde_json::Value;

use super::keys::brief;
use crate::limits::CONFIG_BYTES_MAX;

/// Why a config was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// More bytes than any config has.
    #[error("the config has {bytes} bytes, at most {CONFIG_BYTES_MAX} are read")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
    },
    /// Not a JSON object, or one with a key that occurs twice.
    #[error("invalid JSON")]
    Json(#[source] serde_json::Error),
    /// A key that has no safe default.
    #[error("{key} is missing")]
    Missing {
        /// The key, or the keys that would do.
        key: String,
    },
    /// A value of another kind.
    #[error("{key}: {found}, want {want}")]
    Kind {
        /// The key.
        key: String,
        /// The value, shortened.
        found: String,
        /// The kind that belongs there.
        want: &'static str,
    },
    /// A number beyond its bounds.
    #[error("{key}: {value}, want {want}")]
    Range {
        /// The key.
        key: String,
        /// The number.
        value: String,
        /// The bounds.
        want: String,
    },
    /// Two statements that cannot both hold.
    #[error("{left}, but {right}")]
    Contradiction {
        /// One.
        left: String,
        /// The other.
        right: String,
    },
    /// A variant of the architecture that this engine does not run.
    #[error("{key}: {found} is not supported, only {only}")]
    Unsupported {
        /// The key.
        key: String,
        /// The value, shortened.
        found: String,
        /// The values that are.
        only: String,
    },
}

/// A result with [`ConfigError`].
pub(super) type Result<T> = std::result::Result<T, ConfigError>;

/// Two statements that cannot both hold.
pub(super) fn clash<T>(left: String, right: String) -> Result<T> {
    Err(ConfigError::Contradiction { left, right })
}

/// A value that belongs to another variant of the architecture.
pub(super) fn unsupported<T>(key: &str, found: &Value, only: &str) -> Result<T> {
    Err(ConfigError::Unsupported {
        key: key.to_owned(),
        found: brief(found),
        only: only.to_owned(),
    })
}
