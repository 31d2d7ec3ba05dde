//! `deepseek chat`: a conversation, line by line.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use deepseek_engine::Reason;
use deepseek_text::{Answer, Conversation, Message, Mode, Options, Part};
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{Config, Editor};
use serde_json::{Value, json};

use crate::answer::{Engaged, Said, opening};
use crate::args::{self, Chat, Media};
use crate::fault::{Fault, Result};
use crate::interrupt::{Interrupt, Second};
use crate::load;
use crate::media;
use crate::origin::Origin;
use crate::output::Place;
use crate::run::content;

/// Lines that are remembered.
const HISTORY_MAX: usize = 1000;

const HELP: &str = "\
/help               show this
/clear              forget what was said, but not the instructions
/system [TEXT]      show the instructions, or replace them
/thinking on|off    reason before answering, or answer at once
/effort EFFORT      think this hard: low, high, max; V4.1 counts from 1 to 100, too
/image FILE         show a picture with what is said next (V4.1)
/audio FILE         play a sound with it
/video FILE         show a film with it
/stats              show the figures of the last answer
/save FILE          write the conversation as JSON
/quit               leave; so does Ctrl-D, and Ctrl-C twice
A line that ends in a backslash goes on in the next. Ctrl-C stops an answer.";

/// Said before the first line where no other model is named.
const EMBEDDED: &str = "\
the embedded model answers: it knows the small world it was trained on; --model DIR takes another";

pub(crate) fn run(args: &Chat) -> Result<()> {
    let interrupt = Interrupt::listen(Second::WaitsForAnswer)?;
    let engaged = Engaged::open(&args.model, &args.generation, &interrupt)?;
    if args.model.folder.is_none() {
        writeln!(io::stderr(), "{EMBEDDED}")?;
    }
    let mut prompt = Prompt::open(!args.no_history)?;
    let mut talk = Talk {
        options: engaged.prompt_options(),
        engaged,
        interrupt,
        messages: opening(args.generation.system.as_deref()),
        media: Vec::new(),
        stats: args.generation.stats,
        last: None,
        files: load::files(&args.model, &Origin::open(args.model.folder.as_deref())?)?,
    };
    let left = talk.hold(&mut prompt);
    prompt.close()?;
    left
}

/// A conversation under way.
#[derive(Debug)]
struct Talk {
    engaged: Engaged,
    interrupt: Interrupt,
    options: Options,
    messages: Vec<Message>,
    /// Media to go with what is said next.
    media: Vec<Part>,
    /// Whether each answer's figures are shown.
    stats: bool,
    last: Option<Said>,
    /// What the model was read from.
    files: Vec<PathBuf>,
}

/// Whether the conversation goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    Leave,
}

