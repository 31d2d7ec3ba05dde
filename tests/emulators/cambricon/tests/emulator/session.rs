//! A run of the emulator: one at a time, because a process has one.

use std::ffi::{CStr, CString, c_void};
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, PoisonError};

use backend_cambricon_sys::Neuware;
use backend_cambricon_sys::types::{
    cnnlDataType_t, cnnlHandle_t, cnnlTensorDescriptor_t, cnnlTensorLayout_t, cnrtMemTransDir_t,
    cnrtNotifier_t, cnrtQueue_t,
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
}
pub(crate) use call;

pub(crate) const H2D: cnrtMemTransDir_t = cnrtMemTransDir_t::cnrtMemcpyHostToDev;
pub(crate) const D2H: cnrtMemTransDir_t = cnrtMemTransDir_t::cnrtMemcpyDevToHost;
pub(crate) const D2D: cnrtMemTransDir_t = cnrtMemTransDir_t::cnrtMemcpyDevToDev;
pub(crate) const F32: cnnlDataType_t = cnnlDataType_t::CNNL_DTYPE_FLOAT;
pub(crate) const BF16: cnnlDataType_t = cnnlDataType_t::CNNL_DTYPE_BFLOAT16;
pub(crate) const I32: cnnlDataType_t = cnnlDataType_t::CNNL_DTYPE_INT32;

/// Codes of the runtime and of the operators.
pub(crate) const ARGS: u32 = 100_006;
pub(crate) const HANDLE: u32 = 100_014;
pub(crate) const QUEUE: u32 = 100_060;
pub(crate) const BAD_PARAM: u32 = 3;

/// Seeds that a property of schedules is tried with.
pub(crate) const SEEDS: std::ops::Range<u64> = 0..8;

pub(crate) struct Session {
    pub(crate) neuware: Neuware,
    _turn: MutexGuard<'static, ()>,
}

