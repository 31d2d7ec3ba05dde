//! What the environment says. It is read here alone.

use std::env;
use std::path::PathBuf;

/// The file in which `chat` remembers lines: `deepseek/history` in the user's folder for data.
/// `None` if the environment names no such folder.
pub(crate) fn history_file() -> Option<PathBuf> {
    let folder = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let data = folder("XDG_DATA_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".local").join("share")))
        .or_else(|| folder("LOCALAPPDATA"))?;
    Some(data.join("deepseek").join("history"))
}

/// Whether the environment asks for text without colours (<https://no-color.org>).
pub(crate) fn wants_no_colour() -> bool {
    env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}
