//! JSON as text that is known to hold: numbers keep their digits, and keys their order.
//!
//! A number that goes through a machine's number comes out as another text, and beyond its range as
//! another number. What a model wrote, or a client sent, is therefore kept as it was written.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use std::fmt;

use deepseek_recipe_core::json::stringify_python_style;
use serde::de::IgnoredAny;
use serde_json::Value;

/// A JSON value as compact text. Numbers are as they were written, keys too, and a key that was
/// written twice stands twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(String);

/// Why a text is no [`Json`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// It is not written as JSON.
    #[error("not JSON")]
    Syntax(#[from] serde_json::Error),
    /// A string in it is no text: it has one half of a character that is written in two.
    #[error("half a surrogate pair in the string at byte {at}")]
    HalfPair {
        /// Where the string begins.
        at: usize,
    },
    /// It is nested deeper than is read.
    #[error("nested deeper than {} levels", Json::DEPTH_MAX)]
    Depth,
}

impl Json {
    /// Levels of nesting that are read. Usual readers refuse more than 127, and what is kept here is
    /// put into objects of others.
    pub const DEPTH_MAX: usize = 100;

    /// Takes in a JSON text.
    ///
    /// # Errors
    /// [`JsonError`].
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        serde_json::from_str::<IgnoredAny>(text)?;
        let mut compact = String::with_capacity(text.len());
        let mut depth = 0_usize;
        let mut tokens = Tokens(text);
        while let Some(token) = tokens.next() {
            match token {
                "{" | "[" => depth = depth.saturating_add(1),
                "}" | "]" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > Self::DEPTH_MAX {
                return Err(JsonError::Depth);
            }
            if !token.starts_with('"') {
                compact.push_str(token);
                continue;
            }
            let Ok(string) = serde_json::from_str::<String>(token) else {
                let after = token.len().saturating_add(tokens.0.len());
                let at = text.len().saturating_sub(after);
                return Err(JsonError::HalfPair { at });
            };
            compact.push_str(&quote(&string));
        }
        Ok(Self(compact))
    }

    /// An object of these members, in this order.
    pub fn object<K: AsRef<str>>(members: impl IntoIterator<Item = (K, Self)>) -> Self {
        let member = |(key, value): (K, Self)| format!("{}:{value}", quote(key.as_ref()));
        let members: Vec<String> = members.into_iter().map(member).collect();
        Self(format!("{{{}}}", members.join(",")))
    }

    /// A list of these items, in this order.
    pub fn list_of(items: impl IntoIterator<Item = Self>) -> Self {
        let items: Vec<String> = items.into_iter().map(|item| item.0).collect();
        Self(format!("[{}]", items.join(",")))
    }

    /// The text, without blanks between its parts.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text as Python's `json.dumps` writes it: with a blank after commas and colons. A number
    /// that it would write with other digits stays as it is.
    pub fn spaced(&self) -> String {
        let mut spaced = String::with_capacity(self.0.len());
        for token in Tokens(&self.0) {
            match token {
                "," => spaced.push_str(", "),
                ":" => spaced.push_str(": "),
                token if is_number(token) => spaced.push_str(&python_number(token)),
                token => spaced.push_str(token),
            }
        }
        spaced
    }

    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self.0.chars().next() {
            Some('{') => "an object",
            Some('[') => "a list",
            Some('"') => "a string",
            Some('t' | 'f') => "a truth value",
            Some('n') => "null",
            _ => "a number",
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        self.0 == "null"
    }

    /// The text of a string.
    pub fn string(&self) -> Option<String> {
        self.0.starts_with('"').then_some(())?;
        serde_json::from_str(&self.0).ok()
    }

    /// The items of a list.
    pub fn list(&self) -> Option<Vec<Self>> {
        let inside = self.0.strip_prefix('[')?.strip_suffix(']')?;
        let items = split(inside).into_iter();
        Some(items.map(|item| Self(item.to_owned())).collect())
    }

    /// The members of an object, in their order.
    pub fn members(&self) -> Option<Vec<(String, Self)>> {
        let inside = self.0.strip_prefix('{')?.strip_suffix('}')?;
        let member = |member: &str| {
            let mut tokens = Tokens(member);
            let key = serde_json::from_str(tokens.next()?).ok()?;
            tokens.next()?;
            Some((key, Self(tokens.0.to_owned())))
        };
        split(inside).into_iter().map(member).collect()
    }

