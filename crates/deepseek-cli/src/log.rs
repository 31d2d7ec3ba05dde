//! The log: a line an event on stderr, `key=value`, without a word of prompts or answers.
//!
//! Where it goes is the one thing that is set once for the whole process.

use tracing::Level;
use tracing_subscriber::fmt::time;

use crate::args::Logging;
use crate::fault::{Fault, Result};
use crate::screen;

/// Writes what is asked for from now on; nothing unless it is asked.
pub(crate) fn begin(asked: &Logging) -> Result<()> {
    let Some(level) = level(asked) else {
        return Ok(());
    };
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(screen::stderr)
        // The stream shows sequences of a terminal, and does not pass them on.
        .with_ansi(false)
        .with_timer(time::uptime())
        .with_target(false)
        .finish();
    tracing::subscriber::set_global_default(log).map_err(Fault::machine)
}

fn level(asked: &Logging) -> Option<Level> {
    match asked.verbose {
        0 => asked.log.map(Level::from),
        1 => Some(Level::INFO),
        2 => Some(Level::DEBUG),
        _ => Some(Level::TRACE),
    }
}
