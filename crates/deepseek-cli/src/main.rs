//! Run DeepSeek-V4 checkpoints from the command line.
#![deny(unsafe_code)]

mod answer;
mod args;
mod bench;
mod chat;
mod config;
mod convert;
mod device;
mod devices;
mod doctor;
mod ending;
mod eval;
mod fault;
mod form;
mod heap;
mod ids;
mod input;
mod inspect;
mod interrupt;
mod limits;
mod load;
mod log;
mod logits;
mod media;
mod memory;
mod model_path;
mod output;
mod pages;
mod run;
mod screen;
mod session;
mod stats;
mod tokenize;
mod tools;
mod trouble;
mod verbs;
mod version;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};
use deepseek_core::guard::silence_guarded;

use crate::args::{Command, Line, Settings};
use crate::fault::{Fault, Result, one_line};

fn main() -> ExitCode {
    silence_guarded();
    let settings = Settings::read();
    let line = match &settings {
        Ok(settings) => parse(settings.apply(Line::command())),
        Err(_) => parse(Line::command()),
    };
    let done = match (line, settings) {
        (Err(error), _) => answer_clap(&error),
        (Ok(_), Err(fault)) => Err(fault),
        (Ok(line), Ok(settings)) => prepare(&line).and_then(|()| command(&line.command, &settings)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => fault.report(),
    }
}

/// Reads what was typed.
fn parse(mut command: clap::Command) -> Result<Line, clap::Error> {
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    Line::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// What every command relies on.
fn prepare(line: &Line) -> Result<()> {
    #[cfg(unix)]
    interrupt::outlive_file_limit().map_err(Fault::machine)?;
    log::begin(&line.logging)
}

fn command(command: &Command, settings: &Settings) -> Result<()> {
    match command {
        Command::Run(args) => run::run(args),
        Command::Chat(args) => chat::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Tokenize(args) => tokenize::run(args),
        Command::Logits(args) => logits::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Devices(args) => devices::run(args),
        Command::Config(args) => config::run(args, settings),
        Command::Sessions(args) => session::run(args),
        Command::Completions(args) => pages::completions(args),
        Command::Man(args) => pages::man(args),
        #[cfg(feature = "video")]
        Command::VideoWorker => media::worker::run(),
    }
}

/// Prints the help that was asked for, or says what is wrong with the line in our own form.
fn answer_clap(error: &clap::Error) -> Result<()> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(error.print()?),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            error.print()?;
            Err(Fault::usage(anyhow::anyhow!("no command is given")).told())
        }
        _ => {
            let fault = misuse(&error.to_string());
            Err(fault.or_hint(format!("see {} --help", asked_command())))
        }
    }
}

/// The program with the command that was typed, as far as there is one.
fn asked_command() -> String {
    let line = Line::command();
    let typed = std::env::args_os().skip(1);
    let mut typed = typed.filter_map(|word| word.into_string().ok());
    let known = typed.find(|word| line.find_subcommand(word).is_some());
    known.map_or_else(|| "deepseek".to_owned(), |name| format!("deepseek {name}"))
}

/// The first paragraph of clap's message is the error, and one that begins with `tip` the hint.
pub(crate) fn misuse(message: &str) -> Fault {
    let mut paragraphs = message.split("\n\n").map(one_line);
    let error = paragraphs.next().unwrap_or_default();
    let error = error.strip_prefix("error: ").unwrap_or(&error).to_owned();
    let fault = Fault::usage(anyhow::anyhow!(error));
    match paragraphs.find_map(|text| text.strip_prefix("tip: ").map(str::to_owned)) {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
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
