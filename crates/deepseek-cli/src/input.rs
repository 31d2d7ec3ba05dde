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

/// The text typed, that of a file and what stdin holds, with a blank line between two; what says nothing
/// is left out. `-` in place of one of the first two is stdin. A terminal is read only if told to.
pub(crate) fn joined(typed: Option<&str>, file: Option<&Path>) -> Result<String> {
    let mut texts = Vec::new();
    texts.push(match typed {
        Some(STDIN) => piped()?,
        typed => typed.unwrap_or_default().to_owned(),
    });
    if let Some(file) = file {
        texts.push(self::file(file)?);
    }
    let is_read = typed == Some(STDIN) || file.is_some_and(is_stdin);
    if !is_read && !io::stdin().is_terminal() {
        texts.push(piped()?);
    }
    let texts: Vec<String> = texts.into_iter().map(without_end).collect();
    let texts = texts.iter().enumerate();
    let says = |(index, text): &(usize, &String)| *index == 0 || !text.trim().is_empty();
    let texts = texts.filter(says).map(|(_, text)| text.as_str());
    let texts: Vec<&str> = texts.filter(|text| !text.is_empty()).collect();
    Ok(texts.join("\n\n"))
}

/// A file of text, or stdin in its place: at most as much as can be encoded.
pub(crate) fn file(path: &Path) -> Result<String> {
    let bytes = stream(path, Tokenizer::TEXT_BYTES_MAX as u64)?;
    utf8(&path.display().to_string(), bytes)
}

/// Where a text is wanted and neither typed nor piped.
pub(crate) fn nothing() -> Fault {
    if io::stdin().is_terminal() {
        Fault::usage(anyhow!("no text is given")).hint("type it in quotes, or pipe it in")
    } else {
        Fault::usage(anyhow!("the prompt is empty"))
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
    named(path, read).map_err(|fault| {
        if streams && !path.is_dir() {
            fault.hint("`-` reads stdin, to which a FIFO or a device can be redirected")
        } else {
            fault
        }
    })
}

/// A path by which the system knows what [`stream`] reads.
pub(crate) fn name(path: &Path) -> PathBuf {
    if path == Path::new(STDIN) {
        PathBuf::from("/dev/stdin")
    } else {
        path.to_owned()
    }
}

/// Whether a file is stdin under another name: then it is read through stdin, and once.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path == Path::new(STDIN) || descriptor(path).is_some_and(|name| name == "0")
}

/// Bytes as text.
pub(crate) fn utf8(name: &str, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| Fault::input(anyhow!("{name} is not UTF-8 text")))
}

fn named<T>(path: &Path, read: io::Result<T>) -> Result<T> {
    read.map_err(|error| Fault::input(error).at(path.display().to_string()))
}
