//! `deepseek chat`: a conversation, line by line.

mod command;
mod complete;
mod history;
mod lines;
mod settings;

use std::io::Write;
use std::path::{self, Path, PathBuf};

use anyhow::{Context, anyhow};
use deepseek_chat::{Completion, SessionOptions, media_files};
use deepseek_engine::{Reason, Sampling, SamplingOptions};
use deepseek_text::{Answer, Conversation, Message, Part};

use self::lines::Lines;
use crate::answer::{Opened, Wish};
use crate::args::{Chat, Media};
use crate::fault::{Fault, Kind, Result, note};
use crate::input;
use crate::interrupt::{Interrupt, Second};
use crate::load;
use crate::output::Place;
use crate::run::{content, conversation};
use crate::screen;
use crate::session::Session;
use crate::tools;

/// Said before the first line where no other model is named.
const EMBEDDED: &str = "\
the embedded model answers: it knows the small world it was trained on; --model DIR takes another";

pub(crate) fn run(args: &Chat) -> Result<()> {
    let interrupt = Interrupt::listen(Second::WaitsForAnswer)?;
    let model = (&args.model, args.threads);
    let opened = Opened::open(model, &args.generation, &Wish::default(), &interrupt)?;
    if args.model.folder.is_none() {
        writeln!(screen::stderr(), "{EMBEDDED}")?;
    }
    let mut lines = Lines::open(!args.no_history)?;
    let files = load::files(&args.model, opened.source())?;
    let session = args.session.as_ref().map(|name| {
        let named = args.model.folder.as_deref();
        Session::open(name, opened.source(), named)
    });
    let mut session = session.transpose()?;
    if let Some(session) = &mut session {
        session.keep_cache(&opened, args.session_cache);
    }
    let mut conversation = session
        .as_ref()
        .map_or_else(Conversation::default, |session| {
            session.conversation().clone()
        });
    if let Some(text) = &args.generation.system {
        conversation.first_brief().content = text.as_str().into();
    }
    if args.generation.tools.is_some() {
        // Those that were kept with the conversation are offered no longer.
        conversation.first_brief().tools.clear();
    }
    tools::offer(&mut conversation, &args.generation)?;
    let mut talk = Talk {
        options: opened.options().clone(),
        opened,
        interrupt,
        conversation,
        media: Vec::new(),
        stats: args.generation.stats,
        last: None,
        is_fresh: false,
        session,
        files,
    };
    talk.hold(&mut lines)
}

/// A conversation under way.
#[derive(Debug)]
struct Talk {
    opened: Opened,
    interrupt: Interrupt,
    options: SessionOptions,
    conversation: Conversation,
    /// Media to go with what is said next.
    media: Vec<Part>,
    /// Whether each answer's figures are shown.
    stats: bool,
    last: Option<Completion>,
    /// Whether its KV cache is still to be kept.
    is_fresh: bool,
    /// Where the conversation is kept, if it is.
    session: Option<Session>,
    /// What the model was read from.
    files: Vec<PathBuf>,
}

