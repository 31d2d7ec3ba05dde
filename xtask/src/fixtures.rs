//! The golden numbers, made by the Python reference under `tests/oracle`.

use std::process::Command;

use anyhow::Result;

use crate::shell;

/// What to make.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The Python that has what `tests/oracle/requirements.txt` lists.
    #[arg(long, default_value = "python3")]
    python: String,
    /// Seed of the weights and prompts.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let seed = args.seed.to_string();
    let script = "tests/oracle/make_v4_oracle.py";
    let out = "tests/fixtures/v4";
    shell::run(Command::new(&args.python).args([script, out, "--seed", &seed, "--taps"]))
}
