//! The two halves of an operator: planned for its operands, launched once.

use std::fmt;
use std::ptr::{NonNull, null, null_mut};
use std::rc::Rc;

use backend_ascend_sys::abi::operators;
use backend_ascend_sys::types::{
    aclDataType, aclIntArray, aclOpExecutor, aclScalar, aclTensor, aclTensorList,
};
use backend_ascend_sys::{Launch, Operator};
use backend_offload::Address;
use backend_offload::compose::{Binary, Call, Function, Number, Operand, Order, Type};
use deepseek_core::operands::MixerConfig;
use deepseek_core::{Error, Result};

use super::custom;
use super::descriptor::{self, Descriptor};
use super::device::Device;
use super::pointer;
use super::stream::Stream;
use crate::chip::Family;
use crate::custom::Chosen;
use crate::translate::Own;

/// `cubeMathType`: products keep the type of their operands.
const KEEP_TYPE: i8 = 0;
/// Beyond it `aclnnSoftplus` gives the number itself.
const SOFTPLUS_THRESHOLD: f32 = 20.0;
/// `splitItem` of `aclnnGroupedMatmulV5`: one tensor of results.
const ONE_RESULT: i64 = 3;
/// `groupType`: runs of rows.
const BY_ROWS: i64 = 0;
/// `groupListType` and `expertTokensNumType`: where runs end.
const ENDS: i64 = 0;
/// `quantMode` of `aclnnMoeInitRoutingV3`: none.
const UNQUANTISED: i64 = -1;
/// `normType` of `aclnnMoeGatingTopKHash`.
const SQRT_SOFTPLUS: i64 = 2;
/// Added to what weights are shares of, so that it is not 0.
const SHARE_EPS: f64 = 1e-20;
/// `rowIdxType`: the number of the visit at each place.
const VISITS: i64 = 1;

macro_rules! used {
    ($($Name:ident),+ $(,)?; where there: $($Other:ident),+ $(,)?) => {
        /// The operators that are called: all of the first are there, and of the others those that the installation has.
        #[allow(non_snake_case, reason = "the names of the C interface")]
        pub(crate) struct Operators {
            device: Rc<Device>,
            custom: Result<custom::Operators, String>,
            $($Name: Operator<operators::$Name>,)+
            $($Other: Option<Operator<operators::$Other>>,)+
        }

        impl Operators {
            /// The operators of a device.
            ///
            /// # Errors
            /// [`Error::Unsupported`] with those that the installation lacks.
            pub(crate) fn of(device: &Rc<Device>, family: Family) -> Result<Self> {
                let all = &device.ascend.operators;
                let lacks = [$((concat!("aclnn", stringify!($Name)), all.$Name.is_none())),+];
                let lacks: Vec<_> = lacks.iter().filter(|(_, lacks)| *lacks).collect();
                if !lacks.is_empty() {
                    let names: Vec<_> = lacks.iter().map(|(name, _)| *name).collect();
                    return Err(Error::Unsupported {
                        device: device.name().to_owned(),
                        what: format!("an installation of CANN without {}", names.join(", ")),
                    });
                }
                Ok(Self {
                    device: Rc::clone(device),
                    custom: custom::operators(&device.ascend, family).cloned(),
                    $($Name: all.$Name.expect("it was just looked for"),)+
                    $($Other: all.$Other,)+
                })
            }

            /// Which custom operators the installation lacks, or why it has none.
            pub(crate) fn custom(&self) -> Result<Vec<&'static str>, String> {
                self.custom.as_ref().map(custom::missing).map_err(Clone::clone)
            }

            /// Which of those that may be missing are.
            pub(crate) fn missing(&self) -> Vec<&'static str> {
                let all = [$((concat!("aclnn", stringify!($Other)), self.$Other.is_none())),+];
                all.iter().filter(|(_, lacks)| *lacks).map(|(name, _)| *name).collect()
            }
        }
    };
}
used![
    Add,
    Adds,
    Arange,
    BatchMatMul,
    Cast,
    Cat,
    Clamp,
    Div,
    Exp,
    Gather,
    GroupedMatmulV5,
    IndexSelect,
    InplaceCopy,
    InplaceFillScalar,
    InplaceMaskedFillScalar,
    Matmul,
    MaxDim,
    MoeInitRoutingV3,
    Mul,
    Muls,
    ReduceSum,
    RmsNorm,
    SWhere,
    ScatterNdUpdate,
    Sigmoid,
    Silu,
    Softplus,
    Sqrt,
    Sub,
    Topk;
    where there:
    DynamicQuantV2,
    GroupedMatmulWeightNz,
    QuantMatmulWeightNz,
];

