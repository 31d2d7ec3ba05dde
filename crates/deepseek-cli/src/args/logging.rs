//! How much is logged.

use clap::{Args, ValueEnum};
use tracing::Level;

/// How much is logged.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Logging {
    /// Log to stderr what is done: -v as --log info, -vv as --log debug, -vvv as --log trace.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Log events of this level and above to stderr, a line each. No prompt and no answer is in them.
    #[arg(long, global = true, value_name = "LEVEL", conflicts_with = "verbose")]
    pub(crate) log: Option<LogLevel>,
}

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// What failed.
    Error,
    /// What is not as it should be.
    Warn,
    /// What was loaded, and what an answer took.
    Info,
    /// Where files and settings come from, and when a request begins and ends.
    Debug,
    /// All there is: each step of the engine, too.
    Trace,
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}
