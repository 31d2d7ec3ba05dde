//! Where an installation is looked for.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use backend_abi::{Attempt, Binding, Library};

/// Where CANN is installed unless someone says otherwise.
const ROOTS: [&str; 3] = [
    "/usr/local/Ascend/cann",
    "/usr/local/Ascend/ascend-toolkit/latest",
    "/usr/local/Ascend/nnae/latest",
];

/// Where to look. Nothing here reads the environment or a configuration: whoever calls does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// Folders that may hold an installation, in the order in which they are tried. All libraries of
    /// CANN are taken from the one that holds the runtime.
    pub roots: Vec<PathBuf>,
    /// Whether the system's loader is asked after them, as `LD_LIBRARY_PATH` and its cache have it.
    pub system: bool,
    /// The folder of operator packages, `ASCEND_OPP_PATH`.
    pub operators: Option<PathBuf>,
    /// Packages of custom operators, `ASCEND_CUSTOM_OPP_PATH`, in the order in which they are tried.
    pub custom_operators: Vec<PathBuf>,
    /// The version to take a package of custom operators for whose own version is not known.
    pub assume_version: Option<String>,
}

impl Search {
    /// The search that the vendor's own tools make: `home` if it is named, then what the variables of
    /// the environment say, then where installers put it, then where the system's loader looks.
    ///
    /// ```
    /// let search = backend_ascend_sys::Search::new(None, |name| std::env::var_os(name));
    /// assert!(search.roots.len() >= 3);
    /// ```
    pub fn new(home: Option<&Path>, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let named = ["ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME"].map(set);
        let named = named.into_iter().flatten().map(PathBuf::from);
        let home = home.map(Path::to_path_buf).into_iter();
        let mut roots: Vec<PathBuf> = Vec::new();
        for root in home.chain(named).chain(ROOTS.map(PathBuf::from)) {
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        let custom = set("ASCEND_CUSTOM_OPP_PATH").unwrap_or_default();
        let custom = std::env::split_paths(&custom).filter(|path| !path.as_os_str().is_empty());
        Self {
            roots,
            system: true,
            operators: set("ASCEND_OPP_PATH").map(PathBuf::from),
            custom_operators: custom.collect(),
            assume_version: None,
        }
    }

    /// Opens the runtime, and says where.
    pub(crate) fn runtime(&self, file: &str) -> Result<(Library, Folders), Vec<Attempt>> {
        let mut tried = Vec::new();
        for root in &self.roots {
            let folders = Folders {
                root: Some(root.clone()),
                system: self.system,
            };
            for path in libraries(root).map(|folder| folder.join(file)) {
                if let Some(library) = Library::try_open(&path, Binding::Lazy, &mut tried) {
                    return Ok((library, folders));
                }
            }
        }
        let folders = Folders {
            root: None,
            system: true,
        };
        if self.system
            && let Some(library) = Library::try_open(Path::new(file), Binding::Lazy, &mut tried)
        {
            return Ok((library, folders));
        }
        Err(tried)
    }
}

/// Where the libraries of the installation lie whose runtime was found.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    root: Option<PathBuf>,
    system: bool,
}

impl Folders {
    /// The installation, unless the system's loader found the runtime.
    pub(crate) fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// Opens the first of the files that there is.
    pub(crate) fn first(&self, files: &[&str]) -> Result<Library, Vec<Attempt>> {
        let mut tried = Vec::new();
        let found = files.iter().find_map(|file| self.open(file, &mut tried));
        found.ok_or(tried)
    }

    /// Opens all of the files that there are.
    pub(crate) fn all(&self, files: &[&str]) -> Result<Vec<Library>, Vec<Attempt>> {
        let mut tried = Vec::new();
        let found = files.iter().filter_map(|file| self.open(file, &mut tried));
        let found: Vec<_> = found.collect();
        if found.is_empty() {
            Err(tried)
        } else {
            Ok(found)
        }
    }

    fn open(&self, file: &str, tried: &mut Vec<Attempt>) -> Option<Library> {
        let folders = self.root.iter().flat_map(|root| libraries(root));
        let mut paths: Vec<_> = folders.map(|folder| folder.join(file)).collect();
        if self.system {
            paths.push(PathBuf::from(file));
        }
        paths
            .iter()
            .find_map(|path| Library::try_open(path, Binding::Lazy, tried))
    }
}

/// The folders of an installation that libraries lie in.
fn libraries(root: &Path) -> [PathBuf; 2] {
    let arch = format!("{}-linux", std::env::consts::ARCH);
    [root.join("lib64"), root.join(arch).join("lib64")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(home: Option<&str>, set: &[(&str, &str)]) -> Search {
        let variable = |name: &str| {
            let found = set.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Search::new(home.map(Path::new), variable)
    }

    #[test]
    fn what_is_named_comes_before_what_is_installed() {
        let found = search(
            Some("/a"),
            &[("ASCEND_TOOLKIT_HOME", "/c"), ("ASCEND_HOME_PATH", "/b")],
        );
        let want: Vec<_> = ["/a", "/b", "/c"]
            .into_iter()
            .chain(ROOTS)
            .map(PathBuf::from)
            .collect();
        assert_eq!(found.roots, want);
    }

    #[test]
    fn nowhere_is_looked_twice() {
        let set = [
            ("ASCEND_HOME_PATH", ROOTS[1]),
            ("ASCEND_TOOLKIT_HOME", ROOTS[1]),
        ];
        let found = search(Some(ROOTS[1]), &set);
        assert_eq!(
            found.roots,
            [ROOTS[1], ROOTS[0], ROOTS[2]].map(PathBuf::from)
        );
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        let set = [
            ("ASCEND_HOME_PATH", ""),
            ("ASCEND_OPP_PATH", ""),
            ("ASCEND_CUSTOM_OPP_PATH", ""),
        ];
        assert_eq!(search(None, &set), search(None, &[]));
    }
}