impl Session {
    pub(crate) fn new(config: &Value) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let neuware = Neuware::emulator(&built_library("neuware_emu")).expect("the built library");
        let session = Self {
            neuware,
            _turn: turn,
        };
        assert_eq!(session.configure(config), 0, "{config}: {}", session.text());
        session
    }

    pub(crate) fn lazy() -> Self {
        Self::new(&json!({"schedule": "lazy", "deadlock_ms": 20}))
    }

    pub(crate) fn configure(&self, config: &Value) -> u32 {
        let emulator = self.neuware.emulator.as_ref().expect("an emulator");
        let text = CString::new(config.to_string()).expect("no zeros");
        call!(emulator, neuwareEmuConfigure(text.as_ptr()))
    }

    pub(crate) fn report(&self) -> Value {
        let emulator = self.neuware.emulator.as_ref().expect("an emulator");
        let bytes = call!(emulator, neuwareEmuReport(null_mut(), 0));
        let mut text = vec![0_u8; bytes + 64];
        call!(
            emulator,
            neuwareEmuReport(text.as_mut_ptr().cast(), text.len())
        );
        let text = CStr::from_bytes_until_nul(&text).expect("a zero");
        serde_json::from_slice(text.to_bytes()).expect("JSON")
    }

    /// The checks that found something.
    pub(crate) fn found(&self) -> Vec<String> {
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

    /// What the last failure of this thread was.
    pub(crate) fn text(&self) -> String {
        let code = call!(self.neuware.runtime, cnrtPeekAtLastError());
        let text = call!(self.neuware.runtime, cnrtGetErrorStr(code));
        // SAFETY: a text that stays until the next failure of this thread.
        let text = unsafe { CStr::from_ptr(text) };
        text.to_string_lossy().into_owned()
    }

    pub(crate) fn set(&self, device: i32) -> u32 {
        call!(self.neuware.runtime, cnrtSetDevice(device))
    }

    pub(crate) fn malloc(&self, bytes: usize) -> *mut c_void {
        let mut pointer = null_mut();
        let code = call!(self.neuware.runtime, cnrtMalloc(&raw mut pointer, bytes));
        assert_eq!(code, 0, "{}", self.text());
        pointer
    }

    pub(crate) fn free(&self, pointer: *mut c_void) -> u32 {
        call!(self.neuware.runtime, cnrtFree(pointer))
    }

    pub(crate) fn pinned(&self, bytes: usize) -> *mut c_void {
        let mut pointer = null_mut();
        let code = call!(
            self.neuware.runtime,
            cnrtHostMalloc(&raw mut pointer, bytes)
        );
        assert_eq!(code, 0, "{}", self.text());
        pointer
    }

    pub(crate) fn free_host(&self, pointer: *mut c_void) -> u32 {
        call!(self.neuware.runtime, cnrtFreeHost(pointer))
    }

    /// A copy at once; the host's side is a pointer, too.
    pub(crate) fn copy(
        &self,
        (to, from): (*mut c_void, *mut c_void),
        bytes: usize,
        direction: cnrtMemTransDir_t,
    ) -> u32 {
        call!(self.neuware.runtime, cnrtMemcpy(to, from, bytes, direction))
    }

    pub(crate) fn queue_copy(
        &self,
        (to, from): (*mut c_void, *mut c_void),
        bytes: usize,
        direction: cnrtMemTransDir_t,
        queue: cnrtQueue_t,
    ) -> u32 {
        call!(
            self.neuware.runtime,
            cnrtMemcpyAsync_V3(to, from, bytes, queue, direction)
        )
    }

    pub(crate) fn upload<T: Copy>(&self, numbers: &[T]) -> *mut c_void {
        let bytes = size_of_val(numbers);
        let to = self.malloc(bytes);
        let from = numbers.as_ptr().cast_mut().cast();
        assert_eq!(self.copy((to, from), bytes, H2D), 0, "{}", self.text());
        to
    }

    pub(crate) fn download<T: Copy + Default>(
        &self,
        from: *mut c_void,
        count: usize,
    ) -> Result<Vec<T>, u32> {
        let mut host = vec![T::default(); count];
        let to = host.as_mut_ptr().cast();
        match self.copy((to, from), count * size_of::<T>(), D2H) {
            0 => Ok(host),
            code => Err(code),
        }
    }

    pub(crate) fn fill(&self, to: *mut c_void, byte: u8, bytes: usize, queue: cnrtQueue_t) -> u32 {
        call!(
            self.neuware.runtime,
            cnrtMemsetAsync(to, byte.into(), bytes, queue)
        )
    }

    pub(crate) fn queue(&self) -> cnrtQueue_t {
        let mut queue = cnrtQueue_t::NULL;
        let code = call!(self.neuware.runtime, cnrtQueueCreate(&raw mut queue));
        assert_eq!(code, 0, "{}", self.text());
        queue
    }

    pub(crate) fn destroy(&self, queue: cnrtQueue_t) -> u32 {
        call!(self.neuware.runtime, cnrtQueueDestroy(queue))
    }

    pub(crate) fn wait(&self, queue: cnrtQueue_t) -> u32 {
        call!(self.neuware.runtime, cnrtQueueSync(queue))
    }

    pub(crate) fn notifier(&self) -> cnrtNotifier_t {
        let mut notifier = cnrtNotifier_t::NULL;
        let code = call!(self.neuware.runtime, cnrtNotifierCreate(&raw mut notifier));
        assert_eq!(code, 0, "{}", self.text());
        notifier
    }

    pub(crate) fn place(&self, notifier: cnrtNotifier_t, queue: cnrtQueue_t) -> u32 {
        call!(self.neuware.runtime, cnrtPlaceNotifier(notifier, queue))
    }

    pub(crate) fn wait_for(&self, queue: cnrtQueue_t, notifier: cnrtNotifier_t) -> u32 {
        call!(
            self.neuware.runtime,
            cnrtQueueWaitNotifier(notifier, queue, 0)
        )
    }

    pub(crate) fn destroy_notifier(&self, notifier: cnrtNotifier_t) -> u32 {
        call!(self.neuware.runtime, cnrtNotifierDestroy(notifier))
    }

    /// A handle of the operators with a queue.
    pub(crate) fn operators(&self, queue: cnrtQueue_t) -> cnnlHandle_t {
        let mut handle = cnnlHandle_t::NULL;
        assert_eq!(
            call!(self.neuware.operators, cnnlCreate(&raw mut handle)),
            0
        );
        assert_eq!(
            call!(self.neuware.operators, cnnlSetQueue(handle, queue)),
            0
        );
        handle
    }

    pub(crate) fn bare_tensor(&self) -> cnnlTensorDescriptor_t {
        let mut tensor = cnnlTensorDescriptor_t::NULL;
        let code = call!(
            self.neuware.operators,
            cnnlCreateTensorDescriptor(&raw mut tensor)
        );
        assert_eq!(code, 0);
        tensor
    }

    pub(crate) fn set_tensor(
        &self,
        tensor: cnnlTensorDescriptor_t,
        dtype: cnnlDataType_t,
        dims: &[i64],
    ) -> u32 {
        let (layout, rank) = (cnnlTensorLayout_t::CNNL_LAYOUT_ARRAY, dims.len() as i32);
        call!(
            self.neuware.operators,
            cnnlSetTensorDescriptor_v2(tensor, layout, dtype, rank, dims.as_ptr())
        )
    }

    pub(crate) fn tensor(&self, dtype: cnnlDataType_t, dims: &[i64]) -> cnnlTensorDescriptor_t {
        let tensor = self.bare_tensor();
        assert_eq!(self.set_tensor(tensor, dtype, dims), 0, "{dims:?}");
        tensor
    }

    /// `exp` of each number, the simplest of the operators.
    pub(crate) fn exp(
        &self,
        handle: cnnlHandle_t,
        (x_desc, x): (cnnlTensorDescriptor_t, *mut c_void),
        (y_desc, y): (cnnlTensorDescriptor_t, *mut c_void),
    ) -> u32 {
        call!(
            self.neuware.operators,
            cnnlExp(handle, x_desc, x, y_desc, y)
        )
    }
}

/// Pinned bytes as the host has them.
pub(crate) fn pinned_bytes<'a>(pointer: *mut c_void, bytes: usize) -> &'a mut [u8] {
    // SAFETY: pinned memory of this size, which the test has not freed; only it makes such slices.
    unsafe { std::slice::from_raw_parts_mut(pointer.cast(), bytes) }
}
