//! The one place that names a device: from what was typed to a model on it.

use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;

use anyhow::anyhow;
use backend_candle::{Candle, start_threads};
use backend_host::{Host, KernelSet, Roofs};
use deepseek_core::weights::Checkpoint;
use deepseek_core::{Kernels, Level};
use deepseek_model::{Decoder, Extras, Model, Plan};

use crate::fault::{Fault, Result};

/// What only some builds have, and whether this one does.
pub(crate) const FEATURES: [(&str, bool); 3] = [
    ("video", cfg!(feature = "video")),
    ("cuda", cfg!(feature = "cuda")),
    ("metal", cfg!(feature = "metal")),
];

/// Devices of one kind that are looked for.
const DEVICES_MAX: usize = 64;

/// A device as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceName {
    /// The host with kernels of our own: of this set, or the best that its processor runs.
    Cpu(Option<KernelSet>),
    /// The host without them, as other devices compute.
    CpuPlain,
    /// A CUDA device by number.
    Cuda(usize),
    /// A Metal device by number.
    Metal(usize),
}

impl Default for DeviceName {
    fn default() -> Self {
        Self::Cpu(None)
    }
}

impl DeviceName {
    /// What may be typed, for the help.
    pub(crate) const HELP: &str = "\
Compute on this device.

  cpu        the host, with weights multiplied from the files as they are
  cpu:SET    the same with the kernels avx512-bf16, avx512, avx2, neon or plain
  cpu-plain  the host without its kernels: slow, a second opinion
  cuda[:N]   a CUDA device, in a build that has it
  metal[:N]  a Metal device, in a build that has it";
}

impl DeviceName {
    /// The same with the kernels named that will compute.
    pub(crate) fn settled(self) -> Self {
        match self {
            Self::Cpu(set) => Self::Cpu(Some(set.unwrap_or_else(KernelSet::best))),
            other => other,
        }
    }

    /// What it is held against, and whether it has the same bits: kernels for an instruction set promise
    /// those of the plain ones, and the plain ones are held against the second implementation.
    pub(crate) fn reference(self) -> (Self, bool) {
        let plain = Self::Cpu(Some(KernelSet::Plain));
        match self.settled() {
            Self::Cpu(Some(KernelSet::Plain)) => (Self::CpuPlain, false),
            Self::Cpu(_) => (plain, true),
            Self::CpuPlain | Self::Cuda(_) | Self::Metal(_) => (plain, false),
        }
    }

    /// What decides the bits of its results at a level, and how it packs the rows of a cache: devices of one
    /// contract go on from each other's sequences. Lists that are not the host's are padded by the context.
    pub(crate) fn contract(self, level: Option<Level>, context: usize) -> String {
        let name = match self.settled() {
            Self::Cpu(Some(KernelSet::Avx512Bf16)) if level != Some(Level::Exact) => {
                self.settled().to_string()
            }
            Self::Cpu(_) => Self::Cpu(None).to_string(),
            other => format!("{other} with a context of {context}"),
        };
        format!("{name} on {}", std::env::consts::ARCH)
    }

    /// Whether weights are copied into memory in a wider form.
    pub(crate) fn widens(self) -> bool {
        self == Self::CpuPlain
    }
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(set) = text.strip_prefix("cpu:") {
            let set = set
                .parse::<KernelSet>()
                .map_err(|error| format!("kernels: {error}"))?;
            return Ok(Self::Cpu(Some(set)));
        }
        let (kind, number) = match text.split_once(':') {
            Some((kind, number)) => (kind, number.parse().ok()),
            None => (text, Some(0)),
        };
        match (kind, number) {
            _ if text == "cpu" => Ok(Self::Cpu(None)),
            _ if text == "cpu-plain" => Ok(Self::CpuPlain),
            ("cuda", Some(number)) => Ok(Self::Cuda(number)),
            ("metal", Some(number)) => Ok(Self::Metal(number)),
            _ => Err("want cpu[:SET], cpu-plain, cuda[:N] or metal[:N]".to_owned()),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu(None) => f.write_str("cpu"),
            Self::Cpu(Some(set)) => write!(f, "cpu:{set}"),
            Self::CpuPlain => f.write_str("cpu-plain"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Metal(number) => write!(f, "metal:{number}"),
        }
    }
}

/// A device, or one that this build or this machine lacks.
#[derive(Debug)]
pub(crate) struct Listed {
    /// As it is typed.
    pub(crate) name: String,
    pub(crate) is_there: bool,
    /// What it is, or why it is not there.
    pub(crate) about: String,
}

/// All devices that may be named.
pub(crate) fn list() -> Vec<Listed> {
    let listed = |name: &str, is_there, about: String| Listed {
        name: name.to_owned(),
        is_there,
        about,
    };
    let best = DeviceName::default().settled();
    let mut all = vec![listed(
        "cpu",
        true,
        format!("this processor; the same as {best}"),
    )];
    for set in KernelSet::ALL {
        let is_there = KernelSet::available().any(|own| own == set);
        let about = if is_there {
            format!("its {set} kernels")
        } else {
            format!("this processor lacks {set}")
        };
        all.push(listed(
            &DeviceName::Cpu(Some(set)).to_string(),
            is_there,
            about,
        ));
    }
    let second = "this processor by a second implementation, slow";
    all.push(listed("cpu-plain", true, second.to_owned()));
    let [cuda, metal] = [
        ("cuda", cfg!(feature = "cuda")),
        ("metal", cfg!(feature = "metal")),
    ];
    all.extend(accelerators(cuda, Candle::cuda, DeviceName::Cuda));
    all.extend(accelerators(metal, Candle::metal, DeviceName::Metal));
    all
}

