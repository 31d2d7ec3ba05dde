//! `deepseek chat`: a conversation, line by line.

mod history;
mod lines;

use std::io::Write;
use std::path::{self, PathBuf};

use anyhow::{Context, anyhow};
use deepseek_chat::{Completion, media_files};
use deepseek_engine::Reason;
use deepseek_text::{Answer, Conversation, Message, Mode, Options, Part};
use serde_json::{Value, json};

use self::lines::Lines;
use crate::answer::{Opened, opening};
use crate::args::{Chat, Media};
use crate::fault::{Fault, Kind, Result};
use crate::interrupt::{Interrupt, Second};
use crate::load;
use crate::output::Place;
use crate::run::content;
use crate::screen;

const HELP: &str = "\
/help               show this
/clear              forget what was said, but not the instructions
/system [TEXT]      show the instructions, or replace them
/thinking on|off    reason before answering, or answer at once
/effort EFFORT      think this hard: low, high, max; V4.1 counts from 1 to 100, too
/image FILE         show an image with what is said next (V4.1)
/audio FILE         play audio with it
/video FILE         show a video with it
/stats              show the figures of the last answer
/save FILE          write the conversation as JSON to a new file; /save! replaces one
/quit               leave; so does Ctrl-D, and Ctrl-C twice
A line that ends in a backslash goes on in the next; one that begins with a space is no command.
Ctrl-C stops an answer.";

/// Said before the first line where no other model is named.
const EMBEDDED: &str = "\
the embedded model answers: it knows the small world it was trained on; --model DIR takes another";

pub(crate) fn run(args: &Chat) -> Result<()> {
    let interrupt = Interrupt::listen(Second::WaitsForAnswer)?;
    let opened = Opened::open((&args.model, args.threads), &args.generation, &interrupt)?;
    if args.model.folder.is_none() {
        writeln!(screen::stderr(), "{EMBEDDED}")?;
    }
    let mut lines = Lines::open(!args.no_history)?;
    let files = load::files(&args.model, opened.source())?;
    let mut talk = Talk {
        options: opened.prompt_options(),
        opened,
        interrupt,
        messages: opening(args.generation.system.as_deref()),
        media: Vec::new(),
        stats: args.generation.stats,
        last: None,
        files,
    };
    talk.hold(&mut lines)
}

/// A conversation under way.
#[derive(Debug)]
struct Talk {
    opened: Opened,
    interrupt: Interrupt,
    options: Options,
    messages: Vec<Message>,
    /// Media to go with what is said next.
    media: Vec<Part>,
    /// Whether each answer's figures are shown.
    stats: bool,
    last: Option<Completion>,
    /// What the model was read from.
    files: Vec<PathBuf>,
}

/// What becomes of a file that is there already when a conversation is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Old {
    Stays,
    Goes,
}

/// Whether the conversation goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    Leave,
}

impl Talk {
    /// Takes turns until the user leaves. Where nobody saw what was refused, the first of it is how
    /// the program ends.
    fn hold(&mut self, lines: &mut Lines) -> Result<()> {
        let mut refused = None;
        loop {
            match self.turn(lines) {
                Ok(Next::GoOn) => {}
                Ok(Next::Leave) => break,
                Err(fault) if spares(&fault, lines) => {
                    // Where stderr is closed there is nobody to tell.
                    let _ = fault.print(&mut screen::stderr());
                    refused.get_or_insert(fault);
                }
                Err(fault) => return Err(fault),
            }
        }
        match refused {
            Some(fault) if !lines.is_terminal() => Err(fault.told()),
            Some(_) | None => Ok(()),
        }
    }

    /// One line, or several that belong together, and what is to be done about it.
    fn turn(&mut self, lines: &mut Lines) -> Result<Next> {
        match lines.read()? {
            None => Ok(Next::Leave),
            Some(text) if text.trim().is_empty() => Ok(Next::GoOn),
            Some(command) if command.starts_with('/') => self.obey(command.trim_end()),
            Some(text) => self.answer(&text),
        }
    }

    /// Has an answer given. What was refused, or stopped before a word was said, was never asked.
    fn answer(&mut self, text: &str) -> Result<Next> {
        self.interrupt.lower();
        self.messages
            .push(Message::user(content(&self.media, text)));
        let conversation = Conversation {
            messages: self.messages.clone(),
        };
        let said = self
            .opened
            .answer(&conversation, &self.options, &self.interrupt);
        let said = match said {
            Ok(said) => said,
            Err(fault) => {
                self.messages.pop();
                return Err(self.advise(fault));
            }
        };
        if said.reason == Reason::Cancelled {
            writeln!(screen::stderr(), "stopped")?;
        }
        if said.answer == Answer::default() {
            self.messages.pop();
        } else {
            self.media.clear();
            let answer = said.answer.clone();
            self.messages.push(Message::assistant(answer));
        }
        if self.stats {
            self.opened.report(&mut screen::stderr(), &said)?;
        }
        self.last = Some(said);
        Ok(Next::GoOn)
    }

