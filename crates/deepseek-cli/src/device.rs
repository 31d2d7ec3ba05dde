//! The one place that names a device: from what was typed to a model on it.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::anyhow;
use backend_ascend::{AscendChip, AscendDriver, Machine};
use backend_ascend_sys::{Ascend, Search, Unavailable};
use backend_candle::{Candle, start_threads};
use backend_host::{Host, KernelSet, Roofs};
use backend_offload::trial::{Case, Found, Trial};
use backend_offload::{Chip, Declined, Offload, Options, Verb};
use deepseek_core::weights::Checkpoint;
use deepseek_core::{Kernels, Level};
use deepseek_model::{Decoder, Extras, Model, Plan};

use crate::args::variable;
use crate::fault::{Fault, Result, note};

/// What only some builds have, and whether this one does.
pub(crate) const FEATURES: [(&str, bool); 3] = [
    ("video", cfg!(feature = "video")),
    ("cuda", cfg!(feature = "cuda")),
    ("metal", cfg!(feature = "metal")),
];

/// Devices of one kind that are looked for.
const DEVICES_MAX: usize = 64;

/// What names, in the environment, an emulator that is to stand in for CANN.
const ASCEND_EMULATOR: &str = "DEEPSEEK_ASCEND_LIB";

/// How the system's loader says that a file is not there.
const NO_FILE: &str = ": cannot open shared object file: No such file or directory";

/// Seeds that the operations of an accelerator are tried with: those of its tests.
const TRIAL_SEEDS: std::ops::Range<u64> = 0..8;

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
  ascend[:N] an Ascend NPU, by CANN as it is installed (ASCEND_HOME_PATH names it elsewhere)";
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
            Self::CpuPlain | Self::Cuda(_) | Self::Metal(_) | Self::Ascend(_) => (plain, false),
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
        matches!(self, Self::Ascend(_)) && variable(ASCEND_EMULATOR).is_some()
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
            ("ascend", Some(number)) if i32::try_from(number).is_ok() => {
                Ok(Self::Ascend(number as i32))
            }
            _ => Err("want cpu[:SET], cpu-plain, cuda[:N], metal[:N] or ascend[:N]".to_owned()),
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
            Self::Ascend(number) => write!(f, "ascend:{number}"),
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
    all.extend(ascends());
    all
}

/// The Ascend NPUs of this machine; or one line that says what was looked for.
fn ascends() -> Vec<Listed> {
    let kind = "ascend";
    let ascend = match cann() {
        Ok(ascend) => ascend,
        Err(error) => {
            let hint = error.hint().map(|hint| format!("; {hint}"));
            let about = format!("{}{}", sentence(&error), hint.unwrap_or_default());
            return vec![Listed::new(kind, false, about)];
        }
    };
    let machine = match Machine::of(&ascend) {
        Ok(machine) if machine.devices > 0 => machine,
        Ok(_) => {
            return vec![Listed::new(
                kind,
                false,
                "CANN is installed and finds no device",
            )];
        }
        Err(error) => return vec![Listed::new(kind, false, error.to_string())],
    };
    let is_emulated = ascend.emulator.is_some();
    let is_served = AscendChip::named(&machine.soc).is_some();
    let about = described(&machine, is_emulated);
    let count = (machine.devices as usize).min(DEVICES_MAX) as i32;
    let listed = (0..count).map(|number| Listed {
        is_emulated,
        ..Listed::new(
            DeviceName::Ascend(number).to_string(),
            is_served,
            about.clone(),
        )
    });
    listed.collect()
}

/// A chip in a line.
fn described(machine: &Machine, is_emulated: bool) -> String {
    let mut text = match AscendChip::named(&machine.soc) {
        Some(chip) => format!("{}, family {}", chip.soc(), chip.family()),
        None => format!("the chip {:?}, which is not served", machine.soc),
    };
    if let Some(version) = &machine.version {
        text.push_str(&format!(", CANN {version}"));
    }
    if is_emulated {
        text.push_str("; EMULATED: no device computes");
    }
    text
}

/// CANN as it is installed, where its own variables say and where installers put it; or the emulator that the
/// environment names.
fn cann() -> Result<Arc<Ascend>, Unavailable> {
    let opened = match variable(ASCEND_EMULATOR) {
        Some(path) => Ascend::emulator(Path::new(&path)),
        None => Ascend::open(&Search::new(None, variable)),
    };
    opened.map(Arc::new)
}

