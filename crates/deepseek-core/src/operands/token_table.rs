//! The fixed experts of each token id.

use crate::backend::Backend;
use crate::error::Result;

/// The experts of each token id, on the device: `[vocabulary, top_k]`, ascending for each.
#[derive(Debug, Clone)]
pub struct TokenTable<B: Backend> {
    entries: B::Ids,
    count: usize,
    top_k: usize,
}

impl<B: Backend> TokenTable<B> {
    /// Takes a table whose every entry is one of `experts`, which is checked here, once.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) for an entry that names no expert, or what the device
    /// says.
    ///
    /// # Panics
    /// If there are not whole rows of entries.
    pub fn new(be: &B, name: &str, entries: &[i64], top_k: usize, experts: usize) -> Result<Self> {
        assert_eq!(entries.len() % top_k, 0, "whole rows of {top_k} entries");
        let number = |(index, entry): (usize, &i64)| match u32::try_from(*entry) {
            Ok(id) if (id as usize) < experts => Ok(id),
            _ => Err(crate::Error::Tensor {
                name: name.to_owned(),
                why: format!(
                    "row {} names expert {entry}, there are {experts}",
                    index / top_k
                ),
            }),
        };
        let entries = entries.iter().enumerate().map(number);
        let mut entries = entries.collect::<Result<Vec<u32>>>()?;
        entries.chunks_mut(top_k).for_each(<[u32]>::sort_unstable);
        Ok(Self {
            entries: be.ids(&entries)?,
            count: entries.len(),
            top_k,
        })
    }

    /// The experts of `count` tokens, `[count, top_k]`.
    pub fn experts(&self, be: &B, tokens: &B::Ids, count: usize) -> Result<B::Ids> {
        be.take_ids(&self.entries, self.count, tokens, count, self.top_k)
    }
}
