//! Where an installation is looked for.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use backend_abi::{Attempt, Binding, Library};

/// Where Neuware is installed unless someone says otherwise.
const ROOT: &str = "/usr/local/neuware";

/// Where to look. Nothing here reads the environment or a configuration: whoever calls does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// Folders that may hold an installation, in the order in which they are tried.
    pub roots: Vec<PathBuf>,
    /// Whether the system's loader is asked after what no root has, as `LD_LIBRARY_PATH` and its cache have it.
    pub system: bool,
}

impl Search {
    /// The search that the vendor's own tools make: `home` if it is named, then what `NEUWARE_HOME` says, then where
    /// the installer puts it, then where the system's loader looks.
    ///
    /// ```
    /// let search = backend_cambricon_sys::Search::new(None, |name| std::env::var_os(name));
    /// assert!(!search.roots.is_empty() && search.system);
    /// ```
    pub fn new(home: Option<&Path>, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let named = variable("NEUWARE_HOME").filter(|value| !value.is_empty());
        let named = named.map(PathBuf::from).into_iter();
        let home = home.map(Path::to_path_buf).into_iter();
        let mut roots: Vec<PathBuf> = Vec::new();
        for root in home.chain(named).chain([PathBuf::from(ROOT)]) {
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        Self {
            roots,
            system: true,
        }
    }

    /// Opens a library in the first place that has it.
    pub(crate) fn open(&self, file: &str) -> Result<Library, Vec<Attempt>> {
        let mut tried = Vec::new();
        for root in &self.roots {
            let folder = root.join("lib64");
            let plain = folder.join(file);
            let versioned = newest(&folder, file).filter(|_| !plain.exists());
            let path = versioned.unwrap_or(plain);
            if let Some(library) = Library::try_open(&path, Binding::Now, &mut tried) {
                return Ok(library);
            }
        }
        let bare = self.system.then(|| Path::new(file));
        let library = bare.and_then(|path| Library::try_open(path, Binding::Now, &mut tried));
        library.ok_or(tried)
    }
}

/// The file of the highest version in a folder, as in `libcnrt.so.6.14.1`: what is left of an installation without
/// the links that developers have.
fn newest(folder: &Path, file: &str) -> Option<PathBuf> {
    let version = |name: &str| -> Option<Vec<u64>> {
        let digits = name.strip_prefix(file)?.strip_prefix('.')?.split('.');
        digits.map(|part| part.parse().ok()).collect()
    };
    let entries = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let versions = names.filter_map(|name| Some((version(&name)?, name)));
    versions.max().map(|(_, name)| folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(home: Option<&str>, set: Option<&str>) -> Vec<PathBuf> {
        let variable = |name: &str| {
            (name == "NEUWARE_HOME")
                .then_some(set)
                .flatten()
                .map(OsString::from)
        };
        Search::new(home.map(Path::new), variable).roots
    }

    #[test]
    fn what_is_named_comes_before_what_is_installed_and_nowhere_is_looked_twice() {
        let paths = |roots: &[&str]| -> Vec<PathBuf> { roots.iter().map(PathBuf::from).collect() };
        assert_eq!(roots(Some("/a"), Some("/b")), paths(&["/a", "/b", ROOT]));
        assert_eq!(roots(Some(ROOT), Some(ROOT)), paths(&[ROOT]));
        assert_eq!(roots(None, Some("")), paths(&[ROOT]));
    }

    #[test]
    fn the_highest_version_is_the_newest_by_its_numbers() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in [
            "libcnrt.so.6.9.0",
            "libcnrt.so.6.14.1",
            "libcnrt.so.x",
            "libcnrtc.so.9",
        ] {
            fs::write(folder.path().join(name), "").expect("a file");
        }
        let found = newest(folder.path(), "libcnrt.so").expect("a version");
        assert!(found.ends_with("libcnrt.so.6.14.1"), "{}", found.display());
        assert_eq!(newest(folder.path(), "libcnnl.so"), None);
        assert_eq!(newest(&folder.path().join("none"), "libcnrt.so"), None);
    }
}
