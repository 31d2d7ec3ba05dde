//! Arguments of C as values.

use std::ffi::{c_char, c_void};

use backend_cambricon_sys::types::{
    cnclCliqueId, cnclComm_t, cnclDataType_t, cnclReduceOp_t, cnnlActivationDescAttribute_t,
    cnnlActivationDescriptor_t, cnnlAtomicsMode_t, cnnlCastDataType_t, cnnlDataType_t,
    cnnlDivDescAttribute_t, cnnlDivDescriptor_t, cnnlGroupGemmAlgo_t, cnnlGroupGemmDescriptor_t,
    cnnlGroupGemmTensorDescriptor_t, cnnlGroupGemmTensorMode_t, cnnlHandle_t, cnnlIndicesType_t,
    cnnlLogBase_t, cnnlLogicOp_t, cnnlMatMulAlgo_t, cnnlMatMulDescAttribute_t,
    cnnlMatMulDescriptor_t, cnnlMatMulHeuristicResult_t, cnnlMatMulPrefer_t, cnnlNanPropagation_t,
    cnnlNormDescriptor_t, cnnlOpTensorDesc_t, cnnlOpTensorDescriptor_t, cnnlPointerMode_t,
    cnnlReduceDescriptor_t, cnnlReduceIndices_t, cnnlReduceOp_t, cnnlScatterNdMode_t,
    cnnlTensorDescriptor_t, cnnlTensorLayout_t, cnrtDeviceAttr_t, cnrtMemTransDir_t,
    cnrtNotifier_t, cnrtQueue_t, cnrtQueueCaptureMode, cnrtQueueCaptureStatus, cnrtTaskTopo_t,
    cnrtTaskTopoEntity_t, cnrtTaskTopoNode_t,
};
use emulator_support::argument::{Place, Pointer, Text};

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
    cnclDataType_t,
    cnclReduceOp_t,
    bool,
    f32,
    i32,
    u32,
    u64,
    usize,
    cnnlActivationDescAttribute_t,
    cnnlAtomicsMode_t,
    cnnlCastDataType_t,
    cnnlDataType_t,
    cnnlDivDescAttribute_t,
    cnnlGroupGemmTensorMode_t,
    cnnlIndicesType_t,
    cnnlLogBase_t,
    cnnlLogicOp_t,
    cnnlMatMulDescAttribute_t,
    cnnlNanPropagation_t,
    cnnlOpTensorDesc_t,
    cnnlPointerMode_t,
    cnnlReduceIndices_t,
    cnnlReduceOp_t,
    cnnlScatterNdMode_t,
    cnnlTensorLayout_t,
    cnrtDeviceAttr_t,
    cnrtMemTransDir_t,
    cnrtQueueCaptureMode,
);

macro_rules! descriptions {
    ($($ty:ty),+ $(,)?) => {$(
        impl Argument for $ty {
            type Value = Handle;

            unsafe fn take(self) -> Handle {
                Handle(self.0.addr() as u64)
            }
        }
    )+};
}
descriptions!(
    cnnlActivationDescriptor_t,
    cnnlDivDescriptor_t,
    cnnlGroupGemmAlgo_t,
    cnnlGroupGemmDescriptor_t,
    cnnlGroupGemmTensorDescriptor_t,
    cnnlHandle_t,
    cnnlMatMulAlgo_t,
    cnnlMatMulDescriptor_t,
    cnnlMatMulHeuristicResult_t,
    cnnlMatMulPrefer_t,
    cnnlNormDescriptor_t,
    cnnlOpTensorDescriptor_t,
    cnnlReduceDescriptor_t,
    cnnlTensorDescriptor_t,
);

macro_rules! runtime_handles {
    ($($ty:ty),+ $(,)?) => {$(
        impl Argument for $ty {
            type Value = Pointer;

            unsafe fn take(self) -> Pointer {
                // SAFETY: the caller's promise.
                unsafe { Pointer::new(self.0) }
            }
        }
    )+};
}
runtime_handles!(
    cnclComm_t,
    cnrtNotifier_t,
    cnrtQueue_t,
    cnrtTaskTopo_t,
    cnrtTaskTopoEntity_t
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
    cnclCliqueId,
    cnclComm_t,
    *const c_void,
    *mut c_void,
    f32,
    i32,
    i64,
    u32,
    u64,
    usize,
    cnnlActivationDescriptor_t,
    cnnlDivDescriptor_t,
    cnnlGroupGemmDescriptor_t,
    cnnlGroupGemmTensorDescriptor_t,
    cnnlHandle_t,
    cnnlMatMulAlgo_t,
    cnnlMatMulDescriptor_t,
    cnnlMatMulHeuristicResult_t,
    cnnlNormDescriptor_t,
    cnnlOpTensorDescriptor_t,
    cnnlReduceDescriptor_t,
    cnnlTensorDescriptor_t,
    cnrtNotifier_t,
    cnrtQueue_t,
    cnrtQueueCaptureStatus,
    cnrtTaskTopo_t,
    cnrtTaskTopoEntity_t,
    cnrtTaskTopoNode_t,
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

/// A list of communicators.
pub(crate) fn communicators(count: i32, places: &Place<cnclComm_t>) -> Vec<Pointer> {
    let all = places
        .list(u64::try_from(count).unwrap_or(0))
        .unwrap_or_default();
    // SAFETY: what the caller gave.
    all.into_iter().map(|one| unsafe { one.take() }).collect()
}

/// Descriptions and where their operands lie, as two lists.
pub(crate) fn operands(
    count: i32,
    descriptions: &Place<cnnlTensorDescriptor_t>,
    places: &Place<*const c_void>,
) -> Vec<(Handle, Pointer)> {
    let count = u64::try_from(count).unwrap_or(0);
    let descriptions = descriptions.list(count).unwrap_or_default();
    let places = places.list(count).unwrap_or_default();
    let taken = descriptions
        .into_iter()
        .zip(places)
        .map(|(description, place)| {
            // SAFETY: both are what the caller gave for an operand.
            let description = unsafe { description.take() };
            // SAFETY: the same.
            let place = unsafe { place.take() };
            (description, place)
        });
    taken.collect()
}