    /// Whether both say the same: numbers by their exact value, objects in any order of their keys.
    pub fn means(&self, other: &Self) -> bool {
        if let (Some(own), Some(others)) = (self.list(), other.list()) {
            let mut pairs = own.iter().zip(&others);
            return own.len() == others.len() && pairs.all(|(own, other)| own.means(other));
        }
        if let (Some(own), Some(mut others)) = (self.members(), other.members()) {
            return own.len() == others.len()
                && own.iter().all(|(key, value)| {
                    let same = |(k, v): &(String, Self)| k == key && value.means(v);
                    let found = others.iter().position(same);
                    found.map(|at| others.swap_remove(at)).is_some()
                });
        }
        match (is_number(&self.0), is_number(&other.0)) {
            (true, true) => value(&self.0) == value(&other.0),
            _ => self.0 == other.0,
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// As text, a JSON string.
impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self(quote(text))
    }
}

/// However deep: a value of a program is no text from outside.
impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Self(value.to_string())
    }
}

fn quote(text: &str) -> String {
    Value::from(text).to_string()
}

/// The tokens of a text that is JSON.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start_matches(BLANK);
        let len = match text.bytes().next()? {
            b'"' => string_len(text),
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            _ => text
                .find(|c| BLANK.contains(&c) || [',', ':', ']', '}'].contains(&c))
                .unwrap_or(text.len()),
        };
        let (token, rest) = text.split_at_checked(len)?;
        self.0 = rest;
        Some(token)
    }
}

const BLANK: [char; 4] = [' ', '\t', '\n', '\r'];

/// Bytes of the string that a text begins with, quotes included.
fn string_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at.saturating_add(1),
            _ => {}
        }
    }
    text.len()
}

/// Cuts compact JSON at the commas that are in no bracket.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut from) = (0_usize, text);
    let mut tokens = Tokens(text);
    while let Some(token) = tokens.next() {
        match token {
            "{" | "[" => depth = depth.saturating_add(1),
            "}" | "]" => depth = depth.saturating_sub(1),
            "," if depth == 0 => {
                let len = from.len().saturating_sub(tokens.0.len());
                parts.extend(from.get(..len.saturating_sub(1)));
                from = tokens.0;
            }
            _ => {}
        }
    }
    if !text.is_empty() {
        parts.push(from);
    }
    parts
}

