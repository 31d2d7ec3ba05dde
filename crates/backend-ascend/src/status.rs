//! A code of the vendor's as an error: the call, the vendor's name and text, and what to try.

use std::fmt;

use backend_ascend_sys::status;
use deepseek_core::Error;

/// The device has no memory left.
const NO_MEMORY: [i32; 2] = [207_001, 207_018];
/// Codes among 507xxx after which a context goes on: something is full, not ready, not fit or not in time.
const HARMLESS: [i32; 8] = [
    507_002, 507_004, 507_006, 507_008, 507_012, 507_903, 507_910, 507_911,
];

/// A call that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The function of the vendor's.
    pub(crate) call: &'static str,
    /// What it returned.
    pub(crate) code: i32,
    /// What the vendor said of it; empty if it said nothing.
    pub(crate) text: String,
}

impl Failure {
    /// Whether the device has no memory for what was asked.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        NO_MEMORY.contains(&self.code)
    }

    /// Whether nothing that is asked of the device succeeds any more.
    fn is_loss(&self) -> bool {
        (507_000..508_000).contains(&self.code) && !HARMLESS.contains(&self.code)
    }

    /// The failure of a device.
    pub(crate) fn of(self, device: &str) -> Error {
        let (device, why) = (device.to_owned(), self.to_string());
        if self.is_loss() {
            Error::Lost { device, why }
        } else {
            Error::Device { device, why }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, code, text } = self;
        match status(*code) {
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

    fn failure(code: i32, text: &str) -> Failure {
        Failure {
            call: "aclrtFree",
            code,
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_failure_names_call_code_hint_and_the_vendors_text() {
        let error = failure(107_017, "E1: no").of("npu:3");
        let want = "npu:3 failed: aclrtFree: ACL_ERROR_RT_INVALID_HANDLE (107017), \
                    the handle was destroyed, or never made [E1: no]";
        assert_eq!(error.to_string(), want);
        let error = failure(107_999, "").of("npu:3");
        assert_eq!(error.to_string(), "npu:3 failed: aclrtFree: code 107999");
    }

    #[test]
    fn what_poisons_a_context_is_a_loss() {
        for code in [507_010, 507_015, 507_053, 507_899] {
            let error = failure(code, "").of("npu:0");
            assert!(matches!(error, Error::Lost { .. }), "{code}");
        }
        for code in HARMLESS.into_iter().chain([107_002, 161_002, 561_003]) {
            let error = failure(code, "").of("npu:0");
            assert!(matches!(error, Error::Device { .. }), "{code}");
        }
    }

    #[test]
    fn two_codes_say_that_memory_is_used_up() {
        assert!(failure(207_001, "").is_out_of_memory());
        assert!(failure(207_018, "").is_out_of_memory());
        assert!(!failure(207_000, "").is_out_of_memory());
    }
}
