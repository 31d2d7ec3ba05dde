//! Opens the libraries of an installation, or an emulator of them, and fills the tables.

use std::path::{Path, PathBuf};

use backend_abi::{Attempt, Binding, Library};

use crate::abi::collectives::Collectives;
use crate::abi::driver::Driver;
use crate::abi::emulator::Emulator;
use crate::abi::fusions::Fusions;
use crate::abi::operators::Operators;
use crate::abi::runtime::Runtime;
use crate::error::Unavailable;
use crate::search::Search;
use crate::table::{Library as Which, Symbol, Table, Tier, addresses};

/// What tells an emulator from the vendor's runtime.
const EMULATOR_MARK: &str = "neuwareEmuVersion";

/// The interface, as far as it is there. Pointers hold until the process ends: nothing is closed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Neuware {
    /// Set if this is an emulator, never a device.
    pub emulator: Option<Emulator>,
    /// Devices, memory, queues and notifiers.
    pub runtime: Runtime,
    /// Names of devices and modules of kernels, if the library is there.
    pub driver: Result<Driver, Unavailable>,
    /// Handles, descriptors and operators.
    pub operators: Operators,
    /// Fused operators, if their library is there.
    pub fusions: Result<Fusions, Unavailable>,
    /// Collectives, if their library is there.
    pub collectives: Result<Collectives, Unavailable>,
    /// Every symbol that was asked for, in the order of the tables.
    pub lookups: Vec<Lookup>,
}

/// Where a symbol was found.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// What the table says of it.
    pub symbol: &'static Symbol,
    /// The file that it is from and its name there; nothing if no library has it.
    pub found: Option<(PathBuf, &'static str)>,
}

impl Neuware {
    /// Opens the installation that is found first.
    ///
    /// # Errors
    /// If the runtime or the operators are not there, with every file that was tried and what the system's loader said
    /// of it; if they lack functions of the first tier, with all of these; or if an emulator stands in place of the runtime.
    pub fn open(search: &Search) -> Result<Self, Unavailable> {
        let open = |which: Which| {
            let file = which.file();
            let opened = search.open(file);
            opened.map_err(|tried| Unavailable::NoLibrary { file, tried })
        };
        let driver = open(Which::Cndrv);
        let runtime = open(Which::Cnrt)?;
        if runtime.own_address(EMULATOR_MARK).is_some() {
            let path = runtime.path().to_path_buf();
            return Err(Unavailable::EmulatorFound { path });
        }
        let operators = open(Which::Cnnl)?;
        let fusions = open(Which::CnnlExtra);
        let collectives = open(Which::Cncl);

        let mut tables = Tables::default();
        let runtime = tables.fill(&runtime);
        let driver = driver.and_then(|library| tables.fill(&library));
        let operators = tables.fill(&operators);
        let (runtime, operators) = both(runtime, operators)?;
        Ok(Self {
            emulator: None,
            runtime,
            driver,
            operators,
            fusions: fusions.and_then(|library| tables.fill(&library)),
            collectives: collectives.and_then(|library| tables.fill(&library)),
            lookups: tables.lookups,
        })
    }

    /// Opens the emulator at `path`, and takes every table from that one file.
    ///
    /// # Errors
    /// If the path is relative, cannot be opened, is no emulator, or lacks functions of the first tier.
    pub fn emulator(path: &Path) -> Result<Self, Unavailable> {
        let owned = path.to_path_buf();
        if !path.is_absolute() {
            return Err(Unavailable::RelativeEmulator { path: owned });
        }
        let library = Library::open(path, Binding::Now).map_err(|why| Unavailable::NoEmulator {
            attempt: Attempt {
                path: owned.clone(),
                why,
            },
        })?;
        if library.own_address(EMULATOR_MARK).is_none() {
            return Err(Unavailable::NotAnEmulator { path: owned });
        }
        let mut tables = Tables::default();
        let emulator = tables.fill(&library)?;
        let runtime = tables.fill(&library);
        let driver = tables.fill(&library);
        let operators = tables.fill(&library);
        let (runtime, operators) = both(runtime, operators)?;
        Ok(Self {
            emulator: Some(emulator),
            runtime,
            driver,
            operators,
            fusions: tables.fill(&library),
            collectives: tables.fill(&library),
            lookups: tables.lookups,
        })
    }

    /// The names of functions of a tier that no library has.
    pub fn missing(&self, tier: Tier) -> impl Iterator<Item = &'static str> {
        let lookups = self.lookups.iter();
        let missing = lookups.filter(move |one| one.symbol.tier == tier && one.found.is_none());
        missing.map(|lookup| lookup.symbol.name)
    }
}

/// Both tables, or all that either lacks.
fn both<A, B>(a: Result<A, Unavailable>, b: Result<B, Unavailable>) -> Result<(A, B), Unavailable> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (
            Err(Unavailable::Incomplete { mut missing }),
            Err(Unavailable::Incomplete { missing: more }),
        ) => {
            missing.extend(more);
            Err(Unavailable::Incomplete { missing })
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// Fills tables, and writes down what was found.
#[derive(Debug, Default)]
struct Tables {
    lookups: Vec<Lookup>,
}

impl Tables {
    /// Takes each symbol of a table from a library. Each name is asked for once.
    fn fill<T: Table>(&mut self, library: &Library) -> Result<T, Unavailable> {
        let mut found_at = Vec::with_capacity(T::SYMBOLS.len());
        for symbol in T::SYMBOLS {
            let mut names = symbol.names();
            let found = names.find_map(|name| Some((name, library.address(name)?)));
            let from = found.map(|(name, _)| (library.path().to_path_buf(), name));
            self.lookups.push(Lookup {
                symbol,
                found: from,
            });
            found_at.push(found.map(|(_, address)| address));
        }
        match addresses::<T>(found_at) {
            Ok(mut addresses) => Ok(T::from_addresses(&mut addresses)),
            Err(missing) => {
                let missing = missing.into_iter();
                Err(Unavailable::Incomplete {
                    missing: missing
                        .map(|name| (library.path().to_path_buf(), name))
                        .collect(),
                })
            }
        }
    }
}
