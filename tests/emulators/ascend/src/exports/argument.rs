//! Arguments of C as values.
//!
//! A pointer becomes a value that keeps the caller's promise: null, or what the vendor's documentation
//! asks of this argument. Its methods do one thing within that promise.

use std::ffi::{CStr, c_char, c_void};
use std::ptr::with_exposed_provenance_mut;

use backend_ascend_sys::types::{
    aclBoolArray, aclDataType, aclFloatArray, aclFormat, aclIntArray, aclOpExecutor, aclScalar,
    aclScalarList, aclTensor, aclTensorList, aclrtDevAttr, aclrtEventRecordedStatus, aclrtHostFunc,
    aclrtLastErrLevel, aclrtMemAttr, aclrtMemMallocPolicy, aclrtMemcpyKind, aclrtPtrAttributes,
    aclrtRunMode, aclrtStreamStatus, aclrtUuid,
};
use emulator_support::HostBytes;

use crate::failure::{Failure, Outcome};
use crate::handles::Handle;

/// An argument of C.
pub(crate) trait Argument {
    /// What it becomes.
    type Value;

    /// Takes it.
    ///
    /// # Safety
    /// It is what the vendor's documentation asks of it, for as long as that says.
    unsafe fn take(self) -> Self::Value;
}

/// What a pointer leads to.
pub(crate) trait Pointee {
    /// What the pointer becomes.
    type Value;

    /// Takes the pointer; the promise of [`Argument::take`] holds.
    fn value(pointer: *mut Self) -> Self::Value;
}

impl<T: Pointee> Argument for *mut T {
    type Value = T::Value;

    unsafe fn take(self) -> T::Value {
        T::value(self)
    }
}

impl<T: Pointee> Argument for *const T {
    type Value = T::Value;

    unsafe fn take(self) -> T::Value {
        T::value(self.cast_mut())
    }
}

macro_rules! values {
    ($($ty:ty),+ $(,)?) => {$(
        impl Argument for $ty {
            type Value = Self;

            unsafe fn take(self) -> Self {
                self
            }
        }
    )+};
}
values!(
    bool,
    i8,
    f64,
    i32,
    i64,
    u32,
    u64,
    usize,
    aclDataType,
    aclFormat,
    aclrtDevAttr,
    aclrtLastErrLevel,
    aclrtMemAttr,
    aclrtMemMallocPolicy,
    aclrtMemcpyKind,
);

macro_rules! objects {
    ($($ty:ty),+ $(,)?) => {$(
        impl Pointee for $ty {
            type Value = Handle;

            fn value(pointer: *mut Self) -> Handle {
                Handle(pointer.addr() as u64)
            }
        }
    )+};
}
objects!(
    aclOpExecutor,
    aclTensor,
    aclScalar,
    aclIntArray,
    aclFloatArray,
    aclBoolArray,
    aclTensorList,
    aclScalarList,
);

macro_rules! places {
    ($($ty:ty),+ $(,)?) => {$(
        impl Pointee for $ty {
            type Value = Place<Self>;

            fn value(pointer: *mut Self) -> Place<Self> {
                Place(pointer)
            }
        }
    )+};
}
places!(
    *mut aclOpExecutor,
    bool,
    f32,
    i32,
    i64,
    u32,
    u64,
    usize,
    *mut c_void,
    *mut i64,
    *const aclTensor,
    *const aclScalar,
    aclDataType,
    aclFormat,
    aclrtEventRecordedStatus,
    aclrtPtrAttributes,
    aclrtRunMode,
    aclrtStreamStatus,
    aclrtUuid,
);

/// A place for a result, or a list that is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<T>(*mut T);

impl<T: Copy> Place<T> {
    pub(crate) fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// The place, if it is one.
    pub(crate) fn some(self, code: i32) -> Outcome<Self> {
        if self.is_null() {
            return Err(Failure::new(code, "a place for a result is null"));
        }
        Ok(self)
    }

