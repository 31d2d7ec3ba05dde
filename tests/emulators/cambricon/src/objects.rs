//! Descriptions of operands and operators: no device is asked.

use backend_cambricon_sys::types::{
    cnnlActivationDescAttribute_t, cnnlActivationMode_t, cnnlDataType_t, cnnlMatMulDescAttribute_t,
    cnnlOpTensorDesc_t, cnnlReduceOp_t, cnnlTensorLayout_t,
};
use emulator_support::argument::{Place, Pointer};
use emulator_support::failure::{Failure, Outcome};

use crate::array::strides;
use crate::call::Call;
use crate::codes::{CNNL_BAD_PARAM, CNNL_NOT_SUPPORTED};
use crate::handles::{Handle, Kind};
use crate::kernels::groups::{Bounds, Stack};
use crate::memory::Owner;
use crate::tensor::{F32, Tensor, number};

/// Dimensions that a tensor may have.
const RANK_MAX: i32 = 8;

/// A description. What was made and not set is none yet.
#[derive(Debug)]
pub(crate) enum Object {
    Tensor {
        set: Option<Tensor>,
        is_on_host: bool,
    },
    OpTensor(Option<(cnnlOpTensorDesc_t, cnnlDataType_t)>),
    Div,
    Activation(Option<cnnlActivationMode_t>),
    Reduce(Option<Reduction>),
    MatMul(Product),
    Algorithm(Option<Plan>),
    Heuristic(Option<Plan>),
    Norm,
    GroupGemm(Bounds),
    GroupTensor(Option<Stack>),
}

#[derive(Debug, Clone)]
pub(crate) struct Reduction {
    pub(crate) axes: Vec<usize>,
    pub(crate) op: cnnlReduceOp_t,
    pub(crate) dtype: cnnlDataType_t,
}

/// What a product is set up with. 32-bit floats are cut to TF32 unless somebody says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Product {
    pub(crate) trans_a: bool,
    pub(crate) trans_b: bool,
    pub(crate) tf32: bool,
}

/// What an algorithm was found for, and the workspace that it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) of: String,
    pub(crate) workspace: usize,
}

impl Object {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Tensor { .. } => "a tensor descriptor",
            Self::OpTensor(_) => "a descriptor of an operation on two tensors",
            Self::Div => "a descriptor of a division",
            Self::Activation(_) => "a descriptor of an activation",
            Self::Reduce(_) => "a descriptor of a reduction",
            Self::MatMul(_) => "a descriptor of a product",
            Self::Algorithm(_) => "an algorithm of a product",
            Self::Heuristic(_) => "what was found for a product",
            Self::Norm => "a descriptor of a norm",
            Self::GroupGemm(_) => "a descriptor of products of runs",
            Self::GroupTensor(_) => "a descriptor of operands of runs",
        }
    }

    /// What is made by a function that makes one of a kind.
    fn fresh(kind: Kind) -> Self {
        match kind {
            Kind::Tensor => Self::Tensor {
                set: None,
                is_on_host: false,
            },
            Kind::OpTensor => Self::OpTensor(None),
            Kind::Div => Self::Div,
            Kind::Activation => Self::Activation(None),
            Kind::Reduce => Self::Reduce(None),
            Kind::MatMul => Self::MatMul(Product {
                trans_a: false,
                trans_b: false,
                tf32: true,
            }),
            Kind::Algorithm => Self::Algorithm(None),
            Kind::Heuristic => Self::Heuristic(None),
            Kind::Norm => Self::Norm,
            Kind::GroupGemm => Self::GroupGemm(Bounds::default()),
            Kind::GroupTensor => Self::GroupTensor(None),
            Kind::Queue
            | Kind::Notifier
            | Kind::Operators
            | Kind::Topology
            | Kind::Entity
            | Kind::Communicator => {
                unreachable!("no description")
            }
        }
    }
}

pub(crate) fn desc(text: impl Into<String>) -> Failure {
    Failure::violation("E-DESC", CNNL_BAD_PARAM, text)
}

/// Why a handle is no description.
pub(crate) fn dead(handle: Handle, kind: Kind) -> Failure {
    let text = if handle.is_null() {
        format!("{kind:?}: null")
    } else if handle.is(kind) {
        format!("the {kind:?} was destroyed")
    } else {
        format!("not a {kind:?}, or never made")
    };
    desc(text)
}

