//! What may be chosen of a prompt.

use std::str::FromStr;

use deepseek_recipe_core::conversation::ReasoningEffort;

use crate::error::{Error, Result};
use crate::tokenizer::{Tokenizer, marker};

/// How a prompt is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether the answer begins with reasoning.
    pub mode: Mode,
    /// How hard to think. Chat mode ignores it.
    pub effort: Effort,
    /// Whether tools may be, must be, or must not be called.
    pub tool_choice: ToolChoice,
    /// Which words the checkpoint was trained with.
    pub edition: Edition,
    /// Forget the reasoning of earlier answers. Tools anywhere in the conversation overrule it, and
    /// V4.1 remembers with tools and forgets without, whatever stands here.
    pub drop_thinking: bool,
    /// Begin with the begin-of-sentence marker.
    pub bos: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::Thinking,
            effort: Effort::High,
            tool_choice: ToolChoice::Auto,
            edition: Edition::First,
            drop_thinking: true,
            bos: true,
        }
    }
}

/// Whether the answer begins with reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Answer at once.
    Chat,
    /// Reason first.
    Thinking,
}

/// How hard to think.
///
/// As text: `none`, `minimal`, `low`, `medium`, `high`, `xhigh`, `max`, `ultra`, or a number; the
/// words that have no variant mean the nearest that has one, as they do for the vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Not at all: the mode is [`Mode::Chat`], whatever it says.
    None,
    /// Less than usual: 50 to V4.1. The first edition knows no less than usual.
    Low,
    /// As usual: 75 to V4.1.
    High,
    /// All that is possible: 100 to V4.1.
    Max,
    /// From 1 to 100, as V4.1 counts. V4 does not.
    Score(u8),
}

impl Effort {
    /// What V4.1 is told; nothing to a model that is not to think.
    pub(crate) fn score(self) -> Result<Option<u8>> {
        match self {
            Self::None => Ok(None),
            Self::Low => Ok(Some(50)),
            Self::High => Ok(Some(75)),
            Self::Max | Self::Score(100) => Ok(Some(100)),
            Self::Score(score @ 1..100) => Ok(Some(score)),
            Self::Score(score) => Err(Error::Effort {
                found: score.to_string(),
                expected: "1 to 100",
            }),
        }
    }

    /// Which of the vendor's texts a V4 checkpoint is told.
    pub(crate) fn text(self, edition: Edition) -> Result<Option<ReasoningEffort>> {
        match (edition, self) {
            (_, Self::None | Self::Low) | (Edition::First, Self::High) => Ok(None),
            (Edition::First, Self::Max) | (_, Self::High) => Ok(Some(ReasoningEffort::High)),
            (_, Self::Max) => Ok(Some(ReasoningEffort::Max)),
            (_, Self::Score(score)) => Err(Error::Effort {
                found: score.to_string(),
                expected: "low, high or max",
            }),
        }
    }
}

impl FromStr for Effort {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "none" => return Ok(Self::None),
            "minimal" | "low" => return Ok(Self::Low),
            "medium" | "high" | "xhigh" => return Ok(Self::High),
            "max" | "ultra" => return Ok(Self::Max),
            _ => {}
        }
        let score = text.parse().ok().filter(|score| (1..=100).contains(score));
        score.map(Self::Score).ok_or_else(|| Error::Effort {
            found: text.to_owned(),
            expected: "none, minimal, low, medium, high, xhigh, max, ultra, or 1 to 100",
        })
    }
}

/// Whether tools may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolChoice {
    /// As the model likes.
    Auto,
    /// Not at all: the prompt does not show them.
    None,
    /// One must be, if any is declared: the prompt opens the block. In chat mode alone.
    Required,
}

/// Which words and which layout a checkpoint knows: a fact of the checkpoint, not of the model's
/// family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edition {
    /// The first checkpoints of V4: no words but for [`Effort::Max`].
    First,
    /// The refreshed ones: their `High` has the words of the first `Max`, and `Max` new ones.
    Refreshed,
    /// V4.1: another layout, effort by number, images (`docs/models/deepseek-v41.md` §6).
    V41,
}

impl Edition {
    /// The edition that the markers of a tokenizer speak for: [`Edition::V41`] with one for system
    /// text and one for images, else [`Edition::First`], since the refreshed checkpoints have the
    /// markers of the first.
    pub fn of(tokenizer: &Tokenizer) -> Self {
        let knows = |text| tokenizer.marker(text).is_ok();
        if knows(marker::SYSTEM) && knows(marker::IMAGE) {
            Self::V41
        } else {
            Self::First
        }
    }
}
