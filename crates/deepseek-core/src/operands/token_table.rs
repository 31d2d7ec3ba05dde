//! The fixed experts of each token id.

use crate::error::Result;

/// The experts of each token id: `[vocabulary, each]`.
#[derive(Debug, Clone)]
pub struct TokenTable {
    entries: Box<[u32]>,
    each: usize,
}

impl TokenTable {
    /// Takes a table whose every entry is one of `experts`, which is checked here, once.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) for an entry that names no expert.
    ///
    /// # Panics
    /// If there are not whole rows of entries.
    pub fn new(name: &str, entries: &[i64], each: usize, experts: usize) -> Result<Self> {
        assert_eq!(entries.len() % each, 0, "whole rows of {each} entries");
        let number = |(index, entry): (usize, &i64)| match u32::try_from(*entry) {
            Ok(id) if (id as usize) < experts => Ok(id),
            _ => Err(crate::Error::Tensor {
                name: name.to_owned(),
                why: format!(
                    "row {} names expert {entry}, there are {experts}",
                    index / each
                ),
            }),
        };
        let entries = entries.iter().enumerate().map(number);
        Ok(Self {
            entries: entries.collect::<Result<_>>()?,
            each,
        })
    }

    /// The experts of `token`.
    ///
    /// # Panics
    /// If the token is not in the vocabulary.
    pub fn experts(&self, token: u32) -> impl Iterator<Item = u32> + '_ {
        let row = &self.entries[token as usize * self.each..][..self.each];
        row.iter().copied()
    }
}
