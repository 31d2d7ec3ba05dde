//! A product with a weight matrix, with its roundings.

use crate::backend::Backend;
use crate::format::Rounding;
use crate::ranks::{Share, Sum};

/// A product with a weight matrix, and what is rounded before and after it.
#[derive(Debug)]
pub struct Linear<B: Backend> {
    /// `[out, in]`.
    pub weight: B::Weight,
    /// How the input is rounded.
    pub input: Option<Rounding>,
    /// How the result is rounded.
    pub output: Option<Rounding>,
}

impl<B: Backend> Linear<B> {
    /// The same without rounding the input, as the released code does for the grouped output
    /// projection.
    #[must_use]
    pub fn without_input_rounding(self) -> Self {
        Self {
            input: None,
            ..self
        }
    }

    /// The same where its inputs are divided so: what it gives is a term of a sum, which is rounded in its
    /// place.
    #[must_use]
    pub fn summed_by(self, share: Share) -> (Self, Sum) {
        if share.is_whole() {
            return (self, Sum::Whole);
        }
        let sum = Sum::OverRanks(self.output);
        let part = Self {
            output: None,
            ..self
        };
        (part, sum)
    }
}
