//! What stands in the files of a package of custom operators: its version, the toolkit that built it, and
//! the order of packages. Anyone may have written them.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use super::limits::{NAME_BYTES_MAX, PACKAGES_MAX, VERSION_BYTES_MAX};

/// What does not hold in such a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackageFileError {
    /// It is no text.
    #[error("not UTF-8")]
    NoText,
    /// A version has characters that versions do not have, or too many.
    #[error("no version: {0:?}")]
    NoVersion(String),
    /// The name of a package leads out of the folder of packages, or is none.
    #[error("no name of a package: {0:?}")]
    NoName(String),
    /// There are more packages than anyone installs.
    #[error("{count} packages, at most {PACKAGES_MAX}")]
    TooMany {
        /// How many.
        count: usize,
    },
}

/// The toolkit that built a package, from its `version.info`:
/// `custom_opp_compiler_version=9.1.0`.
pub(crate) fn compiler(bytes: &[u8]) -> Result<Option<String>, PackageFileError> {
    let text = text(bytes)?;
    let value = values(text, "custom_opp_compiler_version").next();
    value.map(version).transpose()
}

/// The version of a package, from the `_version.py` that its build writes:
/// `__version__ = version = '0.23.0'`.
pub(crate) fn release(bytes: &[u8]) -> Result<Option<String>, PackageFileError> {
    let text = text(bytes)?;
    let quoted = values(text, "__version__").find_map(|value| {
        let value = value.rsplit('=').next()?.trim();
        let quote = value.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        value.strip_prefix(quote)?.strip_suffix(quote)
    });
    quoted.map(version).transpose()
}

/// The packages in the order in which they are asked, from the `config.ini` beside them:
/// `load_priority=first,second`.
pub(crate) fn priority(bytes: &[u8]) -> Result<Vec<String>, PackageFileError> {
    let text = text(bytes)?;
    let list = values(text, "load_priority").next().unwrap_or("");
    let names = list
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let count = names.clone().count();
    if count > PACKAGES_MAX {
        return Err(PackageFileError::TooMany { count });
    }
    names.map(name).collect()
}

fn text(bytes: &[u8]) -> Result<&str, PackageFileError> {
    std::str::from_utf8(bytes).map_err(|_| PackageFileError::NoText)
}

/// What a text gives to a key, in lines of `key=value`.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines.filter_map(move |(name, value)| (name.trim() == key).then_some(value.trim()))
}

fn version(text: &str) -> Result<String, PackageFileError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-' | '_');
    let is_short = (1..=VERSION_BYTES_MAX).contains(&text.len());
    if is_short && text.chars().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err(PackageFileError::NoVersion(start(text)))
    }
}

/// A name that is one part of a path, and no other folder.
fn name(text: &str) -> Result<String, PackageFileError> {
    let is_plain = |c: char| !c.is_control() && !matches!(c, '/' | '\\' | ':');
    if text.len() <= NAME_BYTES_MAX && !text.starts_with('.') && text.chars().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err(PackageFileError::NoName(start(text)))
    }
}

/// How a text begins, for a message.
fn start(text: &str) -> String {
    text.chars().take(VERSION_BYTES_MAX).collect()
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_vendor_are_read() {
        let compiler = compiler(b"custom_opp_compiler_version=9.1.0\n");
        assert_eq!(compiler, Ok(Some("9.1.0".to_owned())));
        let stamp = b"version: str\n__version__: str\n\n__version__ = version = '0.23.0'\n";
        assert_eq!(release(stamp), Ok(Some("0.23.0".to_owned())));
        let order = priority(b"load_priority=custom_transformer, customize\n");
        assert_eq!(
            order,
            Ok(vec![
                "custom_transformer".to_owned(),
                "customize".to_owned()
            ])
        );
    }

    #[test]
    fn what_is_not_said_is_not_guessed() {
        for bytes in [
            &b""[..],
            b"\n\n",
            b"version 9",
            b"other=9.1.0",
            b"__version__ = version",
        ] {
            assert_eq!(compiler(bytes), Ok(None), "{bytes:?}");
            assert_eq!(release(bytes), Ok(None), "{bytes:?}");
            assert_eq!(priority(bytes), Ok(vec![]), "{bytes:?}");
        }
    }

    #[test]
    fn a_version_is_short_and_plain() {
        for value in [
            "",
            "9.1.0 rm",
            "9;1",
            "../9",
            "九",
            &"9".repeat(VERSION_BYTES_MAX + 1),
        ] {
            let line = format!("custom_opp_compiler_version={value}\n");
            let error = compiler(line.as_bytes()).expect_err(value);
            assert!(matches!(error, PackageFileError::NoVersion(_)), "{error}");
        }
        let longest = "9".repeat(VERSION_BYTES_MAX);
        let line = format!("custom_opp_compiler_version={longest}\n");
        assert_eq!(compiler(line.as_bytes()), Ok(Some(longest)));
    }

    #[test]
    fn a_package_is_one_folder_beside_the_file() {
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        for name in [
            "..",
            ".",
            "../x",
            "/etc",
            "a/b",
            "a\\b",
            "c:x",
            "a\0b",
            "\u{1b}[2J",
            &long,
        ] {
            let line = format!("load_priority=good,{name}\n");
            let error = priority(line.as_bytes()).expect_err(name);
            assert!(matches!(error, PackageFileError::NoName(_)), "{error}");
        }
    }

    #[test]
    fn there_are_so_many_packages_and_no_more() {
        let list = |count: usize| format!("load_priority={}", vec!["a"; count].join(","));
        let most = priority(list(PACKAGES_MAX).as_bytes());
        assert_eq!(most.map(|names| names.len()), Ok(PACKAGES_MAX));
        let count = PACKAGES_MAX + 1;
        let more = priority(list(count).as_bytes());
        assert_eq!(more, Err(PackageFileError::TooMany { count }));
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let bytes = b"load_priority=\xff\n";
        assert_eq!(priority(bytes), Err(PackageFileError::NoText));
        assert_eq!(compiler(bytes), Err(PackageFileError::NoText));
        assert_eq!(release(bytes), Err(PackageFileError::NoText));
    }

    #[test]
    fn a_message_is_short_however_long_the_file() {
        let line = format!("load_priority=.{}\n", "x".repeat(60_000));
        let error = priority(line.as_bytes()).expect_err("a hidden folder");
        assert!(error.to_string().len() < 200, "{error}");
    }
}
