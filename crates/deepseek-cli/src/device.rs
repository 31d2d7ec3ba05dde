//! The one place that names a device: from what was typed to a model on it.

mod accelerator;

use std::ffi::OsString;
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::str::FromStr;

use anyhow::anyhow;
use backend_ascend::{AscendChip, AscendRuntime};
use backend_ascend_sys::Ascend;
use backend_cambricon::{CambriconChip, CambriconRuntime};
use backend_cambricon_sys::Neuware;
use backend_candle::{Candle, start_threads};
use backend_host::{Host, KernelSet, Roofs};
use backend_offload::Verb;
use backend_offload::trial::{Case, Found};
use deepseek_cluster::Cluster;
use deepseek_core::weights::Checkpoint;
use deepseek_core::{Group, Kernels, Level, Member, Parallel};
use deepseek_model::{Decoder, Extras, Model, Plan};

use self::accelerator::{Accelerators, Missing, Vendor};
use crate::args::variable;
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
    /// An Ascend NPU by number.
    Ascend(i32),
    /// A Cambricon MLU by number.
    Mlu(i32),
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
  metal[:N]  a Metal device, in a build that has it
  ascend[:N] an Ascend NPU, by CANN as it is installed (ASCEND_HOME_PATH names it elsewhere)
  mlu[:N]    a Cambricon MLU, by Neuware as it is installed (NEUWARE_HOME names it elsewhere)";
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
            Self::CpuPlain | Self::Cuda(_) | Self::Metal(_) | Self::Ascend(_) | Self::Mlu(_) => {
                (plain, false)
            }
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
            _ => format!("{} with a context of {context}", self.marked()),
        };
        format!("{name} on {}", std::env::consts::ARCH)
    }

    /// Whether weights are copied into memory in a wider form.
    pub(crate) fn widens(self) -> bool {
        self == Self::CpuPlain
    }

    /// Whether an emulator stands in for the device: it has the device's interface, on the host, and shows
    /// nothing of its speed.
    pub(crate) fn is_emulated(self) -> bool {
        let named = match self {
            Self::Ascend(_) => Cann::EMULATOR,
            Self::Mlu(_) => Mlu::EMULATOR,
            Self::Cpu(_) | Self::CpuPlain | Self::Cuda(_) | Self::Metal(_) => return false,
        };
        variable(named).is_some()
    }

    /// The same name with what a reader must not miss.
    pub(crate) fn marked(self) -> String {
        let mark = if self.is_emulated() { " EMULATED" } else { "" };
        format!("{}{mark}", self.settled())
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
            (Cann::KIND, Some(number)) if i32::try_from(number).is_ok() => {
                Ok(Cann::device(number as i32))
            }
            (Mlu::KIND, Some(number)) if i32::try_from(number).is_ok() => {
                Ok(Mlu::device(number as i32))
            }
            _ => {
                let want = "want cpu[:SET], cpu-plain, cuda[:N], metal[:N], ascend[:N] or mlu[:N]";
                Err(want.to_owned())
            }
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
            Self::Ascend(number) => write!(f, "{}:{number}", Cann::KIND),
            Self::Mlu(number) => write!(f, "{}:{number}", Mlu::KIND),
        }
    }
}

/// A device, or several of a kind that share a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Devices {
    /// The first; the others follow it by number.
    pub(crate) first: DeviceName,
    /// How they share it.
    pub(crate) parallel: Parallel,
}

impl Devices {
    /// As [`DeviceName::contract`]: what ranks add up has another order of sums than one has alone.
    pub(crate) fn contract(self, level: Option<Level>, context: usize) -> String {
        self.told(self.first.contract(level, context))
    }

    /// As [`DeviceName::is_emulated`].
    pub(crate) fn are_emulated(self) -> bool {
        self.first.is_emulated()
    }

    /// As [`DeviceName::settled`], and how many there are.
    pub(crate) fn settled(self) -> String {
        self.told(self.first.settled().to_string())
    }

    /// As [`DeviceName::marked`], and how many there are.
    pub(crate) fn marked(self) -> String {
        self.told(self.first.marked())
    }

    fn told(self, device: String) -> String {
        match self.parallel.world() {
            1 => device,
            ranks => format!("{device}, {ranks} ranks ({})", self.parallel),
        }
    }
}

