//! Opens the libraries of an installation, or an emulator of them, and fills the tables.

use std::path::{Path, PathBuf};

use backend_abi::{Attempt, Binding, Library};

use crate::abi::capture::GraphCapture;
use crate::abi::collectives::Collectives;
use crate::abi::emulator::Emulator;
use crate::abi::operators::{OperatorQueries, Operators};
use crate::abi::runtime::Runtime;
use crate::abi::tensors::TensorLayer;
use crate::custom::{self, CustomPackage};
use crate::error::{Note, Unavailable};
use crate::provider::Library as Group;
use crate::search::Search;
use crate::table::{Symbol, Table, addresses};

/// What tells an emulator from the vendor's runtime.
const EMULATOR_MARK: &str = "ascendEmuVersion";

/// The interface, as far as it is there. Pointers hold until the process ends: nothing is closed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Ascend {
    /// Set if this is an emulator, never a device.
    pub emulator: Option<Emulator>,
    /// Devices, contexts, streams, events and memory.
    pub runtime: Runtime,
    /// Graph capture, if the runtime has it.
    pub capture: Result<GraphCapture, Unavailable>,
    /// Operands and executors.
    pub tensors: TensorLayer,
    /// What the operator libraries answer beside their operators.
    pub queries: OperatorQueries,
    /// The operators that CANN brings, each if it is there.
    pub operators: Operators,
    /// Collectives, if their library is there.
    pub collectives: Result<Collectives, Unavailable>,
    /// Custom operators: the package that is used, or those that an emulator stands in for.
    pub custom: Vec<CustomPackage>,
    /// What a user should know.
    pub notes: Vec<Note>,
    /// Every symbol that was asked for, in the order of the tables.
    pub lookups: Vec<Lookup>,
}

/// Where a symbol was found.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// What the table says of it.
    pub symbol: &'static Symbol,
    /// The file that it is from; nothing if none has it.
    pub library: Option<PathBuf>,
}

impl Ascend {
    /// Opens the installation that is found first.
    ///
    /// # Errors
    /// If the runtime, the tensor layer or the operators are not there, with every file that was tried
    /// and what the system's loader said of it; if they lack what nothing works without; or if an
    /// emulator stands in place of the runtime.
    pub fn open(search: &Search) -> Result<Self, Unavailable> {
        let (runtime, folders) = search
            .runtime(Group::Ascendcl.files()[0])
            .map_err(|tried| Unavailable::NoRuntime { tried })?;
        if runtime.own_address(EMULATOR_MARK).is_some() {
            let path = runtime.path().to_path_buf();
            return Err(Unavailable::EmulatorFound { path });
        }
        let tensors = folders
            .first(Group::NnopBase.files())
            .map_err(|tried| Unavailable::NoTensorLayer { tried })?;
        let operators = folders
            .all(Group::Opapi.files())
            .map_err(|tried| Unavailable::NoOperators { tried })?;
        let collectives = folders
            .all(Group::Hccl.files())
            .map_err(|tried| Unavailable::NoCollectives { tried });

        let mut tables = Tables::new(Naming::Plain);
        let runtime = [runtime];
        Ok(Self {
            emulator: None,
            runtime: tables.fill(&runtime)?,
            capture: tables.fill(&runtime),
            tensors: tables.fill(&[tensors])?,
            queries: tables.fill(&operators)?,
            operators: tables.fill(&operators)?,
            collectives: collectives.and_then(|libraries| tables.fill(&libraries)),
            custom: custom::open(search, folders.root(), &mut tables),
            notes: tables.notes,
            lookups: tables.lookups,
        })
    }

    /// Opens the emulator at `path`, and takes every table from that one file.
    ///
    /// # Errors
    /// If the path is relative, cannot be opened, is no emulator, or lacks what nothing works without.
    pub fn emulator(path: &Path) -> Result<Self, Unavailable> {
        if !path.is_absolute() {
            let path = path.to_path_buf();
            return Err(Unavailable::RelativeEmulator { path });
        }
        let library =
            Library::open(path, Binding::Lazy).map_err(|why| Unavailable::NoEmulator {
                attempt: Attempt {
                    path: path.to_path_buf(),
                    why,
                },
            })?;
        if library.own_address(EMULATOR_MARK).is_none() {
            let path = path.to_path_buf();
            return Err(Unavailable::NotAnEmulator { path });
        }
        let mut tables = Tables::new(Naming::Emulated);
        let libraries = [library];
        Ok(Self {
            emulator: Some(tables.fill(&libraries)?),
            runtime: tables.fill(&libraries)?,
            capture: tables.fill(&libraries),
            tensors: tables.fill(&libraries)?,
            queries: tables.fill(&libraries)?,
            operators: tables.fill(&libraries)?,
            collectives: tables.fill(&libraries),
            custom: custom::emulated(&libraries, &mut tables),
            notes: tables.notes,
            lookups: tables.lookups,
        })
    }
}

/// How a symbol is called where it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    /// As in the table, in a library or in what it needs.
    Plain,
    /// As in the table, in the library itself.
    Own,
    /// With the provider's prefix, in the library itself.
    Emulated,
}

/// Fills tables, and writes down what was found.
#[derive(Debug)]
pub(crate) struct Tables {
    naming: Naming,
    pub(crate) notes: Vec<Note>,
    pub(crate) lookups: Vec<Lookup>,
}

impl Tables {
    fn new(naming: Naming) -> Self {
        Self {
            naming,
            notes: Vec::new(),
            lookups: Vec::new(),
        }
    }

    /// Takes each symbol of a table from the first of the libraries that has it. Each is asked for once.
    pub(crate) fn fill<T: Table>(&mut self, libraries: &[Library]) -> Result<T, Unavailable> {
        self.fill_by(self.naming, libraries)
    }

    /// The same, under other names than the rest.
    pub(crate) fn fill_by<T: Table>(
        &mut self,
        naming: Naming,
        libraries: &[Library],
    ) -> Result<T, Unavailable> {
        let mut found_at = Vec::with_capacity(T::SYMBOLS.len());
        for symbol in T::SYMBOLS {
            let found = libraries.iter().find_map(|library| {
                let address = match naming {
                    Naming::Plain => library.address(symbol.name),
                    Naming::Own => library.own_address(symbol.name),
                    Naming::Emulated => library.own_address(&symbol.emulated_name()),
                };
                address.map(|address| (library, address))
            });
            let library = found.map(|(library, _)| library.path().to_path_buf());
            self.lookups.push(Lookup { symbol, library });
            found_at.push(found.map(|(_, address)| address));
        }
        match addresses::<T>(found_at) {
            Ok(mut addresses) => Ok(T::from_addresses(&mut addresses)),
            Err(missing) => {
                let library = libraries
                    .first()
                    .map(|library| library.path().to_path_buf());
                let library = library.unwrap_or_default();
                Err(Unavailable::Incomplete { library, missing })
            }
        }
    }
}
