//! `deepseek run`: one prompt, one answer.

use std::io;

use anyhow::anyhow;
use deepseek_engine::Reason;
use deepseek_text::{Conversation, Message};

use crate::answer::{Engaged, opening};
use crate::args::Run;
use crate::fault::{Fault, Result};
use crate::input;
use crate::interrupt::{Interrupt, Second};

pub(crate) fn run(args: &Run) -> Result<()> {
    let interrupt = Interrupt::listen(Second::Leaves)?;
    let prompt = input::text(args.prompt.as_deref())?;
    let prompt = prompt.strip_suffix('\n').unwrap_or(&prompt);
    if prompt.is_empty() {
        return Err(Fault::usage(anyhow!("the prompt is empty")));
    }
    let engaged = Engaged::open(&args.model, &args.generation, &interrupt)?;
    let said = match args.raw {
        true => engaged.go_on(prompt, &interrupt)?,
        false => {
            let mut messages = opening(args.generation.system.as_deref());
            messages.push(Message::User {
                text: prompt.to_owned(),
                task: None,
            });
            let prompt = engaged.prompt_options();
            engaged.answer(&Conversation { messages }, &prompt, &interrupt)?
        }
    };
    if args.generation.stats {
        engaged.report(&mut io::stderr().lock(), &said)?;
    }
    match said.reason {
        Reason::Cancelled => Err(Fault::interrupted()),
        _ => Ok(()),
    }
}