/// A device, or one that this build or this machine lacks.
#[derive(Debug)]
pub(crate) struct Listed {
    /// As it is typed.
    pub(crate) name: String,
    pub(crate) is_there: bool,
    /// Whether an emulator stands in for it.
    pub(crate) is_emulated: bool,
    /// What it is, or why it is not there.
    pub(crate) about: String,
}

impl Listed {
    fn new(name: impl Into<String>, is_there: bool, about: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            is_there,
            is_emulated: false,
            about: about.into(),
        }
    }
}

/// All devices that may be named.
pub(crate) fn list() -> Vec<Listed> {
    let best = DeviceName::default().settled();
    let about = format!("this processor; the same as {best}");
    let mut all = vec![Listed::new("cpu", true, about)];
    for set in KernelSet::ALL {
        let is_there = KernelSet::available().any(|own| own == set);
        let about = if is_there {
            format!("its {set} kernels")
        } else {
            format!("this processor lacks {set}")
        };
        let name = DeviceName::Cpu(Some(set)).to_string();
        all.push(Listed::new(name, is_there, about));
    }
    let second = "this processor by a second implementation, slow";
    all.push(Listed::new("cpu-plain", true, second));
    let [cuda, metal] = [
        ("cuda", cfg!(feature = "cuda")),
        ("metal", cfg!(feature = "metal")),
    ];
    all.extend(accelerators(cuda, Candle::cuda, DeviceName::Cuda));
    all.extend(accelerators(metal, Candle::metal, DeviceName::Metal));
    all.extend(accelerator::list::<Cann>());
    all.extend(accelerator::list::<Mlu>());
    all
}

/// Huawei, with Ascend NPUs.
enum Cann {}

impl Vendor for Cann {
    type Runtime = AscendRuntime;
    type Library = Ascend;
    type Chip = AscendChip;

    const KIND: &'static str = "ascend";
    const SOFTWARE: &'static str = "CANN";
    const CHIP: &'static str = "Ascend910B3";
    const EMULATOR: &'static str = "DEEPSEEK_ASCEND_LIB";

    fn device(number: i32) -> DeviceName {
        DeviceName::Ascend(number)
    }

    fn installed(variable: impl Fn(&str) -> Option<OsString>) -> Result<Ascend, Missing> {
        let search = backend_ascend_sys::Search::new(None, variable);
        Ascend::open(&search).map_err(|error| Missing::new(&error.to_string(), error.hint()))
    }

    fn emulator(path: &Path) -> Result<Ascend, Missing> {
        Ascend::emulator(path).map_err(|error| Missing::new(&error.to_string(), error.hint()))
    }

    fn is_emulated(ascend: &Ascend) -> bool {
        ascend.emulator.is_some()
    }

    fn symbols(ascend: &Ascend) -> Vec<(String, &'static str, Option<String>)> {
        let symbols = ascend.lookups.iter().map(|lookup| {
            let provider = &lookup.symbol.provider;
            let whose = format!("{} {}", provider.name, provider.version);
            let library = lookup.library.as_ref();
            let library = library.map(|library| accelerator::file_name(library));
            (whose.trim_end().to_owned(), lookup.symbol.name, library)
        });
        symbols.collect()
    }

    fn notes(ascend: &Ascend, _: Option<&AscendChip>) -> Vec<String> {
        ascend.notes.iter().map(ToString::to_string).collect()
    }

    fn chip(model: &str) -> Option<AscendChip> {
        AscendChip::named(model)
    }

    fn told(chip: &AscendChip) -> String {
        format!("{}, family {}", chip.soc(), chip.family())
    }
}

/// Cambricon, with MLUs.
enum Mlu {}

impl Vendor for Mlu {
    type Runtime = CambriconRuntime;
    type Library = Neuware;
    type Chip = CambriconChip;

    const KIND: &'static str = "mlu";
    const SOFTWARE: &'static str = "Neuware";
    const CHIP: &'static str = "MLU590";
    const EMULATOR: &'static str = "DEEPSEEK_NEUWARE_LIB";

    fn device(number: i32) -> DeviceName {
        DeviceName::Mlu(number)
    }

    fn installed(variable: impl Fn(&str) -> Option<OsString>) -> Result<Neuware, Missing> {
        let search = backend_cambricon_sys::Search::new(None, variable);
        Neuware::open(&search).map_err(|error| Missing::new(&error.to_string(), error.hint()))
    }