    /// Writes a result.
    ///
    /// # Panics
    /// If the place is null.
    pub(crate) fn put(&self, value: T) {
        assert!(!self.is_null(), "a place that was looked at");
        // SAFETY: the caller gave the place for one result of this type.
        unsafe { self.0.write_unaligned(value) };
    }

    /// The first `count` of a list; nothing if it is null though it has members.
    pub(crate) fn list(&self, count: u64) -> Option<Vec<T>> {
        if self.is_null() {
            return (count == 0).then(Vec::new);
        }
        let items = (0..count as usize).map(|index| {
            // SAFETY: the caller gave a list of so many.
            let item = unsafe { self.0.add(index) };
            // SAFETY: the same.
            unsafe { item.read_unaligned() }
        });
        Some(items.collect())
    }
}

impl Pointee for c_void {
    type Value = Pointer;

    fn value(pointer: *mut Self) -> Pointer {
        Pointer(pointer.expose_provenance())
    }
}

/// A handle, or an address of the host or of a device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pointer(usize);

impl Pointer {
    pub(crate) fn address(self) -> u64 {
        self.0 as u64
    }

    pub(crate) fn handle(self) -> Handle {
        Handle(self.0 as u64)
    }

    /// Bytes of the host that begin here.
    pub(crate) fn bytes(self, count: usize) -> HostBytes {
        let start = with_exposed_provenance_mut(self.0);
        // SAFETY: the caller named these bytes; for work that is queued they stay until it is done.
        unsafe { HostBytes::new(start, count) }
    }
}

impl Pointee for c_char {
    type Value = Text;

    fn value(pointer: *mut Self) -> Text {
        Text(pointer)
    }
}

/// A text that ends with a zero, or a buffer for one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text(*mut c_char);

impl Text {
    /// The text; nothing if it is null or no UTF-8.
    pub(crate) fn read(&self) -> Option<String> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: the caller gave a text that ends with a zero.
        let text = unsafe { CStr::from_ptr(self.0) };
        text.to_str().ok().map(str::to_owned)
    }

    /// Writes as much of a text as fits into a buffer, and a zero behind it. Nothing if it is null.
    pub(crate) fn write(&self, text: &str, capacity: usize) {
        if self.0.is_null() || capacity == 0 {
            return;
        }
        let mut bytes = text.as_bytes()[..text.len().min(capacity - 1)].to_vec();
        bytes.push(0);
        // SAFETY: the caller gave a buffer of this capacity.
        let buffer = unsafe { HostBytes::new(self.0.cast(), capacity) };
        buffer.write(&bytes);
    }
}

impl Argument for aclrtHostFunc {
    type Value = Option<unsafe extern "C" fn(*mut c_void)>;

    unsafe fn take(self) -> Self::Value {
        self
    }
}

/// A function of the host with its argument.
#[derive(Debug)]
pub(crate) struct HostFunction {
    function: unsafe extern "C" fn(*mut c_void),
    argument: Pointer,
}

impl HostFunction {
    pub(crate) fn new(function: unsafe extern "C" fn(*mut c_void), argument: Pointer) -> Self {
        Self { function, argument }
    }

    pub(crate) fn call(&self) {
        let argument = with_exposed_provenance_mut(self.argument.0);
        // SAFETY: the caller gave the function to be called with this argument.
        unsafe { (self.function)(argument) };
    }
}

/// A list that the caller frees, as `free` does; null if the host has no memory left.
pub(crate) fn given(values: &[i64]) -> *mut i64 {
    // SAFETY: any size may be asked for.
    let list: *mut i64 = unsafe { libc::malloc(size_of_val(values).max(1)) }.cast();
    for (index, value) in values.iter().enumerate() {
        if list.is_null() {
            break;
        }
        // SAFETY: within the list that was just made.
        let place = unsafe { list.add(index) };
        // SAFETY: the same.
        unsafe { place.write(*value) };
    }
    list
}
