//! The contract of [`Decoder`](deepseek_model::Decoder), held to the letter.

use std::collections::HashSet;

use deepseek_model::{Step, TokenId};

use super::ToyDecoder;

impl ToyDecoder {
    /// Holds a step against what the decoder has room for, and where its sequences stand.
    pub(super) fn check(&self, step: &Step) {
        let capacity = &self.toy.capacity;
        let mut seen = HashSet::new();
        let mut tokens = 0;
        assert!(!step.spans.is_empty(), "a step without spans");
        for span in &step.spans {
            let seq = span.seq;
            assert!(
                seq.0 < capacity.sequences,
                "{seq:?} of {}",
                capacity.sequences
            );
            assert!(seen.insert(seq), "{seq:?} twice in a step");
            assert!(!span.tokens.is_empty(), "{seq:?}: a span without tokens");
            let sequence = self.sequences.get(&seq);
            assert!(
                sequence.is_none_or(|s| !s.lost),
                "{seq:?} was lost in a step that failed"
            );
            let stands = sequence.map_or(0, |s| s.marks.len());
            assert_eq!(
                span.at as usize, stands,
                "{seq:?}: where it begins, where it stands"
            );
            let end = stands + span.tokens.len();
            assert!(
                end <= capacity.context as usize,
                "{seq:?}: {end} of {}",
                capacity.context
            );
            self.check_ids(&span.tokens);
            tokens += span.tokens.len();
        }
        assert!(
            tokens <= capacity.step_tokens as usize,
            "{tokens} of {}",
            capacity.step_tokens
        );
    }

    pub(super) fn check_ids(&self, ids: &[TokenId]) {
        let vocabulary = self.toy.capacity.vocabulary;
        assert!(
            ids.iter().all(|&id| id < vocabulary),
            "{ids:?}, {vocabulary} ids"
        );
    }
}
