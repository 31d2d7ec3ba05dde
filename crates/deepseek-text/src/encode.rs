//! A conversation to a prompt: what may be chosen, and what comes out.
//!
//! V4's layout is ours (`v4.rs`), V4.1's the vendor's (`v41.rs`). Both hand over text in which the
//! markers are told apart from words, and the ids are made here.

use std::str::FromStr;

use deepseek_recipe_core::conversation::ReasoningEffort;
use deepseek_recipe_core::prompt::Prompt;

use crate::error::{Error, Result};
use crate::message::{Conversation, Task};
use crate::reader::Start;
use crate::tokenizer::{Tokenizer, marker};
use crate::{v4, v41};

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
    fn text(self, edition: Edition) -> Result<Option<ReasoningEffort>> {
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
        match knows(marker::SYSTEM) && knows(marker::IMAGE) {
            true => Self::V41,
            false => Self::First,
        }
    }
}

/// A prompt, ready for the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The prompt with its markers spelled out; to be shown, never to be tokenised again.
    pub text: String,
    /// The prompt.
    pub ids: Vec<u32>,
    /// Where the media stand, in the order of the prompt. Results of tools are put in order, so this
    /// need not be the order of the messages.
    pub media: Vec<Place>,
    /// Where the model's words begin; what the [`Reader`](crate::Reader) has to know.
    pub start: Start,
}

/// A medium of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Where in the ids its single placeholder stands: the tokenizer's marker for such a medium or,
    /// where it has none of its own, that for an image.
    pub at: usize,
    /// Which of [`Conversation::media`] it is.
    pub index: usize,
}

/// A prompt before it is tokenised.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) prompt: Prompt,
    /// The media in order, each as its number in the conversation.
    pub(crate) media: Vec<usize>,
    pub(crate) start: Start,
}

/// Writes a conversation as a prompt. Its markers are control tokens; its text never is, but for
/// the [`marker::GROUNDING`] in answers and reasoning of V4.1.
///
/// V4 knows no media: a note stands in the place of each.
///
/// # Errors
/// [`Error::MissingMarker`] if the tokenizer lacks a marker that this conversation needs;
/// [`Error::Effort`] if the edition does not know this effort; [`Error::ToolChoice`] if a call is
/// required of a model that is to think first; [`Error::Tool`] if V4.1 is shown a tool without a
/// name; and those of [`Tokenizer::encode`].
pub fn encode(
    tokenizer: &Tokenizer,
    conversation: &Conversation,
    options: &Options,
) -> Result<Encoded> {
    let options = Options {
        mode: match options.effort {
            Effort::None => Mode::Chat,
            Effort::Low | Effort::High | Effort::Max | Effort::Score(_) => options.mode,
        },
        ..*options
    };
    if (options.mode, options.tool_choice) == (Mode::Thinking, ToolChoice::Required) {
        return Err(Error::ToolChoice);
    }
    let Rendered {
        prompt,
        media,
        start,
    } = match options.edition {
        Edition::First | Edition::Refreshed => v4::render(
            conversation,
            &options,
            options.effort.text(options.edition)?,
        ),
        Edition::V41 => v41::render(conversation, &options, options.effort.score()?)?,
    };
    let (text, markers) = prompt.into_parts();
    let ids = tokenizer.encode_ranges(&text, &markers)?;
    let media = match media.as_slice() {
        [] => Vec::new(),
        media => {
            let placeholders = tokenizer.placeholders()?;
            let places = (0..).zip(&ids).filter(|(_, id)| placeholders.contains(id));
            let media = places.zip(media);
            media.map(|((at, _), &index)| Place { at, index }).collect()
        }
    };
    Ok(Encoded {
        text,
        ids,
        media,
        start,
    })
}

pub(crate) fn opener(mode: Mode) -> &'static str {
    match mode {
        Mode::Thinking => marker::THINK,
        Mode::Chat => marker::THINK_END,
    }
}

pub(crate) fn task_marker(task: Task) -> &'static str {
    match task {
        Task::Action => marker::ACTION,
        Task::Query => marker::QUERY,
        Task::Authority => marker::AUTHORITY,
        Task::Domain => marker::DOMAIN,
        Task::Title => marker::TITLE,
        Task::ReadUrl => marker::READ_URL,
    }
}
