//! Where a prompt ends and the model's words begin.

use crate::options::Mode;

/// Where the model's words begin, and whether they may call tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Where they begin.
    pub stage: Stage,
    /// Whether a tool block is one; else it is plain text. It is one where tools are declared.
    pub calls: bool,
}

/// Where the model's words begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// After `<think>`: with reasoning.
    Reasoning,
    /// Within reasoning that goes on: leading line breaks count.
    OpenReasoning,
    /// After `</think>`: with the answer.
    Answer,
    /// Within an answer that goes on, or with the word of a task: leading line breaks count.
    Continuation,
    /// Within a tool block that the prompt has opened.
    Calls,
}

impl Stage {
    /// Where a new answer begins.
    pub(crate) fn of(mode: Mode) -> Self {
        match mode {
            Mode::Chat => Self::Answer,
            Mode::Thinking => Self::Reasoning,
        }
    }
}

/// There, with calls.
impl From<Stage> for Start {
    fn from(stage: Stage) -> Self {
        Self { stage, calls: true }
    }
}

/// At the beginning of an answer, with calls.
impl From<Mode> for Start {
    fn from(mode: Mode) -> Self {
        Stage::of(mode).into()
    }
}
