//! Where the world of devices ends: ids in, logits out.

use std::fmt;

use crate::error::Result;

/// A token's number in the vocabulary.
pub type TokenId = u32;

/// A sequence's place in the decoder's memory, below [`Capacity::sequences`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeqId(pub u32);

/// What a decoder can hold. Fixed when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Ids are below this; a row of logits has as many numbers.
    pub vocabulary: u32,
    /// Positions of one sequence.
    pub context: u32,
    /// Sequences at a time.
    pub sequences: u32,
    /// Tokens of one step, over all its spans.
    pub step_tokens: u32,
    /// Positions that [`Decoder::rewind`] can take back, counted from the end of the last step.
    pub rewind: u32,
    /// Tokens that [`Decoder::draft`] can propose at once; 0 without a draft head.
    pub drafts: u32,
}

/// Which logits a span asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// None: a prompt that goes on.
    Nothing,
    /// Those after its last token.
    Last,
    /// Those after each of its tokens.
    All,
}

/// One sequence's part of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The sequence.
    pub seq: SeqId,
    /// The position of the first token: where the sequence stands.
    pub at: u32,
    /// The tokens, at least one.
    pub tokens: Vec<TokenId>,
    /// The logits to return.
    pub want: Want,
}

/// One forward over a ragged batch. No sequence occurs twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// The parts, in the order in which their logits return.
    pub spans: Vec<Span>,
}

/// The logits of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Logits {
    vocabulary: usize,
    values: Vec<f32>,
    ends: Vec<usize>,
}

impl Logits {
    /// Wraps `values: [rows, vocabulary]`, of which span `i` of the step owns `counts[i]` rows.
    ///
    /// # Panics
    /// If the counts and the values do not agree.
    #[must_use]
    pub fn new(vocabulary: usize, values: Vec<f32>, counts: &[usize]) -> Self {
        let ends: Vec<usize> = counts
            .iter()
            .scan(0, |end, count| {
                *end += count;
                Some(*end)
            })
            .collect();
        let rows = ends.last().copied().unwrap_or(0);
        assert_eq!(
            values.len(),
            rows * vocabulary,
            "{rows} rows of {vocabulary} logits"
        );
        Self {
            vocabulary,
            values,
            ends,
        }
    }

    /// The rows of span `index`: none, one or one for each token, as it wanted.
    ///
    /// # Panics
    /// If there is no such span.
    #[must_use]
    pub fn span(&self, index: usize) -> impl ExactSizeIterator<Item = &[f32]> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        self.values[start * self.vocabulary..self.ends[index] * self.vocabulary]
            .chunks_exact(self.vocabulary)
    }

    /// All rows, in the order of the spans.
    #[must_use]
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }
}

/// A model with its memory of sequences, on some device.
///
/// What a span yields does not depend on the other spans of its step, nor on how its sequence was
/// cut into steps.
pub trait Decoder: fmt::Debug + Send {
    /// What it can hold.
    fn capacity(&self) -> Capacity;

    /// Runs a step.
    ///
    /// # Errors
    /// A fault of the device. The sequences of the step are then in an unknown state and good only
    /// for [`forget`](Self::forget).
    ///
    /// # Panics
    /// If the step breaks its contract: a span that does not begin where its sequence stands, an
    /// id outside the vocabulary, more tokens or positions than the capacity.
    fn step(&mut self, step: &Step) -> Result<Logits>;

    /// Proposes up to `max` tokens to follow `after`, which itself follows the sequence. Changes
    /// nothing that a later step could see.
    ///
    /// # Errors
    /// A fault of the device.
    fn draft(&mut self, seq: SeqId, after: TokenId, max: u32) -> Result<Vec<TokenId>>;

    /// Takes a sequence back to `position`, as if the later tokens had never been.
    ///
    /// # Panics
    /// If the position lies ahead, or further back than [`Capacity::rewind`].
    fn rewind(&mut self, seq: SeqId, position: u32);

    /// Ends a sequence. Its place can begin anew at position 0.
    fn forget(&mut self, seq: SeqId);
}
