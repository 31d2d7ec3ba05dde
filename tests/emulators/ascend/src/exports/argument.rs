//! Arguments of C as values.
//!
//! A pointer becomes a value that keeps the caller's promise: null, or what the vendor's documentation
//! asks of this argument. Its methods do one thing within that promise.

use std::ffi::{c_char, c_void};

use backend_ascend_sys::types::{
    HcclCommConfig, HcclDataType, HcclReduceOp, HcclRootInfo, aclBoolArray, aclDataType,
    aclFloatArray, aclFormat, aclIntArray, aclOpExecutor, aclScalar, aclScalarList, aclTensor,
    aclTensorList, aclmdlRICaptureMode, aclmdlRICaptureStatus, aclrtDevAttr,
    aclrtEventRecordedStatus, aclrtHostFunc, aclrtLastErrLevel, aclrtMemAttr, aclrtMemMallocPolicy,
    aclrtMemcpyKind, aclrtPtrAttributes, aclrtRunMode, aclrtStreamStatus, aclrtUuid,
};
pub(crate) use emulator_support::argument::{HostFunction, Place, Pointer, Text};

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
    aclmdlRICaptureMode,
    HcclDataType,
    HcclReduceOp,
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
                // SAFETY: the promise of `take`, which alone leads here.
                unsafe { Place::new(pointer) }
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
    aclmdlRICaptureMode,
    aclmdlRICaptureStatus,
    aclrtEventRecordedStatus,
    aclrtPtrAttributes,
    aclrtRunMode,
    aclrtStreamStatus,
    aclrtUuid,
    HcclCommConfig,
    HcclRootInfo,
);

impl Pointee for c_void {
    type Value = Pointer;

    fn value(pointer: *mut Self) -> Pointer {
        // SAFETY: the promise of `take`, which alone leads here.
        unsafe { Pointer::new(pointer) }
    }
}

impl Pointee for c_char {
    type Value = Text;

    fn value(pointer: *mut Self) -> Text {
        // SAFETY: the promise of `take`, which alone leads here.
        unsafe { Text::new(pointer) }
    }
}

impl Argument for aclrtHostFunc {
    type Value = Option<unsafe extern "C" fn(*mut c_void)>;

    unsafe fn take(self) -> Self::Value {
        self
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
