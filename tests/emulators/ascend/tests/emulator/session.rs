//! A run of the emulator, with the calls that the tests make.

use std::ffi::{CStr, c_void};
use std::ops::Deref;
use std::ptr::null_mut;
use std::sync::Arc;

use backend_ascend_sys::Ascend;
use backend_ascend_sys::types::{
    ACL_EVENT_SYNC, aclrtEvent, aclrtMemMallocPolicy, aclrtMemcpyKind, aclrtStream,
};
use emulator_support::Run;
pub(crate) use emulator_support::SEEDS;
use serde_json::{Value, json};

use crate::vendor::Cann;

/// A call of a function of one of the tables.
macro_rules! call {
    ($table:expr, $name:ident($($arg:expr),* $(,)?)) => {{
        let function = $table.$name;
        // SAFETY: the test gives what the function asks for, or nothing that it follows.
        unsafe { function($($arg),*) }
    }};
    ($table:expr, optional $name:ident($($arg:expr),* $(,)?)) => {{
        let function = $table.$name.expect("the emulator exports it");
        // SAFETY: the test gives what the function asks for, or nothing that it follows.
        unsafe { function($($arg),*) }
    }};
}
pub(crate) use call;

pub(crate) const H2D: aclrtMemcpyKind = aclrtMemcpyKind::ACL_MEMCPY_HOST_TO_DEVICE;
pub(crate) const D2H: aclrtMemcpyKind = aclrtMemcpyKind::ACL_MEMCPY_DEVICE_TO_HOST;
pub(crate) const D2D: aclrtMemcpyKind = aclrtMemcpyKind::ACL_MEMCPY_DEVICE_TO_DEVICE;

pub(crate) struct Session {
    pub(crate) ascend: Arc<Ascend>,
    run: Run<Cann>,
}

impl Deref for Session {
    type Target = Run<Cann>;

    fn deref(&self) -> &Run<Cann> {
        &self.run
    }
}

impl Session {
    /// A run of this configuration before `aclInit`.
    pub(crate) fn bare(config: &Value) -> Self {
        Self::of(Run::new(config))
    }

    /// A run with this thread bound to device 0.
    pub(crate) fn new(config: &Value) -> Self {
        Self::bound(Run::new(config))
    }

    pub(crate) fn lazy() -> Self {
        Self::bound(Run::lazy(&json!({})))
    }

    fn of(run: Run<Cann>) -> Self {
        let ascend = run.library();
        Self { ascend, run }
    }

    fn bound(run: Run<Cann>) -> Self {
        let session = Self::of(run);
        assert_eq!(session.init(), 0);
        assert_eq!(session.set(0), 0);
        session
    }

    /// Nothing was found, and nothing is left.
    #[track_caller]
    pub(crate) fn clean(self) {
        self.run.clean();
    }

    pub(crate) fn text(&self) -> String {
        let text = call!(self.ascend.runtime, aclGetRecentErrMsg());
        if text.is_null() {
            return String::new();
        }
        // SAFETY: a text that stays until the next failure of this thread.
        let text = unsafe { CStr::from_ptr(text) };
        text.to_string_lossy().into_owned()
    }

    pub(crate) fn init(&self) -> i32 {
        call!(self.ascend.runtime, aclInit(std::ptr::null()))
    }

    pub(crate) fn set(&self, device: i32) -> i32 {
        call!(self.ascend.runtime, aclrtSetDevice(device))
    }

    pub(crate) fn reset(&self, device: i32) -> i32 {
        call!(self.ascend.runtime, aclrtResetDevice(device))
    }

    pub(crate) fn try_malloc(&self, bytes: usize) -> Result<*mut c_void, i32> {
        let mut pointer = null_mut();
        let policy = aclrtMemMallocPolicy::ACL_MEM_MALLOC_HUGE_FIRST;
        match call!(
            self.ascend.runtime,
            aclrtMalloc(&raw mut pointer, bytes, policy)
        ) {
            0 => Ok(pointer),
            code => Err(code),
        }
    }

    pub(crate) fn malloc(&self, bytes: usize) -> *mut c_void {
        self.try_malloc(bytes).expect("room")
    }

