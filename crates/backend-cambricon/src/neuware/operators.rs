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
    cnnlReduceOp_t, cnnlScatterNdMode_t, cnnlTensorDescriptor_t,
};
use backend_offload::compose::{Binary, Call, Function, Number, Operand, Order, Type};
use backend_offload::{Address, Queue};
use deepseek_core::{Error, Result};

use super::descriptor::{self, Tensor, made};
use super::device::Device;
use super::groups::Groups;
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
    groups: Option<Groups>,
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

/// A call on its way: its operator is described, given its workspace, and queued.
struct Making<'a, W> {
    own: &'a Operators,
    /// Where memory for intermediate results begins.
    scratch: Address,
    workspace: W,
}

/// An operand: its description, and where it lies.
pub(super) struct At {
    tensor: Tensor,
    pub(super) place: *mut c_void,
}

impl At {
    /// Its description.
    pub(super) fn desc(&self) -> cnnlTensorDescriptor_t {
        self.tensor.raw()
    }

    pub(super) fn read(&self) -> *const c_void {
        self.place.cast_const()
    }
}

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

/// Calls a function of the operators: what it is given is of the types and in the order of the table's entry. Descriptions live
/// until it returns; addresses are the device's, which the host never follows.
macro_rules! cnnl {
    ($own:expr, $name:ident($($argument:expr),* $(,)?)) => {{
        let function = $own.device.neuware.operators.$name;
        // SAFETY: as above.
        let code = unsafe { function($($argument),*) };
        $own.device.cnnl(stringify!($name), code)
    }};
}

/// Queues an operator with what it is given behind the handle: `name(…)`, or `query(…) => |room, bytes| name(…)` if it wants
/// workspace, whose size the query tells.
macro_rules! operator {
    ($making:ident: $name:ident($($argument:expr),* $(,)?)) => {
        cnnl!($making.own, $name($making.own.raw, $($argument),*))
    };
    (
        $making:ident: $query:ident($($of:expr),* $(,)?)
            => |$room:ident, $bytes:ident| $name:ident($($argument:expr),* $(,)?)
    ) => {{
        let mut $bytes = 0;
        cnnl!($making.own, $query($making.own.raw, $($of,)* &raw mut $bytes))?;
        let $room = ($making.workspace)($bytes)?.map_or(null_mut(), pointer);
        cnnl!($making.own, $name($making.own.raw, $($argument),*))
    }};
}

/// Sets attributes of a description.
macro_rules! attributes {
    ($making:ident: $set:ident($of:ident) $($attribute:path = $value:expr),+ $(,)?) => {$(
        let function = $making.own.device.neuware.operators.$set;
        let named = (&*$making.own.device, stringify!($set));
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
            groups: Groups::of(&device.neuware.operators).ok(),
        };
        cnnl!(own, cnnlSetQueue(own.raw, queue.raw))?;
        let atomics = cnnlAtomicsMode_t::CNNL_ATOMICS_NOT_ALLOWED;
        cnnl!(own, cnnlSetAtomicsMode(own.raw, atomics))?;
        Ok(own)
    }

    /// Whether runs of rows are multiplied by one call.
    pub(crate) fn has_groups(&self) -> bool {
        self.groups.is_some()
    }

    /// Queues a call, whose memory for intermediate results begins at `scratch`. `workspace` gives as many bytes as its operator
    /// wants beside its operands, the queue's alone.
    pub(crate) fn call(
        &self,
        call: &Call<Own>,
        scratch: Address,
        workspace: impl FnOnce(usize) -> Result<Option<Address>>,
    ) -> Result<()> {
        let making = Making {
            own: self,
            scratch,
            workspace,
        };
        making.call(call)
    }
}

