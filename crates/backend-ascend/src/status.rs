//! What a code of the vendor's means.

use backend_ascend_sys::status;
use backend_offload::{Failure, Meaning};

/// The device has no memory left.
const NO_MEMORY: [i32; 2] = [207_001, 207_018];
/// Codes among 507xxx after which a context goes on: something is full, not ready, not fit or not in time.
const HARMLESS: [i32; 8] = [
    507_002, 507_004, 507_006, 507_008, 507_012, 507_903, 507_910, 507_911,
];

/// A call that failed, with what the vendor said of it.
pub(crate) fn failure(call: &'static str, code: i32, text: String) -> Failure {
    Failure {
        call,
        code: code.into(),
        meaning: meaning(code),
        known: status(code).map(|known| (known.name, known.hint)),
        text,
    }
}

fn meaning(code: i32) -> Meaning {
    if NO_MEMORY.contains(&code) {
        Meaning::OutOfMemory
    } else if (507_000..508_000).contains(&code) && !HARMLESS.contains(&code) {
        Meaning::Lost
    } else {
        Meaning::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_call_code_hint_and_the_vendors_text() {
        let error = failure("aclrtFree", 107_017, "E1: no".to_owned()).of("npu:3");
        let want = "npu:3 failed: aclrtFree: ACL_ERROR_RT_INVALID_HANDLE (107017), \
                    the handle was destroyed, or never made [E1: no]";
        assert_eq!(error.to_string(), want);
        let error = failure("aclrtFree", 107_999, String::new()).of("npu:3");
        assert_eq!(error.to_string(), "npu:3 failed: aclrtFree: code 107999");
    }

    #[test]
    fn what_poisons_a_context_is_a_loss() {
        for code in [507_010, 507_015, 507_053, 507_899] {
            assert_eq!(meaning(code), Meaning::Lost, "{code}");
        }
        for code in HARMLESS.into_iter().chain([107_002, 161_002, 561_003]) {
            assert_eq!(meaning(code), Meaning::Failed, "{code}");
        }
    }

    #[test]
    fn two_codes_say_that_memory_is_used_up() {
        assert_eq!(meaning(207_001), Meaning::OutOfMemory);
        assert_eq!(meaning(207_018), Meaning::OutOfMemory);
        assert_eq!(meaning(207_000), Meaning::Failed);
    }
}
