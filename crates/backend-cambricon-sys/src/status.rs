//! What the codes of the libraries mean, and what to try.
//!
//! The runtime has two generations of codes: those that it shares with the driver (100xxx), and its own from before (632xxx),
//! some of which newer releases still return. Both are known, whatever the release.

use crate::table::Library;

/// A code that a library returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The code.
    pub code: u32,
    /// The vendor's name for it.
    pub name: &'static str,
    /// What it means, and what to try.
    pub hint: &'static str,
}

/// What is known of a code of a library; nothing of codes that releases have added since.
#[must_use]
pub fn status(library: Library, code: u32) -> Option<&'static Status> {
    let (_, codes) = CODES
        .iter()
        .find(|(libraries, _)| libraries.contains(&library))?;
    codes.iter().find(|status| status.code == code)
}

macro_rules! statuses {
    ($($table:ident { $($code:literal $name:ident: $hint:literal;)+ })+) => {
        $(const $table: &[Status] = &[$(
            Status { code: $code, name: stringify!($name), hint: $hint },
        )+];)+
    };
}

/// The known codes, by the libraries that return them.
pub const CODES: [(&[Library], &[Status]); 3] = [
    (&[Library::Cnrt, Library::Cndrv], CNRT),
    (&[Library::Cnnl, Library::CnnlExtra], CNNL),
    (&[Library::Cncl], CNCL),
];