impl fmt::Debug for Operators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Operators({:?})", self.device)
    }
}

/// Descriptors of the operands of one call. What the methods give lives as long as this does.
struct Operands<'a> {
    device: &'a Rc<Device>,
    scratch: Address,
    kept: Kept,
}

#[derive(Default)]
struct Kept {
    tensors: Vec<Descriptor<aclTensor>>,
    lists: Vec<Descriptor<aclTensorList>>,
    scalars: Vec<Descriptor<aclScalar>>,
    ints: Vec<Descriptor<aclIntArray>>,
}

impl Operands<'_> {
    fn tensor(&mut self, operand: &Operand) -> Result<*mut aclTensor> {
        let made = descriptor::tensor(self.device, operand, self.scratch)?;
        let raw = made.raw();
        self.kept.tensors.push(made);
        Ok(raw)
    }

    fn tensors<const N: usize>(&mut self, operands: [&Operand; N]) -> Result<[*mut aclTensor; N]> {
        let mut raw = [null_mut(); N];
        for (raw, operand) in raw.iter_mut().zip(operands) {
            *raw = self.tensor(operand)?;
        }
        Ok(raw)
    }

    fn list(&mut self, operands: &[Operand]) -> Result<*mut aclTensorList> {
        let members = operands
            .iter()
            .map(|operand| descriptor::tensor(self.device, operand, self.scratch));
        let members = members.collect::<Result<_>>()?;
        self.listed(members)
    }

    fn listed(&mut self, members: Vec<Descriptor<aclTensor>>) -> Result<*mut aclTensorList> {
        let made = descriptor::list(self.device, members)?;
        let raw = made.raw();
        self.kept.lists.push(made);
        Ok(raw)
    }

    /// A matrix of integers in the fractal format.
    fn fractal(
        &mut self,
        operand: &Operand,
        dims: &[usize],
        dtype: aclDataType,
    ) -> Result<*mut aclTensor> {
        let made = descriptor::fractal(self.device, operand, self.scratch, (dims, dtype))?;
        let raw = made.raw();
        self.kept.tensors.push(made);
        Ok(raw)
    }

    /// The same as a list of one.
    fn fractal_list(
        &mut self,
        operand: &Operand,
        dims: &[usize],
        dtype: aclDataType,
    ) -> Result<*mut aclTensorList> {
        let made = descriptor::fractal(self.device, operand, self.scratch, (dims, dtype))?;
        self.listed(vec![made])
    }

    /// A list of one, whose bytes are numbers of another type.
    fn retyped_list(
        &mut self,
        operand: &Operand,
        dims: &[usize],
        dtype: aclDataType,
    ) -> Result<*mut aclTensorList> {
        let made = descriptor::retyped(self.device, operand, self.scratch, (dims, dtype))?;
        self.listed(vec![made])
    }

    fn scalar(&mut self, number: Number) -> Result<*mut aclScalar> {
        let made = descriptor::scalar(self.device, number)?;
        let raw = made.raw();
        self.kept.scalars.push(made);
        Ok(raw)
    }

    fn float(&mut self, number: f32) -> Result<*mut aclScalar> {
        self.scalar(Number::F32(number))
    }

    /// A bound, or null for none.
    fn bound(&mut self, bound: f32) -> Result<*mut aclScalar> {
        if bound.is_finite() {
            self.float(bound)
        } else {
            Ok(null_mut())
        }
    }

    fn ints(&mut self, numbers: &[i64]) -> Result<*mut aclIntArray> {
        let made = descriptor::ints(self.device, numbers)?;
        let raw = made.raw();
        self.kept.ints.push(made);
        Ok(raw)
    }

    /// What the first half gave.
    fn planned(
        self,
        name: &'static str,
        code: i32,
        launch: Launch,
        (workspace_bytes, executor): (u64, *mut aclOpExecutor),
    ) -> Result<Planned> {
        self.device.check(name, code)?;
        let executor = NonNull::new(executor);
        let executor = executor.ok_or_else(|| self.device.fault(format!("{name}: no executor")))?;
        Ok(Planned {
            name,
            launch,
            executor: Some(executor),
            workspace_bytes: workspace_bytes as usize,
            device: Rc::clone(self.device),
            _kept: self.kept,
        })
    }
}