    fn emulator(path: &Path) -> Result<Neuware, Missing> {
        Neuware::emulator(path).map_err(|error| Missing::new(&error.to_string(), error.hint()))
    }

    fn is_emulated(neuware: &Neuware) -> bool {
        neuware.emulator.is_some()
    }

    fn symbols(neuware: &Neuware) -> Vec<(String, &'static str, Option<String>)> {
        let symbols = neuware.lookups.iter().map(|lookup| {
            let whose = lookup.symbol.library.file().to_owned();
            let found = lookup.found.as_ref();
            let library = found.map(|(library, _)| accelerator::file_name(library));
            (whose, lookup.symbol.name, library)
        });
        symbols.collect()
    }

    fn notes(_: &Neuware, chip: Option<&CambriconChip>) -> Vec<String> {
        chip.map(CambriconChip::notes).unwrap_or_default()
    }

    fn chip(model: &str) -> Option<CambriconChip> {
        CambriconChip::named(model)
    }

    fn told(chip: &CambriconChip) -> String {
        match chip.model() {
            "" => "a chip whose name the driver does not tell".to_owned(),
            model => model.to_owned(),
        }
    }
}

/// The devices of a kind that candle computes on; or one line that says why there are none.
fn accelerators(
    (feature, is_built): (&str, bool),
    open: fn(usize) -> deepseek_core::Result<Candle>,
    name: fn(usize) -> DeviceName,
) -> Vec<Listed> {
    if !is_built {
        let about = format!("not in this build: rebuild with --features {feature}");
        return vec![Listed::new(feature, false, about)];
    }
    let found = (0..DEVICES_MAX).take_while(|number| open(*number).is_ok());
    let about = "an accelerator, through candle";
    let found = found.map(|number| Listed::new(name(number).to_string(), true, about));
    let found: Vec<Listed> = found.collect();
    if found.is_empty() {
        vec![Listed::new(feature, false, "this machine has none")]
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
    let ranks = plan.parallel().world();
    let work = Work {
        plan,
        checkpoint,
        extras,
    };
    match name {
        DeviceName::Cuda(_) if !cfg!(feature = "cuda") => Err(unbuilt("CUDA", "cuda")),
        DeviceName::Metal(_) if !cfg!(feature = "metal") => Err(unbuilt("Metal", "metal")),
        DeviceName::Cpu(set) => {
            let (each, set) = (
                (threads / ranks).max(1),
                set.unwrap_or_else(KernelSet::best),
            );
            work.on(progress, |_, member| {
                let host = Host::start(each, set)?;
                Ok(match member {
                    Some(member) => host.joined(member),
                    None => host,
                })
            })
        }
        DeviceName::Ascend(first) => {
            let devices = Accelerators::<Cann>::open(first, ranks)?;
            work.on(progress, |rank, member| devices.start(rank, member))
        }
        DeviceName::Mlu(first) => {
            let devices = Accelerators::<Mlu>::open(first, ranks)?;
            work.on(progress, |rank, member| devices.start(rank, member))
        }
        // Elsewhere candle computes, with threads that it would start by itself.
        DeviceName::CpuPlain => {
            start_threads(threads)?;
            work.on(progress, |_, member| Ok(joined(Candle::plain(), member)))
        }
        DeviceName::Cuda(first) => {
            start_threads(threads)?;
            work.on(progress, |rank, member| {
                Ok(joined(Candle::cuda(first + rank)?, member))
            })
        }
        DeviceName::Metal(first) => {
            start_threads(threads)?;
            work.on(progress, |rank, member| {
                Ok(joined(Candle::metal(first + rank)?, member))
            })
        }
    }
}

/// What is loaded.
struct Work<'a> {
    plan: Plan,
    checkpoint: &'a Checkpoint,
    extras: Extras<'a>,
}

