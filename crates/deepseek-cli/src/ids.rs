//! Lists of ids as they are typed: `1,2,3`, or `@FILE` with commas or spaces between them; `@-` is stdin.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::anyhow;
use deepseek_model::TokenId;

use crate::fault::{Fault, Result};
use crate::input;
use crate::limits::IDS_BYTES_MAX;

/// Where ids stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ids {
    /// On the command line.
    Here(String),
    /// In a file.
    File(PathBuf),
}

impl FromStr for Ids {
    type Err = Infallible;

    fn from_str(text: &str) -> std::result::Result<Self, Infallible> {
        Ok(match text.strip_prefix('@') {
            Some(path) => Self::File(path.into()),
            None => Self::Here(text.to_owned()),
        })
    }
}

impl Ids {
    /// Reads them, at least one.
    pub(crate) fn read(&self) -> Result<Vec<TokenId>> {
        match self {
            Self::Here(text) => parse(text, "the list of ids"),
            Self::File(path) => {
                let name = path.display().to_string();
                let text = input::utf8(&name, input::stream(path, IDS_BYTES_MAX)?)?;
                parse(&text, &name)
            }
        }
    }

    /// The file that they are read from.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Here(_) => None,
            Self::File(path) => Some(path),
        }
    }
}

fn parse(text: &str, source: &str) -> Result<Vec<TokenId>> {
    let words = text
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|word| !word.is_empty());
    let ids = words
        .map(|word| {
            word.parse().map_err(|_| {
                let word: String = word.chars().take(20).collect();
                Fault::input(anyhow!("{source}: {word:?} is not an id"))
                    .hint("ids are whole numbers with commas or spaces between them")
            })
        })
        .collect::<Result<Vec<TokenId>>>()?;
    if ids.is_empty() {
        return Err(Fault::input(anyhow!("{source} is empty")));
    }
    Ok(ids)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn commas_and_spaces_part_ids() {
        assert_eq!(parse("1,2 ,3\n4,", "x").unwrap(), [1, 2, 3, 4]);
        assert_eq!(parse("4294967295", "x").unwrap(), [u32::MAX]);
    }

    #[test]
    fn what_is_no_id_is_named() {
        for (text, want) in [
            ("", "x is empty"),
            (" ,\n", "x is empty"),
            ("1,b", "x: \"b\" is not an id"),
            ("-1", "x: \"-1\" is not an id"),
            ("4294967296", "x: \"4294967296\" is not an id"),
        ] {
            assert_eq!(parse(text, "x").unwrap_err().to_string(), want);
        }
    }
}