impl Talk {
    /// Takes turns until the user leaves.
    fn hold(&mut self, prompt: &mut Prompt) -> Result<()> {
        while let Some(line) = prompt.read()? {
            let done = match line.trim() {
                "" => Ok(Next::GoOn),
                command if command.starts_with('/') => self.obey(command),
                _ => self.answer(&line),
            };
            match done {
                Ok(Next::GoOn) => {}
                Ok(Next::Leave) => break,
                Err(fault) if fault.spares_chat() => fault.print(&mut io::stderr().lock())?,
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// One turn. What was refused, or stopped before a word was said, was never asked.
    fn answer(&mut self, text: &str) -> Result<Next> {
        self.interrupt.lower();
        self.messages
            .push(Message::user(content(&self.media, text)));
        let conversation = Conversation {
            messages: self.messages.clone(),
        };
        let said = self
            .engaged
            .answer(&conversation, &self.options, &self.interrupt);
        let said = match said {
            Ok(said) => said,
            Err(fault) => {
                self.messages.pop();
                return Err(fault);
            }
        };
        if said.reason == Reason::Cancelled {
            writeln!(io::stderr(), "stopped")?;
        }
        if said.answer == Answer::default() {
            self.messages.pop();
        } else {
            self.media.clear();
            let answer = said.answer.clone();
            self.messages.push(Message::assistant(answer));
        }
        if self.stats {
            self.engaged.report(&mut io::stderr().lock(), &said)?;
        }
        self.last = Some(said);
        Ok(Next::GoOn)
    }

    /// A line that begins with a slash.
    fn obey(&mut self, line: &str) -> Result<Next> {
        let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let mut out = io::stderr().lock();
        match (command, rest) {
            ("/quit" | "/exit", "") => return Ok(Next::Leave),
            ("/help", "") => writeln!(out, "{HELP}")?,
            ("/clear", "") => {
                self.messages.retain(is_system);
                self.media.clear();
            }
            ("/image" | "/audio" | "/video", file) if !file.is_empty() => {
                let kind = command.trim_start_matches('/');
                let part = Media::part(kind, file.to_owned());
                self.engaged.look(&part)?;
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
                Some(said) => self.engaged.report(&mut out, said)?,
                None => writeln!(out, "no answer yet")?,
            },
            ("/save", path) if !path.is_empty() => self.save(Path::new(path))?,
            _ => {
                let error = anyhow!("{line:?} is not a command");
                return Err(Fault::usage(error).hint("/help lists the commands"));
            }
        }
        Ok(Next::GoOn)
    }

    fn save(&self, path: &Path) -> Result<()> {
        let messages: Vec<Value> = self.messages.iter().map(to_json).collect();
        let said = Conversation {
            messages: self.messages.clone(),
        };
        let media = said.media().chain(&self.media).flat_map(media::files);
        let place = Place::find(path).map_err(Fault::input)?;
        place
            .spare(self.files.iter().cloned().chain(media))
            .map_err(Fault::input)?;
        let text = format!("{:#}\n", Value::from(messages));
        self.interrupt
            .write(place, text.as_bytes())
            .map_err(Fault::input)
    }
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

/// Where the user types.
#[derive(Debug)]
struct Prompt {
    editor: Editor<(), DefaultHistory>,
    history: Option<PathBuf>,
}

impl Prompt {
    /// A terminal's lines are edited, and remembered if `remember`; others are taken as they come.
    fn open(remember: bool) -> Result<Self> {
        let config = Config::builder()
            .max_history_size(HISTORY_MAX)
            .map_err(Fault::machine)?
            .auto_add_history(false)
            .build();
        let mut editor = Editor::with_config(config).map_err(Fault::machine)?;
        let history = args::history_file().filter(|_| remember && io::stdin().is_terminal());
        if let Some(file) = history.as_deref().filter(|file| file.exists()) {
            editor
                .load_history(file)
                .map_err(|error| unwritten(file, error))?;
        }
        Ok(Self { editor, history })
    }

    /// The next text: a line, and more where it ends in a backslash. `None` when the user is done.
    fn read(&mut self) -> Result<Option<String>> {
        let mut text = String::new();
        let mut leaving = false;
        loop {
            let sign = if text.is_empty() { "> " } else { ". " };
            match self.editor.readline(sign) {
                Ok(line) => {
                    leaving = false;
                    self.remember(&line)?;
                    match line.strip_suffix('\\') {
                        Some(part) => {
                            text.push_str(part);
                            text.push('\n');
                        }
                        None => return Ok(Some(text + &line)),
                    }
                }
                Err(ReadlineError::Interrupted) if leaving => return Err(Fault::interrupted()),
                Err(ReadlineError::Interrupted) => {
                    text.clear();
                    leaving = true;
                    writeln!(io::stderr(), "once more, or /quit, to leave")?;
                }
                Err(ReadlineError::Eof) if text.is_empty() => return Ok(None),
                Err(ReadlineError::Eof) => return Ok(Some(text)),
                Err(ReadlineError::Io(error)) => return Err(error.into()),
                Err(error) => return Err(Fault::machine(error)),
            }
        }
    }

    fn remember(&mut self, line: &str) -> Result<()> {
        if self.history.is_some() {
            self.editor
                .add_history_entry(line)
                .map_err(Fault::machine)?;
        }
        Ok(())
    }

    /// Keeps the lines for the next time.
    fn close(mut self) -> Result<()> {
        let Some(file) = &self.history else {
            return Ok(());
        };
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(|error| unwritten(file, error.into()))?;
        }
        self.editor
            .save_history(file)
            .map_err(|error| unwritten(file, error))
    }
}

fn unwritten(file: &Path, error: ReadlineError) -> Fault {
    let error = anyhow::Error::new(error).context(file.display().to_string());
    Fault::machine(error).hint("--no-history does without the file")
}
