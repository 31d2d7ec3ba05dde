//! How the program ends when it cannot do what was asked: one line, perhaps a hint, and a code.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use deepseek_chat::{AudioSourceError, SourceError, TurnError};
use deepseek_engine::Refusal;
use deepseek_model::Trouble;

use crate::output::OutputError;
use crate::screen::{self, safe};

/// Characters of a message, and of a word in it. Of what is longer, both ends are shown: a name in a
/// file can have megabytes.
const LINE_CHARS_MAX: usize = 1024;
const WORD_CHARS_MAX: usize = 256;

/// What the commands return.
pub(crate) type Result<T, E = Fault> = std::result::Result<T, E>;

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nobody: the reader of stdout went away.
    Quiet,
    /// A standard stream failed.
    Stream,
    /// The device, the disk or the program failed.
    Fault,
    /// The command line makes no sense.
    Usage,
    /// Something that was read does not hold.
    Input,
    /// Ctrl-C.
    Interrupted,
}

impl Kind {
    /// The exit code.
    fn code(self) -> u8 {
        match self {
            Self::Quiet => 0,
            Self::Stream | Self::Fault => 1,
            Self::Usage => 2,
            Self::Input => 3,
            Self::Interrupted => 130,
        }
    }
}

/// Why a command did not finish.
#[derive(Debug)]
pub(crate) struct Fault {
    kind: Kind,
    error: anyhow::Error,
    hint: Option<String>,
    /// Whether it has been printed.
    told: bool,
}

impl Fault {
    fn new(kind: Kind, error: impl Into<anyhow::Error>) -> Self {
        Self {
            kind,
            error: error.into(),
            hint: None,
            told: false,
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

    /// What to try, unless something is said already.
    pub(crate) fn or_hint(self, hint: String) -> Self {
        match self.hint {
            Some(_) => self,
            None => self.hint(hint),
        }
    }

    /// The same, of which no more needs to be said.
    pub(crate) fn told(self) -> Self {
        Self { told: true, ..self }
    }

    /// Prints what happened to stderr and gives the code to leave with.
    pub(crate) fn report(&self) -> ExitCode {
        // Where stderr is closed there is nobody to tell.
        let _ = self.print(&mut screen::stderr());
        ExitCode::from(self.kind.code())
    }

    /// Writes the error and its hint, a line each. A reader that went away and Ctrl-C need no words.
    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        if self.told || matches!(self.kind, Kind::Quiet | Kind::Interrupted) {
            return Ok(());
        }
        writeln!(out, "error: {self}")?;
        match &self.hint {
            Some(hint) => writeln!(out, "hint: {}", one_line(hint)),
            None => Ok(()),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Where a number that is not finite came from, if that is what happened.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        match self.error.downcast_ref() {
            Some(deepseek_engine::Fault::NotFinite(trouble)) => Some(*trouble),
            Some(_) | None => None,
        }
    }

    /// Whether a prompt leaves no room for an answer.
    pub(crate) fn is_too_long(&self) -> bool {
        matches!(self.error.downcast_ref(), Some(Refusal::TooLong { .. }))
    }
}

/// Tells the user what is worth knowing although the program goes on.
pub(crate) fn note(text: &str) {
    // Where stderr is closed there is nobody to tell.
    let _ = writeln!(screen::stderr(), "note: {}", one_line(text));
}

/// The error and its causes in one line.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&format!("{:#}", self.error)))
    }
}

/// Brings text of several lines into one of bounded length that does nothing to a terminal.
pub(crate) fn one_line(text: &str) -> String {
    let words = text.split_whitespace();
    let words: Vec<String> = words.map(|word| cut(&safe(word), WORD_CHARS_MAX)).collect();
    cut(&words.join(" "), LINE_CHARS_MAX)
}

/// At most so many characters: of a longer text the first two thirds and the last one.
fn cut(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let tail = most / 3;
    let head: String = text.chars().take(most - 1 - tail).collect();
    let tail: String = text.chars().skip(count - tail).collect();
    format!("{head}…{tail}")
}

/// Failures of the standard streams; files are named where they are opened.
impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::new(Kind::Quiet, error),
            ErrorKind::InvalidData => Self::input(anyhow::anyhow!("stdin is not UTF-8 text")),
            _ => Self::new(Kind::Stream, error),
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
            Error::Io { source, .. } if source.kind() == ErrorKind::OutOfMemory => (
                Kind::Fault,
                Some("mapping the files wants a higher limit: ulimit -v"),
            ),
            Error::Io { .. } => (Kind::Input, Some(FOLDER)),
            Error::File { .. } | Error::Tensor { .. } => (
                Kind::Input,
                Some("the file may be cut short or damaged: fetch it again"),
            ),
            Error::Missing { .. } | Error::Shape { .. } | Error::Format { .. } => (
                Kind::Input,
                Some("hold the files against the config with deepseek inspect DIR"),
            ),
            Error::Level { .. } => (
                Kind::Fault,
                Some("choose another --numerics, or another --device"),
            ),
            Error::Unsupported { .. } => (Kind::Fault, Some("choose another --device")),
            Error::OutOfMemory { .. } => (
                Kind::Fault,
                Some("try a smaller --context, or see the bill with deepseek inspect"),
            ),
            Error::NoThreads { .. } => (Kind::Fault, Some(NO_THREADS)),
            _ => (Kind::Fault, None),
        };
        let fault = Self::new(kind, error);
        match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}

