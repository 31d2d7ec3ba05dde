//! Random checkpoints, made by the test kit in a process of its own: whoever checks the house rules or
//! runs the demonstration need not build a model for that.

use std::path::{Path, PathBuf, absolute};

use anyhow::{Context, Result};

use crate::shell::{self, cargo};

/// What to make.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The config: a file in the released form.
    #[arg(long)]
    pub(crate) config: PathBuf,
    /// The tokenizer to put beside it.
    #[arg(long)]
    pub(crate) tokenizer: Option<PathBuf>,
    /// Seed of the weights.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// The folder to write.
    pub(crate) out: PathBuf,
}

/// Writes a random checkpoint for a config, perhaps with a tokenizer beside it.
pub(crate) fn run(args: &Args) -> Result<()> {
    make("checkpoint", &args.config, args.seed, &args.out)?;
    match &args.tokenizer {
        Some(tokenizer) => copy(tokenizer, &args.out.join("tokenizer.json")),
        None => Ok(()),
    }
}

/// Has an example of the test kit write a checkpoint for a config.
pub(crate) fn make(example: &str, config: &Path, seed: u64, out: &Path) -> Result<()> {
    let mut line = cargo();
    line.args(["run", "--quiet", "--release", "--locked"]);
    line.args(["--package", "deepseek-testkit", "--example", example]);
    // Commands run in the root of the workspace, wherever this one was typed.
    line.arg("--").arg(absolute(config)?);
    line.arg(seed.to_string()).arg(absolute(out)?);
    shell::run(&mut line)
}

/// Copies a file and names it where that fails.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to).with_context(|| from.display().to_string())?;
    Ok(())
}
