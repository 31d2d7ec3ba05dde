//! A checkpoint in the formats of devices that multiply integers.

use std::ffi::OsString;

use anyhow::Result;

use crate::demo::{build, deepseek};
use crate::shell;

/// What `deepseek convert` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The arguments of `deepseek convert`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    arguments: Vec<OsString>,
}

/// Builds the program and has it convert.
pub(crate) fn run(args: &Args) -> Result<()> {
    build()?;
    shell::run(deepseek().arg("convert").args(&args.arguments))
}
