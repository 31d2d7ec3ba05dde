//! `deepseek run`: one prompt, one answer.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use deepseek_engine::Reason;
use deepseek_text::{Content, Conversation, Error, Message, Part, Reading};

use crate::answer::{Opened, Show, Wish, opening};
use crate::args::Run;
use crate::fault::{Fault, Result, note};
use crate::form::Form;
use crate::input;
use crate::interrupt::{Interrupt, Second};
use crate::media;
use crate::screen;
use crate::tools;

pub(crate) fn run(args: &Run) -> Result<()> {
    let interrupt = Interrupt::listen(Second::Leaves)?;
    let wish = Wish {
        form: Form::read(args)?,
        logprobs: args.logprobs,
        show: match (args.json, args.jsonl) {
            (true, _) => Show::Object,
            (_, true) => Show::Lines,
            (false, false) => Show::Words,
        },
    };
    let asked = Asked::read(args, wish.form.as_ref())?;
    let model = (&args.model, args.threads);
    let opened = Opened::open(model, &args.generation, &wish, &interrupt)?;
    let said = match &asked {
        Asked::Text(text) => opened.go_on(text, &interrupt)?,
        Asked::Prompt(text) => opened.go_on_with_markers(text, &interrupt)?,
        Asked::Conversation(conversation) => {
            opened.answer(conversation, opened.options(), &interrupt)?
        }
    };
    if args.generation.stats {
        let answer = &opened.options().answer;
        opened.report(&mut screen::stderr(), &said, answer)?;
    }
    match said.reason {
        Reason::Cancelled => Err(Fault::interrupted()),
        _ => Ok(()),
    }
}

/// What is to be answered.
enum Asked {
    /// A text to go on with.
    Text(String),
    /// One in which markers are spelled.
    Prompt(String),
    /// The last message of these.
    Conversation(Conversation),
}

impl Asked {
    /// Reads all that was named.
    fn read(args: &Run, form: Option<&Form>) -> Result<Self> {
        let (media, behind) = media::sort(&args.media);
        let typed = match (args.prompt.typed(), behind.as_deref()) {
            (Some(one), Some(other)) => {
                let error = anyhow!("two prompts: {one:?}, and {other:?}, which is no file");
                return Err(Fault::usage(error).hint("a file is named by its whole path"));
            }
            (one, other) => one.or(other),
        };
        check_stdin(args, typed, &media)?;
        // The conversation first: where that is stdin, nothing is left for the prompt.
        let mut messages = match &args.conversation {
            None => opening(args.generation.system.as_deref()),
            Some(file) => conversation(file)?,
        };
        let prompt = if args.r#continue {
            String::new()
        } else {
            input::joined(typed, args.prompt.prompt_file.as_deref())?
        };
        let asks = !prompt.is_empty() || !media.is_empty();
        if !asks && args.conversation.is_none() {
            return Err(input::nothing());
        }
        match (args.raw, args.special) {
            (true, false) => return Ok(Self::Text(prompt)),
            (true, true) => return Ok(Self::Prompt(prompt)),
            (false, _) if asks => messages.push(Message::user(content(&media, &prompt))),
            (false, _) => {}
        }
        if args.r#continue {
            reopen(&mut messages)?;
        }
        let mut conversation = Conversation { messages };
        tools::offer(&mut conversation, &args.generation)?;
        if let Some(form) = form {
            form.announce(&mut conversation)?;
        }
        check(&conversation)?;
        Ok(Self::Conversation(conversation))
    }
}

/// Refuses to read stdin for two things.
fn check_stdin(args: &Run, typed: Option<&str>, media: &[Part]) -> Result<()> {
    let named = |file: &Option<PathBuf>| file.as_deref().is_some_and(input::is_stdin);
    let is_shown = |part: &Part| matches!(part, Part::Image(name) if name == input::STDIN);
    let readers = [
        ("--conversation", named(&args.conversation)),
        ("--tools", named(&args.generation.tools)),
        ("--json-schema", named(&args.json_schema)),
        ("--grammar", named(&args.grammar)),
        ("--image", media.iter().any(is_shown)),
        ("the prompt", typed == Some(input::STDIN)),
        ("--prompt-file", named(&args.prompt.prompt_file)),
    ];
    let readers = readers.iter().filter(|(_, reads)| *reads);
    let readers: Vec<&str> = readers.map(|(name, _)| *name).collect();
    match readers.as_slice() {
        [] | [_] => Ok(()),
        several => Err(Fault::usage(anyhow!(
            "stdin can be read once, and is named by {}",
            several.join(" and ")
        ))),
    }
}

/// The messages of a file. What in it has no place in a prompt is told.
pub(crate) fn conversation(file: &Path) -> Result<Vec<Message>> {
    let json = input::file(file)?;
    let name = || file.display().to_string();
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