/// The devices of a kind that candle computes on; or one line that says why there are none.
fn accelerators(
    (feature, is_built): (&str, bool),
    open: fn(usize) -> deepseek_core::Result<Candle>,
    name: fn(usize) -> DeviceName,
) -> Vec<Listed> {
    let listed = |name: String, is_there, about: String| Listed {
        name,
        is_there,
        about,
    };
    if !is_built {
        let about = format!("not in this build: rebuild with --features {feature}");
        return vec![listed(feature.to_owned(), false, about)];
    }
    let found = (0..DEVICES_MAX).take_while(|number| open(*number).is_ok());
    let about = || "an accelerator, through candle".to_owned();
    let found = found.map(|number| listed(name(number).to_string(), true, about()));
    let found: Vec<Listed> = found.collect();
    if found.is_empty() {
        vec![listed(
            feature.to_owned(),
            false,
            "this machine has none".to_owned(),
        )]
    } else {
        found
    }
}

/// Loads the model of `plan`. On the host `threads` threads compute. `progress` hears how many of how
/// many layers are done, and may break off.
pub(crate) fn load(
    name: DeviceName,
    threads: usize,
    plan: Plan,
    checkpoint: &Checkpoint,
    extras: Extras<'_>,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Box<dyn Decoder>> {
    // But for the host, candle computes, with threads that it would start by itself.
    let device = match name {
        DeviceName::Cuda(_) if !cfg!(feature = "cuda") => return Err(unbuilt("CUDA", "cuda")),
        DeviceName::Metal(_) if !cfg!(feature = "metal") => return Err(unbuilt("Metal", "metal")),
        DeviceName::Cpu(set) => {
            let host = Host::start(threads, set.unwrap_or_else(KernelSet::best))?;
            return on(host, plan, checkpoint, extras, progress);
        }
        DeviceName::CpuPlain => start_threads(threads).map(|()| Candle::plain()),
        DeviceName::Cuda(number) => start_threads(threads).and_then(|()| Candle::cuda(number)),
        DeviceName::Metal(number) => start_threads(threads).and_then(|()| Candle::metal(number)),
    };
    on(device?, plan, checkpoint, extras, progress)
}

/// A device that this build leaves out.
fn unbuilt(devices: &str, feature: &str) -> Fault {
    let hint = format!("rebuild with --features {feature}, or use --device cpu");
    Fault::machine(anyhow!("this build has no {devices} support")).hint(hint)
}

/// What so many threads do at most, where the host computes with kernels of our own.
pub(crate) fn roofs(name: DeviceName, threads: usize) -> Result<Option<Roofs>> {
    match name {
        DeviceName::Cpu(set) => {
            let host = Host::start(threads, set.unwrap_or_else(KernelSet::best))?;
            Ok(Some(host.roofs()?))
        }
        DeviceName::CpuPlain | DeviceName::Cuda(_) | DeviceName::Metal(_) => Ok(None),
    }
}

fn on<B: Kernels>(
    device: B,
    plan: Plan,
    checkpoint: &Checkpoint,
    extras: Extras<'_>,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Box<dyn Decoder>> {
    let model = Model::load(device, plan, checkpoint, extras, progress)?;
    Ok(Box::new(model))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        let sets = KernelSet::ALL.map(|set| format!("cpu:{set}"));
        let names = ["cpu", "cpu-plain", "cuda:0", "cuda:3", "metal:1"];
        for name in names.into_iter().chain(sets.iter().map(String::as_str)) {
            assert_eq!(name.parse::<DeviceName>().expect(name).to_string(), name);
        }
        assert_eq!("cuda".parse(), Ok(DeviceName::Cuda(0)));
        assert_eq!("metal".parse(), Ok(DeviceName::Metal(0)));
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "",
            "cpu:",
            "cpu:0",
            "cpu:AVX2",
            "cpu-plain:avx2",
            "cuda:",
            "cuda:-1",
            "cuda:x",
            "CPU",
            "gpu",
        ] {
            assert!(name.parse::<DeviceName>().is_err(), "{name}");
        }
    }

    #[test]
    fn the_kernels_that_compute_are_named() {
        let settled = DeviceName::default().settled().to_string();
        assert_eq!(settled, format!("cpu:{}", KernelSet::best()));
        let asked = DeviceName::Cpu(Some(KernelSet::Plain));
        assert_eq!(asked.settled(), asked);
        assert_eq!(DeviceName::Cuda(1).settled().to_string(), "cuda:1");
    }

    #[test]
    fn kernels_of_the_same_bits_have_one_contract() {
        let of = |name: DeviceName, level| name.contract(Some(level), 512);
        let [plain, avx2, pairs] = [KernelSet::Plain, KernelSet::Avx2, KernelSet::Avx512Bf16]
            .map(|set| DeviceName::Cpu(Some(set)));
        for level in Level::ALL {
            assert_eq!(of(plain, level), of(avx2, level));
            let same = of(plain, level) == of(pairs, level);
            assert_eq!(same, level == Level::Exact, "{level}");
            assert_ne!(of(plain, level), of(DeviceName::CpuPlain, level));
        }
        let wider = DeviceName::Cuda(0).contract(Some(Level::Exact), 1024);
        assert_ne!(of(DeviceName::Cuda(0), Level::Exact), wider);
    }
}
