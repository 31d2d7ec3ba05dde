//! The lines of earlier conversations, in a file that each line is added to as it is typed: however
//! the program ends, none is lost.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, anyhow, ensure};

use crate::screen::safe;

/// Lines that are remembered.
pub(super) const LINES_MAX: usize = 1000;
/// Bytes of the file. Lines beyond that are forgotten with the conversation; the next one begins with
/// half of it, the later lines.
const BYTES_MAX: u64 = 4 << 20;
/// The first line of the file. In the others a backslash and an end of line are `\\` and `\n`.
const HEAD: &str = "#V2\n";

/// The file. Other conversations may add to it, too.
#[derive(Debug)]
pub(super) struct History(File);

impl History {
    /// Opens a file, or makes it, and gives its lines, the oldest first.
    ///
    /// # Errors
    /// If it cannot be written, is no regular file, is too long or no text. It stays as it was.
    pub(super) fn open(path: &Path) -> anyhow::Result<(Self, Vec<String>)> {
        let open = || {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            if let Ok(found) = fs::metadata(path) {
                // Opening a pipe may wait for ever.
                ensure!(found.is_file(), "not a regular file");
                // The bits count for root, too, whom no system stops.
                ensure!(!found.permissions().readonly(), "read-only");
            }
            let mut file = options().open(path)?;
            let bytes = file.metadata()?.len();
            ensure!(bytes <= BYTES_MAX, "more than {BYTES_MAX} bytes");
            let mut bytes = Vec::new();
            Read::take(&mut file, BYTES_MAX).read_to_end(&mut bytes)?;
            let text = String::from_utf8(bytes).map_err(|_| anyhow!("not UTF-8 text"))?;
            let lines = parse(&text);
            let mut history = Self(file);
            let ends = text.is_empty() || text.ends_with('\n');
            if !text.starts_with(HEAD) || !ends || lines.len() > LINES_MAX || size(&text) > half() {
                history.write_anew(&lines)?;
            }
            Ok((history, lines))
        };
        open().with_context(|| path.display().to_string())
    }

    /// Adds a line, if there is room.
    pub(super) fn add(&mut self, line: &str) -> io::Result<()> {
        let entry = entry(line);
        match self.0.metadata()?.len().saturating_add(size(&entry)) {
            // One write, so that conversations held at the same time do not mix their lines.
            0..=BYTES_MAX => self.0.write_all(entry.as_bytes()),
            _ => Ok(()),
        }
    }

    /// Keeps the latest lines alone.
    fn write_anew(&mut self, lines: &[String]) -> io::Result<()> {
        let mut bytes = size(HEAD);
        let latest = lines.iter().rev().take(LINES_MAX).map(|line| entry(line));
        let latest = latest.take_while(|entry| {
            bytes = bytes.saturating_add(size(entry));
            bytes <= half()
        });
        let mut entries: Vec<String> = latest.collect();
        entries.push(HEAD.to_owned());
        entries.reverse();
        self.0.set_len(0)?;
        self.0.write_all(entries.concat().as_bytes())
    }
}

fn half() -> u64 {
    BYTES_MAX >> 1
}

