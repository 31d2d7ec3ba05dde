//! What the environment says. It is read here alone.

use std::path::PathBuf;

use etcetera::BaseStrategy;

/// The file in which `chat` remembers lines: `deepseek/history` in the user's folder for data.
/// `None` if the system names no such folder.
pub(crate) fn history_file() -> Option<PathBuf> {
    let folders = etcetera::choose_base_strategy().ok()?;
    Some(folders.data_dir().join("deepseek").join("history"))
}