    pub(crate) fn free(&self, pointer: *mut c_void) -> i32 {
        call!(self.ascend.runtime, aclrtFree(pointer))
    }

    pub(crate) fn pinned(&self, bytes: usize) -> *mut c_void {
        let mut pointer = null_mut();
        assert_eq!(
            call!(
                self.ascend.runtime,
                aclrtMallocHost(&raw mut pointer, bytes)
            ),
            0
        );
        pointer
    }

    pub(crate) fn free_host(&self, pointer: *mut c_void) -> i32 {
        call!(self.ascend.runtime, aclrtFreeHost(pointer))
    }

    /// A copy at once; the host's side is a pointer, too.
    pub(crate) fn copy(
        &self,
        to: *mut c_void,
        from: *const c_void,
        bytes: usize,
        kind: aclrtMemcpyKind,
    ) -> i32 {
        call!(
            self.ascend.runtime,
            aclrtMemcpy(to, bytes, from, bytes, kind)
        )
    }

    pub(crate) fn queue(
        &self,
        (to, from): (*mut c_void, *const c_void),
        bytes: usize,
        kind: aclrtMemcpyKind,
        stream: aclrtStream,
    ) -> i32 {
        call!(
            self.ascend.runtime,
            aclrtMemcpyAsync(to, bytes, from, bytes, kind, stream)
        )
    }

    pub(crate) fn upload(&self, to: *mut c_void, bytes: &[u8]) {
        assert_eq!(
            self.copy(to, bytes.as_ptr().cast(), bytes.len(), H2D),
            0,
            "{}",
            self.text()
        );
    }

    pub(crate) fn download(&self, from: *const c_void, bytes: usize) -> Result<Vec<u8>, i32> {
        let mut host = vec![0_u8; bytes];
        match self.copy(host.as_mut_ptr().cast(), from, bytes, D2H) {
            0 => Ok(host),
            code => Err(code),
        }
    }

    pub(crate) fn fill(
        &self,
        pointer: *mut c_void,
        byte: u8,
        bytes: usize,
        stream: aclrtStream,
    ) -> i32 {
        let value = i32::from(byte);
        call!(
            self.ascend.runtime,
            aclrtMemsetAsync(pointer, bytes, value, bytes, stream)
        )
    }

    pub(crate) fn stream(&self) -> aclrtStream {
        let mut stream = null_mut();
        let code = call!(
            self.ascend.runtime,
            aclrtCreateStreamWithConfig(&raw mut stream, 0, 0)
        );
        assert_eq!(code, 0, "{}", self.text());
        stream
    }

    pub(crate) fn destroy(&self, stream: aclrtStream) -> i32 {
        call!(self.ascend.runtime, aclrtDestroyStream(stream))
    }

    pub(crate) fn wait(&self, stream: aclrtStream) -> i32 {
        call!(self.ascend.runtime, aclrtSynchronizeStream(stream))
    }

    pub(crate) fn event(&self, flag: u32) -> aclrtEvent {
        let mut event = null_mut();
        let flag = flag | ACL_EVENT_SYNC;
        let code = call!(
            self.ascend.runtime,
            aclrtCreateEventExWithFlag(&raw mut event, flag)
        );
        assert_eq!(code, 0, "{}", self.text());
        event
    }

    pub(crate) fn record(&self, event: aclrtEvent, stream: aclrtStream) -> i32 {
        call!(self.ascend.runtime, aclrtRecordEvent(event, stream))
    }

    pub(crate) fn wait_for(&self, stream: aclrtStream, event: aclrtEvent) -> i32 {
        call!(self.ascend.runtime, aclrtStreamWaitEvent(stream, event))
    }

    pub(crate) fn destroy_event(&self, event: aclrtEvent) -> i32 {
        call!(self.ascend.runtime, aclrtDestroyEvent(event))
    }
}

/// Pinned bytes as the host has them.
pub(crate) fn pinned_bytes<'a>(pointer: *mut c_void, bytes: usize) -> &'a mut [u8] {
    // SAFETY: pinned memory of this size, which the test has not freed; only it makes such slices.
    unsafe { std::slice::from_raw_parts_mut(pointer.cast(), bytes) }
}
