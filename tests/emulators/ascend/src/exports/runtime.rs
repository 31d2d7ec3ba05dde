//! Devices, contexts, streams, events and memory.

use std::ffi::{c_char, c_void};

use backend_ascend_sys::types::{
    aclError, aclrtContext, aclrtDevAttr, aclrtEvent, aclrtEventRecordedStatus, aclrtHostFunc,
    aclrtLastErrLevel, aclrtMemAttr, aclrtMemMallocPolicy, aclrtMemcpyKind, aclrtPtrAttributes,
    aclrtRunMode, aclrtStream, aclrtStreamStatus, aclrtUuid,
};

use super::export;
use crate::{copies, devices, events, memory, streams};

export! {
    runtime;
    fn aclInit(config: *const c_char) -> aclError = devices::init;
    fn aclFinalize() -> aclError = devices::finalize;
    fn aclGetRecentErrMsg() -> *const c_char = devices::recent_text;
    fn aclsysGetVersionStr(package: *mut c_char, version: *mut c_char) -> aclError
        = devices::version;
    fn aclrtGetSocName() -> *const c_char = devices::soc_name;
    fn aclrtPeekAtLastError(level: aclrtLastErrLevel) -> aclError = devices::peek_error;
    fn aclrtGetLastError(level: aclrtLastErrLevel) -> aclError = devices::take_error;

    fn aclrtGetDeviceCount(count: *mut u32) -> aclError = devices::count;
    fn aclrtSetDevice(device: i32) -> aclError = devices::set;
    fn aclrtGetDevice(device: *mut i32) -> aclError = devices::get;
    fn aclrtResetDevice(device: i32) -> aclError = devices::reset;
    fn aclrtGetDeviceInfo(device: u32, attr: aclrtDevAttr, value: *mut i64) -> aclError
        = devices::info;
    fn aclrtDeviceGetUuid(device: i32, uuid: *mut aclrtUuid) -> aclError = devices::uuid;
    fn aclrtGetMemInfo(attr: aclrtMemAttr, free: *mut usize, total: *mut usize) -> aclError
        = devices::memory;
    fn aclrtGetRunMode(mode: *mut aclrtRunMode) -> aclError = devices::run_mode;

    fn aclrtCreateContext(context: *mut aclrtContext, device: i32) -> aclError
        = devices::create_context;
    fn aclrtDestroyContext(context: aclrtContext) -> aclError = devices::destroy_context;
    fn aclrtSetCurrentContext(context: aclrtContext) -> aclError = devices::set_context;
    fn aclrtGetCurrentContext(context: *mut aclrtContext) -> aclError = devices::get_context;
    fn aclrtSynchronizeDevice() -> aclError = streams::synchronize_device;

    fn aclrtCreateStream(stream: *mut aclrtStream) -> aclError
        = |call, stream| streams::create(call, stream, 0, 0);
    fn aclrtCreateStreamWithConfig(stream: *mut aclrtStream, priority: u32, flag: u32) -> aclError
        = streams::create;
    fn aclrtDestroyStream(stream: aclrtStream) -> aclError = streams::destroy;
    fn aclrtDestroyStreamForce(stream: aclrtStream) -> aclError = streams::destroy_now;
    fn aclrtSynchronizeStream(stream: aclrtStream) -> aclError
        = |call, stream| streams::synchronize(call, stream, -1);
    fn aclrtSynchronizeStreamWithTimeout(stream: aclrtStream, timeout: i32) -> aclError
        = streams::synchronize;
    fn aclrtStreamQuery(stream: aclrtStream, status: *mut aclrtStreamStatus) -> aclError
        = streams::query;
    fn aclrtStreamWaitEvent(stream: aclrtStream, event: aclrtEvent) -> aclError = events::wait;
    fn aclrtLaunchHostFunc(
        stream: aclrtStream, function: aclrtHostFunc, argument: *mut c_void,
    ) -> aclError = streams::launch_host_function;

    fn aclrtCreateEventExWithFlag(event: *mut aclrtEvent, flag: u32) -> aclError = events::create;
    fn aclrtDestroyEvent(event: aclrtEvent) -> aclError = events::destroy;
    fn aclrtRecordEvent(event: aclrtEvent, stream: aclrtStream) -> aclError = events::record;
    fn aclrtResetEvent(event: aclrtEvent, stream: aclrtStream) -> aclError = events::reset;
    fn aclrtQueryEventStatus(event: aclrtEvent, status: *mut aclrtEventRecordedStatus) -> aclError
        = events::query;
    fn aclrtSynchronizeEvent(event: aclrtEvent) -> aclError = events::synchronize;
    fn aclrtEventElapsedTime(ms: *mut f32, start: aclrtEvent, end: aclrtEvent) -> aclError
        = events::elapsed;

    fn aclrtMalloc(address: *mut *mut c_void, size: usize, policy: aclrtMemMallocPolicy) -> aclError
        = memory::malloc;
    fn aclrtMallocAlign32(
        address: *mut *mut c_void, size: usize, policy: aclrtMemMallocPolicy,
    ) -> aclError = memory::malloc;
    fn aclrtFree(address: *mut c_void) -> aclError = memory::free;
    fn aclrtMallocHost(address: *mut *mut c_void, size: usize) -> aclError = memory::malloc_host;
    fn aclrtFreeHost(address: *mut c_void) -> aclError = memory::free_host;
    fn aclrtPointerGetAttributes(
        pointer: *const c_void, attributes: *mut aclrtPtrAttributes,
    ) -> aclError = memory::attributes;

    fn aclrtMemcpy(
        to: *mut c_void, capacity: usize, from: *const c_void, count: usize, kind: aclrtMemcpyKind,
    ) -> aclError = |call, to, capacity, from, count, kind| {
        copies::copy(call, &copies::Request { to, capacity, from, count, kind })
    };
    fn aclrtMemcpyAsync(
        to: *mut c_void, capacity: usize, from: *const c_void, count: usize, kind: aclrtMemcpyKind,
        stream: aclrtStream,
    ) -> aclError = |call, to, capacity, from, count, kind, stream| {
        copies::queue_copy(call, &copies::Request { to, capacity, from, count, kind }, stream)
    };
    fn aclrtMemset(address: *mut c_void, capacity: usize, value: i32, count: usize) -> aclError
        = copies::fill;
    fn aclrtMemsetAsync(
        address: *mut c_void, capacity: usize, value: i32, count: usize, stream: aclrtStream,
    ) -> aclError = copies::queue_fill;
}