/// An operator that was planned, with the descriptors that must live until it is launched.
pub(crate) struct Planned {
    name: &'static str,
    launch: Launch,
    /// None once it was launched.
    executor: Option<NonNull<aclOpExecutor>>,
    workspace_bytes: usize,
    device: Rc<Device>,
    /// Held, not read.
    _kept: Kept,
}

impl Planned {
    /// Bytes that the operator wants beside its operands.
    pub(crate) fn workspace_bytes(&self) -> usize {
        self.workspace_bytes
    }

    /// Queues it. The workspace has as many bytes as it wants, and is the stream's alone.
    pub(crate) fn launch(mut self, workspace: Option<Address>, stream: &Stream) -> Result<()> {
        let executor = self.executor.take().expect("an executor is launched once");
        let workspace = workspace.map_or(null_mut(), pointer);
        let bytes = self.workspace_bytes as u64;
        // SAFETY: the executor is of this operator, was planned by this thread, and is launched once; what it
        // was planned with lives until this returns. The workspace is an address of the device.
        let code = unsafe { (self.launch)(workspace, bytes, executor.as_ptr(), stream.raw) };
        self.device.check(self.name, code)
    }
}

impl Drop for Planned {
    /// An executor goes with its launch. One that is not launched can only be destroyed as one that is
    /// launched again and again.
    fn drop(&mut self) {
        let layer = &self.device.ascend.tensors;
        let keep = layer.aclSetAclOpExecutorRepeatable;
        let destroy = layer.aclDestroyAclOpExecutor;
        if let (Some(executor), Some(keep), Some(destroy)) = (self.executor, keep, destroy) {
            // SAFETY: an executor that lives and was not launched.
            let code = unsafe { keep(executor.as_ptr()) };
            if code == 0 {
                // SAFETY: the same; it is destroyed once.
                let _ = unsafe { destroy(executor.as_ptr()) };
            }
        }
    }
}

/// Plans an operator: its arguments in the order of the table.
macro_rules! plan {
    ($own:ident, $operands:ident, if there $Name:ident($($argument:expr),* $(,)?)) => {{
        let operator = $own.$Name.expect("a chip takes what is there");
        plan!(@ $operands, operator, $Name($($argument),*))
    }};
    ($own:ident, $operands:ident, custom $Name:ident($($argument:expr),* $(,)?)) => {{
        let all = $own.custom.as_ref().ok();
        let operator = all.and_then(|all| all.$Name).expect("a chip takes what is there");
        plan!(@ $operands, operator, $Name($($argument),*))
    }};
    ($own:ident, $operands:ident, $Name:ident($($argument:expr),* $(,)?)) => {
        plan!(@ $operands, $own.$Name, $Name($($argument),*))
    };
    (@ $operands:ident, $operator:expr, $Name:ident($($argument:expr),* $(,)?)) => {{
        let Operator { plan, launch } = $operator;
        let (mut bytes, mut executor) = (0, null_mut());
        // SAFETY: arguments of the types and in the order of the table's entry. Descriptors live as long as
        // `$operands` and what is made of it; addresses are the device's, which the host never follows.
        let code = unsafe { plan($($argument,)* &raw mut bytes, &raw mut executor) };
        $operands.planned(concat!("aclnn", stringify!($Name)), code, launch, (bytes, executor))
    }};
}

