//! An answer, put together.

use deepseek_engine::{Logprobs, Reason, RequestId, Usage};
use deepseek_model::TokenId;
use deepseek_text::{Answer, Call, Flaw};

use crate::turn::{Delta, Turn, TurnError};

/// A whole answer, and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// Reasoning, text and calls.
    pub answer: Answer,
    /// The ids of which it was told how likely they were, if that was asked.
    pub tokens: Vec<(TokenId, Logprobs)>,
    /// What in it is not as it should be.
    pub flaws: Vec<Flaw>,
    /// Why it ended.
    pub reason: Reason,
    /// What it took.
    pub usage: Usage,
    /// Which request it was, by which its KV cache can be saved: [`Session::save`](crate::Session::save).
    pub request: RequestId,
}

impl Turn {
    /// Waits for the whole answer.
    ///
    /// # Errors
    /// Why there is no more of it.
    pub fn wait(self) -> Result<Completion, TurnError> {
        self.follow(|_| Ok(()))
    }

    /// Waits for the whole answer, and shows each piece as it comes.
    ///
    /// # Errors
    /// Why there is no more of it, or what `show` says.
    pub fn follow<E: From<TurnError>>(
        self,
        mut show: impl FnMut(&Delta) -> Result<(), E>,
    ) -> Result<Completion, E> {
        let request = self.request();
        let mut answer = Answer::default();
        let mut tokens = Vec::new();
        let mut flaws = Vec::new();
        for delta in self {
            let delta = delta?;
            show(&delta)?;
            match delta {
                Delta::Thinking(text) => answer.reasoning.push_str(&text),
                Delta::Text(text) => answer.text.push_str(&text),
                Delta::ToolCall {
                    id,
                    name,
                    arguments,
                } => answer.calls.push(Call {
                    id: Some(id),
                    name,
                    arguments,
                }),
                Delta::Token { id, logprobs } => tokens.push((id, logprobs)),
                Delta::Flaw(flaw) => flaws.push(flaw),
                Delta::Finished { reason, usage } => {
                    return Ok(Completion {
                        answer,
                        tokens,
                        flaws,
                        reason,
                        usage,
                        request,
                    });
                }
                Delta::Prefill { .. } => {}
            }
        }
        unreachable!("a turn ends with its end or an error")
    }
}
