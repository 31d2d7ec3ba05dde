//! Everything that must hold before a change lands. Continuous integration runs this and nothing
//! else.

use anyhow::Result;

use crate::shell::{self, cargo};
use crate::{ffmpeg, package, tidy};

/// Which parts to run; all by default.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave out packaging, which builds every crate alone once more.
    #[arg(long)]
    no_package: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    shell::run(cargo().args(["fmt", "--all", "--check"]))?;
    tidy::run(&shell::root())?;
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ];
    shell::run(cargo().args(clippy))?;
    // The fuzz targets are a workspace of their own; what they stand on was checked just now.
    let fuzz = [
        "clippy",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--target-dir",
        "target",
        "--locked",
        "--",
        "-D",
        "warnings",
    ];
    shell::run(cargo().args(fuzz))?;
    // Unit, integration and doc tests, and the examples are built. Benches are not run.
    shell::run(cargo().args(["test", "--workspace", "--locked"]))?;
    ffmpeg::test()?;
    let doc = [
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
        "--locked",
    ];
    shell::run(cargo().args(doc).env("RUSTDOCFLAGS", "-D warnings"))?;
    if !args.no_package {
        package::check()?;
    }
    Ok(())
}
