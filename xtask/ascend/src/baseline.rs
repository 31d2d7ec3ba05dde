//! What is committed of a check's result, so that it changes only on purpose.
#![allow(clippy::print_stderr, reason = "xtask talks to a terminal")]

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// A file as it should be.
#[derive(Debug)]
pub(crate) struct Committed {
    /// From the root of the workspace.
    pub(crate) path: &'static str,
    /// What it should hold.
    pub(crate) text: String,
}

impl Committed {
    /// Compares with the file, or writes it.
    pub(crate) fn settle(&self, root: &Path, write: bool) -> Result<()> {
        let path = root.join(self.path);
        if write {
            fs::write(&path, &self.text).with_context(|| path.display().to_string())?;
            eprintln!("{}: written", self.path);
            return Ok(());
        }
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let changes = changes(&text, &self.text);
        for line in changes.iter().take(LINES_SHOWN) {
            eprintln!("{}: {line}", self.path);
        }
        ensure!(
            changes.is_empty(),
            "{}: {} lines differ; run with --write if that is meant",
            self.path,
            changes.len()
        );
        Ok(())
    }
}

/// Lines of a difference that are shown.
const LINES_SHOWN: usize = 20;

/// Lines that only one of two texts has.
fn changes(old: &str, new: &str) -> Vec<String> {
    let only = |a: &str, b: &str, mark: char| -> Vec<String> {
        let have: std::collections::HashSet<&str> = b.lines().collect();
        let missing = a.lines().filter(|line| !have.contains(line));
        missing.map(|line| format!("{mark} {line}")).collect()
    };
    let mut changes = only(old, new, '-');
    changes.extend(only(new, old, '+'));
    if changes.is_empty() && old != new {
        changes.push("the order of its lines".to_owned());
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_told_line_by_line() {
        assert_eq!(changes("a\nb\n", "a\nc\n"), ["- b", "+ c"]);
        assert_eq!(changes("a\nb\n", "b\na\n"), ["the order of its lines"]);
        assert!(changes("a\n", "a\n").is_empty());
    }

    #[test]
    fn what_differs_is_refused_until_it_is_written() -> Result<()> {
        let root = tempfile::tempdir()?;
        fs::write(root.path().join("a.toml"), "old = 1\n")?;
        let file = Committed {
            path: "a.toml",
            text: "new = 1\n".to_owned(),
        };
        let error = file.settle(root.path(), false).expect_err("a difference");
        assert!(error.to_string().contains("2 lines differ"), "{error}");
        file.settle(root.path(), true)?;
        file.settle(root.path(), false)
    }
}
