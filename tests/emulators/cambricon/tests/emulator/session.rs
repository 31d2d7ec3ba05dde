//! A run of the emulator, with the calls that the tests make.

use std::ffi::{CStr, c_void};
use std::ops::Deref;
use std::ptr::null_mut;
use std::sync::Arc;

use backend_cambricon_sys::Neuware;
use backend_cambricon_sys::types::{
    cnnlDataType_t, cnnlHandle_t, cnnlTensorDescriptor_t, cnnlTensorLayout_t, cnrtMemTransDir_t,
    cnrtNotifier_t, cnrtQueue_t,
};
use emulator_support::Run;
pub(crate) use emulator_support::SEEDS;
use serde_json::{Value, json};

use crate::vendor::Mlu;

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

pub(crate) struct Session {
    pub(crate) neuware: Arc<Neuware>,
    run: Run<Mlu>,
}

impl Deref for Session {
    type Target = Run<Mlu>;

    fn deref(&self) -> &Run<Mlu> {
        &self.run
    }
}

impl Session {
    pub(crate) fn new(config: &Value) -> Self {
        Self::of(Run::new(config))
    }

    pub(crate) fn lazy() -> Self {
        Self::of(Run::lazy(&json!({})))
    }

    fn of(run: Run<Mlu>) -> Self {
        let neuware = run.library();
        Self { neuware, run }
    }

    /// Nothing was found, and nothing is left.
    #[track_caller]
    pub(crate) fn clean(self) {
        self.run.clean();
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
