//! Checks of the Cambricon tables against an SDK that is installed: `cargo xtask neuware-bindgen` and `neuware-verify`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stderr, reason = "xtask talks to a terminal")]

mod exports;
mod verify;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};

/// The headers of the SDK that the tables are about.
const HEADERS: [&str; 5] = ["cn_api.h", "cnrt.h", "cnnl.h", "cnnl_extra.h", "cncl.h"];
/// The names that are read of them.
const NAMES: &str = "cn.*|CN.*|KernelClass";
/// Where what bindgen writes goes, below the root. It is made of the vendor's headers, so it is never committed.
const REAL: &str = "target/neuware/real.rs";

/// Hold the Cambricon tables against an SDK.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask neuware-*", version)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Write what bindgen makes of the SDK's headers to target/neuware/real.rs.
    Bindgen(Options),
    /// Hold each declaration against the SDK's headers and each name against its libraries.
    Verify(Options),
}

/// How a check is run.
#[derive(Debug, Clone, clap::Args)]
struct Options {
    /// The folder of the SDK; else what NEUWARE_HOME says.
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Fail where the check cannot be made, rather than say so and go on.
    #[arg(long)]
    require: bool,
}

impl Options {
    /// The SDK, or why there is none.
    fn sdk(&self) -> Result<PathBuf, String> {
        let named = env::var_os("NEUWARE_HOME").filter(|value| !value.is_empty());
        let home = self.home.clone().or_else(|| named.map(PathBuf::from));
        let home = home.ok_or("NEUWARE_HOME names no SDK, nor does --home")?;
        if home.join("include/cnnl.h").is_file() {
            return Ok(home);
        }
        Err(format!("{}: no include/cnnl.h", home.display()))
    }
}

fn main() -> Result<()> {
    let (name, options) = match Args::parse().task {
        Task::Bindgen(options) => ("bindgen", options),
        Task::Verify(options) => ("verify", options),
    };
    let home = match options.sdk() {
        Ok(home) => home,
        Err(why) if options.require => bail!("neuware {name}: {why}"),
        Err(why) => {
            eprintln!("neuware {name}: skipped ({why})");
            return Ok(());
        }
    };
    let text = written(&home)?;
    if name == "bindgen" {
        return Ok(());
    }
    let report = verify::verify(&text, &exports::of(&home.join("lib64"))?)?;
    report.show();
    let wrong = report.mismatches.len();
    ensure!(wrong == 0, "{wrong} mismatches");
    Ok(())
}

/// Reads those of the headers that there are, and writes what they declare.
fn written(home: &Path) -> Result<String> {
    let include = home.join("include");
    let headers = HEADERS
        .iter()
        .filter(|header| include.join(header).is_file());
    let headers: Vec<_> = headers.map(|header| (*header).to_owned()).collect();
    let text = xtask_headers::bindings(&[include], &headers, NAMES)?;
    let path = root().join(REAL);
    let folder = path.parent().expect("a folder for it");
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    fs::write(&path, &text).with_context(|| path.display().to_string())?;
    eprintln!("{}: of {}", path.display(), headers.join(", "));
    Ok(text)
}

/// The root of the workspace.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2);
    root.expect("this package stands in the workspace")
        .to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_no_sdk_the_reason_is_told() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let options = Options {
            home: Some(folder.path().to_path_buf()),
            require: false,
        };
        let why = options.sdk().expect_err("no SDK");
        assert!(why.ends_with("no include/cnnl.h"), "{why}");
        fs::create_dir(folder.path().join("include"))?;
        fs::write(folder.path().join("include/cnnl.h"), "")?;
        assert_eq!(options.sdk(), Ok(folder.path().to_path_buf()));
        Ok(())
    }
}
