//! What a code of the vendor's means.

use backend_cambricon_sys::{Library, status};
use backend_offload::{Failure, Meaning};

/// The device has no memory left.
const NO_MEMORY: u32 = 100_100;
/// Codes of the runtime after which a device does nothing more for this process: its own failure, and that of work that was
/// queued.
const LOST: [u32; 6] = [100_060, 100_128, 100_131, 100_132, 100_133, 632_006];
/// What was asked after is not done: releases return one or the other.
const NOT_READY: [u32; 2] = [1, 632_014];

/// A call that failed, with what the vendor said of it.
pub(crate) fn failure(library: Library, call: &'static str, code: u32, text: String) -> Failure {
    Failure {
        call,
        code: code.into(),
        meaning: meaning(library, code),
        known: status(library, code).map(|known| (known.name, known.hint)),
        text,
    }
}

/// Codes mean what their library says.
fn meaning(library: Library, code: u32) -> Meaning {
    if library != Library::Cnrt {
        Meaning::Failed
    } else if code == NO_MEMORY {
        Meaning::OutOfMemory
    } else if LOST.contains(&code) {
        Meaning::Lost
    } else if NOT_READY.contains(&code) {
        Meaning::NotReady
    } else {
        Meaning::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_call_code_hint_and_the_vendors_text() {
        let error = failure(Library::Cnrt, "cnrtFree", 100_014, "no".to_owned()).of("mlu:3");
        let want = "mlu:3 failed: cnrtFree: cnrtErrorInvalidResourceHandle (100014), \
                    the handle was destroyed, or never made [no]";
        assert_eq!(error.to_string(), want);
        let error = failure(Library::Cnnl, "cnrtFree", 99, String::new()).of("mlu:3");
        assert_eq!(error.to_string(), "mlu:3 failed: cnrtFree: code 99");
    }

    #[test]
    fn what_ends_a_queue_is_a_loss_of_either_generation() {
        for code in LOST {
            assert_eq!(meaning(Library::Cnrt, code), Meaning::Lost, "{code}");
        }
        for (library, code) in [
            (Library::Cnrt, 100_006),
            (Library::Cnnl, 3),
            (Library::Cnrt, 632_013),
        ] {
            assert_eq!(meaning(library, code), Meaning::Failed, "{code}");
        }
    }

    #[test]
    fn codes_mean_what_their_library_says() {
        assert_eq!(meaning(Library::Cnrt, 1), Meaning::NotReady);
        assert_eq!(meaning(Library::Cnrt, 632_014), Meaning::NotReady);
        assert_eq!(meaning(Library::Cnnl, 1), Meaning::Failed);
        assert_eq!(meaning(Library::Cnrt, 100_100), Meaning::OutOfMemory);
        assert_eq!(meaning(Library::Cnnl, 2), Meaning::Failed);
    }
}
