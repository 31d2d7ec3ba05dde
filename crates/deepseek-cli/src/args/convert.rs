//! What becomes of a checkpoint.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use deepseek_convert::Target;

use super::Threads;

/// Arguments of `convert`.
#[derive(Debug, Args)]
pub(crate) struct Convert {
    /// Convert this checkpoint [default: the embedded model].
    #[arg(value_name = "MODEL")]
    pub(crate) path: Option<PathBuf>,
    /// The same as a flag.
    #[arg(short, long, value_name = "MODEL", conflicts_with = "path")]
    pub(crate) model: Option<PathBuf>,
    /// Convert to this.
    #[arg(long, value_name = "TARGET")]
    pub(crate) to: TargetArg,
    /// Write the new checkpoint to this folder: one that is not there yet or empty, or that holds what an
    /// earlier run of the same conversion left.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) threads: Threads,
}

/// What a checkpoint is converted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TargetArg {
    /// INT8 with a scale for each row, for Ascend A2 and A3 and for Cambricon.
    W8a8,
    /// The same with routed experts in INT4, in groups of 128 columns.
    W4a8,
    /// FP8 and FP4 as in the releases, for devices that multiply those (Ascend 950): of a checkpoint that
    /// was saved otherwise. A released one is used as it is.
    Mxfp4,
}

impl From<TargetArg> for Target {
    fn from(arg: TargetArg) -> Self {
        match arg {
            TargetArg::W8a8 => Self::W8a8,
            TargetArg::W4a8 => Self::W4a8,
            TargetArg::Mxfp4 => Self::Mxfp4,
        }
    }
}
