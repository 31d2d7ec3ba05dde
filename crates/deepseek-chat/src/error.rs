//! What can go wrong on the way from a model's files to an answer.

use deepseek_engine::{Invalid, Refusal};
use deepseek_model::PlanError;

use crate::media_loader::MediaError;
use crate::model_source::SourceError;
use crate::turn::TurnError;

/// Why there is no session, or no answer. Each step has an error of its own, which this one holds.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model's files are none.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The model cannot be laid out as asked.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The weights cannot be loaded.
    #[error(transparent)]
    Model(#[from] deepseek_model::Error),
    /// A medium cannot be had.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// There is no answer, or no more of it.
    #[error(transparent)]
    Turn(#[from] TurnError),
}

impl From<deepseek_text::Error> for Error {
    fn from(error: deepseek_text::Error) -> Self {
        Self::Turn(error.into())
    }
}

impl From<Invalid> for Error {
    fn from(error: Invalid) -> Self {
        Self::Turn(Refusal::from(error).into())
    }
}
