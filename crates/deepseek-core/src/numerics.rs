//! Which roundings a model applies.

use std::fmt;

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::format::Rounding;

/// A level of numerics: what users choose, and what a device serves or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// 32-bit floats throughout, nothing rounded.
    Exact,
    /// The stored cache and the indexer alone are rounded.
    Cache,
    /// These and the inputs of products with quantised weights: each rounding to a narrower format
    /// than BF16 (`docs/models/deepseek-v4.md` §5.2; `docs/models/deepseek-v41.md` §7.1, items 1 to
    /// 4; with converted weights, INT8).
    Full,
    /// Everything that the released code rounds.
    Released,
}

impl Level {
    /// All of them, from what rounds nothing to what rounds most.
    pub const ALL: [Self; 4] = [Self::Exact, Self::Cache, Self::Full, Self::Released];

    /// What users call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Cache => "cache",
            Self::Full => "full",
            Self::Released => "released",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Level> for Numerics {
    fn from(level: Level) -> Self {
        match level {
            Level::Exact => Self::EXACT,
            Level::Cache => Self::CACHE,
            Level::Full => Self::FULL,
            Level::Released => Self::RELEASED,
        }
    }
}

/// Which roundings a model applies. A [`Level`] is what a user chooses; the switches are separate
/// because the reference checks them separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numerics {
    /// Activations and linear outputs are BF16.
    #[doc(hidden)]
    pub bf16: bool,
    /// Inputs of products with FP8 and FP4 weights are rounded to FP8, with INT8 and INT4 ones to INT8.
    #[doc(hidden)]
    pub inputs: bool,
    /// Cache entries are rounded to the stored row format.
    #[doc(hidden)]
    pub entries: bool,
    /// Indexer queries and keys are rotated and rounded to FP4.
    #[doc(hidden)]
    pub indexer: bool,
}

impl Numerics {
    /// [`Level::Exact`].
    pub const EXACT: Self = Self {
        bf16: false,
        inputs: false,
        entries: false,
        indexer: false,
    };
    /// [`Level::Cache`].
    pub const CACHE: Self = Self {
        entries: true,
        indexer: true,
        ..Self::EXACT
    };
    /// [`Level::Full`].
    pub const FULL: Self = Self {
        inputs: true,
        ..Self::CACHE
    };
    /// [`Level::Released`].
    pub const RELEASED: Self = Self {
        bf16: true,
        ..Self::FULL
    };

    /// The level that this is, if it is one.
    #[must_use]
    pub fn level(self) -> Option<Level> {
        Level::ALL
            .into_iter()
            .find(|level| Self::from(*level) == self)
    }

    /// Whether a device serves this. What is no level takes a device that rounds nothing unasked.
    ///
    /// # Errors
    /// [`Error::Level`] if it does not.
    pub fn served_by<B: Backend>(self, be: &B) -> Result<()> {
        let level = self.level().unwrap_or(Level::Exact);
        if be.levels().contains(&level) {
            return Ok(());
        }
        Err(Error::Level {
            device: be.name().to_owned(),
            level,
            serves: be.levels().to_vec(),
        })
    }

    /// How the released code keeps an activation: in BF16, or as it is.
    #[must_use]
    pub fn rounding(self) -> Option<Rounding> {
        self.bf16.then_some(Rounding::Bf16)
    }

    /// `x` as the released code keeps activations: BF16, or as it is.
    pub fn activation<B: Backend>(self, be: &B, x: B::Tensor) -> Result<B::Tensor> {
        if self.bf16 {
            be.round(&x, Rounding::Bf16)
        } else {
            Ok(x)
        }
    }
}