/// Makes a description; `wrap` is how the caller's type holds a handle.
pub(crate) fn create<T: Copy>(
    call: &mut Call,
    place: Place<T>,
    kind: Kind,
    wrap: impl FnOnce(*mut std::ffi::c_void) -> T,
) -> Outcome {
    let place = place.some(CNNL_BAD_PARAM)?;
    let handle = call.make(kind, Object::fresh(kind));
    place.put(wrap(handle.pointer()));
    Ok(())
}

/// Destroys a description. Work that was queued with it has its own copy.
pub(crate) fn destroy(call: &mut Call, handle: Handle, kind: Kind) -> Outcome {
    if !handle.is(kind) || call.objects.remove(&handle).is_none() {
        return Err(dead(handle, kind));
    }
    Ok(())
}

pub(crate) fn object(call: &mut Call, handle: Handle, kind: Kind) -> Outcome<&mut Object> {
    if !handle.is(kind) {
        return Err(dead(handle, kind));
    }
    call.objects
        .get_mut(&handle)
        .ok_or_else(|| dead(handle, kind))
}

/// What a tensor is set to.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) layout: cnnlTensorLayout_t,
    pub(crate) dtype: cnnlDataType_t,
    pub(crate) rank: i32,
    pub(crate) dims: Place<i64>,
    pub(crate) strides: Option<Place<i64>>,
}

impl Setting {
    fn tensor(&self, is_on_host: bool) -> Outcome<Tensor> {
        let bad = |text: String| Failure::new(CNNL_BAD_PARAM, text);
        if self.layout != cnnlTensorLayout_t::CNNL_LAYOUT_ARRAY {
            let text = format!("layout {}, ARRAY is the one that is used", self.layout.0);
            return Err(Failure::violation("E-LAYOUT", CNNL_BAD_PARAM, text));
        }
        if number(self.dtype).is_none() {
            let text = format!("type {}", self.dtype.0);
            return Err(Failure::violation("E-DTYPE", CNNL_NOT_SUPPORTED, text));
        }
        if !(0..=RANK_MAX).contains(&self.rank) || (self.rank == 0) != is_on_host {
            let text = format!(
                "{} dimensions: 1 to {RANK_MAX}, or none of a number of the host",
                self.rank
            );
            return Err(Failure::violation("E-SHAPE", CNNL_BAD_PARAM, text));
        }
        let list = |place: &Place<i64>| -> Outcome<Vec<usize>> {
            let list = place
                .list(self.rank as u64)
                .ok_or_else(|| bad("no list".to_owned()))?;
            let sizes = list.iter().map(|size| usize::try_from(*size).ok());
            let sizes: Option<Vec<_>> = sizes.collect();
            sizes.ok_or_else(|| Failure::violation("E-SHAPE", CNNL_BAD_PARAM, format!("{list:?}")))
        };
        let dims = list(&self.dims)?;
        Ok(Tensor {
            strides: match &self.strides {
                Some(given) => list(given)?,
                None => strides(&dims),
            },
            dims,
            dtype: self.dtype,
            is_on_host,
        })
    }
}

pub(crate) fn set_tensor(call: &mut Call, handle: Handle, setting: &Setting) -> Outcome {
    let Object::Tensor { set, is_on_host } = object(call, handle, Kind::Tensor)? else {
        return Err(dead(handle, Kind::Tensor));
    };
    if set.is_some() {
        return Err(desc("a tensor descriptor that was set and not reset"));
    }
    *set = Some(setting.tensor(*is_on_host)?);
    Ok(())
}

pub(crate) fn reset_tensor(call: &mut Call, handle: Handle) -> Outcome {
    *object(call, handle, Kind::Tensor)? = Object::fresh(Kind::Tensor);
    Ok(())
}

pub(crate) fn set_pointer_mode(call: &mut Call, handle: Handle, mode: u32) -> Outcome {
    let Object::Tensor { set, is_on_host } = object(call, handle, Kind::Tensor)? else {
        return Err(dead(handle, Kind::Tensor));
    };
    if set.is_some() || mode > 1 {
        return Err(desc(format!("pointer mode {mode} of a tensor that is set")));
    }
    *is_on_host = mode == 0;
    Ok(())
}

pub(crate) fn set_op_tensor(
    call: &mut Call,
    handle: Handle,
    op: cnnlOpTensorDesc_t,
    dtype: cnnlDataType_t,
) -> Outcome {
    if op.name().is_none() {
        return Err(Failure::new(CNNL_BAD_PARAM, format!("operation {}", op.0)));
    }
    *object(call, handle, Kind::OpTensor)? = Object::OpTensor(Some((op, dtype)));
    Ok(())
}

