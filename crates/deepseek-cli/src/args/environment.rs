//! What the environment says. It is read here alone.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use etcetera::BaseStrategy;

/// The file in which `chat` remembers lines: `deepseek/history` in the user's folder for data.
/// `None` if the system names no such folder.
pub(crate) fn history_file() -> Option<PathBuf> {
    let folders = etcetera::choose_base_strategy().ok()?;
    Some(folders.data_dir().join("deepseek").join("history"))
}

/// The folder of the conversations that are kept under a name. `None` if the system names no folder for data.
pub(crate) fn sessions_folder() -> Option<PathBuf> {
    let folders = etcetera::choose_base_strategy().ok()?;
    Some(folders.data_dir().join("deepseek").join("sessions"))
}

/// The folder in which the hub's own tools keep what they have fetched: `HF_HUB_CACHE`, else `hub` in
/// `HF_HOME`, else `huggingface/hub` in the user's folder for caches.
pub(crate) fn hub_cache() -> Option<PathBuf> {
    let named = |name| variable(name).map(PathBuf::from);
    named("HF_HUB_CACHE")
        .or_else(|| named("HF_HOME").map(|home| home.join("hub")))
        .or_else(|| {
            let folders = etcetera::choose_base_strategy().ok()?;
            Some(folders.cache_dir().join("huggingface").join("hub"))
        })
}

/// The file of settings: what `DEEPSEEK_CONFIG` names, which may be nothing, else `deepseek/config.toml` in
/// the user's folder for configuration.
pub(super) fn settings_file() -> Option<PathBuf> {
    match env::var_os("DEEPSEEK_CONFIG") {
        Some(named) => Some(PathBuf::from(named)).filter(|path| !path.as_os_str().is_empty()),
        None => {
            let folders = etcetera::choose_base_strategy().ok()?;
            Some(folders.config_dir().join("deepseek").join("config.toml"))
        }
    }
}

/// A variable that says something.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}
