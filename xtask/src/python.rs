//! Python, in environments of our own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::shell;

/// The interpreter of an environment in `folder` that has what the file `listed` names.
pub(crate) fn environment(python: &Path, folder: &Path, listed: &Path) -> Result<PathBuf> {
    let inner = folder.join("bin/python");
    if !shell::root().join(&inner).exists() {
        shell::run(Command::new(python).args(["-m", "venv"]).arg(folder))?;
    }
    let mut install = Command::new(&inner);
    install.args(["-m", "pip", "install", "--quiet", "--requirement"]);
    shell::run(install.arg(listed))?;
    Ok(inner)
}
