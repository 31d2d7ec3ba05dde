//! What a code of the vendor's means.

use backend_ascend_sys::status;
use backend_ascend_sys::types::HcclResult;
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

/// The same of a collective, whose codes are others.
pub(crate) fn of_collective(call: &'static str, result: HcclResult, text: String) -> Failure {
    let (meaning, hint) = match result {
        HcclResult::HCCL_E_MEMORY | HcclResult::HCCL_E_OOM => (
            Meaning::OutOfMemory,
            "no memory is left for buffers between ranks: a smaller HCCL_BUFFSIZE",
        ),
        HcclResult::HCCL_E_PARA | HcclResult::HCCL_E_PTR => (
            Meaning::Failed,
            "an argument is not valid: a bug of the caller",
        ),
        HcclResult::HCCL_E_TIMEOUT => (Meaning::Failed, "another rank did not come in time"),
        HcclResult::HCCL_E_TCP_CONNECT
        | HcclResult::HCCL_E_ROCE_CONNECT
        | HcclResult::HCCL_E_NETWORK => (
            Meaning::Failed,
            "ranks do not reach each other: check the links, and HCCL_SOCKET_IFNAME",
        ),
        HcclResult::HCCL_E_REMOTE => (Meaning::Failed, "another rank failed"),
        _ => (Meaning::Failed, "see the vendor's text and logs"),
    };
    Failure {
        call,
        code: result.0.into(),
        meaning,
        known: result.name().map(|name| (name, hint)),
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
    fn codes_of_collectives_are_their_own() {
        let of = |code| of_collective("HcclAllGather", HcclResult(code), String::new());
        let error = of(9).of("npu:1").to_string();
        let want =
            "npu:1 failed: HcclAllGather: HCCL_E_TIMEOUT (9), another rank did not come in time";
        assert_eq!(error, want);
        assert_eq!(of(3).meaning, Meaning::OutOfMemory);
        let error = of(77).of("npu:1").to_string();
        assert_eq!(error, "npu:1 failed: HcclAllGather: code 77");
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
