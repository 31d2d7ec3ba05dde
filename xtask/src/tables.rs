//! Checks of the tables of vendors, in packages of their own: what they are made of would be built by every
//! other command, too.

use std::ffi::OsString;

use anyhow::Result;

use crate::shell;

/// What a check takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// --help has what there is.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTIONS"
    )]
    options: Vec<OsString>,
}

/// Runs a check, built with the features that it needs.
pub(crate) fn run(package: &str, check: &str, features: &[&str], args: &Args) -> Result<()> {
    let mut cargo = shell::cargo();
    cargo.args(["run", "--quiet", "--locked", "--package", package]);
    for feature in features {
        cargo.args(["--features", feature]);
    }
    shell::run(cargo.arg("--").arg(check).args(&args.options))
}
