//! A run of the emulator: one at a time, because a process has one.

use std::ffi::{CStr, CString, c_void};
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, PoisonError};

use backend_ascend_sys::Ascend;
use backend_ascend_sys::types::{
    ACL_EVENT_SYNC, aclrtEvent, aclrtMemMallocPolicy, aclrtMemcpyKind, aclrtStream,
};
use emulator_support::built_library;
use serde_json::{Value, json};

static TURN: Mutex<()> = Mutex::new(());

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

/// Seeds that a property of schedules is tried with.
pub(crate) const SEEDS: std::ops::Range<u64> = 0..8;

pub(crate) struct Session {
    pub(crate) ascend: Ascend,
    _turn: MutexGuard<'static, ()>,
}

impl Session {
    /// A run of this configuration before `aclInit`.
    pub(crate) fn bare(config: &Value) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let ascend = Ascend::emulator(&built_library("ascend_emu")).expect("the built library");
        let session = Self {
            ascend,
            _turn: turn,
        };
        assert_eq!(session.configure(config), 0, "{config}: {}", session.text());
        session
    }

    /// A run with this thread bound to device 0.
    pub(crate) fn new(config: &Value) -> Self {
        let session = Self::bare(config);
        assert_eq!(session.init(), 0);
        assert_eq!(session.set(0), 0);
        session
    }

    pub(crate) fn lazy() -> Self {
        Self::new(&json!({"schedule": "lazy", "deadlock_ms": 20}))
    }

    pub(crate) fn configure(&self, config: &Value) -> i32 {
        let emulator = self.ascend.emulator.as_ref().expect("an emulator");
        let text = CString::new(config.to_string()).expect("no zeros");
        call!(emulator, ascendEmuConfigure(text.as_ptr()))
    }

    pub(crate) fn report(&self) -> Value {
        let emulator = self.ascend.emulator.as_ref().expect("an emulator");
        let bytes = call!(emulator, ascendEmuReport(null_mut(), 0));
        let mut text = vec![0_u8; bytes];
        let again = call!(emulator, ascendEmuReport(text.as_mut_ptr().cast(), bytes));
        assert_eq!(again.to_string().len(), bytes.to_string().len());
        let text = CStr::from_bytes_until_nul(&text).expect("a zero");
        serde_json::from_slice(text.to_bytes()).expect("JSON")
    }

    /// The kinds of the violations.
    pub(crate) fn violations(&self) -> Vec<String> {
        let report = self.report();
        let violations = report["violations"].as_array().expect("a list").clone();
        let kinds = violations
            .iter()
            .map(|one| one["kind"].as_str().expect("a kind").to_owned());
        kinds.collect()
    }

    /// Nothing was found, and nothing is left.
    #[track_caller]
    pub(crate) fn clean(self) {
        let report = self.report();
        assert_eq!(
            (&report["violations"], &report["leaks"]),
            (&json!([]), &json!([]))
        );
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
