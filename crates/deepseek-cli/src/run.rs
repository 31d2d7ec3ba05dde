//! `deepseek run`: one prompt, one answer.

use std::path::Path;

use anyhow::{Context, anyhow};
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
    let prompt = prompt(args)?;
    let asks = !prompt.is_empty() || !args.media.0.is_empty();
    let mut messages = match &args.conversation {
        None if !asks => return Err(Fault::usage(anyhow!("the prompt is empty"))),
        None => opening(args.generation.system.as_deref()),
        Some(file) => conversation(file)?.messages,
    };
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

/// What is asked. Beside a conversation or a medium nothing need be, and stdin is not waited for.
fn prompt(args: &Run) -> Result<String> {
    let typed = args.prompt.as_deref();
    if typed.is_none() && (args.conversation.is_some() || !args.media.0.is_empty()) {
        return Ok(String::new());
    }
    let text = input::text(typed)?;
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

fn conversation(file: &Path) -> Result<Conversation> {
    let json = input::file(file, Tokenizer::TEXT_BYTES_MAX)?;
    let name = || file.display().to_string();
    let json = String::from_utf8(json)
        .with_context(name)
        .map_err(Fault::input)?;
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