impl Operators {
    /// Plans a call, whose memory for intermediate results begins at `scratch`.
    pub(crate) fn plan(&self, call: &Call<Own>, scratch: Address) -> Result<Planned> {
        let operands = Operands {
            device: &self.device,
            scratch,
            kept: Kept::default(),
        };
        match call {
            Call::Binary { f, a, b, out } => self.binary(operands, *f, [a, b, out]),
            Call::Function { f, x, out } => self.function(operands, *f, [x, out]),
            Call::Cast { x, out } => self.cast(operands, [x, out]),
            Call::Copy { from, out } => self.copy(operands, [from, out]),
            Call::Where {
                condition,
                yes,
                no,
                out,
            } => self.s_where(operands, [condition, yes, no, out]),
            Call::Fill { out, value } => self.fill(operands, out, *value),
            Call::MaskedFill { x, mask, value } => self.masked_fill(operands, [x, mask], *value),
            Call::Arange { out } => self.arange(operands, out),
            Call::Concat { parts, out } => self.cat(operands, parts, out),
            Call::Rows { from, at, out } => self.index_select(operands, [from, at, out]),
            Call::Gather { from, at, out } => self.gather(operands, [from, at, out]),
            Call::Scatter { into, at, from } => self.scatter(operands, [into, at, from]),
            Call::Matmul { a, b, out } => self.matmul(operands, [a, b, out]),
            Call::Own(Own::GroupedMatmulV5 {
                x,
                weight,
                ends,
                out,
            }) => self.grouped(operands, [x, weight, ends, out]),
            Call::RmsNorm {
                x,
                gamma,
                eps,
                out,
                rstd,
            } => self.rms_norm(operands, [x, gamma, out, rstd], *eps),
            Call::Sum { x, out } => self.reduce_sum(operands, [x, out]),
            Call::Max { x, out, places } => self.max_dim(operands, [x, out, places]),
            Call::TopK {
                x,
                order,
                out,
                places,
            } => self.topk(operands, *order, [x, out, places]),
            Call::Own(Own::MoeInitRoutingV3 {
                x,
                experts,
                rows,
                visits,
                ends,
            }) => self.init_routing(operands, [x, experts, rows, visits, ends]),
            Call::Own(Own::DynamicQuantV2 { x, codes, scales }) => {
                self.dynamic_quant(operands, [x, codes, scales])
            }
            Call::Own(Own::QuantMatmulWeightNz {
                x,
                weight,
                scales,
                rows,
                out,
            }) => self.quant_matmul(operands, [x, weight, scales, rows, out]),
            Call::Own(Own::GroupedMatmulWeightNz {
                x,
                weight,
                scaled,
                ends,
                out,
            }) => self.grouped_integers(operands, [x, weight, ends, out], scaled.as_ref()),
            Call::Own(Own::HcPre {
                streams,
                projection,
                scale,
                base,
                config,
                y,
                post,
                comb,
            }) => {
                let views = [streams, projection, scale, base, y, post, comb];
                self.hc_pre(operands, views, *config)
            }
            Call::Own(Own::HcPost {
                y,
                streams,
                post,
                comb,
                out,
            }) => self.hc_post(operands, [y, streams, post, comb, out]),
            Call::Own(Own::MoeGatingTopKHash {
                logits,
                by,
                scale,
                weights,
                experts,
                scores,
            }) => self.gate(operands, *by, *scale, [logits, weights, experts, scores]),
        }
    }

    fn binary(
        &self,
        mut operands: Operands<'_>,
        f: Binary,
        views: [&Operand; 3],
    ) -> Result<Planned> {
        // A factor on the second operand is of a type that becomes the operands'.
        let one = operands.scalar(match views[0].dtype {
            Type::I32 | Type::I64 => Number::I32(1),
            Type::F32 | Type::Bf16 | Type::I8 | Type::Bool => Number::F32(1.0),
        })?;
        let [a, b, out] = operands.tensors(views)?;
        match f {
            Binary::Add => plan!(self, operands, Add(a, b, one, out)),
            Binary::Sub => plan!(self, operands, Sub(a, b, one, out)),
            Binary::Mul => plan!(self, operands, Mul(a, b, out)),
            Binary::Div => plan!(self, operands, Div(a, b, out)),
        }
    }

