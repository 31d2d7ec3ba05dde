//! A conversation to a prompt.
//!
//! V4's layout is ours (`v4.rs`), V4.1's the vendor's (`v41.rs`). Both hand over text in which the
//! markers are told apart from words, and the ids are made here.

use crate::error::{Error, Result};
use crate::layout::Rendered;
use crate::message::Conversation;
use crate::options::{Edition, Effort, Mode, Options, ToolChoice};
use crate::start::Start;
use crate::tokenizer::Tokenizer;
use crate::{v4, v41};

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

/// Writes a conversation as a prompt. Its markers are control tokens; its text never is, but for
/// the [`GROUNDING`](crate::marker::GROUNDING) marker in answers and reasoning of V4.1.
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
