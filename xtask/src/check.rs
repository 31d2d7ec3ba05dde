//! Checks against weights that others trained, which the package index has and the repository does not.
#![allow(clippy::print_stderr, reason = "xtask talks to a terminal")]

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::{python, shell};

/// Where the weights and what is made of them lie.
const FOLDER: &str = "target/whisper";
const SCRIPT: &str = "xtask/check/whisper.py";
/// A sentence, and the same at 16 kHz by the closed form.
const SOUND: &str = "tests/fixtures/audio/speech.wav";
const SAMPLES: &str = "tests/fixtures/audio/resample.safetensors";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Whose weights.
    #[arg(value_enum)]
    model: Model,
    /// The Python to make the environment from.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Model {
    /// Whisper's tiny.en: our rows of a sentence against those of another implementation.
    Whisper,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match args.model {
        Model::Whisper => whisper(&args.python),
    }
}

fn whisper(python: &Path) -> Result<()> {
    let (folder, listed) = (Path::new(FOLDER), Path::new("xtask/check/requirements.txt"));
    let python = match python::environment(python, &folder.join("venv"), listed) {
        Ok(python) => python,
        Err(error) => {
            eprintln!("skipped: no Python, or no way to the package index: {error:#}");
            return Ok(());
        }
    };
    let (weights, rows) = (folder.join("weights.safetensors"), folder.join("rows.f32"));
    let mut prepare = Command::new(&python);
    shell::run(prepare.args([SCRIPT, "weights"]).arg(&weights))?;
    let mut encode = shell::cargo();
    encode.args(["run", "--locked", "--package", "deepseek-audio"]);
    encode.args(["--example", "whisper_rows", "--"]);
    shell::run(encode.arg(&weights).arg(SOUND).arg(&rows))?;
    let mut compare = Command::new(&python);
    shell::run(compare.args([SCRIPT, "compare", SAMPLES]).arg(&rows))
}
