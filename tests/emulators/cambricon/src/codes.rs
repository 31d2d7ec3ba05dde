//! The vendor's codes that are returned here: of the runtime, of the operators and of the collectives.

pub(crate) const OK: i32 = 0;
pub(crate) const NO_DEVICE: i32 = 100_005;
pub(crate) const ARGS: i32 = 100_006;
pub(crate) const HANDLE: i32 = 100_014;
pub(crate) const STATE: i32 = 100_015;
pub(crate) const UNSUPPORTED: i32 = 100_050;
pub(crate) const QUEUE: i32 = 100_060;
pub(crate) const NO_MEMORY: i32 = 100_100;
pub(crate) const CAPTURE_UNSUPPORTED: i32 = 100_360;
pub(crate) const CAPTURE_UNMATCHED: i32 = 100_366;
pub(crate) const DIRECTION: i32 = 632_013;

pub(crate) const CNNL_NOT_INITIALIZED: i32 = 1;
pub(crate) const CNNL_BAD_PARAM: i32 = 3;
pub(crate) const CNNL_ARCH_MISMATCH: i32 = 5;
pub(crate) const CNNL_EXECUTION_FAILED: i32 = 6;
pub(crate) const CNNL_NOT_SUPPORTED: i32 = 7;

pub(crate) const CNCL_ARGUMENTS: i32 = 0x07;
pub(crate) const CNCL_NULL: i32 = 0x21;
pub(crate) const CNCL_UNSUPPORTED: i32 = 0x11;

#[cfg(test)]
mod tests {
    use backend_cambricon_sys::{Library, status};

    use super::*;

    #[test]
    fn every_code_is_one_of_the_vendors() {
        let runtime = [
            NO_DEVICE,
            ARGS,
            HANDLE,
            STATE,
            UNSUPPORTED,
            QUEUE,
            NO_MEMORY,
            CAPTURE_UNSUPPORTED,
            CAPTURE_UNMATCHED,
            DIRECTION,
        ];
        let operators = [
            CNNL_NOT_INITIALIZED,
            CNNL_BAD_PARAM,
            CNNL_ARCH_MISMATCH,
            CNNL_EXECUTION_FAILED,
            CNNL_NOT_SUPPORTED,
        ];
        let collectives = [CNCL_ARGUMENTS, CNCL_NULL, CNCL_UNSUPPORTED];
        for (library, codes) in [
            (Library::Cnrt, &runtime[..]),
            (Library::Cnnl, &operators),
            (Library::Cncl, &collectives),
        ] {
            for code in codes {
                assert!(status(library, *code as u32).is_some(), "{code}");
            }
        }
    }
}
