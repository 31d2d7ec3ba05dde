//! What was tried, and what the system's loader said of it.

use std::fmt;
use std::path::PathBuf;

/// A file that was asked for a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The file; a bare name is looked for where the system's loader does.
    pub path: PathBuf,
    /// What the loader said.
    pub why: String,
}

/// In a line. The loader begins its text with the path, too.
impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display().to_string();
        if self.why.starts_with(&path) {
            f.write_str(&self.why)
        } else {
            write!(f, "{path}: {}", self.why)
        }
    }
}

/// Attempts, a line each, to be put behind what was not found.
#[must_use]
pub fn list(tried: &[Attempt]) -> String {
    if tried.is_empty() {
        return ": there is nowhere to look".to_owned();
    }
    let lines = tried.iter().map(|attempt| format!("\n  {attempt}"));
    std::iter::once(", tried:".to_owned())
        .chain(lines)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_once() {
        let attempt = |why: &str| Attempt {
            path: PathBuf::from("/a.so"),
            why: why.to_owned(),
        };
        let tried = [attempt("/a.so: no such file"), attempt("no library")];
        assert_eq!(
            list(&tried),
            ", tried:\n  /a.so: no such file\n  /a.so: no library"
        );
        assert_eq!(list(&[]), ": there is nowhere to look");
    }
}
