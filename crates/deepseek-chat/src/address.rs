//! How a medium is named: by a file, or by a URL that holds it. Nothing is fetched.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// What a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address<'a> {
    /// A path.
    File,
    /// A data URL.
    Data(DataUrl<'a>),
}

/// A URL with the data in it, as RFC 2397 has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataUrl<'a> {
    /// The media type and its parameters, up to the comma.
    kind: &'a str,
    /// What follows it.
    data: &'a str,
}

/// Why a name leads to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It is a URL of another kind.
    #[error("a URL, and nothing is fetched")]
    Remote,
    /// There is no comma between the type and the data.
    #[error("a data URL without a comma before its data")]
    Comma,
    /// The data are no base64.
    #[error("a data URL whose data are not base64")]
    Base64(#[from] base64::DecodeError),
}

impl<'a> Address<'a> {
    /// Tells what a name is.
    ///
    /// # Errors
    /// A URL that is fetched from elsewhere, or a data URL without data.
    pub fn of(name: &'a str) -> Result<Self, AddressError> {
        let Some((scheme, rest)) = name.trim_start().split_once(':') else {
            return Ok(Self::File);
        };
        let mut letters = scheme.chars();
        let is_scheme = letters.next().is_some_and(|c| c.is_ascii_alphabetic())
            && letters.all(|c| c.is_ascii_alphanumeric() || ['+', '-', '.'].contains(&c));
        if !is_scheme {
            return Ok(Self::File);
        }
        if scheme.eq_ignore_ascii_case("data") {
            let (kind, data) = rest.split_once(',').ok_or(AddressError::Comma)?;
            return Ok(Self::Data(DataUrl { kind, data }));
        }
        let known = ["http", "https", "file", "ftp"];
        if rest.starts_with("//") || known.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            Err(AddressError::Remote)
        } else {
            Ok(Self::File)
        }
    }
}

impl DataUrl<'_> {
    /// The data. Base64 may have either alphabet, blanks within, and its padding or not.
    ///
    /// # Errors
    /// Data that are not base64, though they say so.
    pub fn read(self) -> Result<Vec<u8>, AddressError> {
        let mut bytes = unescape(self.data);
        let mut parameters = self.kind.split(';').skip(1);
        if !parameters.any(|parameter| parameter.trim().eq_ignore_ascii_case("base64")) {
            return Ok(bytes);
        }
        bytes.retain(|byte| !byte.is_ascii_whitespace());
        for byte in &mut bytes {
            match byte {
                b'-' => *byte = b'+',
                b'_' => *byte = b'/',
                _ => {}
            }
        }
        let config = GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent);
        Ok(GeneralPurpose::new(&STANDARD, config).decode(bytes)?)
    }
}

/// Takes `%41` for `A`. What only looks like it stays.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|code| str::from_utf8(code).ok());
        let code = code.filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

#[cfg(test)]
#[allow(clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn read(name: &str) -> Result<Vec<u8>, AddressError> {
        match Address::of(name)? {
            Address::Data(data) => data.read(),
            Address::File => panic!("{name} is a file"),
        }
    }

    #[test]
    fn data_urls_are_read_in_every_spelling() {
        for name in [
            "data:image/png;base64,+/8A/g==",
            "DATA:IMAGE/PNG;BASE64,+/8A/g==",
            "data:;base64,+/8A/g==",
            "data:image/png;name=a.png;charset=utf-8;Base64,+/8A/g",
            "data:image/png; base64 ,+/8A/g==",
            " data:image/png;base64,-_8A_g",
            "data:image/png;base64,+/8A\n  /g =\t=\r\n",
            "data:image/png;base64,%2B%2f8A/g%3D%3D",
            "data:,%fb%ff%00%FE",
            "data:image/png,%fb%ff%00%FE",
            "data:text/plain;charset=latin1,%FB%FF%00%FE",
        ] {
            assert_eq!(read(name).expect(name), [0xfb, 0xff, 0, 0xfe], "{name}");
        }
        assert_eq!(read("data:,a%2g%,b+").expect("text"), b"a%2g%,b+");
        assert_eq!(read("data:,").expect("nothing"), b"");
    }

    #[test]
    fn what_is_no_data_is_named() {
        let error = |name: &str| read(name).expect_err(name).to_string();
        assert_eq!(
            error("data:image/png;base64"),
            "a data URL without a comma before its data"
        );
        for data in ["A", "AAAA=A", "A*AA", "é"] {
            let name = format!("data:;base64,{data}");
            assert_eq!(error(&name), "a data URL whose data are not base64");
        }
    }

    #[test]
    fn nothing_is_fetched_and_paths_are_paths() {
        for name in [
            "http://a.b/c.png",
            "HTTPS://a.b/c.png",
            "file:///etc/passwd",
            "file:/etc/passwd",
            "https:a.b",
            "s3://bucket/c.png",
            " http://a.b",
        ] {
            assert!(
                matches!(Address::of(name), Err(AddressError::Remote)),
                "{name}"
            );
        }
        for name in [
            "cat.png",
            "a:b.png",
            "C:\\cat.png",
            "./http://x",
            "datas/x.png",
            "",
            ":",
            "ä://x",
        ] {
            assert_eq!(Address::of(name).expect(name), Address::File, "{name}");
        }
    }
}
