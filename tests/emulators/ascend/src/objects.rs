//! Operands of operators, as descriptions: no device is asked.

use backend_ascend_sys::types::{aclDataType, aclFormat, aclScalar, aclTensor};

use crate::call::Call;
use crate::codes;
use crate::exports::{Place, Pointer, given};
use crate::failure::{Failure, Outcome};
use crate::handles::{Handle, Kind};

/// Dimensions that a tensor may have.
const RANK_MAX: u64 = 8;

/// A description of an operand.
#[derive(Debug)]
pub(crate) enum Object {
    Tensor(Tensor),
    Scalar(Scalar),
    IntArray(Vec<i64>),
    FloatArray(Vec<f32>),
    BoolArray(Vec<bool>),
    TensorList(Vec<Handle>),
    ScalarList(Vec<Handle>),
}

/// A number, as a float and as an integer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scalar {
    pub(crate) float: f64,
    pub(crate) int: i64,
}

/// Numbers at an address. Strides and offset are in elements; the storage is what lies in memory.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    pub(crate) dims: Vec<i64>,
    pub(crate) strides: Vec<i64>,
    pub(crate) offset: i64,
    pub(crate) dtype: aclDataType,
    pub(crate) format: aclFormat,
    pub(crate) storage: Vec<i64>,
    pub(crate) data: Pointer,
}

/// What a tensor is made of.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) dims: Place<i64>,
    pub(crate) rank: u64,
    pub(crate) dtype: aclDataType,
    pub(crate) strides: Place<i64>,
    pub(crate) offset: i64,
    pub(crate) format: aclFormat,
    pub(crate) storage: Place<i64>,
    pub(crate) storage_rank: u64,
    pub(crate) data: Pointer,
}

impl Object {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Tensor(_) => "a tensor",
            Self::Scalar(_) => "a scalar",
            Self::IntArray(_) => "a list of integers",
            Self::FloatArray(_) => "a list of floats",
            Self::BoolArray(_) => "a list of booleans",
            Self::TensorList(_) => "a list of tensors",
            Self::ScalarList(_) => "a list of scalars",
        }
    }
}

fn invalid(text: impl Into<String>) -> Failure {
    Failure::new(codes::PARAM_INVALID, text)
}

fn null(what: &str) -> Failure {
    Failure::new(codes::NULLPTR, format!("{what}: null"))
}

impl Layout {
    fn tensor(&self) -> Outcome<Tensor> {
        if self.rank > RANK_MAX || self.storage_rank > RANK_MAX {
            let text = format!("rank {}, storage of rank {}", self.rank, self.storage_rank);
            return Err(invalid(format!("{text}, at most {RANK_MAX}")));
        }
        let list = |place: &Place<i64>, count, what: &str| {
            let list = place.list(count).ok_or_else(|| null(what))?;
            match list.iter().find(|dim| **dim < 0) {
                Some(dim) => Err(invalid(format!("{what}: {dim}"))),
                None => Ok(list),
            }
        };
        if self.dtype.name().is_none() || self.format.name().is_none() {
            let text = format!("type {}, format {}", self.dtype.0, self.format.0);
            return Err(invalid(text));
        }
        Ok(Tensor {
            dims: list(&self.dims, self.rank, "dims")?,
            strides: list(&self.strides, self.rank, "strides")?,
            offset: self.offset,
            dtype: self.dtype,
            format: self.format,
            storage: list(&self.storage, self.storage_rank, "storage dims")?,
            data: self.data,
        })
    }
}

fn make(call: &mut Call, kind: Kind, object: Object) -> Handle {
    let handle = call.handles.make(kind);
    call.objects.insert(handle, object);
    handle
}

pub(crate) fn create_tensor(call: &mut Call, layout: &Layout) -> Outcome<Handle> {
    let tensor = layout.tensor()?;
    Ok(make(call, Kind::Tensor, Object::Tensor(tensor)))
}

pub(crate) fn create_scalar(
    call: &mut Call,
    value: Pointer,
    dtype: aclDataType,
) -> Outcome<Handle> {
    if value.address() == 0 {
        return Err(null("value"));
    }
    let scalar = scalar(value, dtype).ok_or_else(|| invalid(format!("type {}", dtype.0)))?;
    Ok(make(call, Kind::Scalar, Object::Scalar(scalar)))
}

