//! Operators: described, their workspace asked for, queued.

use std::ffi::c_void;
use std::fmt;
use std::ptr::{null, null_mut};
use std::rc::Rc;

use backend_cambricon_sys::types::{
    cnnlActivationDescAttribute_t, cnnlActivationDescriptor_t, cnnlActivationMode_t,
    cnnlAtomicsMode_t, cnnlCastDataType_t, cnnlComputationPreference_t, cnnlDivDescAttribute_t,
    cnnlDivDescriptor_t, cnnlHandle_t, cnnlIndicesType_t, cnnlLogicOp_t, cnnlMatMulAlgo_t,
    cnnlMatMulDescAttribute_t, cnnlMatMulDescriptor_t, cnnlMatMulHeuristicResult_t,
    cnnlMatMulPrefer_t, cnnlNanPropagation_t, cnnlNormDescriptor_t, cnnlOpTensorDesc_t,
    cnnlOpTensorDescriptor_t, cnnlPointerMode_t, cnnlReduceDescriptor_t, cnnlReduceIndices_t,
    cnnlReduceOp_t, cnnlScatterNdMode_t, cnnlStatus_t, cnnlTensorDescriptor_t,
};
use backend_offload::compose::{Binary, Call, Function, Number, Operand, Order, Type};
use backend_offload::{Address, Queue};
use deepseek_core::{Error, Result};

use super::descriptor::{self, Descriptor, Tensor};
use super::device::Device;
use super::pointer;
use super::queue::MluQueue;
use crate::lower::{Own, Plain};

/// Of a description that an operator does not need.
const NO_TENSOR: cnnlTensorDescriptor_t = cnnlTensorDescriptor_t::NULL;
/// Algorithms that may be asked for.
const ALGORITHMS: i32 = 1;

/// A handle of the operators: of one thread, and one queue.
pub(crate) struct Operators {
    raw: cnnlHandle_t,
    device: Rc<Device>,
    queue: Rc<MluQueue>,
}

impl fmt::Debug for Operators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Operators({:?})", self.device)
    }
}

impl Drop for Operators {
    fn drop(&mut self) {
        // What is queued may still use the handle. A failure of it was told to who waited, or nobody waits.
        let _ = self.queue.synchronize();
        // SAFETY: a handle that lives, and is destroyed once.
        let _ = unsafe { (self.device.neuware.operators.cnnlDestroy)(self.raw) };
    }
}

/// Queues an operator whose workspace begins there.
type Launch<'a> = Box<dyn FnOnce(*mut c_void) -> Result<()> + 'a>;

/// An operator with the descriptions of its operands.
pub(crate) struct Prepared<'a> {
    workspace_bytes: usize,
    launch: Launch<'a>,
}

impl Prepared<'_> {
    /// Bytes that the operator wants beside its operands.
    pub(crate) fn workspace_bytes(&self) -> usize {
        self.workspace_bytes
    }

    /// Queues it. The workspace has as many bytes as it wants, and is the queue's alone.
    pub(crate) fn launch(self, workspace: Option<Address>) -> Result<()> {
        (self.launch)(workspace.map_or(null_mut(), pointer))
    }
}

fn with_workspace<'a>(
    workspace_bytes: usize,
    launch: impl FnOnce(*mut c_void) -> Result<()> + 'a,
) -> Prepared<'a> {
    Prepared {
        workspace_bytes,
        launch: Box::new(launch),
    }
}

/// An operand: its description, and where it lies.
struct At {
    tensor: Tensor,
    place: *mut c_void,
}

impl At {
    /// Its description.
    fn desc(&self) -> cnnlTensorDescriptor_t {
        self.tensor.raw()
    }

    fn read(&self) -> *const c_void {
        self.place.cast_const()
    }
}

/// A function of each number.
type Unary = unsafe extern "C" fn(
    cnnlHandle_t,
    cnnlTensorDescriptor_t,
    *const c_void,
    cnnlTensorDescriptor_t,
    *mut c_void,
) -> cnnlStatus_t;