impl Work<'_> {
    /// Loads it on the devices that `open` opens, one for each rank, which is a member of a group where it is
    /// not alone.
    fn on<B: Kernels>(
        &self,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
        open: impl Fn(usize, Option<Member>) -> deepseek_core::Result<B> + Sync,
    ) -> Result<Box<dyn Decoder>> {
        let ranks = self.plan.parallel().world();
        if ranks == 1 {
            return self.alone(open(0, None)?, progress);
        }
        let members = Group::of(ranks);
        let meeting = members[0].rendezvous();
        let cluster = Cluster::load(meeting, ranks, progress, |rank, progress| {
            self.model(open(rank, Some(members[rank].clone()))?, progress)
        });
        Ok(Box::new(cluster?))
    }

    /// Loads it on one device.
    fn alone<B: Kernels>(
        &self,
        device: B,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(self.model(device, progress)?))
    }

    fn model<B: Kernels>(
        &self,
        device: B,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> deepseek_model::Result<Model<B>> {
        let (plan, extras) = (self.plan.clone(), self.extras.clone());
        Model::load(device, plan, self.checkpoint, extras, progress)
    }
}

/// A device of candle as one of several ranks, if it is one.
fn joined(device: Candle, member: Option<Member>) -> Candle {
    match member {
        Some(member) => device.joined(member),
        None => device,
    }
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
        DeviceName::CpuPlain
        | DeviceName::Cuda(_)
        | DeviceName::Metal(_)
        | DeviceName::Ascend(_)
        | DeviceName::Mlu(_) => Ok(None),
    }
}

/// A vendor's library, as a report on it says.
#[derive(Debug)]
pub(crate) struct Examined {
    /// The vendor's name for the chip.
    pub(crate) chip: String,
    /// The same with what is known of it; none if it is not served.
    pub(crate) about: Option<String>,
    /// The vendor's software, with its version if it tells.
    pub(crate) software: String,
    /// Names and texts, in the order in which they are shown.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// Every symbol that was looked for: whose it is, its name, and the name of the file that has it.
    pub(crate) symbols: Vec<(String, &'static str, Option<String>)>,
}

/// Looks at the library of an accelerator's vendor; nothing for other devices.
pub(crate) fn examine(name: DeviceName) -> Result<Option<Examined>> {
    match name {
        DeviceName::Ascend(_) => accelerator::examine::<Cann>().map(Some),
        DeviceName::Mlu(_) => accelerator::examine::<Mlu>().map(Some),
        DeviceName::Cpu(_) | DeviceName::CpuPlain | DeviceName::Cuda(_) | DeviceName::Metal(_) => {
            Ok(None)
        }
    }
}

/// Holds steps that an accelerator replays as graphs against the same by calls; nothing for other devices.
pub(crate) fn try_graphs(name: DeviceName) -> Result<Option<String>> {
    match name {
        DeviceName::Ascend(number) => accelerator::try_graphs::<Cann>(number).map(Some),
        DeviceName::Mlu(number) => accelerator::try_graphs::<Mlu>(number).map(Some),
        DeviceName::Cpu(_) | DeviceName::CpuPlain | DeviceName::Cuda(_) | DeviceName::Metal(_) => {
            Ok(None)
        }
    }
}

/// A case of an accelerator's operations, and what came of it under all seeds.
pub(crate) type Tried = (Case, Result<Found>);

/// Runs every operation of an accelerator beside the host's; nothing for other devices. What fails for good
/// ends it.
pub(crate) fn try_operations(name: DeviceName) -> Result<Vec<Tried>> {
    match name {
        DeviceName::Ascend(number) => accelerator::try_operations::<Cann>(number),
        DeviceName::Mlu(number) => accelerator::try_operations::<Mlu>(number),
        DeviceName::Cpu(_) | DeviceName::CpuPlain | DeviceName::Cuda(_) | DeviceName::Metal(_) => {
            Ok(Vec::new())
        }
    }
}

/// A chip whose plan is asked for, as it is typed; none for the one of this machine.
#[derive(Debug, Clone)]
pub(crate) enum ChipName {
    Ascend(Option<AscendChip>),
    Mlu(Option<CambriconChip>),
}

impl ChipName {
    /// What may be typed, for the help.
    pub(crate) const HELP: &str = "\
Add which operations of the model this chip does whole and which are composed, and why.

  ascend      the Ascend NPU of this machine
  ascend:SOC  a chip by the vendor's name, such as Ascend910B3: no device is needed
  mlu         the Cambricon MLU of this machine
  mlu:CHIP    a chip by the vendor's name, such as MLU590: no device is needed";
}

impl FromStr for ChipName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, model) = match text.split_once(':') {
            Some((kind, model)) => (kind, Some(model)),
            None => (text, None),
        };
        let chip = match kind {
            Cann::KIND => named::<Cann>(model).map(Self::Ascend),
            Mlu::KIND => named::<Mlu>(model).map(Self::Mlu),
            _ => None,
        };
        chip.ok_or_else(|| {
            "want ascend[:SOC] with a chip such as Ascend910B3, Ascend910_9392 or Ascend950, or mlu[:CHIP] \
             with one such as MLU590"
                .to_owned()
        })
    }
}