/// Bytes of a text.
fn size(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

/// A file that is read and added to, and which nobody else may read if it is made.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// A line as it stands in the file.
fn entry(line: &str) -> String {
    line.replace('\\', r"\\").replace('\n', r"\n") + "\n"
}

/// The lines of a file. What would steer the terminal on which they are shown again is shown instead.
fn parse(text: &str) -> Vec<String> {
    let (escaped, text) = match text.strip_prefix(HEAD) {
        Some(text) => (true, text),
        None => (false, text),
    };
    let lines = text.lines().filter(|line| !line.is_empty());
    let typed = lines.map(|line| {
        if escaped {
            unescape(line)
        } else {
            line.to_owned()
        }
    });
    typed.map(|line| safe(&line).into_owned()).collect()
}

/// A line as it was typed. A backslash that escapes nothing is one.
fn unescape(line: &str) -> String {
    let mut typed = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        let mut ahead = rest.clone();
        match (c, ahead.next()) {
            ('\\', Some('n')) => typed.push('\n'),
            ('\\', Some('\\')) => typed.push('\\'),
            _ => {
                typed.push(c);
                continue;
            }
        }
        rest = ahead;
    }
    typed
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::process::Command;

    use tempfile::TempDir;

    use super::*;

    /// A folder, and the lines that a history in it has after `typed` were added.
    fn kept(folder: &TempDir, typed: &[&str]) -> Vec<String> {
        let path = folder.path().join("deepseek/history");
        let (mut history, _) = History::open(&path).unwrap();
        for line in typed {
            history.add(line).unwrap();
        }
        drop(history);
        History::open(&path).unwrap().1
    }

    fn refused(path: &Path) -> String {
        let text = format!("{:#}", History::open(path).unwrap_err());
        let name = path.display().to_string();
        text.strip_prefix(&name).unwrap().to_owned()
    }

    #[test]
    fn lines_are_there_again() {
        let folder = tempfile::tempdir().unwrap();
        let lines = ["one", "", r"back\slash \n \\", "two\nlines", "déjà"];
        let whole: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        assert_eq!(kept(&folder, &whole), whole);
        let twice = [&whole[..], &["more"]].concat();
        assert_eq!(kept(&folder, &["more"]), twice);
    }

    #[test]
    fn a_line_is_in_the_file_as_soon_as_it_is_typed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let (mut history, _) = History::open(&path).unwrap();
        history.add("one").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "#V2\none\n");
        history.add("a\\\nb").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "#V2\none\na\\\\\\nb\n");
    }

    #[test]
    fn two_conversations_share_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let (mut one, _) = History::open(&path).unwrap();
        let (mut other, _) = History::open(&path).unwrap();
        for line in ["a", "b"] {
            one.add(line).unwrap();
            other.add(&line.to_uppercase()).unwrap();
        }
        assert_eq!(History::open(&path).unwrap().1, ["a", "A", "b", "B"]);

        let long = "x".repeat(3 << 20);
        one.add(&long).unwrap();
        other.add(&long).unwrap();
        assert!(path.metadata().unwrap().len() <= BYTES_MAX);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        History::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o77, 0);
    }

    #[test]
    fn the_file_that_others_wrote_is_understood() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        for (text, lines) in [
            ("", &[][..]),
            ("#V2\n", &[]),
            ("#V2", &["#V2"]),
            ("old\\n\n\nstyle", &["old\\n", "style"]),
            ("#V2\na\\b\\", &["a\\b\\"]),
            ("#V2\ncut", &["cut"]),
        ] {
            fs::write(&path, text).unwrap();
            let (mut history, found) = History::open(&path).unwrap();
            assert_eq!(found, lines, "{text:?}");
            history.add("new").unwrap();
            let lines = [lines, &["new"]].concat();
            assert_eq!(History::open(&path).unwrap().1, lines, "{text:?}");
        }
    }

    #[test]
    fn lines_do_nothing_to_the_terminal_that_shows_them() {
        assert_eq!(
            parse("#V2\na\x1b[2Jb\x07\\nc\n"),
            ["a\\u001b[2Jb\\u0007\nc"]
        );
    }

    #[test]
    fn the_latest_lines_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let lines: Vec<String> = (0..LINES_MAX + 5).map(|n| n.to_string()).collect();
        let typed: Vec<&str> = lines.iter().map(String::as_str).collect();
        kept(&folder, &typed);
        assert_eq!(kept(&folder, &[]), typed[5..]);

        let folder = tempfile::tempdir().unwrap();
        let long = "x".repeat(1 << 20);
        let typed = ["first", &long, &long, &long, "fits", &long, "last"];
        kept(&folder, &typed);
        assert_eq!(kept(&folder, &["more"]), [&long, "fits", "last", "more"]);
    }

    #[test]
    fn what_is_no_history_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        assert_eq!(refused(folder.path()), ": not a regular file");

        fs::write(&path, b"#V2\na\xff\n").unwrap();
        assert_eq!(refused(&path), ": not UTF-8 text");
        assert_eq!(fs::read(&path).unwrap(), b"#V2\na\xff\n");

        let mut permissions = path.metadata().unwrap().permissions();
        permissions.set_readonly(true);
        fs::write(&path, "#V2\nkept").unwrap();
        fs::set_permissions(&path, permissions).unwrap();
        assert_eq!(refused(&path), ": read-only");
        assert_eq!(fs::read(&path).unwrap(), b"#V2\nkept");
        fs::remove_file(&path).unwrap();

        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(refused(&path), ": more than 4194304 bytes");
        assert_eq!(path.metadata().unwrap().len(), 1 << 40);

        // Where the folder cannot be made.
        assert!(!refused(&path.join("history")).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        assert!(
            Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(refused(&path), ": not a regular file");
    }
}