impl<W: FnOnce(usize) -> Result<Option<Address>>> Making<'_, W> {
    fn call(self, call: &Call<Own>) -> Result<()> {
        let (device, scratch) = (&self.own.device, self.scratch);
        let on = |operand: &Operand| at(device, operand, scratch);
        match call {
            Call::Binary { f, a, b, out } => self.binary(*f, [on(a)?, on(b)?, on(out)?], a.dtype),
            Call::Function { f, x, out } => self.function(*f, &on(x)?, &on(out)?),
            Call::Cast { x, out } => self.cast([x.dtype, out.dtype], &on(x)?, &on(out)?),
            Call::Copy { from, out } => self.copy(&on(from)?, &on(out)?),
            Call::Where {
                condition,
                yes,
                no,
                out,
            } => self.select([on(condition)?, on(yes)?, on(no)?, on(out)?]),
            Call::Fill { out, value } => self.fill(*value, &on(out)?),
            Call::MaskedFill { .. } => unreachable!("lowered to a choice"),
            Call::Arange { out } => self.arange(out.dtype, &on(out)?),
            Call::Concat { parts, out } => {
                let parts: Vec<_> = parts.iter().map(on).collect::<Result<_>>()?;
                self.concat(&parts, &on(out)?)
            }
            Call::Rows { from, at, out } => self.rows([on(from)?, on(at)?, on(out)?]),
            Call::Gather { from, at, out } => self.gather([on(from)?, on(at)?, on(out)?]),
            Call::Scatter { into, at, from } => self.scatter([on(into)?, on(at)?, on(from)?]),
            Call::Matmul { a, b, out } => self.matmul(a, b, out),
            Call::RmsNorm {
                x, gamma, eps, out, ..
            } => self.rms_norm([on(x)?, on(gamma)?, on(out)?], *eps),
            Call::Sum { x, out } => {
                self.reduce(cnnlReduceOp_t::CNNL_REDUCE_ADD, &on(x)?, &on(out)?)
            }
            Call::Max { x, out, .. } => {
                self.reduce(cnnlReduceOp_t::CNNL_REDUCE_MAX, &on(x)?, &on(out)?)
            }
            Call::TopK {
                x,
                order,
                out,
                places,
            } => self.top_k(*order, out.dims[1], [on(x)?, on(out)?, on(places)?]),
            Call::Own(own) => self.own(own, on),
        }
    }

    fn own(self, own: &Own, on: impl Fn(&Operand) -> Result<At>) -> Result<()> {
        match own {
            Own::Differs { a, b, out } => self.differs([on(a)?, on(b)?, on(out)?]),
            Own::Grouped {
                x,
                weight,
                rows,
                out,
            } => {
                let (x_at, weight_at, out_at, rows) = (on(x)?, on(weight)?, on(out)?, on(rows)?);
                let operands = [(x, &x_at), (weight, &weight_at), (out, &out_at)];
                let groups = self.own.groups.expect("asked before");
                let room = |bytes| Ok((self.workspace)(bytes)?.map_or(null_mut(), pointer));
                groups.multiply((&self.own.device, self.own.raw), operands, &rows, room)
            }
            Own::Expand { from, out } => {
                let (from, out) = (on(from)?, on(out)?);
                operator! { self: cnnlExpand(from.desc(), from.read(), out.desc(), out.place) }
            }
            Own::Plain { f, x, out } => {
                let (x, y) = (on(x)?, on(out)?);
                match f {
                    Plain::Abs => {
                        operator! { self: cnnlAbs(x.desc(), x.read(), y.desc(), y.place) }
                    }
                    Plain::Negate => {
                        operator! { self: cnnlNegTensor(x.desc(), x.read(), y.desc(), y.place) }
                    }
                    Plain::Log1p => {
                        operator! { self: cnnlLog1p_v2(x.desc(), x.read(), y.desc(), y.place) }
                    }
                }
            }
        }
    }

    fn binary(self, f: Binary, operands: [At; 3], dtype: Type) -> Result<()> {
        let op = match f {
            Binary::Add => cnnlOpTensorDesc_t::CNNL_OP_TENSOR_ADD,
            Binary::Sub => cnnlOpTensorDesc_t::CNNL_OP_TENSOR_SUB,
            Binary::Mul => cnnlOpTensorDesc_t::CNNL_OP_TENSOR_MUL,
            Binary::Div => return self.div(operands),
        };
        let [a, b, out] = operands;
        let of = made!(&self.own.device, cnnlOpTensorDescriptor_t: cnnlCreateOpTensorDescriptor, cnnlDestroyOpTensorDescriptor)?;
        let compute = descriptor::code(dtype);
        let nan = cnnlNanPropagation_t::CNNL_PROPAGATE_NAN;
        cnnl!(
            self.own,
            cnnlSetOpTensorDescriptor(of.raw(), op, compute, nan)
        )?;
        let [zero, one] = zero_and_one(dtype);
        operator! {
            self: cnnlGetOpTensorWorkspaceSize(a.desc(), b.desc(), out.desc())
                => |room, bytes| cnnlOpTensor(
                    of.raw(), one, a.desc(), a.read(), one, b.desc(), b.read(), room, bytes,
                    zero, out.desc(), out.place,
                )
        }
    }

    fn div(self, [a, b, out]: [At; 3]) -> Result<()> {
        let of = made!(&self.own.device, cnnlDivDescriptor_t: cnnlCreateDivDescriptor, cnnlDestroyDivDescriptor)?;
        attributes! { self: cnnlSetDivDescAttr(of) cnnlDivDescAttribute_t::CNNL_DIV_MODE = 0 }
        operator! {
            self: cnnlGetDivWorkspaceSize_v2(of.raw(), a.desc(), b.desc(), out.desc())
                => |room, bytes| cnnlDiv_v3(
                    of.raw(), a.desc(), a.read(), b.desc(), b.read(), room, bytes,
                    out.desc(), out.place,
                )
        }
    }

    fn function(self, f: Function, x: &At, y: &At) -> Result<()> {
        match f {
            Function::Clamp(min, max) => self.clip([min, max], x, y),
            Function::Exp => operator! { self: cnnlExp(x.desc(), x.read(), y.desc(), y.place) },
            Function::Sqrt => operator! { self: cnnlSqrt(x.desc(), x.read(), y.desc(), y.place) },
            Function::Sigmoid => {
                self.activation(cnnlActivationMode_t::CNNL_ACTIVATION_SIGMOID, x, y)
            }
            Function::Silu => self.activation(cnnlActivationMode_t::CNNL_ACTIVATION_SILU, x, y),
            Function::Adds(term) => self.adds(term, x, y),
            Function::Softplus | Function::Muls(_) => unreachable!("lowered"),
        }
    }

    /// `x * 1 + term`.
    fn adds(self, term: f32, x: &At, y: &At) -> Result<()> {
        let (mode, one) = (
            cnnlPointerMode_t::CNNL_POINTER_MODE_HOST,
            (&raw const ONE).cast(),
        );
        operator! {
            self: cnnlGetTransformWorkspaceSize(x.desc(), y.desc())
                => |room, bytes| cnnlTransform_v3(
                    mode, one, x.desc(), x.read(), (&raw const term).cast(), room, bytes,
                    y.desc(), y.place,
                )
        }
    }

    /// Between two bounds, one of which is finite.
    fn clip(self, bounds: [f32; 2], x: &At, y: &At) -> Result<()> {
        let number = descriptor::host_number(&self.own.device, Type::F32)?;
        let given = bounds.each_ref().map(|bound| {
            if bound.is_finite() {
                (number.raw(), (&raw const *bound).cast())
            } else {
                (NO_TENSOR, null())
            }
        });
        let [(of_min, min), (of_max, max)] = given;
        operator! {
            self: cnnlGetClipWorkspaceSize(x.desc(), of_min, of_max)
                => |room, bytes| cnnlClip_v3(
                    x.desc(), x.read(), of_min, min, of_max, max, room, bytes, y.desc(), y.place,
                )
        }
    }

    /// With the precision that there is.
    fn activation(self, mode: cnnlActivationMode_t, x: &At, y: &At) -> Result<()> {
        let of = made!(&self.own.device, cnnlActivationDescriptor_t: cnnlCreateActivationDescriptor, cnnlDestroyActivationDescriptor)?;
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
                of.raw(), null(), x.desc(), x.read(), null(), y.desc(), y.place,
            )
        }
    }

    fn cast(self, types: [Type; 2], x: &At, y: &At) -> Result<()> {
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
                    device: self.own.device.name().to_owned(),
                    what: format!("a cast of {from:?} to {to:?}"),
                });
            }
        };
        operator! { self: cnnlCastDataType(x.desc(), x.read(), cast, y.desc(), y.place) }
    }

    /// Between any strides.
    fn copy(self, from: &At, out: &At) -> Result<()> {
        operator! {
            self: cnnlGetCopyWorkspaceSize(from.desc(), out.desc())
                => |room, bytes| cnnlCopy_v2(
                    from.desc(), from.read(), out.desc(), out.place, room, bytes,
                )
        }
    }

    fn select(self, [condition, yes, no, out]: [At; 4]) -> Result<()> {
        operator! {
            self: cnnlGetSelectV2WorkspaceSize(condition.desc(), yes.desc(), no.desc())
                => |room, bytes| cnnlSelectV2(
                    condition.desc(), condition.read(), yes.desc(), yes.read(), no.desc(), no.read(),
                    room, bytes, out.desc(), out.place,
                )
        }
    }

    fn fill(self, value: Number, out: &At) -> Result<()> {
        let (dtype, place) = match &value {
            Number::F32(float) => (Type::F32, (&raw const *float).cast()),
            Number::I32(int) => (Type::I32, (&raw const *int).cast()),
        };
        let of = descriptor::host_number(&self.own.device, dtype)?;
        operator! { self: cnnlFill_v4(of.raw(), place, out.desc(), out.place) }
    }

    /// 0, 1, 2, …
    fn arange(self, dtype: Type, out: &At) -> Result<()> {
        let [zero, one] = zero_and_one(dtype);
        operator! { self: cnnlArange_v3(zero, one, out.desc(), out.place) }
    }

    fn concat(self, parts: &[At], out: &At) -> Result<()> {
        let count = parts.len() as i32;
        let descs: Vec<_> = parts.iter().map(At::desc).collect();
        let places: Vec<_> = parts.iter().map(At::read).collect();
        operator! {
            self: cnnlGetConcatWorkspaceSize(count)
                => |room, bytes| cnnlConcat(
                    count, 1, descs.as_ptr(), places.as_ptr(), room, bytes, out.desc(), out.place,
                )
        }
    }

    fn rows(self, [from, list, out]: [At; 3]) -> Result<()> {
        operator! {
            self: cnnlIndexSelect(
                0, from.desc(), from.read(), list.desc(), list.read(), out.desc(), out.place,
            )
        }
    }

    fn gather(self, [from, list, out]: [At; 3]) -> Result<()> {
        operator! {
            self: cnnlGetGatherWorkspaceSize(from.desc(), list.desc(), out.desc(), 1)
                => |room, bytes| cnnlGather_v2(
                    1, from.desc(), from.read(), list.desc(), list.read(), room, bytes,
                    out.desc(), out.place,
                )
        }
    }

    /// In place: rows that are not named stay what they were.
    fn scatter(self, [into, list, from]: [At; 3]) -> Result<()> {
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
    fn matmul(self, a: &Operand, b: &Operand, out: &Operand) -> Result<()> {
        let (own, device) = (self.own, &self.own.device);
        let turns = !b.is_dense();
        let is_batch = out.dims.len() == 3;
        let b = if turns { b.transposed() } else { *b };
        let [a, b, out] = [a, &b, out].map(|operand| at(device, operand, self.scratch));
        let (a, b, out) = (a?, b?, out?);
        let of = made!(device, cnnlMatMulDescriptor_t: cnnlCreateMatMulDescriptor, cnnlDestroyMatMulDescriptor)?;
        attributes! {
            self: cnnlSetMatMulDescAttr(of)
            cnnlMatMulDescAttribute_t::CNNL_MATMUL_DESC_TRANSA = 0,
            cnnlMatMulDescAttribute_t::CNNL_MATMUL_DESC_TRANSB = turns.into(),
            cnnlMatMulDescAttribute_t::CNNL_MATMUL_ALLOW_TF32 = 0,
        }
        let found = made!(device, cnnlMatMulHeuristicResult_t: cnnlCreateMatMulHeuristicResult, cnnlDestroyMatMulHeuristicResult)?;
        let algorithm =
            made!(device, cnnlMatMulAlgo_t: cnnlCreateMatMulAlgo, cnnlDestroyMatMulAlgo)?;
        let (mut result, mut count, mut bytes) = (found.raw(), 0, 0);
        let (result_at, count_at, bytes_at) = (&raw mut result, &raw mut count, &raw mut bytes);
        let [a_of, b_of, d_of] = [&a, &b, &out].map(At::desc);
        let (raw, of, by) = (own.raw, of.raw(), algorithm.raw());
        let prefer = cnnlMatMulPrefer_t::NULL;
        let looked = if is_batch {
            cnnl! {
                own, cnnlGetBatchMatMulExAlgoHeuristic(
                    raw, of, a_of, b_of, d_of, prefer, ALGORITHMS, result_at, count_at,
                )
            }
        } else {
            cnnl! {
                own, cnnlGetMatMulAlgoHeuristic(
                    raw, of, a_of, b_of, d_of, d_of, prefer, ALGORITHMS, result_at, count_at,
                )
            }
        };
        looked?;
        if count < ALGORITHMS {
            return Err(device.fault("no algorithm for a product"));
        }
        let told = if is_batch {
            cnnl! { own, cnnlGetBatchMatMulExHeuristicResult(result, by, bytes_at) }
        } else {
            cnnl! { own, cnnlGetMatMulHeuristicResult(result, by, bytes_at) }
        };
        told?;
        let room = (self.workspace)(bytes)?.map_or(null_mut(), pointer);
        let (one, zero) = ((&raw const ONE).cast(), (&raw const ZERO).cast());
        if is_batch {
            cnnl! {
                own, cnnlBatchMatMulEx(
                    raw, of, by, one, a_of, a.read(), b_of, b.read(), zero, d_of, out.place,
                    room, bytes,
                )
            }
        } else {
            cnnl! {
                own, cnnlMatMul_v2(
                    raw, of, by, one, a_of, a.read(), b_of, b.read(), zero, d_of, out.place,
                    room, bytes, d_of, out.place,
                )
            }
        }
    }

    fn rms_norm(self, [x, gamma, out]: [At; 3], eps: f32) -> Result<()> {
        let of =
            made!(&self.own.device, cnnlNormDescriptor_t: cnnlCreateNormDesc, cnnlDestroyNormDesc)?;
        operator! {
            self: cnnlGetRmsNormOpWorkspaceSize(1, x.desc())
                => |room, bytes| cnnlRmsNormForward_v2(
                    1, eps, of.raw(), x.desc(), x.read(), gamma.desc(), gamma.read(), null(),
                    room, bytes, out.desc(), out.place, NO_TENSOR, null_mut(),
                )
        }
    }

    /// Over the second dimension, which stays with length 1. What is no number is passed over by the largest.
    fn reduce(self, op: cnnlReduceOp_t, x: &At, out: &At) -> Result<()> {
        let of = made!(&self.own.device, cnnlReduceDescriptor_t: cnnlCreateReduceDescriptor, cnnlDestroyReduceDescriptor)?;
        let (mut axis, float) = (1, descriptor::code(Type::F32));
        let nan = cnnlNanPropagation_t::CNNL_NOT_PROPAGATE_NAN;
        let none = cnnlReduceIndices_t::CNNL_REDUCE_NO_INDICES;
        let places = cnnlIndicesType_t::CNNL_32BIT_INDICES;
        let set = cnnl! {
            self.own, cnnlSetReduceDescriptor_v2(
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
    fn top_k(self, order: Order, k: usize, [x, out, places]: [At; 3]) -> Result<()> {
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

    fn differs(self, [a, b, out]: [At; 3]) -> Result<()> {
        let op = cnnlLogicOp_t::CNNL_LOGIC_OP_NE;
        operator! {
            self: cnnlGetLogicOpWorkspaceSize(a.desc(), b.desc(), out.desc())
                => |room, bytes| cnnlLogicOp(
                    op, a.desc(), a.read(), b.desc(), b.read(), room, bytes, out.desc(), out.place,
                )
        }
    }
}

/// An operand of a call whose memory for intermediate results begins at `scratch`.
fn at(device: &Rc<Device>, operand: &Operand, scratch: Address) -> Result<At> {
    let start = operand.at(scratch);
    Ok(At {
        tensor: descriptor::tensor(device, operand)?,
        place: pointer(start.plus(operand.offset * operand.dtype.bytes())),
    })
}
