//! `deepseek run`: one prompt, one answer.

use std::path::Path;

use anyhow::{Context, anyhow};
use deepseek_engine::Reason;
use deepseek_text::{Content, Conversation, Error, Message, Part, Reading, Tokenizer};

use crate::answer::{Opened, opening};
use crate::args::Run;
use crate::fault::{Fault, Result, note};
use crate::input;
use crate::interrupt::{Interrupt, Second};
use crate::screen;

pub(crate) fn run(args: &Run) -> Result<()> {
    let interrupt = Interrupt::listen(Second::Leaves)?;
    // The conversation first: where that is stdin, nothing is left for the prompt.
    let mut messages = match &args.conversation {
        None => opening(args.generation.system.as_deref()),
        Some(file) => conversation(file)?,
    };
    let prompt = match args.r#continue {
        true => String::new(),
        false => input::joined(args.prompt.as_deref())?,
    };
    let asks = !prompt.is_empty() || !args.media.0.is_empty();
    if !asks && args.conversation.is_none() {
        return Err(input::nothing());
    }
    if asks && !args.raw {
        messages.push(Message::user(content(&args.media.0, &prompt)));
    }
    if args.r#continue {
        reopen(&mut messages)?;
    }
    let conversation = Conversation { messages };
    if !args.raw {
        check(&conversation)?;
    }
    let opened = Opened::open((&args.model, args.threads), &args.generation, &interrupt)?;
    let said = match args.raw {
        true => opened.go_on(&prompt, &interrupt)?,
        false => {
            let options = opened.prompt_options();
            opened.answer(&conversation, &options, &interrupt)?
        }
    };
    if args.generation.stats {
        opened.report(&mut screen::stderr(), &said)?;
    }
    match said.reason {
        Reason::Cancelled => Err(Fault::interrupted()),
        _ => Ok(()),
    }
}

/// The messages of a file. What in it has no place in a prompt is told.
fn conversation(file: &Path) -> Result<Vec<Message>> {
    let json = input::stream(file, Tokenizer::TEXT_BYTES_MAX as u64)?;
    let name = || file.display().to_string();
    let json = input::utf8(&name(), json)?;
    let reading = Reading::parse(&json).with_context(name);
    let reading = reading.map_err(Fault::input)?;
    if !reading.unread.is_empty() {
        let unread = reading.unread.join(", ");
        note(&format!("{}: not read: {unread}", name()));
    }
    Ok(reading.conversation.messages)
}

/// Lets the model go on with the answer that is the last message.
fn reopen(messages: &mut [Message]) -> Result<()> {
    match messages.last_mut() {
        Some(Message::Assistant { answer, open, .. }) if answer.calls.is_empty() => {
            *open = true;
            Ok(())
        }
        _ => {
            let error = anyhow!("--continue: the last message is no text of the assistant");
            Err(Fault::input(error))
        }
    }
}

/// Whether there is something to answer: better known before the weights are loaded.
fn check(conversation: &Conversation) -> Result<()> {
    let error = match conversation.check() {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let hint = match error {
        Error::Answered { .. } => "--continue goes on with it; a prompt asks something new",
        Error::Silent => "give a prompt, too",
        error => return Err(error.into()),
    };
    Err(Fault::input(error).hint(hint))
}

/// Media in their order, and what is said about them.
pub(crate) fn content(media: &[Part], text: &str) -> Content {
    let mut parts = media.to_vec();
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
    Content(parts)
}
