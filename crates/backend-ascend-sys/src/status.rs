//! What the codes of the runtime and of the operators mean, and what to try.

/// A code that the runtime, the tensor layer or an operator returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The code.
    pub code: i32,
    /// The vendor's name for it.
    pub name: &'static str,
    /// What it means, and what to try.
    pub hint: &'static str,
}

/// What is known of a code; nothing of codes that releases have added since.
#[must_use]
pub fn status(code: i32) -> Option<&'static Status> {
    let index = STATUSES.binary_search_by_key(&code, |status| status.code);
    index.ok().map(|index| &STATUSES[index])
}

macro_rules! statuses {
    ($($code:literal $name:ident: $hint:literal;)+) => {
        /// The known codes, in their order.
        pub const STATUSES: &[Status] = &[$(
            Status { code: $code, name: stringify!($name), hint: $hint },
        )+];
    };
}

statuses! {
    // The interface: arguments.
    100000 ACL_ERROR_INVALID_PARAM: "an argument is not valid: a bug of the caller";
    100001 ACL_ERROR_UNINITIALIZE: "aclInit was not called";
    100002 ACL_ERROR_REPEAT_INITIALIZE: "aclInit was called before: not an error";
    100003 ACL_ERROR_INVALID_FILE: "the configuration file cannot be read";
    100024 ACL_ERROR_OP_NOT_FOUND: "the operator is not in the installed packages";
    100026 ACL_ERROR_UNSUPPORTED_DATA_TYPE: "the operator does not take this type";
    100029 ACL_ERROR_KERNEL_NOT_FOUND: "no kernel for this chip: check the operator package";
    100037 ACL_ERROR_REPEAT_FINALIZE: "aclFinalize was called before";

    // The runtime: what the caller can mend.
    107000 ACL_ERROR_RT_PARAM_INVALID:
        "an argument is not valid: a size of 0, a null pointer, or memory of the other side";
    107001 ACL_ERROR_RT_INVALID_DEVICEID:
        "there is no such device: check ASCEND_RT_VISIBLE_DEVICES";
    107002 ACL_ERROR_RT_CONTEXT_NULL:
        "the calling thread has no context: aclrtSetDevice binds one thread";
    107003 ACL_ERROR_RT_STREAM_CONTEXT:
        "the stream belongs to another context than the calling thread's";
    107004 ACL_ERROR_RT_MODEL_CONTEXT:
        "the graph belongs to another context than the calling thread's";
    107005 ACL_ERROR_RT_STREAM_MODEL: "the stream is not of the graph";
    107006 ACL_ERROR_RT_EVENT_TIMESTAMP_INVALID:
        "the event has no time: create it with ACL_EVENT_TIME_LINE";
    107007 ACL_ERROR_RT_EVENT_TIMESTAMP_REVERSAL: "the second event is earlier than the first";
    107008 ACL_ERROR_RT_ADDR_UNALIGNED: "an address is not aligned";
    107011 ACL_ERROR_RT_STREAM_SUBSCRIBE: "the stream is subscribed by another thread";
    107012 ACL_ERROR_RT_THREAD_SUBSCRIBE: "the thread does not process reports";
    107015 ACL_ERROR_RT_STREAM_NO_CB_REG:
        "no thread processes the stream's callbacks: aclrtSubscribeReport";
    107016 ACL_ERROR_RT_INVALID_MEMORY_TYPE: "the memory is not of the kind that the call wants";
    107017 ACL_ERROR_RT_INVALID_HANDLE: "the handle was destroyed, or never made";
    107018 ACL_ERROR_RT_INVALID_MALLOC_TYPE: "no memory of this policy is to be had here";
    107019 ACL_ERROR_RT_WAIT_TIMEOUT:
        "what was waited for did not come: a missing record, or a rank that stands still";
    107020 ACL_ERROR_RT_TASK_TIMEOUT: "a task took too long";
    107021 ACL_ERROR_RT_SYSPARAMOPT_NOT_SET: "the switch was never set";
    107022 ACL_ERROR_RT_DEVICE_TASK_ABORT: "tasks of the device are being aborted";
    107023 ACL_ERROR_RT_STREAM_ABORT: "the stream is being aborted";
    107024 ACL_ERROR_RT_CAPTURE_DEPENDENCY: "a captured stream waits for what is not captured";
    107025 ACL_ERROR_RT_STREAM_UNJOINED:
        "a side stream did not join the captured one before its end";
    107026 ACL_ERROR_RT_MODEL_CAPTURED: "the graph is being captured";
    107027 ACL_ERROR_RT_STREAM_CAPTURED: "not while the stream is captured: nothing that waits";
    107028 ACL_ERROR_RT_EVENT_CAPTURED: "not while the event is captured";
    107029 ACL_ERROR_RT_STREAM_NOT_CAPTURED: "the stream is not captured";
    107030 ACL_ERROR_RT_CAPTURE_MODE_NOT_SUPPORT: "the mode of the capture forbids this call";
    107031 ACL_ERROR_RT_STREAM_CAPTURE_IMPLICIT: "the default stream cannot be captured: name one";
    107032 ACL_ERROR_STREAM_CAPTURE_CONFLICT: "streams that wait for each other are captured apart";
    107033 ACL_ERROR_STREAM_TASK_GROUP_STATUS: "a group of tasks is begun or ended out of turn";
    107034 ACL_ERROR_STREAM_TASK_GROUP_INTR: "a group of tasks was interrupted";
    107035 ACL_ERROR_RT_TASK_ABORT_STOP: "an abort of tasks was stopped";
    107036 ACL_ERROR_RT_STREAM_CAPTURE_UNMATCHED: "the capture was begun on another stream";
    107037 ACL_ERROR_RT_MODEL_RUNNING:
        "the graph still runs: wait before it is replayed or destroyed";
    107038 ACL_ERROR_RT_STREAM_CAPTURE_WRONG_THREAD: "the capture was begun on another thread";
    107041 ACL_ERROR_RT_CAPTURE_MODE_BLOCK_ASYNC:
        "a copy from memory that is not pinned waits, which a capture forbids";

    // The interface: packages.
    148049 ACL_ERROR_INVALID_OPP_PATH:
        "ASCEND_OPP_PATH leads to no operator package: source set_env.sh";

    // Operators: operands.
    161001 ACLNN_ERR_PARAM_NULLPTR: "a required operand is missing";
    161002 ACLNN_ERR_PARAM_INVALID:
        "the operator does not take these operands: type, format, rank, shape or strides";

    // The interface: resources.
    200000 ACL_ERROR_BAD_ALLOC: "the host has no memory left";
    200001 ACL_ERROR_API_NOT_SUPPORT: "this release does not have the function";
    200002 ACL_ERROR_INVALID_DEVICE: "there is no such device: check ASCEND_RT_VISIBLE_DEVICES";
    200006 ACL_ERROR_FEATURE_UNSUPPORTED: "this chip or driver does not have the feature";

    // The runtime: for want of something.
    207000 ACL_ERROR_RT_FEATURE_NOT_SUPPORT: "this chip or driver does not have the feature";
    207001 ACL_ERROR_RT_MEMORY_ALLOCATION:
        "the device has no memory left, or cannot register memory of the host";
    207002 ACL_ERROR_RT_MEMORY_FREE: "the memory cannot be given back: freed before?";
    207003 ACL_ERROR_RT_AICORE_OVER_FLOW: "a number left its range";
    207004 ACL_ERROR_RT_NO_DEVICE: "no device is found: check npu-smi";
    207005 ACL_ERROR_RT_RESOURCE_ALLOC_FAIL: "a resource of the device is used up";
    207006 ACL_ERROR_RT_NO_PERMISSION: "the user may not use the device: check its group";
    207007 ACL_ERROR_RT_NO_EVENT_RESOURCE: "no event is left: fewer graphs";
    207008 ACL_ERROR_RT_NO_STREAM_RESOURCE: "no stream is left: fewer graphs";
    207010 ACL_ERROR_RT_NO_MODEL_RESOURCE: "no graph is left: fewer sizes of batches";
    207012 ACL_ERROR_RT_OVER_LIMIT: "a bound of the device is reached";
    207015 ACL_ERROR_RT_REPEATED_INIT: "initialised before";
    207018 ACL_ERROR_RT_DEVICE_OOM: "the device has no memory left";
    207020 ACL_ERROR_RT_TIMEOUT: "the driver did not answer in time";

    // The interface: bounds.
    300000 ACL_ERROR_STORAGE_OVER_LIMIT: "a bound of the runtime is reached";

    // Operators: the runtime under them.
    361001 ACLNN_ERR_RUNTIME_ERROR: "the runtime failed under the operator: see the vendor's text";

    // The interface, inside.
    500000 ACL_ERROR_INTERNAL_ERROR: "the interface failed inside: see the vendor's text and logs";
    500001 ACL_ERROR_FAILURE: "the interface failed: see the vendor's text and logs";
    500003 ACL_ERROR_RT_FAILURE: "the runtime failed: see the vendor's text and logs";
    500004 ACL_ERROR_DRV_FAILURE: "the driver failed: check npu-smi and the driver's version";

    // The runtime, inside. After most of these the context is lost.
    507000 ACL_ERROR_RT_INTERNAL_ERROR: "the runtime failed inside: see the vendor's text and logs";
    507001 ACL_ERROR_RT_TS_ERROR: "the device's scheduler failed: see the device's logs";
    507002 ACL_ERROR_RT_STREAM_TASK_FULL: "the stream holds all the tasks that it can";
    507004 ACL_ERROR_RT_STREAM_NOT_COMPLETE: "the stream is not done";
    507006 ACL_ERROR_RT_EVENT_NOT_COMPLETE: "the event is not reached";
    507007 ACL_ERROR_RT_CONTEXT_RELEASE_ERROR: "the context is gone";
    507008 ACL_ERROR_RT_SOC_VERSION: "the installation is for another chip";
    507010 ACL_ERROR_RT_LOST_HEARTBEAT: "the device no longer answers: check npu-smi";
    507011 ACL_ERROR_RT_MODEL_EXECUTE: "a task of the graph failed";
    507012 ACL_ERROR_RT_REPORT_TIMEOUT: "no report came in time";
    507013 ACL_ERROR_RT_SYS_DMA: "a copy failed";
    507014 ACL_ERROR_RT_AICORE_TIMEOUT: "a kernel took too long";
    507015 ACL_ERROR_RT_AICORE_EXCEPTION:
        "a kernel failed, most often at an address out of its operands";
    507016 ACL_ERROR_RT_AICORE_TRAP_EXCEPTION: "a kernel gave up: its operands do not fit it";
    507017 ACL_ERROR_RT_AICPU_TIMEOUT: "a kernel of the device's processor took too long";
    507018 ACL_ERROR_RT_AICPU_EXCEPTION: "a kernel of the device's processor failed";
    507034 ACL_ERROR_RT_VECTOR_CORE_TIMEOUT: "a vector kernel took too long";
    507035 ACL_ERROR_RT_VECTOR_CORE_EXCEPTION:
        "a vector kernel failed, most often at an address out of its operands";
    507046 ACL_ERROR_RT_STREAM_SYNC_TIMEOUT:
        "the stream was not done in time: a rank that stands still?";
    507047 ACL_ERROR_RT_EVENT_SYNC_TIMEOUT: "the event was not reached in time";
    507052 ACL_ERROR_RT_COPY_DATA: "a copy failed";
    507053 ACL_ERROR_RT_DEVICE_MEM_ERROR: "the device's memory is faulty: check npu-smi";
    507054 ACL_ERROR_RT_HBM_MULTI_BIT_ECC_ERROR: "the device's memory lost bits: check npu-smi";
    507056 ACL_ERROR_RT_LINK_ERROR: "the link between devices failed";
    507899 ACL_ERROR_RT_DRV_INTERNAL_ERROR:
        "the driver failed inside: check its version and its logs";
    507900 ACL_ERROR_RT_AICPU_INTERNAL_ERROR: "the device's processor failed inside";
    507901 ACL_ERROR_RT_SOCKET_CLOSE: "the connection to the device is closed";
    507903 ACL_ERROR_RT_STREAM_CAPTURE_INVALIDATED:
        "a call that a capture forbids ended it: see the call before";
    507904 ACL_ERROR_RT_COMM_OP_RETRY_FAIL: "a collective failed, and again when it was repeated";
    507910 ACL_ERROR_HOST_MEMORY_ALREADY_REGISTERED: "the memory is registered";
    507911 ACL_ERROR_HOST_MEMORY_NOT_REGISTERED: "the memory is not registered";

    // Operators, inside.
    561000 ACLNN_ERR_INNER: "the operator failed inside: an executor used twice?";
    561001 ACLNN_ERR_INNER_INFERSHAPE_ERROR: "no shape of the result follows from these operands";
    561002 ACLNN_ERR_INNER_TILING_ERROR: "the operator has no way to cut these shapes";
    561003 ACLNN_ERR_INNER_FIND_KERNEL_ERROR:
        "no kernel for this chip and these types: check the operator package";
    561101 ACLNN_ERR_INNER_CREATE_EXECUTOR: "no executor could be made";
    561102 ACLNN_ERR_INNER_NOT_TRANS_EXECUTOR: "the executor cannot be made repeatable";
    561103 ACLNN_ERR_INNER_NULLPTR: "a null pointer inside the operator";
    561104 ACLNN_ERR_INNER_WRONG_ATTR_INFO_SIZE:
        "the attributes are not those that the kernel was built with";
    561105 ACLNN_ERR_INNER_KEY_CONFILICT: "two kernels claim the same operands";
    561106 ACLNN_ERR_INNER_INVALID_IMPL_MODE: "the kernel has no such mode";
    561107 ACLNN_ERR_INNER_OPP_PATH_NOT_SET: "ASCEND_OPP_PATH is not set: source set_env.sh";
    561108 ACLNN_ERR_INNER_LOAD_JSON_FAILED: "a description in the operator package cannot be read";
    561109 ACLNN_ERR_INNER_JSON_VALUE_NOT_FOUND:
        "a description in the operator package lacks a value";
    561110 ACLNN_ERR_INNER_JSON_FORMAT_INVALID:
        "a description in the operator package names an unknown format";
    561111 ACLNN_ERR_INNER_JSON_DTYPE_INVALID:
        "a description in the operator package names an unknown type";
    561112 ACLNN_ERR_INNER_OPP_KERNEL_PKG_NOT_FOUND:
        "the package of kernels for this chip is not installed";
    561113 ACLNN_ERR_INNER_OP_FILE_INVALID: "a kernel of the operator package cannot be read";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_its_name_and_a_hint() {
        let found = status(107002).expect("a known code");
        assert_eq!(found.name, "ACL_ERROR_RT_CONTEXT_NULL");
        assert!(found.hint.contains("aclrtSetDevice"), "{}", found.hint);
    }

    #[test]
    fn success_and_unknown_codes_have_none() {
        for code in [0, -1, 1, 107999, i32::MAX, i32::MIN] {
            assert_eq!(status(code), None, "{code}");
        }
    }

    #[test]
    fn every_code_is_found_by_itself() {
        for want in STATUSES {
            assert_eq!(status(want.code), Some(want));
            assert!(
                !want.hint.is_empty() && !want.hint.ends_with('.'),
                "{}",
                want.name
            );
        }
    }
}
