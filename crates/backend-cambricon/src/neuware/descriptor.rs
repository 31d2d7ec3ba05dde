//! Descriptions of operands and operators, destroyed by their owners.
//!
//! Operators copy what they need of them before they return, so they live as long as a call.

use std::ffi::c_void;
use std::ptr::null;
use std::rc::Rc;

use backend_cambricon_sys::abi::operators::Operators;
use backend_cambricon_sys::types::{
    cnnlActivationDescriptor_t, cnnlDataType_t, cnnlDivDescriptor_t, cnnlMatMulAlgo_t,
    cnnlMatMulDescriptor_t, cnnlMatMulHeuristicResult_t, cnnlNormDescriptor_t,
    cnnlOpTensorDescriptor_t, cnnlPointerMode_t, cnnlReduceDescriptor_t, cnnlStatus_t,
    cnnlTensorDescriptor_t, cnnlTensorLayout_t,
};
use backend_offload::compose::{Operand, Type};
use deepseek_core::Result;

use super::device::Device;

/// What the library makes and destroys.
pub(super) trait Object: Copy {
    /// None yet.
    const NONE: Self;
    /// The function that makes one, by name.
    const CREATE: &'static str;

    fn creator(of: &Operators) -> unsafe extern "C" fn(*mut Self) -> cnnlStatus_t;
    fn destroyer(of: &Operators) -> unsafe extern "C" fn(Self) -> cnnlStatus_t;
}

macro_rules! objects {
    ($($Object:ident: $create:ident, $destroy:ident;)+) => {$(
        impl Object for $Object {
            const NONE: Self = Self::NULL;
            const CREATE: &'static str = stringify!($create);

            fn creator(of: &Operators) -> unsafe extern "C" fn(*mut Self) -> cnnlStatus_t {
                of.$create
            }

            fn destroyer(of: &Operators) -> unsafe extern "C" fn(Self) -> cnnlStatus_t {
                of.$destroy
            }
        }
    )+};
}
objects! {
    cnnlTensorDescriptor_t: cnnlCreateTensorDescriptor, cnnlDestroyTensorDescriptor;
    cnnlOpTensorDescriptor_t: cnnlCreateOpTensorDescriptor, cnnlDestroyOpTensorDescriptor;
    cnnlDivDescriptor_t: cnnlCreateDivDescriptor, cnnlDestroyDivDescriptor;
    cnnlActivationDescriptor_t: cnnlCreateActivationDescriptor, cnnlDestroyActivationDescriptor;
    cnnlReduceDescriptor_t: cnnlCreateReduceDescriptor, cnnlDestroyReduceDescriptor;
    cnnlNormDescriptor_t: cnnlCreateNormDesc, cnnlDestroyNormDesc;
    cnnlMatMulDescriptor_t: cnnlCreateMatMulDescriptor, cnnlDestroyMatMulDescriptor;
    cnnlMatMulAlgo_t: cnnlCreateMatMulAlgo, cnnlDestroyMatMulAlgo;
    cnnlMatMulHeuristicResult_t:
        cnnlCreateMatMulHeuristicResult, cnnlDestroyMatMulHeuristicResult;
}

/// An object with its owner.
pub(super) struct Descriptor<T: Object> {
    raw: T,
    device: Rc<Device>,
}

impl<T: Object> Descriptor<T> {
    pub(super) fn new(device: &Rc<Device>) -> Result<Self> {
        let mut raw = T::NONE;
        // SAFETY: the place is one for such an object.
        let code = unsafe { T::creator(&device.neuware.operators)(&raw mut raw) };
        device.cnnl(T::CREATE, code)?;
        Ok(Self {
            raw,
            device: Rc::clone(device),
        })
    }

    /// The object, for a call within the life of `self`.
    pub(super) fn raw(&self) -> T {
        self.raw
    }
}

impl<T: Object> Drop for Descriptor<T> {
    fn drop(&mut self) {
        // SAFETY: the library made it, nothing else owns it, and it is destroyed once.
        let _ = unsafe { T::destroyer(&self.device.neuware.operators)(self.raw) };
    }
}

/// A description of an operand.
pub(super) type Tensor = Descriptor<cnnlTensorDescriptor_t>;

/// The vendor's name for a type.
pub(super) fn code(dtype: Type) -> cnnlDataType_t {
    match dtype {
        Type::F32 => cnnlDataType_t::CNNL_DTYPE_FLOAT,
        Type::Bf16 => cnnlDataType_t::CNNL_DTYPE_BFLOAT16,
        Type::I32 => cnnlDataType_t::CNNL_DTYPE_INT32,
        Type::I64 => cnnlDataType_t::CNNL_DTYPE_INT64,
        Type::I8 => cnnlDataType_t::CNNL_DTYPE_INT8,
        Type::Bool => cnnlDataType_t::CNNL_DTYPE_BOOL,
    }
}

/// Numbers with their strides.
pub(super) fn tensor(device: &Rc<Device>, operand: &Operand) -> Result<Tensor> {
    let dims: Vec<i64> = operand.dims.iter().map(|n| *n as i64).collect();
    let strides: Vec<i64> = operand.strides().iter().map(|n| *n as i64).collect();
    let made = Tensor::new(device)?;
    let set = device.neuware.operators.cnnlSetTensorDescriptorEx_v2;
    let (layout, dtype) = (cnnlTensorLayout_t::CNNL_LAYOUT_ARRAY, code(operand.dtype));
    let rank = dims.len() as i32;
    // SAFETY: a description that lives and was not set, and lists of the length that is given, which the library copies.
    let code = unsafe {
        set(
            made.raw(),
            layout,
            dtype,
            rank,
            dims.as_ptr(),
            strides.as_ptr(),
        )
    };
    device.cnnl("cnnlSetTensorDescriptorEx_v2", code)?;
    Ok(made)
}

/// A number of the host: of no dimensions, at a place of the host's.
pub(super) fn host_number(device: &Rc<Device>, dtype: Type) -> Result<Tensor> {
    let made = Tensor::new(device)?;
    let of = &device.neuware.operators;
    let mode = cnnlPointerMode_t::CNNL_POINTER_MODE_HOST;
    // SAFETY: a description that lives and was not set.
    let status = unsafe { (of.cnnlSetTensorDescriptorPointerMode)(made.raw(), mode) };
    device.cnnl("cnnlSetTensorDescriptorPointerMode", status)?;
    let (layout, dtype) = (cnnlTensorLayout_t::CNNL_LAYOUT_ARRAY, code(dtype));
    let set = of.cnnlSetTensorDescriptorEx_v2;
    // SAFETY: the same; of no dimensions there are no lists.
    let status = unsafe { set(made.raw(), layout, dtype, 0, null(), null()) };
    device.cnnl("cnnlSetTensorDescriptorEx_v2", status)?;
    Ok(made)
}

/// Sets an attribute, all of which are four bytes.
pub(super) fn set<T: Object, A>(
    (device, call): (&Rc<Device>, &'static str),
    function: unsafe extern "C" fn(T, A, *const c_void, usize) -> cnnlStatus_t,
    of: &Descriptor<T>,
    (attribute, value): (A, u32),
) -> Result<()> {
    let place = (&raw const value).cast();
    // SAFETY: a description that lives, and four bytes, which the library copies.
    let code = unsafe { function(of.raw(), attribute, place, size_of::<u32>()) };
    device.cnnl(call, code)
}
