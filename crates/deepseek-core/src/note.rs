//! What is worth knowing of something that was read all the same.

use std::fmt;

/// A word to the user about outside bytes that could be read, though not as they were meant: what was
/// damaged, left out or taken otherwise. One line without the name of the file, as an error's text is.
///
/// Libraries hand notes on beside what they read (`notes()`), and print nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Note(String);

impl Note {
    /// What is to be said.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
