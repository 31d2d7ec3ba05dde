//! Why there is no Ascend device to be had, or less of one.

use std::path::PathBuf;

use backend_abi::{Attempt, list};

use crate::packages::PackageFileError;

/// Why a part of the interface is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// The runtime was not found: there is no device.
    #[error("no CANN runtime{}", list(tried))]
    NoRuntime {
        /// Where it was looked for.
        tried: Vec<Attempt>,
    },
    /// The tensor layer was not found: there is no device.
    #[error("no tensor layer of CANN{}", list(tried))]
    NoTensorLayer {
        /// Where it was looked for.
        tried: Vec<Attempt>,
    },
    /// No library of operators was found: there is no device.
    #[error("no operators of CANN{}", list(tried))]
    NoOperators {
        /// Where they were looked for.
        tried: Vec<Attempt>,
    },
    /// The collectives were not found: one device works by itself.
    #[error("no collectives{}", list(tried))]
    NoCollectives {
        /// Where they were looked for.
        tried: Vec<Attempt>,
    },
    /// A library lacks functions that nothing works without: it is older than what is served.
    #[error("{}: without {}", library.display(), missing.join(", "))]
    Incomplete {
        /// The first library of the group.
        library: PathBuf,
        /// The functions.
        missing: Vec<&'static str>,
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
    #[error("{}: not an emulator, it does not export ascendEmuVersion", path.display())]
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
            Self::NoRuntime { .. } => Some(
                "install CANN and source its set_env.sh, or name its folder in ASCEND_HOME_PATH",
            ),
            Self::NoTensorLayer { .. } | Self::NoOperators { .. } | Self::NoCollectives { .. } => {
                Some(
                    "source set_env.sh of CANN, and check that its operator packages are installed",
                )
            }
            Self::Incomplete { .. } => Some("CANN 8.1 or newer is needed"),
            Self::EmulatorFound { .. } => Some("name the emulator if it is meant"),
            Self::NoEmulator { .. }
            | Self::RelativeEmulator { .. }
            | Self::NotAnEmulator { .. } => None,
        }
    }
}

/// What a user should know of an installation that is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Note {
    /// Operators will not find their kernels.
    #[error("ASCEND_OPP_PATH is not set: operators may fail with 561107; source set_env.sh")]
    OperatorPathUnset,
    /// The same, because the folder is not there.
    #[error("ASCEND_OPP_PATH: {}: no such folder; operators may fail with 561107", path.display())]
    OperatorPathMissing {
        /// The folder.
        path: PathBuf,
    },
    /// The order of packages cannot be read, so none of them is used.
    #[error("{}", path.display())]
    Priority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        why: Refusal,
    },
    /// A package of custom operators is not used: what it would do is composed of other operators.
    #[error("{}: its operators are not used", folder.display())]
    Package {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        why: Refusal,
    },
}

/// Why a package of custom operators, or a file about them, is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A file cannot be read.
    #[error("{}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// A file does not say what it should.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        why: PackageFileError,
    },
    /// Nothing says of which version the package is. Names alone prove no signature.
    #[error("of no known version; known are vllm-ascend {known}; assume_version names one")]
    NoVersion {
        /// The versions whose operators are known.
        known: String,
    },
    /// The package is of a version whose operators are not known.
    #[error("of version {version}; known are vllm-ascend {known}; assume_version names one")]
    UnknownVersion {
        /// The version of the package.
        version: String,
        /// The versions whose operators are known.
        known: String,
    },
    /// The loader does not open the library.
    #[error("{attempt}")]
    Unopened {
        /// The library.
        attempt: Attempt,
    },
}
