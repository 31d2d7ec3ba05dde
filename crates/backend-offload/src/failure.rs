//! Calls of a vendor's that failed, as errors.

use std::fmt;

use deepseek_core::Error;

use crate::limits::VENDOR_TEXT_CHARS_MAX;

/// What a code of a vendor's means for who made the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// This call failed, and the device goes on.
    Failed,
    /// The device has no memory for what was asked.
    OutOfMemory,
    /// Nothing that is asked of the device succeeds any more.
    Lost,
    /// What was asked after is not done.
    NotReady,
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The function of the vendor's.
    pub call: &'static str,
    /// What it returned.
    pub code: i64,
    /// What that means.
    pub meaning: Meaning,
    /// The vendor's name for the code and what to try, if it is known.
    pub known: Option<(&'static str, &'static str)>,
    /// What the vendor said of it, on one line; empty if it said nothing.
    pub text: String,
}

impl Failure {
    /// The failure of a device.
    #[must_use]
    pub fn of(self, device: &str) -> Error {
        let (device, why) = (device.to_owned(), self.to_string());
        match self.meaning {
            Meaning::Lost => Error::Lost { device, why },
            Meaning::Failed | Meaning::OutOfMemory | Meaning::NotReady => {
                Error::Device { device, why }
            }
        }
    }

    /// The failure of a device that was asked for memory.
    #[must_use]
    pub fn of_memory(self, device: &str, bytes: usize) -> Error {
        if self.meaning == Meaning::OutOfMemory {
            let device = device.to_owned();
            return Error::OutOfMemory { device, bytes };
        }
        self.of(device)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, code, .. } = self;
        match self.known {
            None => write!(f, "{call}: code {code}")?,
            Some((name, hint)) => write!(f, "{call}: {name} ({code}), {hint}")?,
        }
        if self.text.is_empty() {
            return Ok(());
        }
        write!(f, " [{}]", self.text)
    }
}

/// What a vendor says, on one line and no longer than an error should be: it may be a page of a log.
#[must_use]
pub fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words
        .join(" ")
        .chars()
        .take(VENDOR_TEXT_CHARS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(meaning: Meaning) -> Failure {
        Failure {
            call: "vendorCall",
            code: 7,
            meaning,
            known: None,
            text: String::new(),
        }
    }

    #[test]
    fn a_failure_names_call_code_hint_and_the_vendors_text() {
        let bare = failure(Meaning::Failed);
        let error = bare.clone().of("device");
        assert_eq!(error.to_string(), "device failed: vendorCall: code 7");
        let known = Failure {
            known: Some(("NAME", "try this")),
            text: one_line("E1:\n  no"),
            ..bare
        };
        let want = "device failed: vendorCall: NAME (7), try this [E1: no]";
        assert_eq!(known.of("device").to_string(), want);
    }

    #[test]
    fn a_failure_is_what_its_code_means() {
        let of = |meaning| failure(meaning).of("device");
        assert!(matches!(of(Meaning::Lost), Error::Lost { .. }));
        for meaning in [Meaning::Failed, Meaning::OutOfMemory, Meaning::NotReady] {
            assert!(matches!(of(meaning), Error::Device { .. }), "{meaning:?}");
        }
        let error = failure(Meaning::OutOfMemory).of_memory("device", 3);
        assert!(matches!(error, Error::OutOfMemory { bytes: 3, .. }));
        let error = failure(Meaning::Lost).of_memory("device", 3);
        assert!(matches!(error, Error::Lost { .. }));
    }

    #[test]
    fn a_page_of_a_log_is_cut() {
        let page = "line\n".repeat(VENDOR_TEXT_CHARS_MAX);
        assert_eq!(one_line(&page).chars().count(), VENDOR_TEXT_CHARS_MAX);
        assert!(!one_line(&page).contains('\n'));
    }
}
