//! What the libraries make, destroyed by its owners: descriptions of operands and operators most of all.
//!
//! Operators copy what they need of these before they return, so they live as long as a call.

use std::ffi::c_void;
use std::fmt;
use std::ptr::null;
use std::rc::Rc;

use backend_cambricon_sys::types::{
    cnnlDataType_t, cnnlPointerMode_t, cnnlStatus_t, cnnlTensorDescriptor_t, cnnlTensorLayout_t,
};
use backend_offload::compose::{Operand, Type};
use deepseek_core::Result;

use super::device::Device;

/// A function that destroys an object.
type Destroy<T> = unsafe extern "C" fn(T) -> cnnlStatus_t;

/// An object with its owner, which keeps the device.
pub struct Owned<T: Copy> {
    raw: T,
    destroy: Destroy<T>,
    device: Rc<Device>,
}

impl<T: Copy> fmt::Debug for Owned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owned({:?})", self.device)
    }
}

impl<T: Copy> Owned<T> {
    /// Owns an object.
    ///
    /// # Safety
    /// A library of the device made it, and nothing else owns it; the function destroys one.
    pub(super) unsafe fn new(device: &Rc<Device>, raw: T, destroy: Destroy<T>) -> Self {
        Self {
            raw,
            destroy,
            device: Rc::clone(device),
        }
    }

    /// The object, for a call within the life of `self`.
    pub(super) fn raw(&self) -> T {
        self.raw
    }
}

impl<T: Copy> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the promise of `new`; it is destroyed once.
        let _ = unsafe { (self.destroy)(self.raw) };
    }
}

/// Has the library make an object by one of its functions, which another destroys.
macro_rules! made {
    ($device:expr, $Object:ident: $create:ident, $destroy:ident) => {{
        let of = &$device.neuware.operators;
        let mut raw = $Object::NULL;
        // SAFETY: the place is one for such an object.
        let code = unsafe { (of.$create)(&raw mut raw) };
        let made = $device.cnnl(stringify!($create), code);
        // SAFETY: it was just made.
        made.map(|()| unsafe { $crate::neuware::descriptor::Owned::new($device, raw, of.$destroy) })
    }};
}
pub(super) use made;

/// A description of an operand.
pub(super) type Tensor = Owned<cnnlTensorDescriptor_t>;

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

fn bare(device: &Rc<Device>) -> Result<Tensor> {
    made!(device, cnnlTensorDescriptor_t: cnnlCreateTensorDescriptor, cnnlDestroyTensorDescriptor)
}

/// Numbers with their strides.
pub(super) fn tensor(device: &Rc<Device>, operand: &Operand) -> Result<Tensor> {
    let dims: Vec<i64> = operand.dims.iter().map(|n| *n as i64).collect();
    let strides: Vec<i64> = operand.strides().iter().map(|n| *n as i64).collect();
    let made = bare(device)?;
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
    let made = bare(device)?;
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
pub(super) fn set<T: Copy, A>(
    (device, call): (&Device, &'static str),
    function: unsafe extern "C" fn(T, A, *const c_void, usize) -> cnnlStatus_t,
    of: &Owned<T>,
    (attribute, value): (A, u32),
) -> Result<()> {
    let place = (&raw const value).cast();
    // SAFETY: a description that lives, and four bytes, which the library copies.
    let code = unsafe { function(of.raw(), attribute, place, size_of::<u32>()) };
    device.cnnl(call, code)
}
