//! Packages of custom operators: found, known by their version, opened.
//!
//! A name that is found proves no signature: packages change what operators take from one version to the
//! next. So a package is used only if its version is known.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use backend_abi::{Attempt, Binding, Library};

use crate::abi::{vllm_ascend_0_23_0, vllm_ascend_0_30_0rc2};
use crate::error::{Note, Refusal};
use crate::limits::FILE_BYTES_MAX;
use crate::loader::{Naming, Tables};
use crate::packages::{self, PackageFileError};
use crate::provider::{Library as Group, Provider, VLLM_ASCEND_0_23_0, VLLM_ASCEND_0_30_0RC2};
use crate::search::Search;
use crate::table::Table;

/// The providers of custom operators that there are tables for.
const KNOWN: [Provider; 2] = [VLLM_ASCEND_0_23_0, VLLM_ASCEND_0_30_0RC2];

/// A package whose operators are used.
#[derive(Debug)]
#[non_exhaustive]
pub struct CustomPackage {
    /// Whose operators it has.
    pub provider: Provider,
    /// The folder of the package, or the file of the emulator.
    pub path: PathBuf,
    /// The version of CANN that the package was built with, if it says so.
    pub compiler: Option<String>,
    /// Its operators.
    pub operators: CustomOperators,
    /// Where its kernels are described, by chip. Nowhere for an emulator.
    kernels: Option<PathBuf>,
}

/// The operators of a package, by provider and version.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum CustomOperators {
    /// Of vllm-ascend 0.23.0.
    VllmAscend0_23_0(Box<vllm_ascend_0_23_0::Operators>),
    /// Of vllm-ascend 0.30.0rc2.
    VllmAscend0_30_0rc2(Box<vllm_ascend_0_30_0rc2::Operators>),
}

impl CustomPackage {
    /// Whether the package has kernels for a chip, such as `ascend910b`. An emulator needs none.
    #[must_use]
    pub fn has_kernels(&self, chip: &str) -> bool {
        self.kernels
            .as_ref()
            .is_none_or(|folder| folder.join(chip).is_dir())
    }
}

/// Opens the first package whose version is known; what is wrong with those before it becomes notes.
pub(crate) fn open(
    search: &Search,
    root: Option<&Path>,
    tables: &mut Tables,
) -> Vec<CustomPackage> {
    for folder in candidates(search, root, &mut tables.notes) {
        match package(&folder, search.assume_version.as_deref(), tables) {
            Ok(package) => return vec![package],
            Err(why) => tables.notes.push(Note::Package { folder, why }),
        }
    }
    Vec::new()
}

/// What an emulator stands in for.
pub(crate) fn emulated(libraries: &[Library], tables: &mut Tables) -> Vec<CustomPackage> {
    let path = libraries[0].path().to_path_buf();
    let packages = KNOWN.map(|provider| {
        let before = tables.lookups.len();
        let operators = operators(&provider, Naming::Emulated, libraries, tables);
        let has_any = tables.lookups[before..]
            .iter()
            .any(|lookup| lookup.library.is_some());
        has_any.then(|| CustomPackage {
            provider,
            path: path.clone(),
            compiler: None,
            operators,
            kernels: None,
        })
    });
    packages.into_iter().flatten().collect()
}

/// The folders that may be packages: those that are named, then those of the installation in the order
/// that it gives.
fn candidates(search: &Search, root: Option<&Path>, notes: &mut Vec<Note>) -> Vec<PathBuf> {
    let mut folders = search.custom_operators.clone();
    match &search.operators {
        None => notes.push(Note::OperatorPathUnset),
        Some(path) if !path.is_dir() => {
            let path = path.clone();
            notes.push(Note::OperatorPathMissing { path });
        }
        Some(_) => {}
    }
    let installed = search.operators.clone().or_else(|| Some(root?.join("opp")));
    let Some(vendors) = installed.map(|folder| folder.join("vendors")) else {
        return folders;
    };
    let path = vendors.join("config.ini");
    match read(&path, packages::priority) {
        Ok(names) => {
            let named = names.into_iter().flatten().map(|name| vendors.join(name));
            // A package may bring kernels alone, or operators for other work.
            folders.extend(named.filter(|folder| library(folder).is_file()));
        }
        Err(why) => notes.push(Note::Priority { path, why }),
    }
    folders
}

fn package(
    folder: &Path,
    assumed: Option<&str>,
    tables: &mut Tables,
) -> Result<CustomPackage, Refusal> {
    let compiler = read(&folder.join("version.info"), packages::compiler)?.flatten();
    let version = match assumed {
        Some(version) => Some(version.to_owned()),
        None => release(folder)?,
    };
    let known = || KNOWN.map(|provider| provider.version).join(", ");
    let version = version.ok_or_else(|| Refusal::NoVersion { known: known() })?;
    let Some(provider) = KNOWN
        .into_iter()
        .find(|provider| provider.version == version)
    else {
        let known = known();
        return Err(Refusal::UnknownVersion { version, known });
    };
    let path = library(folder);
    let library = Library::open(&path, Binding::Lazy).map_err(|why| Refusal::Unopened {
        attempt: Attempt { path, why },
    })?;
    Ok(CustomPackage {
        provider,
        path: folder.to_path_buf(),
        compiler,
        operators: operators(&provider, Naming::Own, &[library], tables),
        kernels: Some(folder.join("op_impl/ai_core/tbe/config")),
    })
}

/// The version that the Python package says it has which brings the folder:
/// `vllm_ascend/_cann_ops_custom/vendors/NAME`.
fn release(folder: &Path) -> Result<Option<String>, Refusal> {
    let Some(package) = folder.ancestors().nth(3) else {
        return Ok(None);
    };
    Ok(read(&package.join("_version.py"), packages::release)?.flatten())
}

fn operators(
    provider: &Provider,
    naming: Naming,
    libraries: &[Library],
    tables: &mut Tables,
) -> CustomOperators {
    if *provider == VLLM_ASCEND_0_23_0 {
        CustomOperators::VllmAscend0_23_0(filled(naming, libraries, tables))
    } else {
        CustomOperators::VllmAscend0_30_0rc2(filled(naming, libraries, tables))
    }
}

fn filled<T: Table>(naming: Naming, libraries: &[Library], tables: &mut Tables) -> Box<T> {
    let table = tables.fill_by(naming, libraries);
    Box::new(table.expect("operators are absent one by one"))
}

/// The library of a package.
fn library(folder: &Path) -> PathBuf {
    folder.join("op_api/lib").join(Group::CustOpapi.files()[0])
}

/// What a file says; nothing if there is no such file.
fn read<T>(
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<T, PackageFileError>,
) -> Result<Option<T>, Refusal> {
    let unreadable = |why: String| Refusal::Unreadable {
        path: path.to_path_buf(),
        why,
    };
    let size = match fs::metadata(path) {
        Ok(found) if !found.is_file() => return Err(unreadable("not a file".to_owned())),
        Ok(found) => found.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(unreadable(format!(
            "{size} bytes, at most {FILE_BYTES_MAX}"
        )));
    }
    let parsed = parse(&bytes).map_err(|why| Refusal::File {
        path: path.to_path_buf(),
        why,
    });
    parsed.map(Some)
}
