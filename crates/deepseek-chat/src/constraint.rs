//! What a visible answer has to look like: between a grammar and the engine.

use deepseek_engine::{Constraint, ConstraintSource};
use deepseek_grammar::{Error, Form, Grammar, Limits, Text, Vocabulary};
use deepseek_model::TokenId;
use deepseek_text::{Stage, Start, Tokenizer, marker};

use crate::model_source::Description;

/// What the visible answer of a turn has to look like. A clone is a handle.
#[derive(Debug, Clone)]
pub struct AnswerConstraint {
    grammar: Grammar,
    /// The id behind which the answer begins, where something else comes before it.
    opens: Option<TokenId>,
}

impl Description {
    /// Compiles what answers of this model have to look like.
    ///
    /// # Errors
    /// As [`Grammar::compile`].
    pub fn constraint(&self, form: Form<'_>) -> Result<AnswerConstraint, Error> {
        let ends = [&[self.tokenizer.eos()][..], &self.config.eos].concat();
        let size = u32::try_from(self.config.vocab_size).unwrap_or(u32::MAX);
        let vocabulary = Vocabulary::new(&self.tokenizer, size, &ends)?;
        Ok(AnswerConstraint {
            grammar: Grammar::compile(&vocabulary, form, Limits::default())?,
            opens: None,
        })
    }
}

impl AnswerConstraint {
    /// The same for words that begin at `start`: reasoning before the answer is free.
    pub(crate) fn behind(self, tokenizer: &Tokenizer, start: Start) -> deepseek_text::Result<Self> {
        let opens = match start.stage {
            Stage::Reasoning | Stage::OpenReasoning => Some(tokenizer.marker(marker::THINK_END)?),
            Stage::Answer | Stage::Continuation | Stage::Calls => None,
        };
        Ok(Self { opens, ..self })
    }
}

impl ConstraintSource for AnswerConstraint {
    fn begin(&self) -> Box<dyn Constraint> {
        let text = self.grammar.begin();
        Box::new(match self.opens {
            None => Narrowed::Answer(text),
            Some(opens) => Narrowed::Reasoning {
                opens,
                ends: self.grammar.ends(),
                text: Some(text),
            },
        })
    }
}

/// An answer on its way.
#[derive(Debug)]
enum Narrowed {
    /// It has not begun, and may not end before it has.
    Reasoning {
        opens: TokenId,
        ends: Vec<TokenId>,
        text: Option<Text>,
    },
    Answer(Text),
}

impl Constraint for Narrowed {
    fn narrow(&mut self, allowed: &mut [u32]) {
        match self {
            Self::Reasoning { ends, .. } => {
                for id in ends {
                    if let Some(word) = allowed.get_mut(*id as usize / 32) {
                        *word &= !(1 << (*id % 32));
                    }
                }
            }
            Self::Answer(text) => text.narrow(allowed),
        }
    }

    fn accept(&mut self, id: TokenId) {
        match self {
            Self::Reasoning { opens, text, .. } => {
                if let Some(text) = text.take_if(|_| id == *opens) {
                    *self = Self::Answer(text);
                }
            }
            Self::Answer(text) => {
                let is_taken = text.accept(id);
                debug_assert!(is_taken, "{id} was allowed");
            }
        }
    }
}
