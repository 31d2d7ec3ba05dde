//! Where words go: stdout and stderr, of which a terminal gets no character that could steer it.
//!
//! An answer, a name or a message may hold anything. In a pipe it stays as it is; on a terminal, what
//! is no text to look at is shown by its number.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal, Stderr, Stdout, Write};

use anstream::{AutoStream, ColorChoice};

/// A stream of words, which may be a terminal.
#[derive(Debug)]
pub(crate) struct Screen<W> {
    out: W,
    is_terminal: bool,
}

/// The answers, the tables and the JSON that were asked for.
#[allow(
    clippy::disallowed_methods,
    reason = "this is where the stream is made safe"
)]
pub(crate) fn stdout() -> Screen<Stdout> {
    let out = io::stdout();
    let is_terminal = out.is_terminal();
    Screen::new(out, is_terminal)
}

/// Everything else that is said.
#[allow(
    clippy::disallowed_methods,
    reason = "this is where the stream is made safe"
)]
pub(crate) fn stderr() -> Screen<Stderr> {
    let err = io::stderr();
    let is_terminal = err.is_terminal();
    Screen::new(err, is_terminal)
}

/// Whether stderr takes styles: it is a terminal that has some, and nothing forbids them (`NO_COLOR`,
/// `CLICOLOR`, `CLICOLOR_FORCE`, `TERM`).
#[allow(clippy::disallowed_methods, reason = "nothing is written")]
pub(crate) fn styles_stderr() -> bool {
    AutoStream::choice(&io::stderr()) != ColorChoice::Never
}

impl<W: Write> Screen<W> {
    pub(crate) fn new(out: W, is_terminal: bool) -> Self {
        Self { out, is_terminal }
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Writes a sequence of this program's own, as it is.
    pub(crate) fn steer(&mut self, sequence: impl Display) -> io::Result<()> {
        write!(self.out, "{sequence}")
    }
}

/// Characters are whole in what is written at once, as they are by `write!`.
impl<W: Write> Write for Screen<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_terminal {
            return self.out.write(bytes);
        }
        let text = String::from_utf8_lossy(bytes);
        self.out.write_all(safe(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Text with `\u001b` and its like in place of what steers a terminal. The form is that of JSON, so
/// that JSON stays what it was.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            write!(shown, "\\u{:04x}", u32::from(c)).expect("memory takes all");
        } else {
            shown.push(c);
        }
    }
    shown.into()
}

/// Text as wide as an editor of lines takes it for, with a mark in place of each control.
pub(crate) fn masked(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return text.into();
    }
    let mask = |c: char| {
        if steers(c) {
            c.is_control().then_some(char::REPLACEMENT_CHARACTER)
        } else {
            Some(c)
        }
    };
    text.chars().filter_map(mask).collect()
}

/// Whether a terminal would do something at a character instead of showing it: the controls but for
/// tabs and ends of lines, the separators of lines, and what turns the direction of the text around it.
fn steers(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What a stream gets of pieces that are written one after the other.
    fn written(is_terminal: bool, pieces: &[&str]) -> String {
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out, is_terminal);
        for piece in pieces {
            write!(screen, "{piece}").expect("memory takes all");
        }
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn no_control_reaches_a_terminal() {
        let all: String = (0..=char::MAX as u32).filter_map(char::from_u32).collect();
        let shown = written(true, &[&all]);
        let left: Vec<char> = shown.chars().filter(|c| c.is_control()).collect();
        assert_eq!(left, ['\t', '\n']);
        for c in ['\u{202e}', '\u{2066}', '\u{2028}'] {
            assert!(!shown.contains(c), "{c:?}");
        }
        for c in ['a', '\\', 'é', '\u{200d}', 'ש', '🦀'] {
            assert!(shown.contains(c), "{c:?}");
        }
    }

    #[test]
    fn a_sequence_is_shown_however_it_is_cut() {
        let text = "a\x1b]0;title\x07b\u{9b}31mc\r\nd\x7f";
        let shown = r"a\u001b]0;title\u0007b\u009b31mc\u000d".to_owned() + "\n" + r"d\u007f";
        for cut in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
            let (left, right) = text.split_at(cut);
            assert_eq!(written(true, &[left, right]), shown, "{cut}");
            assert_eq!(written(false, &[left, right]), text, "{cut}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_marked() {
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out, true);
        screen
            .write_all(b"a\x9b31m\xff\x1b")
            .expect("memory takes all");
        let shown = String::from_utf8(out).expect("text");
        assert_eq!(shown, "a\u{fffd}31m\u{fffd}\\u001b");
    }

    #[test]
    fn json_stays_what_it_was() {
        let value = json!({ "a\u{9b}\\\x7f": ["\x1b[2J", "\u{202e}\n"] });
        for text in [value.to_string(), format!("{value:#}")] {
            let shown = written(true, &[&text]);
            assert!(!shown.contains(['\u{9b}', '\x7f', '\u{202e}']), "{shown}");
            assert_eq!(serde_json::from_str::<Value>(&shown).expect("JSON"), value);
        }
    }

    #[test]
    fn a_line_that_is_edited_keeps_its_width() {
        assert_eq!(masked("a\x07b\u{9b}\u{202e}\nc"), "a\u{fffd}b\u{fffd}\nc");
        assert_eq!(masked("déjà\t"), "déjà\t");
    }

    #[test]
    fn what_the_program_itself_says_to_a_terminal_gets_there() {
        let mut out = Vec::new();
        Screen::new(&mut out, true)
            .steer("\x1b[2m")
            .expect("memory takes all");
        assert_eq!(out, b"\x1b[2m");
    }
}