/// What was looked for, in a line: the files, and of those that are there what is wrong with them.
fn sentence(error: &Unavailable) -> String {
    let text = error.to_string();
    let mut lines = text
        .lines()
        .map(|line| line.trim().trim_end_matches(NO_FILE));
    let first = lines.next().unwrap_or_default().to_owned();
    let rest: Vec<&str> = lines.collect();
    [first, rest.join(", ")].join(" ").trim_end().to_owned()
}

/// No device of a vendor whose library is not there.
fn missing(error: &Unavailable) -> Fault {
    let fault = Fault::machine(anyhow!(sentence(error)));
    match error.hint() {
        Some(hint) => fault.hint(format!("{hint}; or use --device cpu")),
        None => fault,
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
    // But for the host, candle computes, with threads that it would start by itself.
    let device = match name {
        DeviceName::Cuda(_) if !cfg!(feature = "cuda") => return Err(unbuilt("CUDA", "cuda")),
        DeviceName::Metal(_) if !cfg!(feature = "metal") => return Err(unbuilt("Metal", "metal")),
        DeviceName::Cpu(set) => {
            let host = Host::start(threads, set.unwrap_or_else(KernelSet::best))?;
            return on(host, plan, checkpoint, extras, progress);
        }
        DeviceName::Ascend(number) => {
            let ascend = cann().map_err(|error| missing(&error))?;
            if ascend.emulator.is_some() {
                note("EMULATED: an emulator computes, not a device");
            }
            let npu = Offload::start(Options::default(), move || {
                AscendDriver::open(ascend, number)
            })?;
            return on(npu, plan, checkpoint, extras, progress);
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
        DeviceName::CpuPlain
        | DeviceName::Cuda(_)
        | DeviceName::Metal(_)
        | DeviceName::Ascend(_) => Ok(None),
    }
}

/// A vendor's library, as a report on it says.
#[derive(Debug)]
pub(crate) struct Examined {
    /// Names and texts, in the order in which they are shown.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// Every symbol that was looked for: whose it is, its name, and the file that has it.
    pub(crate) symbols: Vec<(String, &'static str, Option<String>)>,
}

/// Looks at the library of an accelerator's vendor; nothing for other devices.
pub(crate) fn examine(name: DeviceName) -> Result<Option<Examined>> {
    let DeviceName::Ascend(_) = name else {
        return Ok(None);
    };
    let ascend = cann().map_err(|error| missing(&error))?;
    let machine = Machine::of(&ascend)?;
    let symbols = ascend.lookups.iter().map(|lookup| {
        let provider = &lookup.symbol.provider;
        let whose = format!("{} {}", provider.name, provider.version);
        let library = lookup.library.as_ref();
        let library = library.map(|library| library.display().to_string());
        (whose.trim_end().to_owned(), lookup.symbol.name, library)
    });
    let symbols: Vec<_> = symbols.collect();
    let there = symbols.iter().filter(|(_, _, library)| library.is_some());
    let there = format!(
        "{} of {} that were looked for",
        there.count(),
        symbols.len()
    );
    let mut facts = vec![
        ("device", described(&machine, ascend.emulator.is_some())),
        ("devices", machine.devices.to_string()),
        ("symbols", there),
    ];
    facts.extend(ascend.notes.iter().map(|note| ("note", note.to_string())));
    Ok(Some(Examined { facts, symbols }))
}

/// A case of an accelerator's operations, and what came of it under all seeds.
pub(crate) type Tried = (Case, Result<Found>);

/// Runs every operation of an accelerator beside the host's; nothing for other devices. What fails for good
/// ends it.
pub(crate) fn try_operations(name: DeviceName) -> Result<Vec<Tried>> {
    let DeviceName::Ascend(number) = name else {
        return Ok(Vec::new());
    };
    let ascend = cann().map_err(|error| missing(&error))?;
    let mut trial = Trial::new(AscendDriver::open(ascend, number)?);
    let mut tried = Vec::new();
    for case in Case::ALL {
        let whole = TRIAL_SEEDS.map(|seed| trial.run(case, seed));
        let whole = whole.reduce(|all, next| Ok(all?.with(next?)));
        let whole = whole.unwrap_or_else(|| Ok(Found::default()));
        let is_lost = matches!(&whole, Err(deepseek_core::Error::Lost { .. }));
        tried.push((case, whole.map_err(Fault::from)));
        if is_lost {
            break;
        }
    }
    Ok(tried)
}

/// A chip whose plan is asked for, as it is typed; none for the one of this machine.
#[derive(Debug, Clone)]
pub(crate) struct ChipName(Option<AscendChip>);

impl ChipName {
    /// What may be typed, for the help.
    pub(crate) const HELP: &str = "\
Add which operations of the model this chip does whole and which are composed, and why.

  ascend      the Ascend NPU of this machine
  ascend:SOC  a chip by the vendor's name, such as Ascend910B3: no device is needed";
}

impl FromStr for ChipName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let want = "want ascend[:SOC] with a chip such as Ascend910B3, Ascend910_9392 or Ascend950";
        match text.split_once(':') {
            None if text == "ascend" => Ok(Self(None)),
            Some(("ascend", soc)) => match AscendChip::named(soc) {
                Some(chip) => Ok(Self(Some(chip))),
                None => Err(want.to_owned()),
            },
            _ => Err(want.to_owned()),
        }
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
        DeviceName::Ascend(_) => choices(&ChipName(None), verbs).map(Some),
        DeviceName::Cpu(_) | DeviceName::CpuPlain | DeviceName::Cuda(_) | DeviceName::Metal(_) => {
            Ok(None)
        }
    }
}

/// Asks a chip for each verb whether it has an operator for the whole of it. No device is needed where the
/// chip is named.
pub(crate) fn choices(name: &ChipName, verbs: &[Verb<()>]) -> Result<Choices> {
    let chip = match &name.0 {
        Some(chip) => chip.clone(),
        None => {
            let hint = "name a chip: --device ascend:Ascend910B3";
            let ascend = cann().map_err(|error| missing(&error).hint(hint))?;
            let soc = Machine::of(&ascend)?.soc;
            let unserved = || Fault::machine(anyhow!("the chip {soc:?} is not served")).hint(hint);
            AscendChip::named(&soc).ok_or_else(unserved)?
        }
    };
    let asked = verbs.iter().map(|verb| {
        let declined = chip.takes(verb).err();
        (verb.name(), declined.map(|Declined(why)| why))
    });
    Ok(Choices {
        chip: format!("{}, family {}", chip.soc(), chip.family()),
        verbs: asked.collect(),
    })
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
        let names = [
            "cpu",
            "cpu-plain",
            "cuda:0",
            "cuda:3",
            "metal:1",
            "ascend:0",
            "ascend:15",
        ];
        for name in names.into_iter().chain(sets.iter().map(String::as_str)) {
            assert_eq!(name.parse::<DeviceName>().expect(name).to_string(), name);
        }
        assert_eq!("cuda".parse(), Ok(DeviceName::Cuda(0)));
        assert_eq!("metal".parse(), Ok(DeviceName::Metal(0)));
        assert_eq!("ascend".parse(), Ok(DeviceName::Ascend(0)));
    }

    #[test]
    fn what_was_looked_for_is_told_in_a_line() {
        let tried = |path: &str, why: &str| backend_ascend_sys::Attempt {
            path: path.into(),
            why: format!("{path}{why}"),
        };
        let tried = vec![
            tried("/opt/cann/lib64/libascendcl.so", NO_FILE),
            tried("/usr/lib/libascendcl.so", ": invalid ELF header"),
        ];
        let text = sentence(&Unavailable::NoRuntime { tried });
        assert_eq!(
            text,
            "no CANN runtime, tried: /opt/cann/lib64/libascendcl.so, /usr/lib/libascendcl.so: invalid ELF header"
        );
    }

    #[test]
    fn a_chip_is_of_a_family_that_is_served() {
        for name in ["ascend", "ascend:Ascend910B3", "ascend:Ascend950PR"] {
            assert!(name.parse::<ChipName>().is_ok(), "{name}");
        }
        for name in ["", "ascend:", "ascend:910B", "ascend:Ascend310P3", "cuda"] {
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
