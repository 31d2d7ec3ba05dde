//! The runtime: devices, contexts, streams, events and memory.

use std::ffi::{c_char, c_void};

use crate::table::abi_table;
use crate::types::{
    aclError, aclSysParamOpt, aclrtCallback, aclrtCallbackBlockType, aclrtContext, aclrtDevAttr,
    aclrtDrvMemHandle, aclrtEvent, aclrtEventRecordedStatus, aclrtExceptionInfoCallback,
    aclrtHostFunc, aclrtHostRegisterType, aclrtLastErrLevel, aclrtMemAttr,
    aclrtMemGranularityOptions, aclrtMemMallocPolicy, aclrtMemcpyKind, aclrtPhysicalMemProp,
    aclrtPtrAttributes, aclrtRunMode, aclrtStream, aclrtStreamStatus, aclrtUuid,
};

abi_table! {
    /// Devices, contexts, streams, events and memory.
    pub struct Runtime: CANN, Ascendcl;

    // The process.
    fn aclInit(configPath: *const c_char) -> aclError;
    fn aclFinalize() -> aclError;
    fn aclGetRecentErrMsg() -> *const c_char;

    // Versions.
    #[optional]
    fn aclsysGetVersionStr(pkgName: *mut c_char, versionStr: *mut c_char) -> aclError;
    #[optional]
    fn aclsysGetVersionNum(pkgName: *mut c_char, versionNum: *mut i32) -> aclError;
    #[optional]
    fn aclrtGetVersion(
        majorVersion: *mut i32, minorVersion: *mut i32, patchVersion: *mut i32,
    ) -> aclError;
    #[optional]
    fn aclrtGetSocName() -> *const c_char;

    // Devices.
    fn aclrtGetDeviceCount(count: *mut u32) -> aclError;
    fn aclrtSetDevice(deviceId: i32) -> aclError;
    fn aclrtGetDevice(deviceId: *mut i32) -> aclError;
    fn aclrtResetDevice(deviceId: i32) -> aclError;
    #[optional]
    fn aclrtGetDeviceInfo(deviceId: u32, attr: aclrtDevAttr, value: *mut i64) -> aclError;
    #[optional]
    fn aclrtDeviceGetUuid(deviceId: i32, uuid: *mut aclrtUuid) -> aclError;
    fn aclrtGetMemInfo(attr: aclrtMemAttr, free: *mut usize, total: *mut usize) -> aclError;
    #[optional]
    fn aclrtGetRunMode(runMode: *mut aclrtRunMode) -> aclError;

    // Contexts: of the calling thread.
    #[optional]
    fn aclrtCreateContext(context: *mut aclrtContext, deviceId: i32) -> aclError;
    #[optional]
    fn aclrtDestroyContext(context: aclrtContext) -> aclError;
    fn aclrtSetCurrentContext(context: aclrtContext) -> aclError;
    fn aclrtGetCurrentContext(context: *mut aclrtContext) -> aclError;
    fn aclrtSynchronizeDevice() -> aclError;

    // Streams.
    #[optional]
    fn aclrtCreateStream(stream: *mut aclrtStream) -> aclError;
    fn aclrtCreateStreamWithConfig(stream: *mut aclrtStream, priority: u32, flag: u32) -> aclError;
    fn aclrtDestroyStream(stream: aclrtStream) -> aclError;
    fn aclrtDestroyStreamForce(stream: aclrtStream) -> aclError;
    fn aclrtSynchronizeStream(stream: aclrtStream) -> aclError;
    fn aclrtSynchronizeStreamWithTimeout(stream: aclrtStream, timeout: i32) -> aclError;
    fn aclrtStreamQuery(stream: aclrtStream, status: *mut aclrtStreamStatus) -> aclError;
    fn aclrtStreamWaitEvent(stream: aclrtStream, event: aclrtEvent) -> aclError;
    #[optional]
    fn aclrtSetStreamFailureMode(stream: aclrtStream, mode: u64) -> aclError;

    // Events.
    fn aclrtCreateEventExWithFlag(event: *mut aclrtEvent, flag: u32) -> aclError;
    fn aclrtDestroyEvent(event: aclrtEvent) -> aclError;
    fn aclrtRecordEvent(event: aclrtEvent, stream: aclrtStream) -> aclError;
    fn aclrtResetEvent(event: aclrtEvent, stream: aclrtStream) -> aclError;
    fn aclrtQueryEventStatus(event: aclrtEvent, status: *mut aclrtEventRecordedStatus) -> aclError;
    fn aclrtSynchronizeEvent(event: aclrtEvent) -> aclError;
    fn aclrtEventElapsedTime(
        ms: *mut f32, startEvent: aclrtEvent, endEvent: aclrtEvent,
    ) -> aclError;

    // Memory of the device, and pinned memory of the host.
    fn aclrtMalloc(devPtr: *mut *mut c_void, size: usize, policy: aclrtMemMallocPolicy) -> aclError;
    #[optional]
    fn aclrtMallocAlign32(
        devPtr: *mut *mut c_void, size: usize, policy: aclrtMemMallocPolicy,
    ) -> aclError;
    fn aclrtFree(devPtr: *mut c_void) -> aclError;
    fn aclrtMallocHost(hostPtr: *mut *mut c_void, size: usize) -> aclError;
    fn aclrtFreeHost(hostPtr: *mut c_void) -> aclError;

    // Copies and fills.
    fn aclrtMemcpy(
        dst: *mut c_void, destMax: usize, src: *const c_void, count: usize, kind: aclrtMemcpyKind,
    ) -> aclError;
    fn aclrtMemcpyAsync(
        dst: *mut c_void, destMax: usize, src: *const c_void, count: usize, kind: aclrtMemcpyKind,
        stream: aclrtStream,
    ) -> aclError;
    #[optional]
    fn aclrtMemcpy2dAsync(
        dst: *mut c_void, dpitch: usize, src: *const c_void, spitch: usize, width: usize,
        height: usize, kind: aclrtMemcpyKind, stream: aclrtStream,
    ) -> aclError;
    fn aclrtMemset(devPtr: *mut c_void, maxCount: usize, value: i32, count: usize) -> aclError;
    fn aclrtMemsetAsync(
        devPtr: *mut c_void, maxCount: usize, value: i32, count: usize, stream: aclrtStream,
    ) -> aclError;

    // Memory of the host that the device reads.
    #[optional]
    fn aclrtPointerGetAttributes(
        ptr: *const c_void, attributes: *mut aclrtPtrAttributes,
    ) -> aclError;
    #[optional]
    fn aclrtHostRegister(
        ptr: *mut c_void, size: u64, type_: aclrtHostRegisterType, devPtr: *mut *mut c_void,
    ) -> aclError;
    #[optional]
    fn aclrtHostRegisterV2(ptr: *mut c_void, size: u64, flag: u32) -> aclError;
    #[optional]
    fn aclrtHostGetDevicePointer(
        pHost: *mut c_void, pDevice: *mut *mut c_void, flag: u32,
    ) -> aclError;
    #[optional]
    fn aclrtHostUnregister(ptr: *mut c_void) -> aclError;

    // Addresses and memory apart.
    #[optional]
    fn aclrtReserveMemAddress(
        virPtr: *mut *mut c_void, size: usize, alignment: usize, expectPtr: *mut c_void, flags: u64,
    ) -> aclError;
    #[optional]
    fn aclrtReleaseMemAddress(virPtr: *mut c_void) -> aclError;
    #[optional]
    fn aclrtMallocPhysical(
        handle: *mut aclrtDrvMemHandle, size: usize, prop: *const aclrtPhysicalMemProp, flags: u64,
    ) -> aclError;
    #[optional]
    fn aclrtFreePhysical(handle: aclrtDrvMemHandle) -> aclError;
    #[optional]
    fn aclrtMapMem(
        virPtr: *mut c_void, size: usize, offset: usize, handle: aclrtDrvMemHandle, flags: u64,
    ) -> aclError;
    #[optional]
    fn aclrtUnmapMem(virPtr: *mut c_void) -> aclError;
    #[optional]
    fn aclrtMemGetAllocationGranularity(
        prop: *mut aclrtPhysicalMemProp, option: aclrtMemGranularityOptions,
        granularity: *mut usize,
    ) -> aclError;

    // Other devices.
    #[optional]
    fn aclrtDeviceCanAccessPeer(
        canAccessPeer: *mut i32, deviceId: i32, peerDeviceId: i32,
    ) -> aclError;
    #[optional]
    fn aclrtDeviceEnablePeerAccess(peerDeviceId: i32, flags: u32) -> aclError;

    // Functions of the host within a stream.
    #[optional]
    fn aclrtLaunchHostFunc(stream: aclrtStream, fn_: aclrtHostFunc, args: *mut c_void) -> aclError;
    #[optional]
    fn aclrtLaunchCallback(
        fn_: aclrtCallback, userData: *mut c_void, blockType: aclrtCallbackBlockType,
        stream: aclrtStream,
    ) -> aclError;
    #[optional]
    fn aclrtSubscribeReport(threadId: u64, stream: aclrtStream) -> aclError;
    #[optional]
    fn aclrtProcessReport(timeout: i32) -> aclError;
    #[optional]
    fn aclrtUnSubscribeReport(threadId: u64, stream: aclrtStream) -> aclError;

    // Switches.
    #[optional]
    fn aclrtCtxSetSysParamOpt(opt: aclSysParamOpt, value: i64) -> aclError;
    #[optional]
    fn aclrtSetSysParamOpt(opt: aclSysParamOpt, value: i64) -> aclError;

    // Errors.
    #[optional]
    fn aclrtPeekAtLastError(level: aclrtLastErrLevel) -> aclError;
    #[optional]
    fn aclrtGetLastError(level: aclrtLastErrLevel) -> aclError;
    #[optional]
    fn aclrtSetExceptionInfoCallback(callback: aclrtExceptionInfoCallback) -> aclError;
}