    fn function(
        &self,
        mut operands: Operands<'_>,
        f: Function,
        views: [&Operand; 2],
    ) -> Result<Planned> {
        let [x, out] = operands.tensors(views)?;
        match f {
            Function::Clamp(min, max) => {
                let (min, max) = (operands.bound(min)?, operands.bound(max)?);
                plan!(self, operands, Clamp(x, min, max, out))
            }
            Function::Exp => plan!(self, operands, Exp(x, out)),
            Function::Sigmoid => plan!(self, operands, Sigmoid(x, out)),
            Function::Silu => plan!(self, operands, Silu(x, out)),
            Function::Softplus => {
                let (beta, threshold) = (operands.float(1.0)?, operands.float(SOFTPLUS_THRESHOLD)?);
                plan!(self, operands, Softplus(x, beta, threshold, out))
            }
            Function::Sqrt => plan!(self, operands, Sqrt(x, out)),
            Function::Adds(term) => {
                let (term, one) = (operands.float(term)?, operands.float(1.0)?);
                plan!(self, operands, Adds(x, term, one, out))
            }
            Function::Muls(factor) => {
                let factor = operands.float(factor)?;
                plan!(self, operands, Muls(x, factor, out))
            }
        }
    }

    fn cast(&self, mut operands: Operands<'_>, views: [&Operand; 2]) -> Result<Planned> {
        let dtype = descriptor::code(views[1].dtype);
        let [x, out] = operands.tensors(views)?;
        plan!(self, operands, Cast(x, dtype, out))
    }

    fn copy(&self, mut operands: Operands<'_>, views: [&Operand; 2]) -> Result<Planned> {
        let [from, out] = operands.tensors(views)?;
        plan!(self, operands, InplaceCopy(out, from))
    }

    fn s_where(&self, mut operands: Operands<'_>, views: [&Operand; 4]) -> Result<Planned> {
        let [condition, yes, no, out] = operands.tensors(views)?;
        plan!(self, operands, SWhere(condition, yes, no, out))
    }

    fn fill(&self, mut operands: Operands<'_>, out: &Operand, value: Number) -> Result<Planned> {
        let (out, value) = (operands.tensor(out)?, operands.scalar(value)?);
        plan!(self, operands, InplaceFillScalar(out, value))
    }

    fn masked_fill(
        &self,
        mut operands: Operands<'_>,
        views: [&Operand; 2],
        value: f32,
    ) -> Result<Planned> {
        let ([x, mask], value) = (operands.tensors(views)?, operands.float(value)?);
        plan!(self, operands, InplaceMaskedFillScalar(x, mask, value))
    }

    fn arange(&self, mut operands: Operands<'_>, out: &Operand) -> Result<Planned> {
        let end = i32::try_from(out.room).expect("numbers that a row number holds");
        let start = operands.scalar(Number::I32(0))?;
        let end = operands.scalar(Number::I32(end))?;
        let step = operands.scalar(Number::I32(1))?;
        let out = operands.tensor(out)?;
        plan!(self, operands, Arange(start, end, step, out))
    }

    fn cat(&self, mut operands: Operands<'_>, parts: &[Operand], out: &Operand) -> Result<Planned> {
        let (parts, out) = (operands.list(parts)?, operands.tensor(out)?);
        plan!(self, operands, Cat(parts, 1, out))
    }

    fn index_select(&self, mut operands: Operands<'_>, views: [&Operand; 3]) -> Result<Planned> {
        let [from, at, out] = operands.tensors(views)?;
        plan!(self, operands, IndexSelect(from, 0, at, out))
    }

    fn gather(&self, mut operands: Operands<'_>, views: [&Operand; 3]) -> Result<Planned> {
        let [from, at, out] = operands.tensors(views)?;
        plan!(self, operands, Gather(from, 1, at, out))
    }

