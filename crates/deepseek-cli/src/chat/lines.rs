//! Where the user types: a terminal, whose lines are edited and remembered, or a pipe.

use std::borrow::Cow;
use std::io::{self, BufRead, ErrorKind, IsTerminal, Read, StdinLock, Write};

use anyhow::anyhow;
use deepseek_text::Tokenizer;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{Behavior, ColorMode, CompletionType, Config, Context, Editor, Helper};

use super::complete::complete;
use super::history::{History, LINES_MAX};
use crate::args;
use crate::fault::{Fault, Result, note};
use crate::screen;

/// Bytes of what is said at once: more could not be encoded.
const TEXT_BYTES_MAX: usize = Tokenizer::TEXT_BYTES_MAX;

/// What the user types, text by text.
#[derive(Debug)]
pub(super) struct Lines {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Terminal(Box<Terminal>),
    Pipe(Pipe),
}

/// What came of waiting for a line.
enum Line {
    Text(String),
    /// Ctrl-C.
    Interrupted,
    End,
}

impl Lines {
    /// A terminal's lines are edited, and remembered if `remember`; others are taken as they come.
    pub(super) fn open(remember: bool) -> Result<Self> {
        let stdin = io::stdin();
        let source = if stdin.is_terminal() {
            Source::Terminal(Box::new(Terminal::open(remember)?))
        } else {
            Source::Pipe(Pipe {
                stdin: stdin.lock(),
                number: 0,
                is_over: false,
            })
        };
        Ok(Self { source })
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(self.source, Source::Terminal(_))
    }

    /// The next text: a line, and more where it ends in a backslash. `None` when the user is done.
    ///
    /// # Errors
    /// Of kind input where a text is none that can be taken; the next one may be.
    pub(super) fn read(&mut self) -> Result<Option<String>> {
        let mut text = String::new();
        let mut leaving = false;
        loop {
            let sign = if text.is_empty() { "> " } else { ". " };
            let line = match &mut self.source {
                Source::Terminal(terminal) => terminal.read(sign)?,
                Source::Pipe(pipe) => pipe.read(TEXT_BYTES_MAX.saturating_sub(text.len()))?,
            };
            match line {
                Line::Text(line) => {
                    leaving = false;
                    match line.strip_suffix('\\') {
                        Some(part) => {
                            text.push_str(part);
                            text.push('\n');
                        }
                        None => return Ok(Some(text + &line)),
                    }
                }
                Line::Interrupted if leaving => return Err(Fault::interrupted()),
                Line::Interrupted => {
                    text.clear();
                    leaving = true;
                    writeln!(screen::stderr(), "press Ctrl-C again or type /quit to exit")?;
                }
                Line::End if text.is_empty() => return Ok(None),
                Line::End => return Ok(Some(text)),
            }
        }
    }
}

#[derive(Debug)]
struct Terminal {
    editor: Editor<Masked, DefaultHistory>,
    history: Option<History>,
}

impl Terminal {
    fn open(remember: bool) -> Result<Self> {
        // The prompt is no part of the answers, which may go elsewhere.
        let behavior = if screen::stdout().is_terminal() {
            Behavior::Stdio
        } else {
            Behavior::PreferTerm
        };
        let config = Config::builder()
            .behavior(behavior)
            // Without colours a line would not be masked.
            .color_mode(ColorMode::Forced)
            .max_history_size(LINES_MAX)
            .map_err(Fault::machine)?
            .auto_add_history(false)
            .completion_type(CompletionType::List)
            .build();
        let mut editor = Editor::with_config(config).map_err(Fault::machine)?;
        editor.set_helper(Some(Masked));
        let file = args::history_file().filter(|_| remember);
        let history = match file.map(|file| History::open(&file)) {
            None => None,
            Some(Ok((history, lines))) => {
                for line in lines {
                    editor.add_history_entry(line).map_err(Fault::machine)?;
                }
                Some(history)
            }
            Some(Err(error)) => {
                note(&format!("{error:#}: lines are not remembered"));
                None
            }
        };
        Ok(Self { editor, history })
    }

    fn read(&mut self, sign: &str) -> Result<Line> {
        match self.editor.readline(sign) {
            Ok(line) => {
                self.remember(&line)?;
                Ok(Line::Text(line))
            }
            Err(ReadlineError::Interrupted) => Ok(Line::Interrupted),
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
                let error = anyhow!("what was typed is not UTF-8 text");
                Err(Fault::input(error).hint("the line is dropped: type it again"))
            }
            Err(ReadlineError::Io(error)) => Err(error.into()),
            Err(error) => Err(io::Error::other(error).into()),
        }
    }

    fn remember(&mut self, line: &str) -> Result<()> {
        let Some(history) = &mut self.history else {
            return Ok(());
        };
        let is_new = self.editor.add_history_entry(line);
        if is_new.map_err(Fault::machine)?
            && let Err(error) = history.add(line)
        {
            self.history = None;
            note(&format!("lines are no longer remembered: {error}"));
        }
        Ok(())
    }
}

/// Shows a line without what would steer the terminal, which may have been pasted, and completes it.
#[derive(Debug)]
struct Masked;

impl Highlighter for Masked {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        screen::masked(line)
    }
}

impl Completer for Masked {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        Ok(complete(line.get(..at).unwrap_or_default()))
    }
}

impl Hinter for Masked {
    type Hint = String;
}

impl Validator for Masked {}

impl Helper for Masked {}

#[derive(Debug)]
struct Pipe {
    stdin: StdinLock<'static>,
    /// That of the last line.
    number: usize,
    /// Whether nothing more is read.
    is_over: bool,
}

impl Pipe {
    /// A line of at most so many bytes. What follows a longer one is not read.
    fn read(&mut self, most: usize) -> Result<Line> {
        if self.is_over {
            return Ok(Line::End);
        }
        self.number += 1;
        let mut bytes = Vec::new();
        let mut stdin = self.stdin.by_ref().take(most as u64 + 1);
        if stdin.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(Line::End);
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            bytes.pop_if(|last| *last == b'\r');
        } else if bytes.len() > most {
            self.is_over = true;
            let number = self.number;
            let error = anyhow!("line {number} of stdin: more than {TEXT_BYTES_MAX} bytes");
            return Err(Fault::input(error).hint("nothing behind it is read"));
        }
        let text = String::from_utf8(bytes);
        text.map(Line::Text).map_err(|_| {
            let error = anyhow!("line {} of stdin is not UTF-8 text", self.number);
            Fault::input(error)
        })
    }
}