    /// What can be done here where the context is full.
    fn advise(&self, fault: Fault) -> Fault {
        if !fault.is_too_long() {
            return fault;
        }
        fault.hint(match self.messages.iter().all(is_system) {
            true => "shorten it, or start again with a larger --context",
            false => "/clear forgets what was said; or start again with a larger --context",
        })
    }

    /// A line that begins with a slash.
    fn obey(&mut self, line: &str) -> Result<Next> {
        let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let mut out = screen::stderr();
        match (command, rest) {
            ("/quit" | "/exit", "") => return Ok(Next::Leave),
            ("/help", "") => writeln!(out, "{HELP}")?,
            ("/clear", "") => {
                self.messages.retain(is_system);
                self.media.clear();
            }
            ("/image" | "/audio" | "/video", file) if !file.is_empty() => {
                let kind = command.trim_start_matches('/');
                let part = Media::part(kind, anywhere(file)?);
                self.opened.look(&part)?;
                self.media.push(part);
            }
            ("/system", "") => match self.messages.first() {
                Some(Message::System(brief)) => writeln!(out, "{}", brief.content.text())?,
                _ => writeln!(out, "no instructions")?,
            },
            ("/system", text) => {
                self.messages.retain(|message| !is_system(message));
                self.messages.splice(0..0, opening(Some(text)));
            }
            ("/thinking", "on") => self.options.mode = Mode::Thinking,
            ("/thinking", "off") => self.options.mode = Mode::Chat,
            ("/effort", effort) if !effort.is_empty() => {
                self.options.effort = effort.parse().map_err(Fault::usage)?;
            }
            ("/stats", "") => match &self.last {
                Some(said) => self.opened.report(&mut out, said)?,
                None => writeln!(out, "no answer yet")?,
            },
            ("/save", path) if !path.is_empty() => self.save(path, Old::Stays)?,
            ("/save!", path) if !path.is_empty() => self.save(path, Old::Goes)?,
            _ => {
                let error = anyhow!("{line:?} is not a command");
                return Err(Fault::usage(error).hint("/help lists the commands"));
            }
        }
        Ok(Next::GoOn)
    }

    fn save(&self, path: &str, old: Old) -> Result<()> {
        let messages: Vec<Value> = self.messages.iter().map(to_json).collect();
        let said = Conversation {
            messages: self.messages.clone(),
        };
        let media = said.media().chain(&self.media).flat_map(media_files);
        let place = Place::find(path.as_ref()).map_err(Fault::input)?;
        place
            .spare(self.files.iter().cloned().chain(media))
            .map_err(Fault::input)?;
        if old == Old::Stays && place.replaces() {
            let error = anyhow!("{path} is there already");
            return Err(Fault::input(error).hint("/save! FILE replaces it"));
        }
        let text = format!("{:#}\n", Value::from(messages));
        self.interrupt
            .write(place, text.as_bytes())
            .map_err(Fault::input)
    }
}

/// Whether the conversation goes on after a fault: after what the user can do otherwise, and where
/// there is a user, who may want to save what was said, after what broke.
fn spares(fault: &Fault, lines: &Lines) -> bool {
    match fault.kind() {
        Kind::Usage | Kind::Input => true,
        Kind::Fault => lines.is_terminal(),
        Kind::Quiet | Kind::Stream | Kind::Interrupted => false,
    }
}

/// The name of a medium by which it is found from every folder: addresses stay as they are.
fn anywhere(name: &str) -> Result<String> {
    let scheme = name.get(..5).unwrap_or_default();
    if scheme.eq_ignore_ascii_case("data:") || name.contains("://") {
        return Ok(name.to_owned());
    }
    let path = path::absolute(name)
        .with_context(|| name.to_owned())
        .map_err(Fault::input)?;
    let text = path.into_os_string().into_string();
    text.map_err(|path| Fault::input(anyhow!("{} is not UTF-8 text", path.display())))
}

fn is_system(message: &Message) -> bool {
    matches!(message, Message::System(_))
}

/// A message in the form of chat completions. A conversation held here has three kinds.
fn to_json(message: &Message) -> Value {
    match message {
        Message::System(brief) => json!({ "role": "system", "content": brief.content }),
        Message::User { content, .. } => json!({ "role": "user", "content": content }),
        Message::Assistant { answer, .. } => {
            let mut value = json!({ "role": "assistant", "content": answer.text });
            if !answer.reasoning.is_empty() {
                value["reasoning_content"] = json!(answer.reasoning);
            }
            if !answer.calls.is_empty() {
                let call = |call: &deepseek_text::Call| {
                    let function = json!({ "name": call.name, "arguments": call.arguments });
                    json!({ "id": call.id, "type": "function", "function": function })
                };
                value["tool_calls"] = answer.calls.iter().map(call).collect();
            }
            value
        }
        Message::Developer(_) | Message::LatestReminder { .. } | Message::Tool { .. } => {
            unreachable!("nobody says this at a prompt")
        }
    }
}
