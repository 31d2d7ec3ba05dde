//! Training of the embedded model, by the Python package under `xtask/train`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::{python, shell};

const PACKAGE: &str = "xtask/train";

/// How long, where, and into which folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder of the run: state, log and, at the end, `model` in the released form.
    #[arg(long, default_value = "xtask/train/out/run")]
    out: PathBuf,
    /// Go on where the run in that folder stopped.
    #[arg(long)]
    resume: bool,
    /// Train on `cpu` or `cuda` [default: the GPU, if there is one].
    #[arg(long)]
    device: Option<String>,
    /// Minutes of training, those before a resumption counted in.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Stop at this step.
    #[arg(long)]
    steps: Option<u64>,
    /// The Python to make the environment from.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// What else `train.py` takes, after `--`.
    #[arg(last = true)]
    rest: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let package = Path::new(PACKAGE);
    let (folder, listed) = (package.join("out/venv"), package.join("requirements.txt"));
    let python = python::environment(&args.python, &folder, &listed)?;
    let mut train = Command::new(python);
    train
        .arg(package.join("train.py"))
        .arg("--out")
        .arg(&args.out)
        .args(["--minutes", &args.minutes.to_string()]);
    if args.resume {
        train.arg("--resume");
    }
    if let Some(device) = &args.device {
        train.args(["--device", device]);
    }
    if let Some(steps) = args.steps {
        train.args(["--steps", &steps.to_string()]);
    }
    shell::run(train.args(&args.rest))
}