/// Bytes of the host, which a pointer of a device is not.
pub(crate) fn host_bytes(call: &Call, pointer: Pointer, count: usize) -> Outcome<Vec<u8>> {
    match call.owner(pointer.address()) {
        Owner::Device(_) => {
            let text = "a pointer of a device where one of the host is wanted";
            Err(Failure::violation("E-HPTR", CNNL_BAD_PARAM, text))
        }
        Owner::Host if pointer.address() == 0 => {
            Err(Failure::violation("E-HPTR", CNNL_BAD_PARAM, "null"))
        }
        Owner::Host | Owner::Pinned(_) => Ok(pointer.bytes(count).read()),
    }
}

/// An attribute of four bytes.
pub(crate) fn word(call: &Call, buffer: Pointer, bytes: usize) -> Outcome<u32> {
    if bytes != 4 {
        let text = format!("{bytes} bytes of an attribute of 4");
        return Err(Failure::new(CNNL_BAD_PARAM, text));
    }
    let bytes = host_bytes(call, buffer, 4)?;
    Ok(u32::from_le_bytes(bytes.try_into().expect("four bytes")))
}

pub(crate) fn set_activation(
    call: &mut Call,
    handle: Handle,
    attr: cnnlActivationDescAttribute_t,
    (buffer, bytes): (Pointer, usize),
) -> Outcome {
    let value = word(call, buffer, bytes)?;
    let Object::Activation(mode) = object(call, handle, Kind::Activation)? else {
        return Err(dead(handle, Kind::Activation));
    };
    match attr {
        cnnlActivationDescAttribute_t::CNNL_ACTIVATION_MODE => {
            *mode = Some(cnnlActivationMode_t(value));
        }
        cnnlActivationDescAttribute_t::CNNL_ACTIVATION_PREFERENCE
        | cnnlActivationDescAttribute_t::CNNL_ACTIVATION_NAN_PROP => {}
        _ => {
            return Err(Failure::new(
                CNNL_NOT_SUPPORTED,
                format!("attribute {}", attr.0),
            ));
        }
    }
    Ok(())
}

pub(crate) fn set_division(
    call: &mut Call,
    handle: Handle,
    (buffer, bytes): (Pointer, usize),
) -> Outcome {
    if word(call, buffer, bytes)? != 0 {
        return Err(Failure::new(CNNL_NOT_SUPPORTED, "divisions that round"));
    }
    object(call, handle, Kind::Div).map(|_| ())
}

pub(crate) fn set_reduction(
    call: &mut Call,
    handle: Handle,
    (axes, count): (Place<i32>, i32),
    (op, dtype): (cnnlReduceOp_t, cnnlDataType_t),
) -> Outcome {
    let axes = u64::try_from(count).ok().and_then(|count| axes.list(count));
    let axes = axes.unwrap_or_default();
    let axes: Option<Vec<_>> = axes
        .iter()
        .map(|axis| usize::try_from(*axis).ok())
        .collect();
    let axes = axes.filter(|axes| !axes.is_empty());
    let axes = axes.ok_or_else(|| Failure::violation("E-SHAPE", CNNL_BAD_PARAM, "axes"))?;
    *object(call, handle, Kind::Reduce)? = Object::Reduce(Some(Reduction { axes, op, dtype }));
    Ok(())
}

pub(crate) fn set_product(
    call: &mut Call,
    handle: Handle,
    attr: cnnlMatMulDescAttribute_t,
    (buffer, bytes): (Pointer, usize),
) -> Outcome {
    let value = word(call, buffer, bytes)?;
    let Object::MatMul(product) = object(call, handle, Kind::MatMul)? else {
        return Err(dead(handle, Kind::MatMul));
    };
    match attr {
        cnnlMatMulDescAttribute_t::CNNL_MATMUL_DESC_TRANSA => product.trans_a = value != 0,
        cnnlMatMulDescAttribute_t::CNNL_MATMUL_DESC_TRANSB => product.trans_b = value != 0,
        cnnlMatMulDescAttribute_t::CNNL_MATMUL_ALLOW_TF32 => product.tf32 = value != 0,
        cnnlMatMulDescAttribute_t::CNNL_MATMUL_DESC_COMPUTE_TYPE if value == F32.0 => {}
        _ => {
            let text = format!("attribute {} of {value}", attr.0);
            return Err(Failure::new(CNNL_NOT_SUPPORTED, text));
        }
    }
    Ok(())
}
