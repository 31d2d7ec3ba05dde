//! Checks of the Ascend tables against what is published: `cargo xtask ascend-headers` and its like.
#![forbid(unsafe_code)]
#![allow(clippy::print_stderr, reason = "xtask talks to a terminal")]

mod abi;
mod archive;
mod baseline;
mod contracts;
mod symbols;
mod wheels;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};

use self::baseline::Committed;
use self::wheels::{Fetched, Wheels};

/// Hold the Ascend tables against published headers and binaries.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask ascend-*", version)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Fetch the packages that have headers and binaries, and unpack what is needed of them.
    Headers(Options),
    /// Hold the declarations against the headers.
    AbiCheck(Options),
    /// Hold the names against the binaries.
    Symcheck(Options),
    /// Hold the table of operands against the package that describes them.
    Contracts(Options),
}

/// How a check is run.
#[derive(Debug, Clone, clap::Args)]
struct Options {
    /// Use what was fetched before and reach for no network.
    #[arg(long)]
    offline: bool,
    /// Fail where the check cannot be made, rather than say so and go on.
    #[arg(long)]
    require: bool,
    /// Write what is committed anew instead of comparing with it.
    #[arg(long)]
    write: bool,
    /// The Python whose pip fetches.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
}

/// Holds something of ours against the packages, and says what should be committed.
type Check = fn(&Path, &Wheels) -> Result<Vec<Committed>>;

fn main() -> Result<()> {
    let (name, options, check): (_, _, Check) = match Args::parse().task {
        Task::Headers(options) => ("headers", options, headers_alone),
        Task::AbiCheck(options) => ("abi-check", options, abi::check),
        Task::Symcheck(options) => ("symcheck", options, symbols::check),
        Task::Contracts(options) => ("contracts", options, contracts::check),
    };
    let root = root();
    let folder = root.join("target/ascend");
    let wheels = match wheels::fetch(&folder, &options.python, options.offline)? {
        Fetched::Wheels(wheels) => wheels,
        Fetched::Nothing(why) if options.require => bail!("ascend {name}: {why}"),
        Fetched::Nothing(why) => {
            eprintln!("ascend {name}: skipped ({why})");
            return Ok(());
        }
    };
    for file in check(&root, &wheels)? {
        file.settle(&root, options.write)?;
    }
    Ok(())
}

/// What lies where, and nothing more.
fn headers_alone(_root: &Path, wheels: &Wheels) -> Result<Vec<Committed>> {
    for folder in wheels.folders() {
        eprintln!("{}", folder.display());
    }
    Ok(Vec::new())
}

/// The root of the workspace.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2);
    root.expect("this package stands in the workspace")
        .to_path_buf()
}