statuses! {
    CNRT {
        1 cnrtErrorNotReady: "what was asked after is not done";
        100002 cnrtErrorInit: "the runtime could not be started: check the driver, cnmon";
        100004 cnrtErrorNoDevice: "no device is found: check cnmon and MLU_VISIBLE_DEVICES";
        100005 cnrtErrorDeviceInvalid: "there is no such device: check MLU_VISIBLE_DEVICES";
        100006 cnrtErrorArgsInvalid: "an argument is not valid: a bug of the caller";
        100007 cnrtErrorSys: "a call of the operating system failed";
        100010 cnrtErrorSysNoMem: "the host has no memory left";
        100014 cnrtErrorInvalidResourceHandle: "the handle was destroyed, or never made";
        100015 cnrtErrorIllegalState: "the object is not in a state for this call";
        100050 cnrtErrorNotSupport: "this chip or driver does not have the feature";
        100051 cnrtErrorOpsNotPermitted: "the call is not permitted here";
        100060 cnrtErrorQueue: "work of the queue failed, and it takes no more: restart the process";
        100100 cnrtErrorNoMem: "the device has no memory left";
        100128 cnrtErrorAssert: "a kernel gave up";
        100131 cnrtErrorIllegalAddress: "a kernel used an address that is not the device's";
        100132 cnrtErrorKernelTrap: "a kernel failed: restart the process";
        100133 cnrtErrorKernelUserTrap: "a kernel gave up by itself";
        100301 cnrtErrorNotFound: "what was named is not there";
        100302 cnrtErrorInvalidKernel: "the kernel is not valid";
        100303 cnrtErrorUnsupportedKernelVersion: "the kernel is of another version than the driver takes";
        100360 cnrtErrorQueueCaptureUnsupported: "the call cannot be captured";
        100366 cnrtErrorQueueCaptureUnmatched: "the capture was begun on another queue";
        100400 cnrtErrorTaskTopoEntityUpdateFailure: "the captured tasks differ from those that they should replace";
        101312 cnrtErrorNoKernel: "no kernel for this chip";
        101315 cnrtErrorNoModule: "no module for this chip";
        632002 cnrtErrorSetOnActiveProcess: "the switch is set before the device is used";
        632006 cnrtErrorDevice: "the device failed: check cnmon";
        632009 cnrtErrorNoAttribute: "this release does not know the attribute";
        632013 cnrtErrorMemcpyDirectionInvalid: "the copy's direction is not that of its pointers";
        632014 cnrtErrorBusy: "what was asked after is not done";
        632015 cnrtErrorCndrvFuncCall: "the driver failed: check its version against the runtime's";
        632017 cnrtErrorCndevFuncCall: "the device's management failed: check cnmon";
        632019 cnrtErrorNoCnrtContext: "the calling thread has no context: cnrtSetDevice binds one thread";
        632020 cnrtErrorCndrvFuncNotFound: "the driver is older than the runtime";
        632100 cnrtErrorInvalidSymbol: "the symbol is not valid";
        999991 cnrtErrorUnknown: "the runtime does not know why: see the vendor's text and logs";
    }
    CNNL {
        1 CNNL_STATUS_NOT_INITIALIZED: "the handle was destroyed, or never made";
        2 CNNL_STATUS_ALLOC_FAILED: "the library found no memory";
        3 CNNL_STATUS_BAD_PARAM: "the operator does not take these operands: type, rank, shape or strides";
        4 CNNL_STATUS_INTERNAL_ERROR: "the operator failed inside: see the vendor's text and logs";
        5 CNNL_STATUS_ARCH_MISMATCH: "this chip does not have the operator for these types";
        6 CNNL_STATUS_EXECUTION_FAILED: "the kernel could not be launched";
        7 CNNL_STATUS_NOT_SUPPORTED: "this release does not have the operator for these operands";
        8 CNNL_STATUS_NUMERICAL_OVERFLOW: "a number left its range";
    }
    CNCL {
        0x01 CNCL_RET_ERR_INTERNAL: "collectives failed inside";
        0x11 CNCL_RET_ERR_UNSUPPORTED: "this release does not have the collective";
        0x21 CNCL_RET_ERR_NULL_POINTER: "an argument is null";
        0x51 CNCL_RET_ERR_INIT: "communicators could not be made";
        0x61 CNCL_RET_ERR_NOT_INIT: "communicators were not made";
        0x71 CNCL_RET_ERR_REINIT: "communicators were made before";
        0x02 CNCL_RET_ERR_SYSTEM: "a call of the operating system failed";
        0x22 CNCL_RET_ERR_SYS_SOCKET: "the connection between ranks failed";
        0x03 CNCL_RET_ERR_MLU_RUNTIME: "the runtime failed";
        0x33 CNCL_RET_ERR_CNRT_MALLOC: "the device has no memory left";
        0x04 CNCL_RET_ERR_MLU_DEVICE: "the device failed: check cnmon";
        0x06 CNCL_RET_ASYNC_IN_PROGRESS: "what was asked after is not done";
        0x16 CNCL_RET_ASYNC_ERROR: "a collective failed on the device";
        0x07 CNCL_RET_ERR_ARGUMENTS: "an argument is not valid: a bug of the caller";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_that_of_its_library() {
        let name = |library, code| status(library, code).map(|status| status.name);
        assert_eq!(name(Library::Cnrt, 1), Some("cnrtErrorNotReady"));
        assert_eq!(name(Library::Cnnl, 1), Some("CNNL_STATUS_NOT_INITIALIZED"));
        assert_eq!(name(Library::Cncl, 1), Some("CNCL_RET_ERR_INTERNAL"));
        assert_eq!(name(Library::Cndrv, 100_100), Some("cnrtErrorNoMem"));
        assert_eq!(name(Library::CnnlExtra, 3), Some("CNNL_STATUS_BAD_PARAM"));
    }

    #[test]
    fn both_generations_of_the_runtime_are_known() {
        for (code, part) in [(100_005, "MLU_VISIBLE_DEVICES"), (632_019, "cnrtSetDevice")] {
            let found = status(Library::Cnrt, code).expect("a known code");
            assert!(found.hint.contains(part), "{}", found.hint);
        }
    }

    #[test]
    fn success_and_unknown_codes_have_none() {
        for (libraries, _) in CODES {
            for code in [0, 9, 107_999, u32::MAX] {
                assert_eq!(status(libraries[0], code), None, "{code}");
            }
        }
        assert_eq!(status(Library::Emulator, 1), None);
    }

    #[test]
    fn every_code_is_found_by_itself() {
        for (libraries, codes) in CODES {
            for want in codes {
                assert_eq!(status(libraries[0], want.code), Some(want));
                assert!(!want.hint.ends_with('.'), "{}", want.name);
            }
        }
    }
}