fn is_number(token: &str) -> bool {
    token.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

/// A number as Python writes it, if with the same digits: `1e-05` for `0.00001`, but `1.10`.
fn python_number(text: &str) -> String {
    let written = || text.to_owned();
    if !text.contains(['.', 'e', 'E']) {
        return written();
    }
    let Some(value) = text.parse().ok().and_then(serde_json::Number::from_f64) else {
        return written();
    };
    let python = stringify_python_style(&Value::Number(value));
    let significant = |text: &str| {
        let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
        let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
        digits.trim_start_matches('0').to_owned()
    };
    match significant(text) {
        digits if digits.is_empty() || digits != significant(&python) => written(),
        _ => python,
    }
}

/// A number as its sign, its digits without zeros at either end, and the power of ten of the last.
/// One whose power is beyond counting is the text that it is.
fn value(text: &str) -> (bool, String, Result<i64, &str>) {
    let (mantissa, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => (true, mantissa),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let short = digits.trim_end_matches('0');
    if short.is_empty() {
        return (false, String::new(), Ok(0));
    }
    let zeros = i64::try_from(digits.len().saturating_sub(short.len())).unwrap_or(i64::MAX);
    let fraction = i64::try_from(fraction.len()).unwrap_or(i64::MAX);
    let power: Option<i64> = power.trim_start_matches('+').parse().ok();
    let power = power.and_then(|power| power.checked_sub(fraction)?.checked_add(zeros));
    (negative, short.to_owned(), power.ok_or(text))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    #[test]
    fn numbers_keys_and_their_order_stay_as_they_were_written() {
        let text = "{ \"z\": [12345678901234567890123, -0, 1.10, 1e400,\n\t1E+2],\r\n \"a\" : {\"a\":null},\
            \"z\": \"\\u00e9\\/\\n \\\"\" }";
        let compact =
            r#"{"z":[12345678901234567890123,-0,1.10,1e400,1E+2],"a":{"a":null},"z":"é/\n \""}"#;
        assert_eq!(json(text).as_str(), compact);
        let spaced = r#"{"z": [12345678901234567890123, -0, 1.10, 1e400, 1E+2], "a": {"a": null}, "z": "é/\n \""}"#;
        assert_eq!(json(text).spaced(), spaced);
        let keys = json(text).members().unwrap();
        let keys: Vec<&str> = keys.iter().map(|(key, _)| &**key).collect();
        assert_eq!(keys, ["z", "a", "z"]);
    }

    #[test]
    fn numbers_are_written_as_python_does_if_the_digits_are_the_same() {
        for (text, want) in [
            ("0.00001", "1e-05"),
            ("1e-7", "1e-07"),
            ("1.50e-7", "1.50e-7"),
            ("5.0", "5.0"),
            ("1e5", "1e5"),
            ("0e5", "0e5"),
            ("-2.5", "-2.5"),
            (
                "0.1000000000000000055511151231257827",
                "0.1000000000000000055511151231257827",
            ),
        ] {
            assert_eq!(json(text).spaced(), want);
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            "Paris",
            "NaN",
            "Infinity",
            "01",
            "1.",
            "{\"a\"}",
            "[1,]",
            "{} {}",
            "'a'",
            "\"\u{1}\"",
            "nul",
        ] {
            assert!(
                matches!(Json::parse(text), Err(JsonError::Syntax(_))),
                "{text}"
            );
        }
        for (text, start) in [
            (r#" "\ud800""#, 1),
            (r#"{"\ude00": 1}"#, 1),
            (r#"["", "\ud800\ud800"]"#, 5),
        ] {
            let half = matches!(Json::parse(text), Err(JsonError::HalfPair { at }) if at == start);
            assert!(half, "{text}");
        }
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(Json::parse(&nested(Json::DEPTH_MAX)).is_ok());
        for levels in [Json::DEPTH_MAX + 1, 1_000_000] {
            assert!(matches!(
                Json::parse(&nested(levels)),
                Err(JsonError::Depth)
            ));
        }
    }

    #[test]
    fn parts_are_what_was_put_together() {
        let value = json(r#"{"a,b": [1, [2, {"c": "],}"}], ""], "": {}, "\"": [[]]}"#);
        let members = value.members().unwrap();
        assert_eq!(Json::object(members.clone()), value);
        assert_eq!(members.len(), 3);
        let items = members.first().and_then(|(_, list)| list.list()).unwrap();
        let items: Vec<&str> = items.iter().map(Json::as_str).collect();
        assert_eq!(items, ["1", r#"[2,{"c":"],}"}]"#, "\"\""]);
        assert_eq!(json("[]").list(), Some(Vec::new()));
        assert_eq!(json("{}").members(), Some(Vec::new()));
        assert_eq!(
            (json("7").list(), json("7").members(), json("7").string()),
            (None, None, None)
        );
    }

    #[test]
    fn the_same_is_meant_by_exact_value_and_in_any_order() {
        let same = [
            ("1.10", "1.1"),
            ("1e2", "100"),
            ("-0", "0.00"),
            ("1e400", "10E+399"),
            (r#"{"a": [1, 2], "b": "x"}"#, r#"{"b": "x", "a": [1.0, 2]}"#),
        ];
        for (one, other) in same {
            assert!(json(one).means(&json(other)), "{one} {other}");
        }
        let different = [
            ("12345678901234567890123", "12345678901234567890124"),
            ("1", "-1"),
            ("1", "\"1\""),
            ("1e99999999999999999999", "1e99999999999999999998"),
            ("[1, 2]", "[2, 1]"),
            (r#"{"a": 1}"#, r#"{"a": 1, "b": 2}"#),
            (r#"{"a": 1, "a": 1}"#, r#"{"a": 1, "a": 2}"#),
        ];
        for (one, other) in different {
            assert!(!json(one).means(&json(other)), "{one} {other}");
        }
    }
}
