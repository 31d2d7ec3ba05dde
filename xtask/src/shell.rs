//! Running other programs, in the open: each command is printed before it runs.
#![allow(clippy::print_stderr, reason = "xtask talks to a terminal")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask stands in the workspace")
        .to_path_buf()
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command in the root of the workspace and fails when it does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    output(command.stdout(Stdio::inherit())).map(drop)
}

/// The same in a folder.
pub(crate) fn run_in(folder: &Path, command: &mut Command) -> Result<()> {
    output_in(folder, command.stdout(Stdio::inherit())).map(drop)
}

/// Runs a command in the root of the workspace, with what it writes to stdout; empty where that goes
/// elsewhere.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    output_in(&root(), command)
}

fn output_in(folder: &Path, command: &mut Command) -> Result<Vec<u8>> {
    let line = line(command);
    eprintln!("$ {line}");
    let start = Instant::now();
    let output = command
        .current_dir(folder)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("start {line}"))?;
    ensure!(output.status.success(), "{line}: {}", output.status);
    eprintln!("  {:.1} s", start.elapsed().as_secs_f64());
    Ok(output.stdout)
}

/// Shows a text that was measured or made.
pub(crate) fn say(text: &str) {
    eprint!("{text}");
}

fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut line = program
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    for argument in command.get_args() {
        line.push(' ');
        let argument = argument.to_string_lossy();
        if argument.contains(' ') {
            line.push_str(&format!("'{argument}'"));
        } else {
            line.push_str(&argument);
        }
    }
    line
}
