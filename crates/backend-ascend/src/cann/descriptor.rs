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
    let layout = Layout {
        dims: signed(&operand.dims),
        dtype: code(operand.dtype),
        strides: signed(operand.strides()),
        offset: operand.offset as i64,
        format: aclFormat::ACL_FORMAT_ND,
        storage: vec![operand.room as i64],
    };
    made(device, &layout, operand.at(scratch))
}

/// Matrices of integers, `dims` of which the last two are inputs and outputs, in the fractal format: the storage is the operand's
/// own, whose last dimension are bytes that hold several numbers of the type each, if any.
pub(super) fn fractal(
    device: &Rc<Device>,
    operand: &Operand,
    scratch: Address,
    (dims, dtype): (&[usize], aclDataType),
) -> Result<Descriptor<aclTensor>> {
    let mut storage = signed(&operand.dims);
    if dtype == aclDataType::ACL_INT4 {
        *storage.last_mut().expect("a block has bytes") *= 2;
    }
    let layout = Layout {
        dims: signed(dims),
        dtype,
        strides: dense(dims),
        offset: 0,
        format: aclFormat::ACL_FORMAT_FRACTAL_NZ,
        storage,
    };
    made(device, &layout, operand.at(scratch))
}

/// Numbers without gaps that the operand has the bytes of.
pub(super) fn retyped(
    device: &Rc<Device>,
    operand: &Operand,
    scratch: Address,
    (dims, dtype): (&[usize], aclDataType),
) -> Result<Descriptor<aclTensor>> {
    let layout = Layout {
        dims: signed(dims),
        dtype,
        strides: dense(dims),
        offset: 0,
        format: aclFormat::ACL_FORMAT_ND,
        storage: signed(dims),
    };
    made(device, &layout, operand.at(scratch))
}

/// How numbers lie at an address.
struct Layout {
    dims: Vec<i64>,
    dtype: aclDataType,
    strides: Vec<i64>,
    offset: i64,
    format: aclFormat,
    storage: Vec<i64>,
}

fn signed(numbers: &[usize]) -> Vec<i64> {
    numbers.iter().map(|n| *n as i64).collect()
}

/// Strides of rows without gaps.
fn dense(dims: &[usize]) -> Vec<i64> {
    let behind = |axis: usize| dims[axis + 1..].iter().product::<usize>() as i64;
    (0..dims.len()).map(behind).collect()
}

fn made(device: &Rc<Device>, layout: &Layout, at: Address) -> Result<Descriptor<aclTensor>> {
    let Layout {
        dims,
        strides,
        storage,
        ..
    } = layout;
    // SAFETY: lists of the lengths that are given, which the layer copies. The address is one of the
    // device, which neither the host nor the layer follows.
    let object = unsafe {
        (device.ascend.tensors.aclCreateTensor)(
            dims.as_ptr(),
            dims.len() as u64,
            layout.dtype,
            strides.as_ptr(),
            layout.offset,
            layout.format,
            storage.as_ptr(),
            storage.len() as u64,
            pointer(at),
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
        Type::I8 => aclDataType::ACL_INT8,
        Type::Bool => aclDataType::ACL_BOOL,
    }
}