/// A chip by the vendor's name for it, or that of this machine; nothing if it is not served.
fn named<V: Vendor>(model: Option<&str>) -> Option<Option<V::Chip>> {
    match model {
        None => Some(None),
        Some(model) => V::chip(model).map(Some),
    }
}

/// How a chip does the verbs of a model.
#[derive(Debug)]
pub(crate) struct Choices {
    /// The chip.
    pub(crate) chip: String,
    /// Each verb, and why it is composed of smaller operations if it is.
    pub(crate) verbs: Vec<(&'static str, Option<String>)>,
}

/// How the chip of a device does them.
pub(crate) fn choices_on(name: DeviceName, verbs: &[Verb<()>]) -> Result<Option<Choices>> {
    match name {
        DeviceName::Ascend(_) => choices(&ChipName::Ascend(None), verbs).map(Some),
        DeviceName::Mlu(_) => choices(&ChipName::Mlu(None), verbs).map(Some),
        DeviceName::Cpu(_) | DeviceName::CpuPlain | DeviceName::Cuda(_) | DeviceName::Metal(_) => {
            Ok(None)
        }
    }
}

/// Asks a chip for each verb whether it has an operator for the whole of it. No device is needed where the
/// chip is named.
pub(crate) fn choices(name: &ChipName, verbs: &[Verb<()>]) -> Result<Choices> {
    match name {
        ChipName::Ascend(chip) => accelerator::choices::<Cann>(chip.clone(), verbs),
        ChipName::Mlu(chip) => accelerator::choices::<Mlu>(chip.clone(), verbs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        let sets = KernelSet::ALL.map(|set| format!("cpu:{set}"));
        let names = [
            "cpu",
            "cpu-plain",
            "cuda:0",
            "cuda:3",
            "metal:1",
            "ascend:0",
            "ascend:15",
            "mlu:0",
            "mlu:7",
        ];
        for name in names.into_iter().chain(sets.iter().map(String::as_str)) {
            assert_eq!(name.parse::<DeviceName>().expect(name).to_string(), name);
        }
        assert_eq!("cuda".parse(), Ok(DeviceName::Cuda(0)));
        assert_eq!("metal".parse(), Ok(DeviceName::Metal(0)));
        assert_eq!("ascend".parse(), Ok(DeviceName::Ascend(0)));
        assert_eq!("mlu".parse(), Ok(DeviceName::Mlu(0)));
    }

    #[test]
    fn what_was_looked_for_is_told_in_a_line() {
        let tried = |path: &str, why: &str| backend_ascend_sys::Attempt {
            path: path.into(),
            why: format!("{path}{why}"),
        };
        let tried = vec![
            tried("/opt/cann/lib64/libascendcl.so", accelerator::NO_FILE),
            tried("/usr/lib/libascendcl.so", ": invalid ELF header"),
        ];
        let error = backend_ascend_sys::Unavailable::NoRuntime { tried };
        assert_eq!(
            Missing::new(&error.to_string(), None).what,
            "no CANN runtime, tried: /opt/cann/lib64/libascendcl.so, /usr/lib/libascendcl.so: invalid ELF header"
        );
    }

    #[test]
    fn a_chip_is_of_a_family_that_is_served() {
        for name in [
            "ascend",
            "ascend:Ascend910B3",
            "ascend:Ascend950PR",
            "mlu",
            "mlu:MLU590",
        ] {
            assert!(name.parse::<ChipName>().is_ok(), "{name}");
        }
        for name in [
            "",
            "ascend:",
            "ascend:910B",
            "ascend:Ascend310P3",
            "ascend:MLU590",
            "mlu:",
            "mlu:MLU370",
            "cuda",
        ] {
            assert!(name.parse::<ChipName>().is_err(), "{name}");
        }
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
            "ascend:",
            "ascend:-1",
            "ascend:3000000000",
            "ascend:Ascend910B3",
            "mlu:-1",
            "mlu:MLU590",
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
