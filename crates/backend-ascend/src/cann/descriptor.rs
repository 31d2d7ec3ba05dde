//! Descriptions of operands, destroyed by their owners.

use std::ptr::{NonNull, null_mut};
use std::rc::Rc;

use backend_ascend_sys::abi::tensors::TensorLayer;
use backend_ascend_sys::types::{
    aclDataType, aclFormat, aclIntArray, aclScalar, aclTensor, aclTensorList, aclnnStatus,
};
use backend_offload::Address;
use backend_offload::compose::{Number, Operand, Type};
use deepseek_core::Result;

use super::device::Device;
use super::pointer;

/// An object of the tensor layer.
pub(super) trait Object {
    /// The function that destroys it.
    fn destroyer(layer: &TensorLayer) -> unsafe extern "C" fn(*const Self) -> aclnnStatus;
}

macro_rules! objects {
    ($($Object:ident by $destroy:ident;)+) => {$(
        impl Object for $Object {
            fn destroyer(layer: &TensorLayer) -> unsafe extern "C" fn(*const Self) -> aclnnStatus {
                layer.$destroy
            }
        }
    )+};
}
objects! {
    aclTensor by aclDestroyTensor;
    aclTensorList by aclDestroyTensorList;
    aclScalar by aclDestroyScalar;
    aclIntArray by aclDestroyIntArray;
}

/// An object with its owner.
pub(super) struct Descriptor<T: Object> {
    /// None once something else owns it.
    object: Option<NonNull<T>>,
    device: Rc<Device>,
}

impl<T: Object> Descriptor<T> {
    fn new(device: &Rc<Device>, call: &str, object: *mut T) -> Result<Self> {
        let object = NonNull::new(object);
        let object = object.ok_or_else(|| device.fault(format!("{call}: no object")))?;
        Ok(Self {
            object: Some(object),
            device: Rc::clone(device),
        })
    }

    /// The object, for a call within the life of `self`.
    pub(super) fn raw(&self) -> *mut T {
        self.object.map_or(null_mut(), NonNull::as_ptr)
    }
}

impl<T: Object> Drop for Descriptor<T> {
    fn drop(&mut self) {
        if let Some(object) = self.object {
            // SAFETY: the layer made it, nothing else owns it, and it is destroyed once.
            let _ = unsafe { T::destroyer(&self.device.ascend.tensors)(object.as_ptr()) };
        }
    }
}

/// Numbers at an address; `scratch` is where memory for intermediate results begins.
pub(super) fn tensor(
    device: &Rc<Device>,
    operand: &Operand,
    scratch: Address,
) -> Result<Descriptor<aclTensor>> {
    let signed = |numbers: &[usize]| -> Vec<i64> { numbers.iter().map(|n| *n as i64).collect() };
    let (dims, strides) = (signed(&operand.dims), signed(operand.strides()));
    let room = [operand.room as i64];
    // SAFETY: lists of the lengths that are given, which the layer copies. The address is one of the
    // device, which neither the host nor the layer follows.
    let object = unsafe {
        (device.ascend.tensors.aclCreateTensor)(
            dims.as_ptr(),
            dims.len() as u64,
            code(operand.dtype),
            strides.as_ptr(),
            operand.offset as i64,
            aclFormat::ACL_FORMAT_ND,
            room.as_ptr(),
            room.len() as u64,
            pointer(operand.at(scratch)),
        )
    };
    Descriptor::new(device, "aclCreateTensor", object)
}

/// A list, which owns its members from now on.
pub(super) fn list(
    device: &Rc<Device>,
    mut members: Vec<Descriptor<aclTensor>>,
) -> Result<Descriptor<aclTensorList>> {
    let raw: Vec<_> = members.iter().map(|one| one.raw().cast_const()).collect();
    let create = device.ascend.tensors.aclCreateTensorList;
    // SAFETY: a list of this length, of objects that live and no list owns.
    let object = unsafe { create(raw.as_ptr(), raw.len() as u64) };
    let list = Descriptor::new(device, "aclCreateTensorList", object)?;
    members.iter_mut().for_each(|member| member.object = None);
    Ok(list)
}

pub(super) fn scalar(device: &Rc<Device>, number: Number) -> Result<Descriptor<aclScalar>> {
    let (mut float, mut int) = match number {
        Number::F32(float) => (float, 0),
        Number::I32(int) => (0.0, int),
    };
    let (value, dtype) = match number {
        Number::F32(_) => ((&raw mut float).cast(), aclDataType::ACL_FLOAT),
        Number::I32(_) => ((&raw mut int).cast(), aclDataType::ACL_INT32),
    };
    // SAFETY: a number of the type that is given, which the layer copies.
    let object = unsafe { (device.ascend.tensors.aclCreateScalar)(value, dtype) };
    Descriptor::new(device, "aclCreateScalar", object)
}

pub(super) fn ints(device: &Rc<Device>, numbers: &[i64]) -> Result<Descriptor<aclIntArray>> {
    let create = device.ascend.tensors.aclCreateIntArray;
    // SAFETY: a list of this length, which the layer copies.
    let object = unsafe { create(numbers.as_ptr(), numbers.len() as u64) };
    Descriptor::new(device, "aclCreateIntArray", object)
}

/// The vendor's name for a type.
pub(super) fn code(dtype: Type) -> aclDataType {
    match dtype {
        Type::F32 => aclDataType::ACL_FLOAT,
        Type::Bf16 => aclDataType::ACL_BF16,
        Type::I32 => aclDataType::ACL_INT32,
        Type::I64 => aclDataType::ACL_INT64,
        Type::Bool => aclDataType::ACL_BOOL,
    }
}