/// Characters of a message that `/list` shows.
const LISTED_CHARS_MAX: usize = 60;

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
                Ok(Next::GoOn) => self.keep_session(),
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

    /// Keeps the conversation, if it has a name. Where that fails, it goes on without.
    fn keep_session(&mut self) {
        if let Some(session) = &mut self.session
            && let Err(fault) = session.keep(&self.conversation, &self.interrupt)
        {
            note(&format!("the conversation is no longer kept: {fault}"));
            self.session = None;
        }
        let is_fresh = std::mem::take(&mut self.is_fresh);
        if let (Some(session), Some(said), true) = (&mut self.session, &self.last, is_fresh) {
            session.keep_answer(&self.opened, said, &self.interrupt);
        }
    }

    /// One line, or several that belong together, and what is to be done about it.
    fn turn(&mut self, lines: &mut Lines) -> Result<Next> {
        match lines.read()? {
            None => Ok(Next::Leave),
            Some(text) if text.trim().is_empty() => Ok(Next::GoOn),
            Some(text) => match text.strip_prefix('/') {
                Some(said) if said.starts_with('/') => self.answer(said),
                Some(_) => self.obey(text.trim_end()),
                None => self.answer(&text),
            },
        }
    }

    /// Has an answer given. What was refused, or stopped before a word was said, was never asked.
    fn answer(&mut self, text: &str) -> Result<Next> {
        let asked = Message::user(content(&self.media, text));
        self.conversation.messages.push(asked);
        match self.ask() {
            Ok(true) => self.media.clear(),
            Ok(false) => drop(self.conversation.messages.pop()),
            Err(fault) => {
                self.conversation.messages.pop();
                return Err(fault);
            }
        }
        Ok(Next::GoOn)
    }

    /// Has the last message answered, and says whether there is an answer.
    fn ask(&mut self) -> Result<bool> {
        self.interrupt.lower();
        let said = self
            .opened
            .answer(&self.conversation, &self.options, &self.interrupt);
        let said = said.map_err(|fault| self.advise(fault))?;
        if said.reason == Reason::Cancelled {
            writeln!(screen::stderr(), "stopped")?;
        }
        let is_said = said.answer != Answer::default();
        if is_said {
            let answer = Message::assistant(said.answer.clone());
            self.conversation.messages.push(answer);
        }
        if self.stats {
            let answer = &self.options.answer;
            self.opened.report(&mut screen::stderr(), &said, answer)?;
        }
        self.last = Some(said);
        self.is_fresh = true;
        Ok(is_said)
    }

    /// Where the last question stands.
    fn asked_last(&self) -> Result<usize> {
        let is_asked = |message: &Message| matches!(message, Message::User { .. });
        let at = self.conversation.messages.iter().rposition(is_asked);
        at.ok_or_else(|| Fault::usage(anyhow!("nothing was asked")))
    }

    /// Has the last question answered anew, by the next seed. If that fails, the old answer stays.
    fn retry(&mut self) -> Result<()> {
        let at = self.asked_last()?;
        let old = self.conversation.messages.split_off(at + 1);
        let sampling = *self.options.answer.sampling.options();
        self.options.answer.sampling = Sampling::new(SamplingOptions {
            seed: sampling.seed.wrapping_add(1),
            ..sampling
        })?;
        let asked = self.ask();
        if !matches!(asked, Ok(true)) {
            self.conversation.messages.extend(old);
        }
        asked.map(drop)
    }

    /// What can be done here where the context is full.
    fn advise(&self, fault: Fault) -> Fault {
        if !fault.is_too_long() {
            return fault;
        }
        let said = self.conversation.messages.iter();
        let said = said.filter(|message| !is_system(message)).count();
        // The question itself is among them.
        fault.hint(if said <= 1 {
            "shorten it, or start again with a larger --context"
        } else {
            "/clear forgets what was said; or start again with a larger --context"
        })
    }

    /// A line that begins with a slash.
    fn obey(&mut self, line: &str) -> Result<Next> {
        let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let mut out = screen::stderr();
        match (command, rest) {
            ("/quit" | "/exit" | "/bye", "") => return Ok(Next::Leave),
            ("/help", "") => writeln!(out, "{}", command::help())?,
            ("/clear", "") => {
                self.conversation.messages.retain(is_system);
                self.media.clear();
            }
            ("/read", file) if !file.is_empty() => {
                let text = without_stdin(file, input::file)?;
                return self.answer(&text);
            }
            ("/image" | "/audio" | "/video", file) if !file.is_empty() => {
                let kind = command.trim_start_matches('/');
                let part = Media::part(kind, anywhere(file)?);
                self.opened.look(&part)?;
                self.media.push(part);
            }
            ("/system", "") => match self.conversation.messages.first() {
                Some(Message::System(brief)) if !brief.content.0.is_empty() => {
                    writeln!(out, "{}", brief.content.text())?;
                }
                _ => writeln!(out, "no instructions")?,
            },
            ("/system", text) => self.conversation.first_brief().content = text.into(),
            ("/thinking", value @ ("on" | "off")) => {
                self.options.prompt.mode = settings::mode(value)?;
            }
            ("/effort", effort) if !effort.is_empty() => {
                self.options.prompt.effort = effort.parse().map_err(Fault::usage)?;
            }
            ("/set", "") => self.show_settings(&mut out)?,
            ("/set", words) => {
                let (name, value) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
                settings::set(&mut self.options, name, value.trim())?;
            }
            ("/show", "") => {
                self.opened.describe(&mut out)?;
                self.show_settings(&mut out)?;
            }
            ("/retry", "") => self.retry()?,
            ("/stats", "") => match &self.last {
                Some(said) => self.opened.report(&mut out, said, &self.options.answer)?,
                None => writeln!(out, "no answer yet")?,
            },
            _ => return self.keep(command, rest, line),
        }
        Ok(Next::GoOn)
    }

    /// The commands about what was said and what is offered.
    fn keep(&mut self, command: &str, rest: &str, line: &str) -> Result<Next> {
        match (command, rest) {
            ("/tools", rest) => self.tools(rest)?,
            ("/list", "") => self.list()?,
            ("/undo", "") => {
                let at = self.asked_last()?;
                self.conversation.messages.truncate(at);
            }
            ("/save", path) if !path.is_empty() => self.save(path, Old::Stays)?,
            ("/save!", path) if !path.is_empty() => self.save(path, Old::Goes)?,
            ("/load", path) if !path.is_empty() => {
                let messages = without_stdin(path, conversation)?;
                self.conversation = Conversation { messages };
                self.media.clear();
            }
            _ => {
                let error = anyhow!("{line:?} is not a command");
                let hint = "/help lists the commands; // begins a message with a slash";
                return Err(Fault::usage(error).hint(hint));
            }
        }
        Ok(Next::GoOn)
    }

    fn show_settings(&self, out: &mut impl Write) -> Result<()> {
        for name in settings::NAMES {
            writeln!(out, "{name:<20} {}", settings::shown(&self.options, name))?;
        }
        Ok(())
    }

    /// Offers tools, takes them back, or lists them.
    fn tools(&mut self, rest: &str) -> Result<()> {
        let tools = match rest {
            "" => {
                let brief = self.conversation.first_brief();
                let mut out = screen::stderr();
                for tool in &brief.tools {
                    writeln!(out, "{}", tool.name().unwrap_or_default())?;
                }
                if brief.tools.is_empty() {
                    writeln!(out, "no tools")?;
                }
                return Ok(());
            }
            "off" => Vec::new(),
            file => without_stdin(file, tools::read)?,
        };
        self.conversation.first_brief().tools = tools;
        Ok(())
    }

    /// Shows the beginning of each message.
    fn list(&self) -> Result<()> {
        let mut out = screen::stderr();
        for (at, message) in (1..).zip(&self.conversation.messages) {
            let (who, text) = match message {
                Message::System(brief) => ("system", brief.content.text()),
                Message::Developer(brief) => ("developer", brief.content.text()),
                Message::User { content, .. } => ("user", content.text()),
                Message::Assistant { answer, .. } => ("assistant", answer.text.as_str().into()),
                Message::Tool { content, .. } => ("tool", content.text()),
                Message::LatestReminder { text } => ("reminder", text.as_str().into()),
            };
            let words: Vec<&str> = text.split_whitespace().collect();
            let words = words.join(" ");
            let shown: String = words.chars().take(LISTED_CHARS_MAX).collect();
            let more = if shown.len() < words.len() { "…" } else { "" };
            writeln!(out, "{at:>3} {who:<10} {shown}{more}")?;
        }
        Ok(())
    }

    fn save(&self, path: &str, old: Old) -> Result<()> {
        let media = self.conversation.media().chain(&self.media);
        let media = media.flat_map(media_files);
        let place = Place::find(path.as_ref()).map_err(Fault::input)?;
        place
            .spare(self.files.iter().cloned().chain(media))
            .map_err(Fault::input)?;
        if old == Old::Stays && place.replaces() {
            let error = anyhow!("{path} is there already");
            return Err(Fault::input(error).hint("/save! FILE replaces it"));
        }
        let messages: Vec<String> = self
            .conversation
            .to_json()
            .iter()
            .map(ToString::to_string)
            .collect();
        let text = format!("[\n{}\n]\n", messages.join(",\n"));
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

/// Reads a file that is named at the prompt, where stdin is what is typed.
fn without_stdin<T>(name: &str, read: impl Fn(&Path) -> Result<T>) -> Result<T> {
    if input::is_stdin(Path::new(name)) {
        Err(Fault::usage(anyhow!("stdin is what is typed here")))
    } else {
        read(Path::new(name))
    }
}
