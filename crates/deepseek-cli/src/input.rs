//! What the user gives: text on the command line or on stdin, and files.

use std::io::{self, ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use deepseek_core::file;
use deepseek_text::Tokenizer;

use crate::fault::{Fault, Result};
use crate::output::descriptor;

/// Stands for stdin.
pub(crate) const STDIN: &str = "-";

/// The text typed, or all of stdin where that is `-` or nothing and stdin is no terminal.
pub(crate) fn text(typed: Option<&str>) -> Result<String> {
    match typed {
        Some(text) if text != STDIN => Ok(text.to_owned()),
        None if io::stdin().is_terminal() => Err(nothing()),
        Some(_) | None => piped(),
    }
}

/// The text typed, and behind a blank line what stdin holds; one of the two where the other says
/// nothing. `-` is stdin alone. A terminal is read only if told to.
pub(crate) fn joined(typed: Option<&str>) -> Result<String> {
    let typed = match typed {
        Some(STDIN) => return piped().map(without_end),
        typed => without_end(typed.unwrap_or_default().to_owned()),
    };
    if io::stdin().is_terminal() {
        return Ok(typed);
    }
    let piped = without_end(piped()?);
    Ok(match (typed.is_empty(), piped.trim().is_empty()) {
        (true, _) => piped,
        (false, true) => typed,
        (false, false) => format!("{typed}\n\n{piped}"),
    })
}

/// Where a text is wanted and neither typed nor piped.
pub(crate) fn nothing() -> Fault {
    match io::stdin().is_terminal() {
        true => Fault::usage(anyhow!("no text is given")).hint("type it in quotes, or pipe it in"),
        false => Fault::usage(anyhow!("the prompt is empty")),
    }
}

/// A text without the end of its last line.
fn without_end(mut text: String) -> String {
    let length = text.strip_suffix('\n').map_or(text.len(), str::len);
    text.truncate(length);
    text
}

/// All of stdin as text.
fn piped() -> Result<String> {
    let bytes = all_of_stdin(Tokenizer::TEXT_BYTES_MAX as u64)?;
    utf8("stdin", bytes)
}

fn all_of_stdin(most: u64) -> Result<Vec<u8>> {
    let bytes = file::read_all(io::stdin().lock(), most);
    bytes.map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => Fault::input(error).at("stdin"),
        _ => Fault::machine(error).at("stdin"),
    })
}

/// A file that is read once, from its beginning to its end: a regular one, `-` for stdin, or an open
/// descriptor such as a shell's `<(...)`. Another FIFO could keep us waiting for ever.
pub(crate) fn stream(path: &Path, most: u64) -> Result<Vec<u8>> {
    if is_stdin(path) {
        return all_of_stdin(most);
    }
    if descriptor(path).is_some() {
        let bytes = std::fs::File::open(path).and_then(|open| file::read_all(open, most));
        return named(path, bytes);
    }
    let read = file::read(path, most);
    let streams = matches!(&read, Err(error) if error.kind() == ErrorKind::InvalidInput);
    named(path, read).map_err(|fault| match streams && !path.is_dir() {
        true => fault.hint("`-` reads stdin, to which a FIFO or a device can be redirected"),
        false => fault,
    })
}

/// A path by which the system knows what [`stream`] reads.
pub(crate) fn name(path: &Path) -> PathBuf {
    match path == Path::new(STDIN) {
        true => PathBuf::from("/dev/stdin"),
        false => path.to_owned(),
    }
}

/// Whether a file is stdin under another name: then it is read through stdin, and once.
fn is_stdin(path: &Path) -> bool {
    path == Path::new(STDIN) || descriptor(path).is_some_and(|name| name == "0")
}

/// Bytes as text.
pub(crate) fn utf8(name: &str, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| Fault::input(anyhow!("{name} is not UTF-8 text")))
}

fn named<T>(path: &Path, read: io::Result<T>) -> Result<T> {
    read.map_err(|error| Fault::input(error).at(path.display().to_string()))
}
