//! What the Tab key completes: commands, settings and the names of files.

use std::fs;
use std::path::{MAIN_SEPARATOR, Path};

use rustyline::completion::Pair;

use super::command::{Argument, COMMANDS};
use super::settings;
use crate::screen::safe;

/// Names that are offered at once.
const OFFERED_MAX: usize = 1000;

/// Where in a line what is completed begins, and with what it may be.
pub(super) fn complete(line: &str) -> (usize, Vec<Pair>) {
    if !line.starts_with('/') {
        return (line.len(), Vec::new());
    }
    let Some((name, _)) = line.split_once(char::is_whitespace) else {
        let names = COMMANDS.iter().map(|command| command.name);
        return (0, beginning(names, line));
    };
    let rest = line.get(name.len()..).unwrap_or_default().trim_start();
    let start = line.len() - rest.len();
    let command = COMMANDS.iter().find(|command| command.name == name);
    match command.map(|command| command.argument) {
        Some(Argument::File | Argument::FileOrNothing) => files(rest, start),
        Some(Argument::Setting) if !rest.contains(char::is_whitespace) => {
            (start, beginning(settings::NAMES, rest))
        }
        Some(Argument::Setting | Argument::Nothing | Argument::Words(_)) | None => {
            (line.len(), Vec::new())
        }
    }
}

/// Those of the names that begin so.
fn beginning(names: impl IntoIterator<Item = &'static str>, typed: &str) -> Vec<Pair> {
    let names = names.into_iter().filter(|name| name.starts_with(typed));
    let pair = |name: &str| Pair {
        display: name.to_owned(),
        replacement: format!("{name} "),
    };
    names.map(pair).collect()
}

/// The files whose names begin so; folders end in what separates names.
fn files(typed: &str, start: usize) -> (usize, Vec<Pair>) {
    let (folder, part) = match typed.rfind(MAIN_SEPARATOR) {
        Some(at) => typed.split_at(at + MAIN_SEPARATOR.len_utf8()),
        None => ("", typed),
    };
    let read = match folder {
        "" => fs::read_dir("."),
        folder => fs::read_dir(Path::new(folder)),
    };
    let mut pairs = Vec::new();
    for entry in read.into_iter().flatten().flatten().take(OFFERED_MAX) {
        let Ok(mut name) = entry.file_name().into_string() else {
            continue;
        };
        // Who names hidden files begins with their point. What steers a terminal is not offered.
        let is_offered = name.starts_with(part) && (!part.is_empty() || !name.starts_with('.'));
        if !is_offered || safe(&name) != name {
            continue;
        }
        if entry.path().is_dir() {
            name.push(MAIN_SEPARATOR);
        }
        pairs.push(Pair {
            replacement: name.clone(),
            display: name,
        });
    }
    pairs.sort_by(|a, b| a.display.cmp(&b.display));
    (start + folder.len(), pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(line: &str) -> (usize, Vec<String>) {
        let (start, pairs) = complete(line);
        (
            start,
            pairs.into_iter().map(|pair| pair.replacement).collect(),
        )
    }

    #[test]
    fn commands_and_settings_are_completed() {
        assert_eq!(
            offered("/sa"),
            (0, vec!["/save ".to_owned(), "/save! ".to_owned()])
        );
        assert_eq!(offered("/set temp"), (5, vec!["temperature ".to_owned()]));
        for line in [
            "",
            "sa",
            " /sa",
            "/nothing x",
            "/quit x",
            "/set temperature 0",
        ] {
            assert_eq!(offered(line).1, [""; 0], "{line}");
        }
    }

    #[test]
    fn files_are_completed_where_a_command_takes_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().display().to_string();
        for name in ["one two.png", "once", ".hidden", "other\x07"] {
            fs::write(folder.path().join(name), "").expect("a file");
        }
        fs::create_dir(folder.path().join("onward")).expect("a folder");
        let line = format!("/image {path}/on");
        let (start, names) = offered(&line);
        assert_eq!(start, line.len() - 2);
        assert_eq!(names, ["once", "one two.png", "onward/"]);
        assert_eq!(offered(&format!("/read {path}/one t")).1, ["one two.png"]);
        assert_eq!(offered(&format!("/load {path}/.h")).1, [".hidden"]);
        assert_eq!(offered(&format!("/save {path}/")).1.len(), 3);
        assert_eq!(offered(&format!("/system {path}/on")).1, [""; 0]);
        assert_eq!(offered(&format!("/read {path}/none/")).1, [""; 0]);
    }
}
