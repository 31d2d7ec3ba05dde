//! How the program ends when it cannot do what was asked: one line, perhaps a hint, and a code.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use deepseek_engine::{Refusal, TapeError, TurnError};
use deepseek_model::ConfigError;

use crate::output::OutputError;

/// What the commands return.
pub(crate) type Result<T, E = Fault> = std::result::Result<T, E>;

/// Who has to act, as an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nobody: the reader of stdout went away.
    Quiet = 0,
    /// The device, the disk or the program failed.
    Fault = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Something that was read does not hold.
    Input = 3,
    /// Ctrl-C.
    Interrupted = 130,
}

/// Why a command did not finish.
#[derive(Debug)]
pub(crate) struct Fault {
    kind: Kind,
    error: anyhow::Error,
    hint: Option<String>,
}

impl Fault {
    fn new(kind: Kind, error: impl Into<anyhow::Error>) -> Self {
        Self {
            kind,
            error: error.into(),
            hint: None,
        }
    }

    /// The machine failed.
    pub(crate) fn machine(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Kind::Fault, error)
    }

    /// The command line makes no sense.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Kind::Usage, error)
    }

    /// What was read does not hold.
    pub(crate) fn input(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Kind::Input, error)
    }

    /// Ctrl-C.
    pub(crate) fn interrupted() -> Self {
        Self::new(Kind::Interrupted, anyhow::anyhow!("interrupted"))
    }

    /// Where it happened.
    pub(crate) fn at(self, place: impl fmt::Display + Send + Sync + 'static) -> Self {
        Self {
            error: self.error.context(place),
            ..self
        }
    }

    /// What to try.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Prints what happened to stderr and gives the code to leave with.
    pub(crate) fn report(&self) -> ExitCode {
        // Where stderr is closed there is nobody to tell.
        let _ = self.print(&mut io::stderr().lock());
        ExitCode::from(self.kind as u8)
    }

    /// Writes the error and its hint, a line each. A reader that went away and Ctrl-C need no words.
    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        if matches!(self.kind, Kind::Quiet | Kind::Interrupted) {
            return Ok(());
        }
        writeln!(out, "error: {self}")?;
        match &self.hint {
            Some(hint) => writeln!(out, "hint: {hint}"),
            None => Ok(()),
        }
    }

    /// Whether a conversation can go on after it: the turn was refused, and nothing broke.
    pub(crate) fn spares_chat(&self) -> bool {
        matches!(self.kind, Kind::Usage | Kind::Input)
    }
}

/// The error and its causes in one line.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&format!("{:#}", self.error)))
    }
}

/// Brings text of several lines into one.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Failures of the standard streams; files are named where they are opened.
impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::new(Kind::Quiet, error),
            ErrorKind::InvalidData => Self::input(anyhow::anyhow!("stdin is not UTF-8 text")),
            _ => Self::machine(error),
        }
    }
}

impl From<OutputError> for Fault {
    fn from(error: OutputError) -> Self {
        match error {
            OutputError::Folder(_) => Self::usage(error),
            OutputError::Input { .. } => Self::usage(error).hint("name another file"),
            OutputError::ReadOnly(_) => {
                Self::machine(error).hint("make it writable, or name another file")
            }
            OutputError::Io { .. } => Self::machine(error),
        }
    }
}

impl From<deepseek_core::Error> for Fault {
    fn from(error: deepseek_core::Error) -> Self {
        use deepseek_core::Error;
        let (kind, hint) = match &error {
            Error::Io { .. } => (Kind::Input, Some(FOLDER)),
            Error::File { .. } | Error::Tensor { .. } => (
                Kind::Input,
                Some("the file may be cut short or damaged: fetch it again"),
            ),
            Error::Missing { .. } | Error::Shape { .. } | Error::Format { .. } => (
                Kind::Input,
                Some("hold the files against the config with deepseek inspect DIR"),
            ),
            Error::Unsupported { .. } => (Kind::Fault, Some("choose another --device")),
            Error::OutOfMemory { .. } => (
                Kind::Fault,
                Some("try a smaller --context, or see the bill with deepseek inspect"),
            ),
            _ => (Kind::Fault, None),
        };
        let fault = Self::new(kind, error);
        match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}

/// What `--model` means.
pub(crate) const FOLDER: &str =
    "a checkpoint is a folder with config.json, tokenizer.json and safetensors files";

impl From<deepseek_model::Error> for Fault {
    fn from(error: deepseek_model::Error) -> Self {
        match error {
            deepseek_model::Error::Core(error) => error.into(),
            deepseek_model::Error::Interrupted => Self::interrupted(),
            deepseek_model::Error::CompressedIds { .. } => {
                Self::input(error).hint("tokenizer.json and config.json are of different models")
            }
            deepseek_model::Error::NoCompressedIds
            | deepseek_model::Error::TableRows { .. }
            | deepseek_model::Error::Blind => Self::input(error),
            deepseek_model::Error::Deaf => Self::usage(error),
            error => Self::machine(error),
        }
    }
}

impl From<ConfigError> for Fault {
    fn from(error: ConfigError) -> Self {
        Self::input(anyhow::Error::new(error).context("config.json"))
    }
}

impl From<deepseek_text::Error> for Fault {
    fn from(error: deepseek_text::Error) -> Self {
        Self::input(error)
    }
}

impl From<deepseek_engine::Fault> for Fault {
    fn from(error: deepseek_engine::Fault) -> Self {
        match error {
            deepseek_engine::Fault::Sound(_) => Self::input(error),
            error => Self::machine(error),
        }
    }
}

impl From<TapeError> for Fault {
    fn from(error: TapeError) -> Self {
        Self::input(error)
    }
}

impl From<deepseek_engine::Invalid> for Fault {
    fn from(error: deepseek_engine::Invalid) -> Self {
        Self::usage(error)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid(invalid) => invalid.into(),
            Refusal::TooLong { .. } => {
                Self::input(refusal).hint("shorten the prompt or raise --context")
            }
            Refusal::UnknownToken { .. } => {
                Self::input(refusal).hint("tokenizer.json and config.json are of different models")
            }
            Refusal::Empty | Refusal::Blind => Self::input(refusal),
            Refusal::Deaf => Self::usage(refusal),
            refusal => Self::machine(refusal),
        }
    }
}

impl From<TurnError> for Fault {
    fn from(error: TurnError) -> Self {
        match error {
            TurnError::Text(error) => error.into(),
            TurnError::Refusal(refusal) => refusal.into(),
            TurnError::Fault(fault) => fault.into(),
            error => Self::machine(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(fault: &Fault) -> String {
        let mut out = Vec::new();
        fault.print(&mut out).expect("memory takes all");
        String::from_utf8(out).expect("messages are text")
    }

    #[test]
    fn an_error_and_its_causes_take_one_line() {
        let cause = anyhow::anyhow!("cause\n  in two lines");
        let fault = Fault::machine(cause.context("what failed")).hint("do this");
        assert_eq!(
            printed(&fault),
            "error: what failed: cause in two lines\nhint: do this\n"
        );
    }

    #[test]
    fn a_closed_pipe_and_ctrl_c_are_silent() {
        let closed = Fault::from(io::Error::from(ErrorKind::BrokenPipe));
        assert_eq!((printed(&closed), closed.kind as u8), (String::new(), 0));
        let interrupted = Fault::interrupted();
        assert_eq!(
            (printed(&interrupted), interrupted.kind as u8),
            (String::new(), 130)
        );
    }
}
