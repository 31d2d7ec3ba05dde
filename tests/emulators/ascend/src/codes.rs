//! The vendor's codes that are returned here.

pub(crate) const OK: i32 = 0;
pub(crate) const INVALID_PARAM: i32 = 100_000;
pub(crate) const UNINITIALIZE: i32 = 100_001;
pub(crate) const REPEAT_INITIALIZE: i32 = 100_002;
pub(crate) const REPEAT_FINALIZE: i32 = 100_037;
pub(crate) const RT_PARAM_INVALID: i32 = 107_000;
pub(crate) const RT_INVALID_DEVICEID: i32 = 107_001;
pub(crate) const RT_CONTEXT_NULL: i32 = 107_002;
pub(crate) const RT_STREAM_CONTEXT: i32 = 107_003;
pub(crate) const RT_MODEL_CONTEXT: i32 = 107_004;
pub(crate) const RT_EVENT_TIMESTAMP_INVALID: i32 = 107_006;
pub(crate) const RT_EVENT_TIMESTAMP_REVERSAL: i32 = 107_007;
pub(crate) const RT_INVALID_HANDLE: i32 = 107_017;
pub(crate) const RT_WAIT_TIMEOUT: i32 = 107_019;
pub(crate) const RT_CAPTURE_DEPENDENCY: i32 = 107_024;
pub(crate) const RT_STREAM_UNJOINED: i32 = 107_025;
pub(crate) const RT_STREAM_CAPTURED: i32 = 107_027;
pub(crate) const RT_EVENT_CAPTURED: i32 = 107_028;
pub(crate) const RT_STREAM_NOT_CAPTURED: i32 = 107_029;
pub(crate) const RT_CAPTURE_MODE_NOT_SUPPORT: i32 = 107_030;
pub(crate) const RT_STREAM_CAPTURE_IMPLICIT: i32 = 107_031;
pub(crate) const STREAM_CAPTURE_CONFLICT: i32 = 107_032;
pub(crate) const RT_STREAM_CAPTURE_UNMATCHED: i32 = 107_036;
pub(crate) const RT_MODEL_RUNNING: i32 = 107_037;
pub(crate) const RT_STREAM_CAPTURE_WRONG_THREAD: i32 = 107_038;
pub(crate) const RT_CAPTURE_MODE_BLOCK_ASYNC: i32 = 107_041;
pub(crate) const NULLPTR: i32 = 161_001;
pub(crate) const PARAM_INVALID: i32 = 161_002;
pub(crate) const RT_FEATURE_NOT_SUPPORT: i32 = 207_000;
pub(crate) const RT_MEMORY_ALLOCATION: i32 = 207_001;
pub(crate) const RT_NO_STREAM_RESOURCE: i32 = 207_008;
pub(crate) const RT_NO_MODEL_RESOURCE: i32 = 207_010;
pub(crate) const RT_INTERNAL_ERROR: i32 = 507_000;
pub(crate) const RT_AICORE_EXCEPTION: i32 = 507_015;
pub(crate) const RT_STREAM_SYNC_TIMEOUT: i32 = 507_046;
pub(crate) const RT_STREAM_CAPTURE_INVALIDATED: i32 = 507_903;
pub(crate) const INNER: i32 = 561_000;
pub(crate) const FIND_KERNEL: i32 = 561_003;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_one_of_the_vendors() {
        for code in [
            INVALID_PARAM,
            UNINITIALIZE,
            REPEAT_INITIALIZE,
            REPEAT_FINALIZE,
            RT_PARAM_INVALID,
            RT_INVALID_DEVICEID,
            RT_CONTEXT_NULL,
            RT_STREAM_CONTEXT,
            RT_MODEL_CONTEXT,
            RT_EVENT_TIMESTAMP_INVALID,
            RT_EVENT_TIMESTAMP_REVERSAL,
            RT_INVALID_HANDLE,
            RT_WAIT_TIMEOUT,
            RT_CAPTURE_DEPENDENCY,
            RT_STREAM_UNJOINED,
            RT_STREAM_CAPTURED,
            RT_EVENT_CAPTURED,
            RT_STREAM_NOT_CAPTURED,
            RT_CAPTURE_MODE_NOT_SUPPORT,
            RT_STREAM_CAPTURE_IMPLICIT,
            STREAM_CAPTURE_CONFLICT,
            RT_STREAM_CAPTURE_UNMATCHED,
            RT_MODEL_RUNNING,
            RT_STREAM_CAPTURE_WRONG_THREAD,
            RT_CAPTURE_MODE_BLOCK_ASYNC,
            NULLPTR,
            PARAM_INVALID,
            RT_FEATURE_NOT_SUPPORT,
            RT_MEMORY_ALLOCATION,
            RT_NO_STREAM_RESOURCE,
            RT_NO_MODEL_RESOURCE,
            RT_INTERNAL_ERROR,
            RT_AICORE_EXCEPTION,
            RT_STREAM_SYNC_TIMEOUT,
            RT_STREAM_CAPTURE_INVALIDATED,
            INNER,
            FIND_KERNEL,
        ] {
            assert!(backend_ascend_sys::status(code).is_some(), "{code}");
        }
    }
}
