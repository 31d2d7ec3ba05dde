//! Accelerators behind a vendor's library: found, examined, tried and opened, whoever the vendor is.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use backend_offload::trial::{Case, Found, Replayed, Trial, replayed};
use backend_offload::{Chip, ComposedDriver, Declined, Machine, Offload, Options, Runtime, Verb};
use deepseek_core::Member;

use super::{Choices, DEVICES_MAX, DeviceName, Examined, Listed, Tried};
use crate::args::variable;
use crate::fault::{Fault, Result, note};

/// How the system's loader says that a file is not there.
pub(super) const NO_FILE: &str = ": cannot open shared object file: No such file or directory";

/// Seeds that the operations of an accelerator are tried with: those of its tests.
const TRIAL_SEEDS: std::ops::Range<u64> = 0..8;

/// A vendor as the program meets it.
pub(super) trait Vendor: 'static {
    /// Its devices.
    type Runtime: Runtime<Library = Self::Library, Chip = Self::Chip>;
    /// Its libraries, opened.
    type Library: Send + Sync + 'static;
    /// What is known of its chips.
    type Chip: Chip<Form = ()> + Clone;

    /// Its devices as they are typed, without a number.
    const KIND: &'static str;
    /// Its software.
    const SOFTWARE: &'static str;
    /// A chip, by the vendor's name for it.
    const CHIP: &'static str;
    /// What names, in the environment, an emulator that is to stand in for its libraries.
    const EMULATOR: &'static str;

    /// A device by its number.
    fn device(number: i32) -> DeviceName;
    /// Its libraries as they are installed, where their own variables say and where installers put them.
    fn installed(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self::Library, Missing>;
    /// An emulator of them.
    fn emulator(path: &Path) -> Result<Self::Library, Missing>;
    /// Whether they are one.
    fn is_emulated(library: &Self::Library) -> bool;
    /// Every symbol that was looked for: whose it is, its name, and the file that has it.
    fn symbols(library: &Self::Library) -> Vec<(String, &'static str, Option<String>)>;
    /// What a user should know of what is installed.
    fn notes(library: &Self::Library, chip: Option<&Self::Chip>) -> Vec<String>;
    /// A chip by the vendor's name for it, if it is served.
    fn chip(model: &str) -> Option<Self::Chip>;
    /// A chip in a few words.
    fn told(chip: &Self::Chip) -> String;
}

/// Why there is no device of a vendor to be had.
#[derive(Debug)]
pub(super) struct Missing {
    /// What was looked for, in a line.
    pub(super) what: String,
    hint: Option<&'static str>,
}

impl Missing {
    pub(super) fn new(what: &str, hint: Option<&'static str>) -> Self {
        let what = sentence(what);
        Self { what, hint }
    }
}

impl From<Missing> for Fault {
    fn from(missing: Missing) -> Self {
        let fault = Self::machine(anyhow!(missing.what));
        match missing.hint {
            Some(hint) => fault.hint(format!("{hint}; or use --device cpu")),
            None => fault,
        }
    }
}

/// What was looked for, in a line: the files, and of those that are there what is wrong with them.
fn sentence(text: &str) -> String {
    let mut lines = text
        .lines()
        .map(|line| line.trim().trim_end_matches(NO_FILE));
    let first = lines.next().unwrap_or_default().to_owned();
    let rest: Vec<&str> = lines.collect();
    [first, rest.join(", ")].join(" ").trim_end().to_owned()
}

/// The libraries of a vendor, or the emulator that the environment names.
fn open<V: Vendor>() -> Result<Arc<V::Library>, Missing> {
    let opened = match variable(V::EMULATOR) {
        Some(path) => V::emulator(Path::new(&path)),
        None => V::installed(variable),
    };
    opened.map(Arc::new)
}

/// The devices of this machine; or one line that says what was looked for.
pub(super) fn list<V: Vendor>() -> Vec<Listed> {
    let absent = |about: String| vec![Listed::new(V::KIND, false, about)];
    let library = match open::<V>() {
        Ok(library) => library,
        Err(Missing { what, hint }) => {
            let hint = hint.map(|hint| format!("; {hint}"));
            return absent(format!("{what}{}", hint.unwrap_or_default()));
        }
    };
    let machine = match V::Runtime::machine(&library) {
        Ok(machine) if machine.devices > 0 => machine,
        Ok(_) => return absent(format!("{} is installed and finds no device", V::SOFTWARE)),
        Err(error) => return absent(error.to_string()),
    };
    let is_emulated = V::is_emulated(&library);
    let about = described::<V>(&machine, is_emulated);
    let count = (machine.devices as usize).min(DEVICES_MAX) as i32;
    let listed = (0..count).map(|number| Listed {
        is_emulated,
        ..Listed::new(
            V::device(number).to_string(),
            machine.chip.is_some(),
            about.clone(),
        )
    });
    listed.collect()
}

/// A chip in a line.
fn described<V: Vendor>(machine: &Machine<V::Chip>, is_emulated: bool) -> String {
    let mut text = match &machine.chip {
        Some(chip) => V::told(chip),
        None => format!("the chip {:?}, which is not served", machine.model),
    };
    if let Some(software) = &machine.software {
        text.push_str(&format!(", {software}"));
    }
    if is_emulated {
        text.push_str("; EMULATED: no device computes");
    }
    text
}

/// The name of a library's file. Its folder is the machine's own business.
pub(super) fn file_name(library: &Path) -> String {
    let name = library.file_name().unwrap_or(library.as_os_str());
    name.to_string_lossy().into_owned()
}

/// Devices of a vendor that a model is loaded on.
pub(super) struct Accelerators<V: Vendor> {
    library: Arc<V::Library>,
    /// The first; the others follow it by number.
    first: i32,
}

impl<V: Vendor> Accelerators<V> {
    /// So many devices, from one on.
    pub(super) fn open(first: i32, count: usize) -> Result<Self> {
        let library = open::<V>()?;
        let there = V::Runtime::machine(&library)?.devices as usize;
        if first as usize + count > there {
            let name = V::device(first);
            let error = anyhow!("--device {name}: {count} from there on, {there} are installed");
            return Err(Fault::machine(error).hint("deepseek devices"));
        }
        if V::is_emulated(&library) {
            note("EMULATED: an emulator computes, not a device");
        }
        Ok(Self { library, first })
    }

    /// The device of a rank, which is a member of a group where it is not alone.
    pub(super) fn start(
        &self,
        rank: usize,
        member: Option<Member>,
    ) -> deepseek_core::Result<Offload<ComposedDriver<V::Runtime>>> {
        let options = Options {
            capture: true,
            ..Options::default()
        };
        let (library, number) = (Arc::clone(&self.library), self.first + rank as i32);
        Offload::start(options, move || match member {
            None => ComposedDriver::open(library, number),
            Some(member) => ComposedDriver::join(library, number, member),
        })
    }
}

/// Looks at the libraries.
pub(super) fn examine<V: Vendor>() -> Result<Examined> {
    let library = open::<V>()?;
    let machine = V::Runtime::machine(&library)?;
    let symbols = V::symbols(&library);
    let there = symbols.iter().filter(|(_, _, library)| library.is_some());
    let there = format!(
        "{} of {} that were looked for",
        there.count(),
        symbols.len()
    );
    let mut facts = vec![
        ("device", described::<V>(&machine, V::is_emulated(&library))),
        ("devices", machine.devices.to_string()),
        ("symbols", there),
    ];
    let notes = V::notes(&library, machine.chip.as_ref());
    facts.extend(notes.into_iter().map(|note| ("note", note)));
    let software = machine.software.unwrap_or_else(|| V::SOFTWARE.to_owned());
    Ok(Examined {
        about: machine.chip.as_ref().map(V::told),
        chip: machine.model,
        software,
        facts,
        symbols,
    })
}

/// Runs every operation of a device beside the host's, and what its chip does whole. What fails for good ends it.
pub(super) fn try_operations<V: Vendor>(number: i32) -> Result<Vec<Tried>> {
    let library = open::<V>()?;
    let mut trial = Trial::new(ComposedDriver::<V::Runtime>::open(library, number)?);
    let mut tried = Vec::new();
    for case in Case::ALL.into_iter().chain(Case::WHOLE) {
        let whole = TRIAL_SEEDS.map(|seed| trial.run(case, seed));
        let whole = whole.reduce(|all, next| Ok(all?.with(next?)));
        let whole = whole.unwrap_or_else(|| Ok(Found::default()));
        if matches!(&whole, Ok(found) if found.operations == 0) {
            continue;
        }
        let is_lost = matches!(&whole, Err(deepseek_core::Error::Lost { .. }));
        tried.push((case, whole.map_err(Fault::from)));
        if is_lost {
            break;
        }
    }
    Ok(tried)
}

/// Holds steps by graphs against the same by calls.
pub(super) fn try_graphs<V: Vendor>(number: i32) -> Result<String> {
    let library = open::<V>()?;
    let Replayed { captures, flaw } = replayed(|options| {
        let library = Arc::clone(&library);
        Offload::start(options, move || {
            ComposedDriver::<V::Runtime>::open(library, number)
        })
    })?;
    if let Some(flaw) = flaw {
        return Err(Fault::machine(anyhow!("{flaw}")));
    }
    let refused: Vec<_> = captures.refused.into_keys().collect();
    Ok(match (captures.replays, refused.join("; ")) {
        (0, why) => format!("none, steps are asked for call by call: {why}"),
        (count, _) => format!("{count} steps replayed, the bits of those by calls"),
    })
}

/// Asks a chip, or that of this machine, for each verb whether it has an operator for the whole of it. No device is needed where
/// the chip is given.
pub(super) fn choices<V: Vendor>(chip: Option<V::Chip>, verbs: &[Verb<()>]) -> Result<Choices> {
    let chip = match chip {
        Some(chip) => chip,
        None => {
            let hint = format!("name a chip: --device {}:{}", V::KIND, V::CHIP);
            let library = open::<V>().map_err(|missing| Fault::from(missing).hint(&hint))?;
            let Machine { chip, model, .. } = V::Runtime::machine(&library)?;
            let unserved =
                || Fault::machine(anyhow!("the chip {model:?} is not served")).hint(&hint);
            chip.ok_or_else(unserved)?
        }
    };
    let asked = verbs.iter().map(|verb| {
        let declined = chip.takes(verb).err();
        (verb.name(), declined.map(|Declined(why)| why))
    });
    Ok(Choices {
        chip: V::told(&chip),
        verbs: asked.collect(),
    })
}
