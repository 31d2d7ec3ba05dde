//! Calls that failed, as errors.

use std::fmt;

use backend_cambricon_sys::{Library, status};
use deepseek_core::Error;

/// The device has no memory left.
const NO_MEMORY: u32 = 100_100;
/// Codes of the runtime after which a device does nothing more for this process: its own failure, and that of work that was
/// queued.
const LOST: [u32; 6] = [100_060, 100_128, 100_131, 100_132, 100_133, 632_006];
/// What was asked after is not done: releases return one or the other.
const NOT_READY: [u32; 2] = [1, 632_014];

/// A call that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Whose function it is.
    pub(crate) library: Library,
    /// The function of the vendor's.
    pub(crate) call: &'static str,
    /// What it returned.
    pub(crate) code: u32,
    /// What the vendor said of it; empty if it said nothing.
    pub(crate) text: String,
}

impl Failure {
    /// Whether the device has no memory for what was asked.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        self.library == Library::Cnrt && self.code == NO_MEMORY
    }

    /// Whether it only says that something is not done.
    pub(crate) fn is_not_ready(&self) -> bool {
        self.library == Library::Cnrt && NOT_READY.contains(&self.code)
    }

    /// The failure of a device.
    pub(crate) fn of(self, device: &str) -> Error {
        let (device, why) = (device.to_owned(), self.to_string());
        if self.library == Library::Cnrt && LOST.contains(&self.code) {
            Error::Lost { device, why }
        } else {
            Error::Device { device, why }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            library,
            call,
            code,
            text,
        } = self;
        match status(*library, *code) {
            None => write!(f, "{call}: code {code}")?,
            Some(known) => write!(f, "{call}: {} ({code}), {}", known.name, known.hint)?,
        }
        if text.is_empty() {
            return Ok(());
        }
        write!(f, " [{text}]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(library: Library, code: u32, text: &str) -> Failure {
        Failure {
            library,
            call: "cnrtFree",
            code,
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_failure_names_call_code_hint_and_the_vendors_text() {
        let error = failure(Library::Cnrt, 100_014, "no").of("mlu:3");
        let want = "mlu:3 failed: cnrtFree: cnrtErrorInvalidResourceHandle (100014), \
                    the handle was destroyed, or never made [no]";
        assert_eq!(error.to_string(), want);
        let error = failure(Library::Cnnl, 99, "").of("mlu:3");
        assert_eq!(error.to_string(), "mlu:3 failed: cnrtFree: code 99");
    }

    #[test]
    fn what_ends_a_queue_is_a_loss_of_either_generation() {
        for code in LOST {
            let error = failure(Library::Cnrt, code, "").of("mlu:0");
            assert!(matches!(error, Error::Lost { .. }), "{code}");
        }
        for (library, code) in [
            (Library::Cnrt, 100_006),
            (Library::Cnnl, 3),
            (Library::Cnrt, 632_013),
        ] {
            let error = failure(library, code, "").of("mlu:0");
            assert!(matches!(error, Error::Device { .. }), "{code}");
        }
    }

    #[test]
    fn codes_mean_what_their_library_says() {
        assert!(failure(Library::Cnrt, 1, "").is_not_ready());
        assert!(failure(Library::Cnrt, 632_014, "").is_not_ready());
        assert!(!failure(Library::Cnnl, 1, "").is_not_ready());
        assert!(failure(Library::Cnrt, 100_100, "").is_out_of_memory());
        assert!(!failure(Library::Cnnl, 2, "").is_out_of_memory());
    }
}
