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
    /// Seed of the weights and prompts; what V4.1 adds to its own.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let seed = args.seed.to_string();
    let v4 = ["tests/oracle/make_v4_oracle.py", "tests/fixtures/v4"];
    let v41 = [
        "tests/oracle/make_v41_oracle.py",
        "--out",
        "tests/fixtures/v41",
    ];
    shell::run(Command::new(&args.python).args(v4).args(["--seed", &seed]))?;
    shell::run(Command::new(&args.python).args(v41).args(["--seed", &seed]))
}