    fn scatter(&self, mut operands: Operands<'_>, views: [&Operand; 3]) -> Result<Planned> {
        let [into, at, from] = operands.tensors(views)?;
        plan!(self, operands, ScatterNdUpdate(into, at, from))
    }

    fn matmul(&self, mut operands: Operands<'_>, views: [&Operand; 3]) -> Result<Planned> {
        let is_batch = views[0].dims.len() == 3;
        let [a, b, out] = operands.tensors(views)?;
        if is_batch {
            plan!(self, operands, BatchMatMul(a, b, out, KEEP_TYPE))
        } else {
            plan!(self, operands, Matmul(a, b, out, KEEP_TYPE))
        }
    }

    fn grouped(
        &self,
        mut operands: Operands<'_>,
        [x, weight, ends, out]: [&Operand; 4],
    ) -> Result<Planned> {
        let (x, weight) = (operands.list(&[*x])?, operands.list(&[*weight])?);
        let (ends, out) = (operands.tensor(ends)?, operands.list(&[*out])?);
        // Neither bias, scales, offsets, activation nor tuning.
        plan!(
            self,
            operands,
            GroupedMatmulV5(
                x,
                weight,
                null(),
                null(),
                null(),
                null(),
                null(),
                null(),
                ends,
                null(),
                null(),
                null(),
                ONE_RESULT,
                BY_ROWS,
                ENDS,
                0,
                null_mut(),
                out,
                null_mut(),
                null_mut(),
            )
        )
    }

    fn hc_pre(
        &self,
        mut operands: Operands<'_>,
        views: [&Operand; 7],
        config: MixerConfig,
    ) -> Result<Planned> {
        let [x, projection, scale, base, y, post, comb] = operands.tensors(views)?;
        let (streams, passes) = (config.streams as i64, config.sinkhorn as i64);
        let (eps, norm_eps) = (config.eps.into(), config.norm_eps.into());
        plan!(
            self,
            operands,
            custom HcPre(x, projection, scale, base, streams, passes, eps, norm_eps, y, post, comb)
        )
    }

    fn hc_post(&self, mut operands: Operands<'_>, views: [&Operand; 5]) -> Result<Planned> {
        let [y, streams, post, comb, out] = operands.tensors(views)?;
        plan!(self, operands, custom HcPost(y, streams, post, comb, out))
    }

    fn gate(
        &self,
        mut operands: Operands<'_>,
        by: Chosen,
        scale: f32,
        views: [&Operand; 4],
    ) -> Result<Planned> {
        let k = views[1].dims[1] as i64;
        let (mut bias, mut ids, mut table) = (null_mut(), null_mut(), null_mut());
        match by {
            Chosen::Best(of) => bias = operands.tensor(&of)?,
            Chosen::Given(both) => [ids, table] = operands.tensors([&both[0], &both[1]])?,
        }
        let [logits, weights, experts, scores] = operands.tensors(views)?;
        // One group of experts; weights are shares of their sum; the scores are given too.
        plan!(
            self,
            operands,
            custom MoeGatingTopKHash(
                logits,
                bias,
                ids,
                table,
                k,
                1,
                1,
                0,
                0,
                SQRT_SOFTPLUS,
                true,
                scale.into(),
                SHARE_EPS,
                weights,
                experts,
                scores,
            )
        )
    }

    fn dynamic_quant(&self, mut operands: Operands<'_>, views: [&Operand; 3]) -> Result<Planned> {
        let dtype = aclDataType::ACL_INT8.0.into();
        let [x, codes, scales] = operands.tensors(views)?;
        // Neither smoothing nor an offset.
        plan!(
            self,
            operands,
            if there DynamicQuantV2(x, null(), null(), dtype, codes, scales, null())
        )
    }

    fn quant_matmul(
        &self,
        mut operands: Operands<'_>,
        [x, weight, scales, rows, out]: [&Operand; 5],
    ) -> Result<Planned> {
        let dims = [x.dims[1], out.dims[1]];
        let weight = operands.fractal(weight, &dims, aclDataType::ACL_INT8)?;
        let [x, scales, rows, out] = operands.tensors([x, scales, rows, out])?;
        // Neither offsets nor bias, nothing transposed, a scale for each row and column.
        plan!(
            self,
            operands,
            if there QuantMatmulWeightNz(
                x,
                weight,
                rows,
                scales,
                null(),
                null(),
                null(),
                null(),
                null(),
                false,
                false,
                0,
                out,
            )
        )
    }

