//! `deepseek run`: one prompt, one answer.

use std::path::Path;

use anyhow::Context;
use deepseek_engine::Reason;
use deepseek_text::{Content, Conversation, Message, Part, Tokenizer};

use crate::answer::{Engaged, opening};
use crate::args::Run;
use crate::fault::{Fault, Result};
use crate::input;
use crate::interrupt::{Interrupt, Second};
use crate::screen;

pub(crate) fn run(args: &Run) -> Result<()> {
    let interrupt = Interrupt::listen(Second::Leaves)?;
    // The conversation first: where that is stdin, nothing is left for the prompt.
    let mut messages = match &args.conversation {
        None => opening(args.generation.system.as_deref()),
        Some(file) => conversation(file)?.messages,
    };
    let prompt = input::joined(args.prompt.as_deref())?;
    let asks = !prompt.is_empty() || !args.media.0.is_empty();
    if !asks && args.conversation.is_none() {
        return Err(input::nothing());
    }
    if asks && !args.raw {
        messages.push(Message::user(content(&args.media.0, &prompt)));
    }
    let engaged = Engaged::open(&args.model, &args.generation, &interrupt)?;
    let said = match args.raw {
        true => engaged.go_on(&prompt, &interrupt)?,
        false => {
            let options = engaged.prompt_options();
            engaged.answer(&Conversation { messages }, &options, &interrupt)?
        }
    };
    if args.generation.stats {
        engaged.report(&mut screen::stderr(), &said)?;
    }
    match said.reason {
        Reason::Cancelled => Err(Fault::interrupted()),
        _ => Ok(()),
    }
}

fn conversation(file: &Path) -> Result<Conversation> {
    let json = input::stream(file, Tokenizer::TEXT_BYTES_MAX as u64)?;
    let name = || file.display().to_string();
    let json = input::utf8(&name(), json)?;
    let conversation = Conversation::parse(&json).with_context(name);
    conversation.map_err(|error| Fault::input(error).hint("want a JSON list of messages"))
}

/// Media in their order, and what is said about them.
pub(crate) fn content(media: &[Part], text: &str) -> Content {
    let mut parts = media.to_vec();
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
    Content(parts)
}
