//! CNRT: devices, memory, queues, notifiers, graph capture.

use std::ffi::{c_char, c_void};

use crate::table::abi_table;
use crate::types::{
    cnrtDeviceAttr_t, cnrtDim3_t, cnrtFunctionType_t, cnrtHostFn_t, cnrtMemTransDir_t,
    cnrtNotifier_t, cnrtQueue_t, cnrtQueueCaptureMode, cnrtQueueCaptureStatus, cnrtRet_t,
    cnrtTaskTopo_t, cnrtTaskTopoEntity_t, cnrtTaskTopoNode_t,
};

abi_table! {
    /// Devices, memory, queues, notifiers and capture.
    pub struct Runtime: Cnrt;

    fn cnrtGetLibVersion(major: *mut i32, minor: *mut i32, patch: *mut i32) -> cnrtRet_t;
    fn cnrtDriverGetVersion(major: *mut i32, minor: *mut i32, patch: *mut i32) -> cnrtRet_t;
    fn cnrtGetDeviceCount(pCount: *mut u32) -> cnrtRet_t;
    fn cnrtGetDevice(pOrdinal: *mut i32) -> cnrtRet_t;
    fn cnrtSetDevice(ordinal: i32) -> cnrtRet_t;
    fn cnrtSyncDevice() -> cnrtRet_t;
    fn cnrtSetDeviceFlag(flags: u32) -> cnrtRet_t;
    fn cnrtDeviceGetAttribute(pValue: *mut i32, attr: cnrtDeviceAttr_t, device: i32) -> cnrtRet_t;
    #[second]
    fn cnrtGetPeerAccessibility(canAccess: *mut u32, ordinal: i32, peerOrdinal: i32) -> cnrtRet_t;
    fn cnrtMemGetInfo(free: *mut usize, total: *mut usize) -> cnrtRet_t;
    fn cnrtMalloc(pPtr: *mut *mut c_void, bytes: usize) -> cnrtRet_t;
    fn cnrtFree(ptr: *mut c_void) -> cnrtRet_t;
    fn cnrtHostMalloc(pPtr: *mut *mut c_void, bytes: usize) -> cnrtRet_t;
    fn cnrtFreeHost(ptr: *mut c_void) -> cnrtRet_t;
    fn cnrtMemcpy(
        dst: *mut c_void, src: *mut c_void, bytes: usize, dir: cnrtMemTransDir_t,
    ) -> cnrtRet_t;
    fn cnrtMemcpyAsync_V3 or cnrtMemcpyAsync_V2 or cnrtMemcpyAsync(
        dst: *mut c_void, src: *mut c_void, bytes: usize, queue: cnrtQueue_t,
        dir: cnrtMemTransDir_t,
    ) -> cnrtRet_t;
    #[second]
    fn cnrtMemcpyPeerAsync(
        dst: *mut c_void, dstDev: i32, src: *mut c_void, srcDev: i32, bytes: usize,
        queue: cnrtQueue_t,
    ) -> cnrtRet_t;
    fn cnrtMemset(ptr: *mut c_void, value: i32, bytes: usize) -> cnrtRet_t;
    fn cnrtMemsetAsync(ptr: *mut c_void, value: i32, bytes: usize, queue: cnrtQueue_t) -> cnrtRet_t;
    #[third]
    fn cnrtMemAllocAsync(pPtr: *mut *mut c_void, byteSize: usize, queue: cnrtQueue_t) -> cnrtRet_t;
    #[third]
    fn cnrtMemFreeAsync(mluAddr: *mut c_void, hqueue: cnrtQueue_t) -> cnrtRet_t;
    fn cnrtQueueCreate(pQueue: *mut cnrtQueue_t) -> cnrtRet_t;
    #[second]
    fn cnrtQueueCreateWithPriority(
        pQueue: *mut cnrtQueue_t, flags: u32, priority: i32,
    ) -> cnrtRet_t;
    #[second]
    fn cnrtDeviceGetQueuePriorityRange(pMinPriority: *mut i32, pMaxPriority: *mut i32) -> cnrtRet_t;
    fn cnrtQueueDestroy(queue: cnrtQueue_t) -> cnrtRet_t;
    fn cnrtQueueSync(queue: cnrtQueue_t) -> cnrtRet_t;
    fn cnrtQueueQuery(queue: cnrtQueue_t) -> cnrtRet_t;
    fn cnrtQueueWaitNotifier(notifier: cnrtNotifier_t, queue: cnrtQueue_t, flag: u32) -> cnrtRet_t;
    fn cnrtNotifierCreate(pNotifier: *mut cnrtNotifier_t) -> cnrtRet_t;
    fn cnrtNotifierCreateWithFlags(pNotifier: *mut cnrtNotifier_t, flags: u32) -> cnrtRet_t;
    fn cnrtNotifierDestroy(notifier: cnrtNotifier_t) -> cnrtRet_t;
    fn cnrtPlaceNotifier(notifier: cnrtNotifier_t, queue: cnrtQueue_t) -> cnrtRet_t;
    fn cnrtQueryNotifier(notifier: cnrtNotifier_t) -> cnrtRet_t;
    fn cnrtWaitNotifier(notifier: cnrtNotifier_t) -> cnrtRet_t;
    fn cnrtNotifierElapsedTime(
        start: cnrtNotifier_t, end: cnrtNotifier_t, ms: *mut f32,
    ) -> cnrtRet_t;
    #[second]
    fn cnrtNotifierDuration(start: cnrtNotifier_t, end: cnrtNotifier_t, us: *mut f32) -> cnrtRet_t;
    fn cnrtGetErrorStr(error: cnrtRet_t) -> *const c_char;
    fn cnrtGetErrorName(error: cnrtRet_t) -> *const c_char;
    fn cnrtGetLastError() -> cnrtRet_t;
    fn cnrtPeekAtLastError() -> cnrtRet_t;
    #[third]
    fn cnrtInvokeHostFunc(
        queue: cnrtQueue_t, fn_: cnrtHostFn_t, userData: *mut c_void,
    ) -> cnrtRet_t;
    #[third]
    fn cnrtInvokeKernel(
        kernel: *const c_void, dim: cnrtDim3_t, ktype: cnrtFunctionType_t, args: *mut *mut c_void,
        reserved: usize, queue: cnrtQueue_t,
    ) -> cnrtRet_t;
    #[third]
    fn cnrtQueueBeginCapture(queue: cnrtQueue_t, mode: cnrtQueueCaptureMode) -> cnrtRet_t;
    #[third]
    fn cnrtQueueEndCapture(queue: cnrtQueue_t, pTaskTopo: *mut cnrtTaskTopo_t) -> cnrtRet_t;
    #[third]
    fn cnrtQueueIsCapturing(queue: cnrtQueue_t, pStatus: *mut cnrtQueueCaptureStatus) -> cnrtRet_t;
    #[third]
    fn cnrtTaskTopoInstantiate(
        entity: *mut cnrtTaskTopoEntity_t, taskTopo: cnrtTaskTopo_t,
        pErrorNode: *mut cnrtTaskTopoNode_t, logBuffer: *mut c_char, bufferSize: usize,
    ) -> cnrtRet_t;
    #[third]
    fn cnrtTaskTopoEntityInvoke(entity: cnrtTaskTopoEntity_t, queue: cnrtQueue_t) -> cnrtRet_t;
    #[third]
    fn cnrtTaskTopoEntityDestroy(entity: cnrtTaskTopoEntity_t) -> cnrtRet_t;
    #[third]
    fn cnrtTaskTopoDestroy(taskTopo: cnrtTaskTopo_t) -> cnrtRet_t;
}