/// Reads a number.
fn scalar(value: Pointer, dtype: aclDataType) -> Option<Scalar> {
    let bytes = |count| value.bytes(count).read();
    let float = |float: f64| Scalar {
        float,
        int: float as i64,
    };
    let int = |int: i64| Scalar {
        float: int as f64,
        int,
    };
    Some(match dtype {
        aclDataType::ACL_FLOAT => float(f32::from_le_bytes(bytes(4).try_into().ok()?).into()),
        aclDataType::ACL_DOUBLE => float(f64::from_le_bytes(bytes(8).try_into().ok()?)),
        aclDataType::ACL_INT32 => int(i32::from_le_bytes(bytes(4).try_into().ok()?).into()),
        aclDataType::ACL_INT64 => int(i64::from_le_bytes(bytes(8).try_into().ok()?)),
        aclDataType::ACL_BOOL => int(bytes(1)[0].into()),
        _ => return None,
    })
}

pub(crate) fn create_ints(call: &mut Call, values: Place<i64>, count: u64) -> Outcome<Handle> {
    let values = values.list(count).ok_or_else(|| null("values"))?;
    Ok(make(call, Kind::IntArray, Object::IntArray(values)))
}

pub(crate) fn create_floats(call: &mut Call, values: Place<f32>, count: u64) -> Outcome<Handle> {
    let values = values.list(count).ok_or_else(|| null("values"))?;
    Ok(make(call, Kind::FloatArray, Object::FloatArray(values)))
}

pub(crate) fn create_bools(call: &mut Call, values: Place<bool>, count: u64) -> Outcome<Handle> {
    let values = values.list(count).ok_or_else(|| null("values"))?;
    Ok(make(call, Kind::BoolArray, Object::BoolArray(values)))
}

/// Members of a list, none of which another list owns.
fn members(call: &Call, members: Vec<Handle>, kind: Kind) -> Outcome<Vec<Handle>> {
    for member in &members {
        if !member.is(kind) || !call.objects.contains_key(member) {
            return Err(dead(*member, kind));
        }
        if owner(call, *member).is_some() {
            let text = format!("a {kind:?} that another list owns");
            return Err(Failure::violation(
                "list_member",
                codes::PARAM_INVALID,
                text,
            ));
        }
    }
    Ok(members)
}

/// The list that owns an object.
fn owner(call: &Call, member: Handle) -> Option<Handle> {
    let mut objects = call.objects.iter();
    let found = objects.find(|(_, object)| match object {
        Object::TensorList(members) | Object::ScalarList(members) => members.contains(&member),
        _ => false,
    });
    found.map(|(list, _)| *list)
}

pub(crate) fn create_tensor_list(
    call: &mut Call,
    list: Place<*const aclTensor>,
    count: u64,
) -> Outcome<Handle> {
    let list = list.list(count).ok_or_else(|| null("members"))?;
    let list = list
        .iter()
        .map(|member| Handle(member.addr() as u64))
        .collect();
    let list = members(call, list, Kind::Tensor)?;
    Ok(make(call, Kind::TensorList, Object::TensorList(list)))
}

pub(crate) fn create_scalar_list(
    call: &mut Call,
    list: Place<*const aclScalar>,
    count: u64,
) -> Outcome<Handle> {
    let list = list.list(count).ok_or_else(|| null("members"))?;
    let list = list
        .iter()
        .map(|member| Handle(member.addr() as u64))
        .collect();
    let list = members(call, list, Kind::Scalar)?;
    Ok(make(call, Kind::ScalarList, Object::ScalarList(list)))
}

/// Why a handle is no object: a violation, because a device would follow it.
pub(crate) fn dead(handle: Handle, kind: Kind) -> Failure {
    if handle.is_null() {
        return null("object");
    }
    let text = if handle.is(kind) {
        format!("the {kind:?} was destroyed")
    } else {
        format!("no {kind:?} was ever made with this handle")
    };
    Failure::violation("dead_object", codes::INNER, text)
}

