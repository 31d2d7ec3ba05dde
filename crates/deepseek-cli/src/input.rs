//! What the user gives: text on the command line or on stdin, and files.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use anyhow::{Context, anyhow};
use deepseek_text::Tokenizer;

use crate::fault::{Fault, Result};

/// The text typed, or all of stdin where that is `-` or nothing and stdin is no terminal.
pub(crate) fn text(typed: Option<&str>) -> Result<String> {
    match typed {
        Some(text) if text != "-" => Ok(text.to_owned()),
        None if io::stdin().is_terminal() => {
            Err(Fault::usage(anyhow!("no text is given")).hint("type it in quotes, or pipe it in"))
        }
        Some(_) | None => {
            let mut text = String::new();
            let most = Tokenizer::TEXT_BYTES_MAX as u64;
            io::stdin()
                .lock()
                .take(most + 1)
                .read_to_string(&mut text)?;
            match text.len() as u64 > most {
                true => Err(Fault::input(anyhow!(
                    "stdin has more than {most} bytes of text"
                ))),
                false => Ok(text),
            }
        }
    }
}

/// A file, whole, of at most so many bytes.
pub(crate) fn file(path: &Path, most: usize) -> Result<Vec<u8>> {
    let bytes = head(path, most + 1)?;
    match bytes.len() > most {
        true => Err(Fault::input(anyhow!(
            "{} has more than {most} bytes",
            path.display()
        ))),
        false => Ok(bytes),
    }
}

/// The first bytes of a file, at most so many.
pub(crate) fn head(path: &Path, most: usize) -> Result<Vec<u8>> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?
            .take(most as u64)
            .read_to_end(&mut bytes)?;
        Ok::<_, io::Error>(bytes)
    };
    read()
        .with_context(|| path.display().to_string())
        .map_err(Fault::input)
}
