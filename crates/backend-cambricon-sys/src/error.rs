//! Why there is no Cambricon device to be had, or less of one.

use std::path::PathBuf;

use backend_abi::{Attempt, list};

/// Why a part of the interface is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// A library was not found. Without the runtime or the operators there is no device.
    #[error("no {file}{}", list(tried))]
    NoLibrary {
        /// The library, without a version.
        file: &'static str,
        /// Where it was looked for.
        tried: Vec<Attempt>,
    },
    /// Libraries lack functions that nothing works without: they are of another release than what is served.
    #[error("without {}", missing.iter().map(|(file, name)| format!("{name} ({})", file.display())).collect::<Vec<_>>().join(", "))]
    Incomplete {
        /// The functions, each with the library that should have it.
        missing: Vec<(PathBuf, &'static str)>,
    },
    /// The emulator that was named cannot be opened.
    #[error("no emulator{}", list(std::slice::from_ref(attempt)))]
    NoEmulator {
        /// The file.
        attempt: Attempt,
    },
    /// The emulator is named by a path from somewhere.
    #[error("{}: the path of an emulator is absolute", path.display())]
    RelativeEmulator {
        /// The path.
        path: PathBuf,
    },
    /// What was named as the emulator is none.
    #[error("{}: not an emulator, it does not export neuwareEmuVersion", path.display())]
    NotAnEmulator {
        /// The file.
        path: PathBuf,
    },
    /// An emulator stands where the runtime should. It is used only where it is named.
    #[error("{}: an emulator in place of the runtime", path.display())]
    EmulatorFound {
        /// The file.
        path: PathBuf,
    },
}

impl Unavailable {
    /// What to try, if anything.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoLibrary { .. } => {
                Some("install the driver and Neuware, and name its folder in NEUWARE_HOME")
            }
            Self::Incomplete { .. } => Some("CNRT 6 and CNNL 1.23 or newer are needed"),
            Self::EmulatorFound { .. } => Some("name the emulator if it is meant"),
            Self::NoEmulator { .. }
            | Self::RelativeEmulator { .. }
            | Self::NotAnEmulator { .. } => None,
        }
    }
}
