//! Packages every crate that is published and builds each from its package alone.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::shell::{self, cargo};

/// How the names of our target folders begin, below `target/`.
const FOLDER: &str = "package-";

/// What is for the work on this repository alone, and may read its other files.
const NOT_PUBLISHED: [&str; 2] = ["conformance", "xtask"];

/// Runs `cargo package` on the workspace.
///
/// cargo takes a version for immutable: what it unpacked and built of a package once, it takes for
/// the package of the same version from then on. It knows them by the place where they were made, so
/// each run makes them in a place of its own, and removes what cargo keeps of it.
pub(crate) fn check() -> Result<()> {
    let target = shell::root().join("target");
    remove_old(&target)?;
    let folder = target.join(format!("{FOLDER}{}", std::process::id()));
    let before = unpacked()?;
    let mut package = cargo();
    package.args(["package", "--workspace", "--locked", "--allow-dirty"]);
    for name in NOT_PUBLISHED {
        package.args(["--exclude", name]);
    }
    let result = shell::run(package.arg("--target-dir").arg(&folder));
    for path in unpacked()?.difference(&before) {
        fs::remove_dir_all(path).with_context(|| path.display().to_string())?;
    }
    remove_old(&target)?;
    result
}

/// Removes the folders of runs that are over or were stopped.
fn remove_old(target: &Path) -> Result<()> {
    for path in folders(target, FOLDER)? {
        fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Where cargo keeps packages that it unpacked from no registry of a host: their folders have no
/// host in front of the hash.
fn unpacked() -> Result<BTreeSet<PathBuf>> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    match home {
        Some(home) => folders(&home.join("registry/src"), "-"),
        None => Ok(BTreeSet::new()),
    }
}

/// The folders in `at` whose names begin so; none if there is no `at`.
fn folders(at: &Path, begin: &str) -> Result<BTreeSet<PathBuf>> {
    let entries = match at.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error).with_context(|| at.display().to_string()),
    };
    let mut folders = BTreeSet::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.file_name().to_string_lossy().starts_with(begin) {
            folders.insert(entry.path());
        }
    }
    Ok(folders)
}
