//! The texts of a model's ids, sorted for matching.

use std::sync::Arc;

use deepseek_text::Tokenizer;
use xgrammar::{TokenizerInfo, VocabType};

use crate::error::Error;

/// The texts of a model's ids. Made once for a model; a clone is a handle.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    info: Arc<TokenizerInfo>,
}

impl Vocabulary {
    /// Those of a tokenizer whose model has `size` ids and ends its answers with one of `ends`. Control
    /// tokens are never part of a text, nor are ids that the tokenizer lacks.
    ///
    /// # Errors
    /// A tokenizer with more ids than the model.
    pub fn new(tokenizer: &Tokenizer, size: u32, ends: &[u32]) -> Result<Self, Error> {
        let count = u32::try_from(tokenizer.vocab_size()).unwrap_or(u32::MAX);
        let text = |id: u32| -> Result<Vec<u8>, Error> {
            Ok(if tokenizer.is_added(id) {
                Vec::new()
            } else {
                tokenizer.bytes(id)?.to_vec()
            })
        };
        let texts = (0..count).map(text).collect::<Result<Vec<_>, _>>()?;
        let ends = ends.iter().map(|id| signed(*id)).collect();
        let info = TokenizerInfo::new_from_bytes(
            &texts,
            VocabType::RAW,
            Some(signed(size)),
            Some(ends),
            false,
        )?;
        Ok(Self { info: info.into() })
    }

    pub(crate) fn info(&self) -> &TokenizerInfo {
        &self.info
    }
}

/// An id as the matcher counts. No vocabulary is so large that one would be cut.
pub(crate) fn signed(id: u32) -> i32 {
    i32::try_from(id).unwrap_or(i32::MAX)
}
