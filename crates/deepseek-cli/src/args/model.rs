//! The checkpoint, the device, and how the model is run.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use deepseek_core::{Level, Parallel};
use deepseek_model::Prefill;

use super::number::{size, whole};
use crate::device::{DeviceName, Devices};
use crate::limits::RANKS_MAX;

/// The checkpoint, and how it is run.
#[derive(Debug, Args)]
pub(crate) struct Model {
    /// Load this checkpoint: a folder or a file in it, or a name such as deepseek-ai/DeepSeek-V4-Flash
    /// that the hub's tools have fetched [default: the embedded model, a small one that this program
    /// carries].
    #[arg(short = 'm', long = "model", value_name = "MODEL")]
    pub(crate) folder: Option<PathBuf>,
    /// Round as this level does.
    ///
    /// [default: released for answers of a checkpoint, as it was trained; exact for those of the
    /// embedded model, and for logits]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) numerics: Option<LevelArg>,
    /// Compute on this device.
    #[arg(long, value_name = "DEVICE", default_value_t, long_help = DeviceName::HELP)]
    pub(crate) device: DeviceName,
    #[command(flatten)]
    pub(crate) ranks: Ranks,
    /// How the prompt is processed (V4.1) [default: replay for answers, full for logits].
    #[arg(long, value_name = "MUCH")]
    pub(crate) prefill: Option<PrefillArg>,
    /// Hold so much of the n-gram tables in memory, such as 512MiB or 8GB (V4.1) [default: what the
    /// system finds room for].
    #[arg(long, value_name = "SIZE", value_parser = size, allow_negative_numbers = true)]
    pub(crate) engram_memory: Option<ByteSize>,
    /// Keep so much of the routed experts in memory, such as 64GiB; others are read from disk when a token
    /// is sent to them [default: what the system finds room for].
    #[arg(long, value_name = "SIZE", value_parser = size, allow_negative_numbers = true)]
    pub(crate) expert_memory: Option<ByteSize>,
    /// Take the projector of the audio tower from this safetensors file, for a checkpoint that has
    /// none (V4.1).
    #[arg(long, value_name = "FILE")]
    pub(crate) audio_projector: Option<PathBuf>,
}

/// How a model is divided among devices.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Ranks {
    /// Divide the model among so many devices, by heads and by the width of experts.
    ///
    /// They are the one that --device names and those that follow it; on the host they share its threads.
    #[arg(long, visible_alias = "tp", value_name = "N", default_value_t = 1, value_parser = whole(1..=RANKS_MAX), allow_negative_numbers = true)]
    pub(crate) tensor_parallel_size: u16,
    /// Divide the routed experts among so many devices by their number, not by their width.
    ///
    /// Together with --tensor-parallel-size, which is to be a multiple of it, the devices are the same; alone,
    /// each of them has all heads.
    #[arg(long, visible_alias = "ep", value_name = "N", default_value_t = 1, value_parser = whole(1..=RANKS_MAX), allow_negative_numbers = true)]
    pub(crate) expert_parallel_size: u16,
}

impl Ranks {
    /// One device has all.
    pub(crate) const ALONE: Self = Self {
        tensor_parallel_size: 1,
        expert_parallel_size: 1,
    };

    /// The same as a plan takes it.
    pub(crate) fn parallel(self) -> Parallel {
        Parallel {
            tensor: self.tensor_parallel_size.into(),
            expert: self.expert_parallel_size.into(),
        }
    }
}

impl Model {
    /// The devices that compute.
    pub(crate) fn devices(&self) -> Devices {
        Devices {
            first: self.device,
            parallel: self.ranks.parallel(),
        }
    }
}

/// The threads that compute.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Threads {
    /// Use so many threads [default: one for each core].
    #[arg(short, long, value_name = "N", value_parser = whole(1_u16..=1024), allow_negative_numbers = true)]
    pub(crate) threads: Option<u16>,
}

/// How much of a prompt runs through all layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrefillArg {
    /// Every layer sees the whole prompt.
    Full,
    /// Layers that reuse another layer's KV cache see only the last window: the same as the vendor's
    /// service, less than half the work.
    Replay,
}

impl From<PrefillArg> for Prefill {
    fn from(arg: PrefillArg) -> Self {
        match arg {
            PrefillArg::Full => Self::Full,
            PrefillArg::Replay => Self::Replay,
        }
    }
}

/// Which roundings the model applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LevelArg {
    /// 32-bit floats throughout, nothing rounded.
    Exact,
    /// Round the stored cache and the indexer alone: less memory for long contexts.
    Cache,
    /// Round these and what goes into products with quantised weights: memory as with cache.
    Full,
    /// Round all that the vendor's own code rounds.
    Released,
}

impl From<LevelArg> for Level {
    fn from(arg: LevelArg) -> Self {
        match arg {
            LevelArg::Exact => Self::Exact,
            LevelArg::Cache => Self::Cache,
            LevelArg::Full => Self::Full,
            LevelArg::Released => Self::Released,
        }
    }
}
