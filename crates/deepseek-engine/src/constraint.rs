//! What an answer has to look like, as far as the engine knows: which ids may follow.

use std::fmt;

use deepseek_model::TokenId;

/// What answers have to look like. Shared by the requests that ask for it.
pub trait ConstraintSource: fmt::Debug + Send + Sync {
    /// The beginning of an answer.
    fn begin(&self) -> Box<dyn Constraint>;
}

/// What one answer has to look like from where it stands. Asked by the engine's thread before each id that
/// it draws, so it should take microseconds.
pub trait Constraint: fmt::Debug + Send {
    /// Clears the bits of the ids that may not follow. `allowed` has a bit for each id of the vocabulary, 32
    /// in a word, the lowest first, all of them set.
    fn narrow(&mut self, allowed: &mut [u32]);

    /// Takes up the id that was drawn, which is one that was allowed.
    fn accept(&mut self, id: TokenId);
}