/// Factors that change nothing, of the type that is computed in: 1 for operands, 0 for what was there.
static ONE: f32 = 1.0;
static ZERO: f32 = 0.0;
static ONE_INT: i32 = 1;
static ZERO_INT: i32 = 0;

fn zero_and_one(dtype: Type) -> [*const c_void; 2] {
    match dtype {
        Type::F32 | Type::Bf16 => [(&raw const ZERO).cast(), (&raw const ONE).cast()],
        Type::I32 | Type::I64 | Type::I8 | Type::Bool => {
            [(&raw const ZERO_INT).cast(), (&raw const ONE_INT).cast()]
        }
    }
}

/// A value, for a call before whose end something else may not go.
fn kept<T, V>(_until: &T, value: V) -> V {
    value
}

/// Calls a function of the operators: what it is given is of the types and in the order of the table's entry. Descriptions live
/// until it returns; addresses are the device's, which the host never follows.
macro_rules! cnnl {
    ($own:ident, $name:ident($($argument:expr),* $(,)?)) => {{
        let function = $own.device.neuware.operators.$name;
        // SAFETY: as above.
        let code = unsafe { function($($argument),*) };
        $own.device.cnnl(stringify!($name), code)
    }};
}

/// An operator with what it is given behind the handle: `name(…)`, or `query(…) => |room, bytes| name(…)` if it wants workspace, whose
/// size the query tells.
macro_rules! operator {
    ($own:ident: $name:ident($($argument:expr),* $(,)?)) => {
        Ok(with_workspace(0, move |_| cnnl!($own, $name($own.raw, $($argument),*))))
    };
    (
        $own:ident: $query:ident($($of:expr),* $(,)?)
            => |$room:ident, $bytes:ident| $name:ident($($argument:expr),* $(,)?)
    ) => {{
        let mut $bytes = 0;
        cnnl!($own, $query($own.raw, $($of,)* &raw mut $bytes))?;
        Ok(with_workspace($bytes, move |$room| cnnl!($own, $name($own.raw, $($argument),*))))
    }};
}

/// Sets attributes of a description.
macro_rules! attributes {
    ($own:ident: $set:ident($of:ident) $($attribute:path = $value:expr),+ $(,)?) => {$(
        let function = $own.device.neuware.operators.$set;
        let named = (&$own.device, stringify!($set));
        descriptor::set(named, function, &$of, ($attribute, $value))?;
    )+};
}

impl Operators {
    /// A handle for this thread and a queue. Sums are taken in one order.
    pub(crate) fn new(queue: &Rc<MluQueue>) -> Result<Self> {
        let device = &queue.device;
        let mut raw = cnnlHandle_t::NULL;
        // SAFETY: the place is one for a handle.
        let code = unsafe { (device.neuware.operators.cnnlCreate)(&raw mut raw) };
        device.cnnl("cnnlCreate", code)?;
        let own = Self {
            raw,
            device: Rc::clone(device),
            queue: Rc::clone(queue),
        };
        cnnl!(own, cnnlSetQueue(own.raw, queue.raw))?;
        let atomics = cnnlAtomicsMode_t::CNNL_ATOMICS_NOT_ALLOWED;
        cnnl!(own, cnnlSetAtomicsMode(own.raw, atomics))?;
        Ok(own)
    }

