//! House rules, fixtures and set-up: `cargo xtask help`.
#![forbid(unsafe_code)]

mod demo;
mod ffmpeg;
mod fixtures;
mod shell;
mod test;
mod tidy;
mod train;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Work on this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Make a tiny checkpoint and run the main job on it.
    Demo(demo::Args),
    /// Set up what the tests need and run them all: format, clippy, tidy, unit, doc and integration
    /// tests, packages.
    Test(test::Args),
    /// Check the house rules.
    Tidy,
    /// Make a random checkpoint in the released format from a config.
    Checkpoint {
        /// The config: a file in the released form.
        #[arg(long)]
        config: PathBuf,
        /// The tokenizer to put beside it.
        #[arg(long)]
        tokenizer: Option<PathBuf>,
        /// Seed of the weights.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// The folder to write.
        out: PathBuf,
    },
    /// Make the golden numbers anew from the Python reference.
    Fixtures(fixtures::Args),
    /// Train the embedded model.
    Train(train::Args),
}

fn main() -> Result<()> {
    match Args::parse().task {
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Tidy => tidy::run(&shell::root()),
        Task::Checkpoint {
            config,
            tokenizer,
            seed,
            out,
        } => demo::checkpoint(&config, tokenizer.as_deref(), seed, &out),
        Task::Fixtures(args) => fixtures::run(&args),
        Task::Train(args) => train::run(&args),
    }
}
