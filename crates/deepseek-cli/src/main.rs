//! Run DeepSeek-V4 checkpoints from the command line.
#![deny(unsafe_code)]

mod answer;
mod args;
mod bench;
mod chat;
mod device;
mod doctor;
mod ending;
mod eval;
mod fault;
mod heap;
mod ids;
mod input;
mod inspect;
mod interrupt;
mod limits;
mod load;
mod logits;
mod media;
mod memory;
mod output;
mod run;
mod screen;
mod stats;
mod tokenize;
mod trouble;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use deepseek_core::guard::silence_guarded;

use crate::args::{Command, Line};
use crate::fault::{Fault, Result, one_line};

fn main() -> ExitCode {
    silence_guarded();
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(error) => return answer_clap(&error),
    };
    match prepare().and_then(|()| command(&line.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => fault.report(),
    }
}

/// What every command relies on.
fn prepare() -> Result<()> {
    #[cfg(unix)]
    interrupt::outlive_file_limit().map_err(Fault::machine)?;
    Ok(())
}

fn command(command: &Command) -> Result<()> {
    match command {
        Command::Run(args) => run::run(args),
        Command::Chat(args) => chat::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Tokenize(args) => tokenize::run(args),
        Command::Logits(args) => logits::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Doctor(args) => doctor::run(args),
        #[cfg(feature = "video")]
        Command::VideoWorker => media::worker::run(),
    }
}

/// Prints the help that was asked for, or what is wrong with the line in our own form.
fn answer_clap(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // A reader that went away has read enough.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
        _ => misuse(&error.to_string()).report(),
    }
}

/// The first paragraph of clap's message is the error, and one that begins with `tip` the hint.
fn misuse(message: &str) -> Fault {
    let mut paragraphs = message.split("\n\n").map(one_line);
    let error = paragraphs.next().unwrap_or_default();
    let error = error.strip_prefix("error: ").unwrap_or(&error).to_owned();
    let hint = paragraphs.find_map(|text| text.strip_prefix("tip: ").map(str::to_owned));
    let hint = hint.unwrap_or_else(|| "see deepseek --help".to_owned());
    Fault::usage(anyhow::anyhow!(error)).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misuse_takes_one_line_and_a_hint() {
        let message = "error: these are missing:\n  --model <DIR>\n\nUsage: deepseek run\n";
        assert_eq!(
            misuse(message).to_string(),
            "these are missing: --model <DIR>"
        );
    }
}