    /// Prepares a call, whose memory for intermediate results begins at `scratch`.
    pub(crate) fn prepare(&self, call: &Call<Own>, scratch: Address) -> Result<Prepared<'_>> {
        let on = |operand: &Operand| self.at(operand, scratch);
        match call {
            Call::Binary { f, a, b, out } => self.binary(*f, [on(a)?, on(b)?, on(out)?], a.dtype),
            Call::Function { f, x, out } => self.function(*f, on(x)?, on(out)?),
            Call::Cast { x, out } => self.cast([x.dtype, out.dtype], on(x)?, on(out)?),
            Call::Copy { from, out } => self.copy(on(from)?, on(out)?),
            Call::Where {
                condition,
                yes,
                no,
                out,
            } => self.select([on(condition)?, on(yes)?, on(no)?, on(out)?]),
            Call::Fill { out, value } => self.fill(*value, on(out)?),
            Call::MaskedFill { .. } => unreachable!("lowered to a choice"),
            Call::Arange { out } => self.arange(out.dtype, on(out)?),
            Call::Concat { parts, out } => {
                let parts = parts.iter().map(on).collect::<Result<_>>()?;
                self.concat(parts, on(out)?)
            }
            Call::Rows { from, at, out } => self.rows([on(from)?, on(at)?, on(out)?]),
            Call::Gather { from, at, out } => self.gather([on(from)?, on(at)?, on(out)?]),
            Call::Scatter { into, at, from } => self.scatter([on(into)?, on(at)?, on(from)?]),
            Call::Matmul { a, b, out } => self.matmul([a, b, out], scratch),
            Call::RmsNorm {
                x, gamma, eps, out, ..
            } => self.rms_norm([on(x)?, on(gamma)?, on(out)?], *eps),
            Call::Sum { x, out } => {
                self.reduce(cnnlReduceOp_t::CNNL_REDUCE_ADD, [on(x)?, on(out)?])
            }
            Call::Max { x, out, .. } => {
                self.reduce(cnnlReduceOp_t::CNNL_REDUCE_MAX, [on(x)?, on(out)?])
            }
            Call::TopK {
                x,
                order,
                out,
                places,
            } => self.top_k(*order, out.dims[1], [on(x)?, on(out)?, on(places)?]),
            Call::Own(Own::Differs { a, b, out }) => self.differs([on(a)?, on(b)?, on(out)?]),
            Call::Own(Own::Expand { from, out }) => self.expand(on(from)?, on(out)?),
            Call::Own(Own::Plain { f, x, out }) => {
                let of = &self.device.neuware.operators;
                let (name, function) = match f {
                    Plain::Abs => ("cnnlAbs", of.cnnlAbs),
                    Plain::Negate => ("cnnlNegTensor", of.cnnlNegTensor),
                    Plain::Log1p => ("cnnlLog1p_v2", of.cnnlLog1p_v2),
                };
                Ok(self.unary(name, function, on(x)?, on(out)?))
            }
        }
    }

    fn at(&self, operand: &Operand, scratch: Address) -> Result<At> {
        let start = operand.at(scratch);
        let start = start.plus(operand.offset * operand.dtype.bytes());
        Ok(At {
            tensor: descriptor::tensor(&self.device, operand)?,
            place: pointer(start),
        })
    }

    fn unary<'a>(&'a self, name: &'static str, function: Unary, x: At, out: At) -> Prepared<'a> {
        with_workspace(0, move |_| {
            // SAFETY: a handle of this thread and descriptions that live; addresses are the device's.
            let code = unsafe { function(self.raw, x.desc(), x.read(), out.desc(), out.place) };
            self.device.cnnl(name, code)
        })
    }

    fn binary(&self, f: Binary, operands: [At; 3], dtype: Type) -> Result<Prepared<'_>> {
        let op = match f {
            Binary::Add => cnnlOpTensorDesc_t::CNNL_OP_TENSOR_ADD,
            Binary::Sub => cnnlOpTensorDesc_t::CNNL_OP_TENSOR_SUB,
            Binary::Mul => cnnlOpTensorDesc_t::CNNL_OP_TENSOR_MUL,
            Binary::Div => return self.div(operands),
        };
        let [a, b, out] = operands;
        let of = Descriptor::<cnnlOpTensorDescriptor_t>::new(&self.device)?;
        let compute = descriptor::code(dtype);
        let nan = cnnlNanPropagation_t::CNNL_PROPAGATE_NAN;
        cnnl!(self, cnnlSetOpTensorDescriptor(of.raw(), op, compute, nan))?;
        let [zero, one] = zero_and_one(dtype);
        operator! {
            self: cnnlGetOpTensorWorkspaceSize(a.desc(), b.desc(), out.desc())
                => |room, bytes| cnnlOpTensor(
                    of.raw(), one, a.desc(), a.read(), one, b.desc(), b.read(), room, bytes,
                    zero, out.desc(), out.place,
                )
        }
    }

    fn div(&self, [a, b, out]: [At; 3]) -> Result<Prepared<'_>> {
        let of = Descriptor::<cnnlDivDescriptor_t>::new(&self.device)?;
        attributes! { self: cnnlSetDivDescAttr(of) cnnlDivDescAttribute_t::CNNL_DIV_MODE = 0 }
        operator! {
            self: cnnlGetDivWorkspaceSize_v2(of.raw(), a.desc(), b.desc(), out.desc())
                => |room, bytes| cnnlDiv_v3(
                    of.raw(), a.desc(), a.read(), b.desc(), b.read(), room, bytes,
                    out.desc(), out.place,
                )
        }
    }

    fn function(&self, f: Function, x: At, out: At) -> Result<Prepared<'_>> {
        let of = &self.device.neuware.operators;
        match f {
            Function::Clamp(min, max) => self.clip([min, max], x, out),
            Function::Exp => Ok(self.unary("cnnlExp", of.cnnlExp, x, out)),
            Function::Sqrt => Ok(self.unary("cnnlSqrt", of.cnnlSqrt, x, out)),
            Function::Sigmoid => {
                self.activation(cnnlActivationMode_t::CNNL_ACTIVATION_SIGMOID, x, out)
            }
            Function::Silu => self.activation(cnnlActivationMode_t::CNNL_ACTIVATION_SILU, x, out),
            Function::Adds(term) => self.adds(term, x, out),
            Function::Softplus | Function::Muls(_) => unreachable!("lowered"),
        }
    }

    /// `x * 1 + term`.
    fn adds(&self, term: f32, x: At, out: At) -> Result<Prepared<'_>> {
        let (mode, one) = (
            cnnlPointerMode_t::CNNL_POINTER_MODE_HOST,
            (&raw const ONE).cast(),
        );
        operator! {
            self: cnnlGetTransformWorkspaceSize(x.desc(), out.desc())
                => |room, bytes| cnnlTransform_v3(
                    mode, one, x.desc(), x.read(), (&raw const term).cast(), room, bytes,
                    out.desc(), out.place,
                )
        }
    }

    /// Between two bounds, one of which is finite.
    fn clip(&self, [min, max]: [f32; 2], x: At, out: At) -> Result<Prepared<'_>> {
        let number = descriptor::host_number(&self.device, Type::F32)?;
        let desc = |bound: &f32| {
            if bound.is_finite() {
                number.raw()
            } else {
                NO_TENSOR
            }
        };
        let [of_min, of_max] = [desc(&min), desc(&max)];
        let place = |bound: &f32| {
            let place = (&raw const *bound).cast();
            if bound.is_finite() { place } else { null() }
        };
        operator! {
            self: cnnlGetClipWorkspaceSize(x.desc(), of_min, of_max)
                => |room, bytes| cnnlClip_v3(
                    x.desc(), x.read(), kept(&number, of_min), place(&min), of_max, place(&max),
                    room, bytes, out.desc(), out.place,
                )
        }
    }

    /// With the precision that there is.
    fn activation(&self, mode: cnnlActivationMode_t, x: At, out: At) -> Result<Prepared<'_>> {
        let of = Descriptor::<cnnlActivationDescriptor_t>::new(&self.device)?;
        let prefer = cnnlComputationPreference_t::CNNL_COMPUTATION_HIGH_PRECISION;
        let nan = cnnlNanPropagation_t::CNNL_PROPAGATE_NAN;
        attributes! {
            self: cnnlSetActivationDescAttr(of)
            cnnlActivationDescAttribute_t::CNNL_ACTIVATION_MODE = mode.0,
            cnnlActivationDescAttribute_t::CNNL_ACTIVATION_PREFERENCE = prefer.0,
            cnnlActivationDescAttribute_t::CNNL_ACTIVATION_NAN_PROP = nan.0,
        }
        operator! {
            self: cnnlActivationForward(
                of.raw(), null(), x.desc(), x.read(), null(), out.desc(), out.place,
            )
        }
    }

    fn cast(&self, types: [Type; 2], x: At, out: At) -> Result<Prepared<'_>> {
        let cast = match types {
            [Type::F32, Type::Bf16] => cnnlCastDataType_t::CNNL_CAST_FLOAT_TO_BFLOAT16,
            [Type::Bf16, Type::F32] => cnnlCastDataType_t::CNNL_CAST_BFLOAT16_TO_FLOAT,
            [Type::F32, Type::I32] => cnnlCastDataType_t::CNNL_CAST_FLOAT_TO_INT32,
            [Type::I32, Type::F32] => cnnlCastDataType_t::CNNL_CAST_INT32_TO_FLOAT,
            [Type::I32, Type::I64] => cnnlCastDataType_t::CNNL_CAST_INT32_TO_INT64,
            [Type::I64, Type::I32] => cnnlCastDataType_t::CNNL_CAST_INT64_TO_INT32,
            [Type::Bool, Type::F32] => cnnlCastDataType_t::CNNL_CAST_BOOL_TO_FLOAT,
            [from, to] => {
                return Err(Error::Unsupported {
                    device: self.device.name().to_owned(),
                    what: format!("a cast of {from:?} to {to:?}"),
                });
            }
        };
        operator! { self: cnnlCastDataType(x.desc(), x.read(), cast, out.desc(), out.place) }
    }

    /// Between any strides.
    fn copy(&self, from: At, out: At) -> Result<Prepared<'_>> {
        operator! {
            self: cnnlGetCopyWorkspaceSize(from.desc(), out.desc())
                => |room, bytes| cnnlCopy_v2(
                    from.desc(), from.read(), out.desc(), out.place, room, bytes,
                )
        }
    }

    fn select(&self, [condition, yes, no, out]: [At; 4]) -> Result<Prepared<'_>> {
        operator! {
            self: cnnlGetSelectV2WorkspaceSize(condition.desc(), yes.desc(), no.desc())
                => |room, bytes| cnnlSelectV2(
                    condition.desc(), condition.read(), yes.desc(), yes.read(), no.desc(), no.read(),
                    room, bytes, out.desc(), out.place,
                )
        }
    }

    fn fill(&self, value: Number, out: At) -> Result<Prepared<'_>> {
        let dtype = match value {
            Number::F32(_) => Type::F32,
            Number::I32(_) => Type::I32,
        };
        let of = descriptor::host_number(&self.device, dtype)?;
        let place = |value: &Number| -> *const c_void {
            match value {
                Number::F32(float) => (&raw const *float).cast(),
                Number::I32(int) => (&raw const *int).cast(),
            }
        };
        operator! { self: cnnlFill_v4(of.raw(), place(&value), out.desc(), out.place) }
    }

    /// 0, 1, 2, …
    fn arange(&self, dtype: Type, out: At) -> Result<Prepared<'_>> {
        let [zero, one] = zero_and_one(dtype);
        operator! { self: cnnlArange_v3(zero, one, out.desc(), out.place) }
    }

    fn concat(&self, parts: Vec<At>, out: At) -> Result<Prepared<'_>> {
        let count = parts.len() as i32;
        let descs: Vec<_> = parts.iter().map(At::desc).collect();
        let places: Vec<_> = parts.iter().map(At::read).collect();
        operator! {
            self: cnnlGetConcatWorkspaceSize(count)
                => |room, bytes| cnnlConcat(
                    kept(&parts, count), 1, descs.as_ptr(), places.as_ptr(), room, bytes,
                    out.desc(), out.place,
                )
        }
    }

    fn rows(&self, [from, list, out]: [At; 3]) -> Result<Prepared<'_>> {
        operator! {
            self: cnnlIndexSelect(
                0, from.desc(), from.read(), list.desc(), list.read(), out.desc(), out.place,
            )
        }
    }

    fn gather(&self, [from, list, out]: [At; 3]) -> Result<Prepared<'_>> {
        operator! {
            self: cnnlGetGatherWorkspaceSize(from.desc(), list.desc(), out.desc(), 1)
                => |room, bytes| cnnlGather_v2(
                    1, from.desc(), from.read(), list.desc(), list.read(), room, bytes,
                    out.desc(), out.place,
                )
        }
    }

    /// In place: rows that are not named stay what they were.
    fn scatter(&self, [into, list, from]: [At; 3]) -> Result<Prepared<'_>> {
        let mode = cnnlScatterNdMode_t::CNNL_SCATTERND_UPDATE;
        operator! {
            self: cnnlScatterNd_v2(
                mode, list.desc(), list.read(), from.desc(), from.read(), into.desc(), into.read(),
                into.desc(), into.place,
            )
        }
    }

    /// The algorithm is that for exactly these operands. 32-bit floats are multiplied as such: not cut to TF32, as the library does
    /// unless it is told.
    fn matmul(&self, [a, b, out]: [&Operand; 3], scratch: Address) -> Result<Prepared<'_>> {
        let turns = !b.is_dense();
        let is_batch = out.dims.len() == 3;
        let b = if turns { b.transposed() } else { *b };
        let [a, b, out] = [a, &b, out].map(|operand| self.at(operand, scratch));
        let (a, b, out) = (a?, b?, out?);
        let of = Descriptor::<cnnlMatMulDescriptor_t>::new(&self.device)?;
        attributes! {
            self: cnnlSetMatMulDescAttr(of)
            cnnlMatMulDescAttribute_t::CNNL_MATMUL_DESC_TRANSA = 0,
            cnnlMatMulDescAttribute_t::CNNL_MATMUL_DESC_TRANSB = turns.into(),
            cnnlMatMulDescAttribute_t::CNNL_MATMUL_ALLOW_TF32 = 0,
        }
        let found = Descriptor::<cnnlMatMulHeuristicResult_t>::new(&self.device)?;
        let algorithm = Descriptor::<cnnlMatMulAlgo_t>::new(&self.device)?;
        let (mut result, mut count, mut bytes) = (found.raw(), 0, 0);
        let [a_of, b_of, out_of] = [&a, &b, &out].map(At::desc);
        let (result_at, count_at) = (&raw mut result, &raw mut count);
        let (raw, of_raw, prefer) = (self.raw, of.raw(), cnnlMatMulPrefer_t::NULL);
        let looked = if is_batch {
            cnnl! {
                self, cnnlGetBatchMatMulExAlgoHeuristic(
                    raw, of_raw, a_of, b_of, out_of, prefer, ALGORITHMS, result_at, count_at,
                )
            }
        } else {
            cnnl! {
                self, cnnlGetMatMulAlgoHeuristic(
                    raw, of_raw, a_of, b_of, out_of, out_of, prefer, ALGORITHMS, result_at, count_at,
                )
            }
        };
        looked?;
        if count < ALGORITHMS {
            return Err(self.device.fault("no algorithm for a product"));
        }
        let by = algorithm.raw();
        let told = if is_batch {
            cnnl! { self, cnnlGetBatchMatMulExHeuristicResult(result, by, &raw mut bytes) }
        } else {
            cnnl! { self, cnnlGetMatMulHeuristicResult(result, by, &raw mut bytes) }
        };
        told?;
        let launch = move |room| {
            // What was found, and what it was found for, live as long as the algorithm is used.
            let _kept = (&found, &of, &algorithm, [&a, &b, &out]);
            let (one, zero) = ((&raw const ONE).cast(), (&raw const ZERO).cast());
            if is_batch {
                cnnl! {
                    self, cnnlBatchMatMulEx(
                        raw, of_raw, by, one, a_of, a.read(), b_of, b.read(), zero, out_of, out.place,
                        room, bytes,
                    )
                }
            } else {
                cnnl! {
                    self, cnnlMatMul_v2(
                        raw, of_raw, by, one, a_of, a.read(), b_of, b.read(), zero, out_of, out.place,
                        room, bytes, out_of, out.place,
                    )
                }
            }
        };
        Ok(with_workspace(bytes, launch))
    }

    fn rms_norm(&self, [x, gamma, out]: [At; 3], eps: f32) -> Result<Prepared<'_>> {
        let of = Descriptor::<cnnlNormDescriptor_t>::new(&self.device)?;
        operator! {
            self: cnnlGetRmsNormOpWorkspaceSize(1, x.desc())
                => |room, bytes| cnnlRmsNormForward_v2(
                    1, eps, of.raw(), x.desc(), x.read(), gamma.desc(), gamma.read(), null(),
                    room, bytes, out.desc(), out.place, NO_TENSOR, null_mut(),
                )
        }
    }

    /// Over the second dimension, which stays with length 1. What is no number is passed over by the largest.
    fn reduce(&self, op: cnnlReduceOp_t, [x, out]: [At; 2]) -> Result<Prepared<'_>> {
        let of = Descriptor::<cnnlReduceDescriptor_t>::new(&self.device)?;
        let (mut axis, float) = (1, descriptor::code(Type::F32));
        let nan = cnnlNanPropagation_t::CNNL_NOT_PROPAGATE_NAN;
        let none = cnnlReduceIndices_t::CNNL_REDUCE_NO_INDICES;
        let places = cnnlIndicesType_t::CNNL_32BIT_INDICES;
        let set = cnnl! {
            self, cnnlSetReduceDescriptor_v2(
                of.raw(), &raw mut axis, 1, op, float, nan, none, places, 0.0,
            )
        };
        set?;
        operator! {
            self: cnnlGetReduceOpWorkspaceSize_v2(x.desc(), out.desc(), NO_TENSOR, of.raw())
                => |room, bytes| cnnlReduce_v2(
                    of.raw(), x.desc(), x.read(), null(), null(), room, bytes,
                    out.desc(), out.place, NO_TENSOR, null_mut(),
                )
        }
    }

    /// The first `k` of each row in their order, of those alike the first ones.
    fn top_k(&self, order: Order, k: usize, [x, out, places]: [At; 3]) -> Result<Prepared<'_>> {
        let (k, largest) = (k as i32, order == Order::LargestFirst);
        operator! {
            self: cnnlGetTopKTensorWorkspaceSize(
                x.desc(), k, 1, largest, out.desc(), places.desc(),
            ) => |room, bytes| cnnlTopKTensor_v3(
                x.desc(), x.read(), k, 1, largest, true, true, room, bytes,
                out.desc(), out.place, places.desc(), places.place,
            )
        }
    }

    fn differs(&self, [a, b, out]: [At; 3]) -> Result<Prepared<'_>> {
        let op = cnnlLogicOp_t::CNNL_LOGIC_OP_NE;
        operator! {
            self: cnnlGetLogicOpWorkspaceSize(a.desc(), b.desc(), out.desc())
                => |room, bytes| cnnlLogicOp(
                    op, a.desc(), a.read(), b.desc(), b.read(), room, bytes, out.desc(), out.place,
                )
        }
    }

    fn expand(&self, from: At, out: At) -> Result<Prepared<'_>> {
        operator! { self: cnnlExpand(from.desc(), from.read(), out.desc(), out.place) }
    }
}