fn destroy(call: &mut Call, handle: Handle, kind: Kind) -> Outcome {
    if !handle.is(kind) || !call.objects.contains_key(&handle) {
        return Err(dead(handle, kind));
    }
    if owner(call, handle).is_some() {
        let text = format!("the {kind:?} goes with the list that owns it");
        return Err(Failure::violation(
            "list_member",
            codes::PARAM_INVALID,
            text,
        ));
    }
    if let Some(Object::TensorList(members) | Object::ScalarList(members)) =
        call.objects.remove(&handle)
    {
        for member in members {
            call.objects.remove(&member);
        }
    }
    Ok(())
}

macro_rules! destroys {
    ($($name:ident = $kind:ident;)+) => {$(
        pub(crate) fn $name(call: &mut Call, handle: Handle) -> Outcome {
            destroy(call, handle, Kind::$kind)
        }
    )+};
}
destroys! {
    destroy_tensor = Tensor;
    destroy_scalar = Scalar;
    destroy_ints = IntArray;
    destroy_floats = FloatArray;
    destroy_bools = BoolArray;
    destroy_tensor_list = TensorList;
    destroy_scalar_list = ScalarList;
}

fn tensor(call: &mut Call, handle: Handle) -> Outcome<&mut Tensor> {
    match call.objects.get_mut(&handle) {
        Some(Object::Tensor(tensor)) => Ok(tensor),
        _ => Err(dead(handle, Kind::Tensor)),
    }
}

/// Gives a list to the caller, who frees it.
fn give(values: &[i64], list: Place<*mut i64>, count: Place<u64>) -> Outcome {
    let list = list.some(codes::NULLPTR)?;
    count.some(codes::NULLPTR)?.put(values.len() as u64);
    list.put(given(values));
    Ok(())
}

pub(crate) fn view_shape(
    call: &mut Call,
    handle: Handle,
    dims: Place<*mut i64>,
    rank: Place<u64>,
) -> Outcome {
    give(&tensor(call, handle)?.dims, dims, rank)
}

pub(crate) fn storage_shape(
    call: &mut Call,
    handle: Handle,
    dims: Place<*mut i64>,
    rank: Place<u64>,
) -> Outcome {
    give(&tensor(call, handle)?.storage, dims, rank)
}

pub(crate) fn view_strides(
    call: &mut Call,
    handle: Handle,
    strides: Place<*mut i64>,
    rank: Place<u64>,
) -> Outcome {
    give(&tensor(call, handle)?.strides, strides, rank)
}

pub(crate) fn view_offset(call: &mut Call, handle: Handle, offset: Place<i64>) -> Outcome {
    offset
        .some(codes::NULLPTR)?
        .put(tensor(call, handle)?.offset);
    Ok(())
}

pub(crate) fn format(call: &mut Call, handle: Handle, format: Place<aclFormat>) -> Outcome {
    format
        .some(codes::NULLPTR)?
        .put(tensor(call, handle)?.format);
    Ok(())
}

pub(crate) fn data_type(call: &mut Call, handle: Handle, dtype: Place<aclDataType>) -> Outcome {
    dtype.some(codes::NULLPTR)?.put(tensor(call, handle)?.dtype);
    Ok(())
}

pub(crate) fn address(
    call: &mut Call,
    handle: Handle,
    place: Place<*mut std::ffi::c_void>,
) -> Outcome {
    let address = tensor(call, handle)?.data.address();
    let place = place.some(codes::NULLPTR)?;
    place.put(std::ptr::without_provenance_mut(address as usize));
    Ok(())
}

pub(crate) fn set_address(call: &mut Call, handle: Handle, address: Pointer) -> Outcome {
    tensor(call, handle)?.data = address;
    Ok(())
}

/// How many members a list has.
pub(crate) fn count(call: &mut Call, handle: Handle, count: Place<u64>) -> Outcome {
    let members = match call.objects.get(&handle) {
        Some(Object::IntArray(list)) => list.len(),
        Some(Object::FloatArray(list)) => list.len(),
        Some(Object::BoolArray(list)) => list.len(),
        Some(Object::TensorList(list) | Object::ScalarList(list)) => list.len(),
        _ => return Err(dead(handle, Kind::TensorList)),
    };
    count.some(codes::NULLPTR)?.put(members as u64);
    Ok(())
}
