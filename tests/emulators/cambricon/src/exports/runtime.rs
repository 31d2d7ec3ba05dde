//! Devices, memory, queues and notifiers; what the driver tells of a device.

use std::ffi::{c_char, c_void};

use backend_cambricon_sys::types::{
    CNdev, CNresult, cnrtDeviceAttr_t, cnrtMemTransDir_t, cnrtNotifier_t, cnrtQueue_t,
    cnrtQueueCaptureMode, cnrtQueueCaptureStatus, cnrtRet_t, cnrtTaskTopo_t, cnrtTaskTopoEntity_t,
    cnrtTaskTopoNode_t,
};

use super::{absent, export};
use crate::copies::{self, Request};
use crate::{captures, devices, memory, queues};

export! {
    runtime;
    fn cnrtGetLibVersion(
        major: *mut i32, minor: *mut i32, patch: *mut i32,
    ) -> cnrtRet_t
        = |_, major, minor, patch| devices::version(devices::CNRT, [major, minor, patch]);
    fn cnrtDriverGetVersion(
        major: *mut i32, minor: *mut i32, patch: *mut i32,
    ) -> cnrtRet_t
        = |_, major, minor, patch| devices::version(devices::CNDRV, [major, minor, patch]);
    fn cnrtGetDeviceCount(pCount: *mut u32) -> cnrtRet_t = devices::count;
    fn cnrtGetDevice(pOrdinal: *mut i32) -> cnrtRet_t = devices::get;
    fn cnrtSetDevice(ordinal: i32) -> cnrtRet_t = devices::set;
    fn cnrtSyncDevice() -> cnrtRet_t = devices::synchronize;
    fn cnrtSetDeviceFlag(flags: u32) -> cnrtRet_t = devices::set_flag;
    fn cnrtDeviceGetAttribute(
        pValue: *mut i32, attr: cnrtDeviceAttr_t, device: i32,
    ) -> cnrtRet_t
        = devices::attribute;
    fn cnrtMemGetInfo(free: *mut usize, total: *mut usize) -> cnrtRet_t = devices::memory;
    fn cnrtMalloc(pPtr: *mut *mut c_void, bytes: usize) -> cnrtRet_t = memory::malloc;
    fn cnrtFree(ptr: *mut c_void) -> cnrtRet_t = memory::free;
    fn cnrtHostMalloc(pPtr: *mut *mut c_void, bytes: usize) -> cnrtRet_t = memory::malloc_host;
    fn cnrtFreeHost(ptr: *mut c_void) -> cnrtRet_t = memory::free_host;
    fn cnrtMemcpy(
        dst: *mut c_void, src: *mut c_void, bytes: usize, dir: cnrtMemTransDir_t,
    ) -> cnrtRet_t
        = |call, to, from, bytes, direction| {
        copies::copy(call, &Request { to, from, bytes, direction })
    };
    fn cnrtMemcpyAsync_V3(
        dst: *mut c_void, src: *mut c_void, bytes: usize, queue: cnrtQueue_t,
        dir: cnrtMemTransDir_t,
    ) -> cnrtRet_t
        = |call, to, from, bytes, queue, direction| {
        copies::queue_copy(call, &Request { to, from, bytes, direction }, queue)
    };
    fn cnrtMemset(ptr: *mut c_void, value: i32, bytes: usize) -> cnrtRet_t = copies::fill;
    fn cnrtMemsetAsync(
        ptr: *mut c_void, value: i32, bytes: usize, queue: cnrtQueue_t,
    ) -> cnrtRet_t
        = copies::queue_fill;
    fn cnrtQueueCreate(pQueue: *mut cnrtQueue_t) -> cnrtRet_t = queues::create;
    fn cnrtQueueDestroy(queue: cnrtQueue_t) -> cnrtRet_t = queues::destroy;
    fn cnrtQueueSync(queue: cnrtQueue_t) -> cnrtRet_t = queues::synchronize;
    fn cnrtQueueQuery(queue: cnrtQueue_t) -> cnrtRet_t = queues::query;
    fn cnrtQueueWaitNotifier(
        notifier: cnrtNotifier_t, queue: cnrtQueue_t, flag: u32,
    ) -> cnrtRet_t
        = queues::wait;
    fn cnrtNotifierCreate(
        pNotifier: *mut cnrtNotifier_t,
    ) -> cnrtRet_t
        = |call, notifier| queues::create_notifier(call, notifier, 0);
    fn cnrtNotifierCreateWithFlags(
        pNotifier: *mut cnrtNotifier_t, flags: u32,
    ) -> cnrtRet_t
        = queues::create_notifier;
    fn cnrtNotifierDestroy(notifier: cnrtNotifier_t) -> cnrtRet_t = queues::destroy_notifier;
    fn cnrtPlaceNotifier(notifier: cnrtNotifier_t, queue: cnrtQueue_t) -> cnrtRet_t = queues::place;
    fn cnrtQueryNotifier(notifier: cnrtNotifier_t) -> cnrtRet_t = queues::query_notifier;
    fn cnrtWaitNotifier(notifier: cnrtNotifier_t) -> cnrtRet_t = queues::wait_notifier;
    fn cnrtQueueBeginCapture(
        queue: cnrtQueue_t, mode: cnrtQueueCaptureMode,
    ) -> cnrtRet_t
        = captures::begin;
    fn cnrtQueueEndCapture(
        queue: cnrtQueue_t, pTaskTopo: *mut cnrtTaskTopo_t,
    ) -> cnrtRet_t
        = captures::end;
    fn cnrtQueueIsCapturing(
        queue: cnrtQueue_t, pStatus: *mut cnrtQueueCaptureStatus,
    ) -> cnrtRet_t
        = captures::status;
    fn cnrtTaskTopoInstantiate(
        entity: *mut cnrtTaskTopoEntity_t, taskTopo: cnrtTaskTopo_t,
        pErrorNode: *mut cnrtTaskTopoNode_t, logBuffer: *mut c_char, bufferSize: usize,
    ) -> cnrtRet_t
        = |call, entity, topology, node, log, bytes| {
        captures::instantiate(call, entity, topology, (node, log, bytes))
    };
    fn cnrtTaskTopoEntityInvoke(
        entity: cnrtTaskTopoEntity_t, queue: cnrtQueue_t,
    ) -> cnrtRet_t
        = captures::invoke;
    fn cnrtTaskTopoEntityDestroy(
        entity: cnrtTaskTopoEntity_t,
    ) -> cnrtRet_t
        = captures::destroy_entity;
    fn cnrtTaskTopoDestroy(taskTopo: cnrtTaskTopo_t) -> cnrtRet_t = captures::destroy;
    fn cnrtGetErrorStr(error: cnrtRet_t) -> *const c_char = devices::error_text;
    fn cnrtGetErrorName(error: cnrtRet_t) -> *const c_char = devices::error_text;
    fn cnrtGetLastError() -> cnrtRet_t = devices::take_error;
    fn cnrtPeekAtLastError() -> cnrtRet_t = devices::last_error;
}

absent! {
    runtime;
    fn cnrtNotifierElapsedTime(cnrtNotifier_t, cnrtNotifier_t, *mut f32) -> cnrtRet_t;
}

export! {
    driver;
    fn cnInit(flags: u32) -> CNresult = |_, _flags| Ok(());
    fn cnDeviceGet(pdev: *mut CNdev, ordinal: i32) -> CNresult = devices::driver_device;
    fn cnDeviceGetName(name: *mut c_char, len: u32, dev: CNdev) -> CNresult = devices::name;
}
