//! The time of a frame, as the model reads it.

use std::fmt;

/// Seconds since the first frame, with one decimal: `<12.5s>`. Halves of a tenth go to the even one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    tenths: u64,
}

impl Label {
    /// The label of a frame `seconds` after the first.
    #[must_use]
    pub fn at(seconds: f64) -> Self {
        Self {
            tenths: (seconds * 10.0).round_ties_even() as u64,
        }
    }

    /// The time that the label says, in thousandths of a second.
    #[must_use]
    pub fn milliseconds(self) -> u64 {
        self.tenths * 100
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}.{}s>", self.tenths / 10, self.tenths % 10)
    }
}