/// What to do where the system gives no more threads.
const NO_THREADS: &str =
    "try a smaller --threads, or a higher limit: ulimit -u, ulimit -v, the container's";

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
            | deepseek_model::Error::NoVision => Self::input(error),
            deepseek_model::Error::NoAudio => Self::usage(error),
            error => Self::machine(error),
        }
    }
}

impl From<SourceError> for Fault {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Weights(error) => error.into(),
            SourceError::Vocabulary { .. } => {
                Self::input(error).hint("the two files are of different models")
            }
            error if error.names_no_model() => Self::input(error).hint(FOLDER),
            error => Self::input(error),
        }
    }
}

impl From<deepseek_text::Error> for Fault {
    fn from(error: deepseek_text::Error) -> Self {
        match error {
            deepseek_text::Error::ToolChoice => Self::usage(error).hint("add --no-thinking"),
            error => Self::input(error),
        }
    }
}

impl From<deepseek_engine::Fault> for Fault {
    fn from(error: deepseek_engine::Fault) -> Self {
        match error {
            deepseek_engine::Fault::Media { kind, source } => {
                let has_no_thread =
                    matches!(source.downcast_ref(), Some(AudioSourceError::Thread(_)));
                let fault = deepseek_engine::Fault::Media { kind, source };
                if has_no_thread {
                    Self::machine(fault).hint(NO_THREADS)
                } else {
                    Self::input(fault)
                }
            }
            deepseek_engine::Fault::NotFinite(_) | deepseek_engine::Fault::NotANumber { .. } => {
                Self::input(error)
            }
            error => Self::machine(error),
        }
    }
}

impl From<AudioSourceError> for Fault {
    fn from(error: AudioSourceError) -> Self {
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
            Refusal::Empty | Refusal::NoVision => Self::input(refusal),
            Refusal::NoAudio => Self::usage(refusal),
            Refusal::Ended { .. } => Self::machine(refusal).hint(NO_THREADS),
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
        assert_eq!((printed(&closed), closed.kind.code()), (String::new(), 0));
        let interrupted = Fault::interrupted();
        assert_eq!(
            (printed(&interrupted), interrupted.kind.code()),
            (String::new(), 130)
        );
    }

    #[test]
    fn what_has_been_told_is_not_told_again() {
        let fault = Fault::input(anyhow::anyhow!("no")).hint("yes").told();
        assert_eq!(
            (printed(&fault), fault.kind.code()),
            (String::new(), Kind::Input.code())
        );
    }

    #[test]
    fn messages_do_nothing_to_a_terminal() {
        let name = "a\x1b]0;b\x07\u{9b}31m\u{202e}c\rd\u{2028}e";
        let fault = Fault::input(anyhow::anyhow!("{name}: no")).hint(name);
        let shown = r"a\u001b]0;b\u0007\u009b31m\u202ec d e";
        assert_eq!(
            printed(&fault),
            format!("error: {shown}: no\nhint: {shown}\n")
        );
    }

    #[test]
    fn long_names_in_messages_keep_their_ends() {
        let of = |count: usize| format!("<{}>", "n".repeat(count - 2));
        let line = format!("tensor {} is not there", of(WORD_CHARS_MAX));
        assert_eq!(one_line(&line), line);
        for count in [WORD_CHARS_MAX + 1, 2_000_000] {
            let line = one_line(&format!("tensor {0} is not {0}", of(count)));
            let short = line
                .strip_prefix("tensor <nn")
                .and_then(|line| line.strip_suffix("nn>"));
            let short = short.unwrap_or_else(|| panic!("{line}"));
            assert!(
                short.contains("nn…nn") && short.contains("n> is not <n"),
                "{line}"
            );
            assert_eq!(line.chars().count(), 2 * WORD_CHARS_MAX + 15);
        }
    }

    #[test]
    fn long_messages_keep_their_ends() {
        let whole = format!("{}a", "a ".repeat(LINE_CHARS_MAX / 2 - 1)) + "b";
        assert_eq!(
            (one_line(&whole), whole.len()),
            (whole.clone(), LINE_CHARS_MAX)
        );
        let line = one_line(&format!("first {} last", "a ".repeat(1_000_000)));
        assert_eq!(line.chars().count(), LINE_CHARS_MAX);
        assert!(line.starts_with("first a a") && line.ends_with("a a last"));
        assert!(line.contains('…'), "{line}");
    }
}