    fn grouped_integers(
        &self,
        mut operands: Operands<'_>,
        [x, weight, ends, out]: [&Operand; 4],
        scaled: Option<&[Operand; 3]>,
    ) -> Result<Planned> {
        let (matrices, [inputs, outputs]) = (weight.dims[0], [x.dims[1], out.dims[1]]);
        let dtype = if scaled.is_some() {
            aclDataType::ACL_INT4
        } else {
            aclDataType::ACL_INT8
        };
        let weight = operands.fractal_list(weight, &[matrices, inputs, outputs], dtype)?;
        let (mut bias, mut scale, mut per_token): (*mut _, *mut _, *mut _) =
            (null_mut(), null_mut(), null_mut());
        let mut group = 0;
        if let Some([scales, compensation, rows]) = scaled {
            let groups = scales.dims[1];
            scale = operands.retyped_list(
                scales,
                &[matrices, groups, outputs],
                aclDataType::ACL_UINT64,
            )?;
            bias = operands.list(&[*compensation])?;
            per_token = operands.list(&[*rows])?;
            group = (inputs / groups) as i64;
        }
        let x = operands.list(&[*x])?;
        let (ends, out) = (operands.tensor(ends)?, operands.list(&[*out])?);
        // Neither offsets, scales of other kinds, activation nor tuning.
        plan!(
            self,
            operands,
            if there GroupedMatmulWeightNz(
                x,
                weight,
                bias,
                scale,
                null(),
                null(),
                null(),
                per_token,
                ends,
                null(),
                null(),
                null(),
                ONE_RESULT,
                BY_ROWS,
                ENDS,
                0,
                null_mut(),
                group,
                out,
                null_mut(),
                null_mut(),
            )
        )
    }

    fn rms_norm(
        &self,
        mut operands: Operands<'_>,
        views: [&Operand; 4],
        eps: f32,
    ) -> Result<Planned> {
        let [x, gamma, out, rstd] = operands.tensors(views)?;
        plan!(self, operands, RmsNorm(x, gamma, eps.into(), out, rstd))
    }

    fn reduce_sum(&self, mut operands: Operands<'_>, views: [&Operand; 2]) -> Result<Planned> {
        let (axes, [x, out]) = (operands.ints(&[1])?, operands.tensors(views)?);
        let float = aclDataType::ACL_FLOAT;
        plan!(self, operands, ReduceSum(x, axes, true, float, out))
    }

    fn max_dim(&self, mut operands: Operands<'_>, views: [&Operand; 3]) -> Result<Planned> {
        let [x, out, places] = operands.tensors(views)?;
        plan!(self, operands, MaxDim(x, 1, true, out, places))
    }

    fn topk(
        &self,
        mut operands: Operands<'_>,
        order: Order,
        views: [&Operand; 3],
    ) -> Result<Planned> {
        let (k, largest) = (views[1].dims[1] as i64, order == Order::LargestFirst);
        let [x, out, places] = operands.tensors(views)?;
        plan!(self, operands, Topk(x, k, 1, largest, true, out, places))
    }

    fn init_routing(&self, mut operands: Operands<'_>, views: [&Operand; 5]) -> Result<Planned> {
        let (visit_count, expert_count) = (views[3].room as i64, views[4].room as i64);
        let [x, experts, rows, visits, ends] = operands.tensors(views)?;
        // Every visit has its place: there is no capacity, and no row is dropped or padded.
        plan!(
            self,
            operands,
            MoeInitRoutingV3(
                x,
                experts,
                null(),
                null(),
                visit_count,
                0,
                expert_count,
                0,
                ENDS,
                true,
                UNQUANTISED,
                null(),
                VISITS,
                rows,
                visits,
                ends,
                null(),
            )
        )
    }
}
