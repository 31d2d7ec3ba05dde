//! The first half of an operator: its operands against its contract.

use std::sync::Arc;

use backend_ascend_sys::contracts::Contract;
use backend_ascend_sys::types::{aclDataType, aclFormat};

use crate::array::Array;
use crate::call::Call;
use crate::codes;
use crate::config::{Family, Provider};
use crate::failure::{Failure, Fault, Outcome};
use crate::handles::{Handle, Kind};
use crate::objects::{Object, Scalar, Tensor, dead};

pub(crate) const F32: aclDataType = aclDataType::ACL_FLOAT;
pub(crate) const F16: aclDataType = aclDataType::ACL_FLOAT16;
pub(crate) const BF16: aclDataType = aclDataType::ACL_BF16;
pub(crate) const I4: aclDataType = aclDataType::ACL_INT4;
pub(crate) const I8: aclDataType = aclDataType::ACL_INT8;
pub(crate) const I32: aclDataType = aclDataType::ACL_INT32;
pub(crate) const I64: aclDataType = aclDataType::ACL_INT64;
pub(crate) const U64: aclDataType = aclDataType::ACL_UINT64;
pub(crate) const BOOL: aclDataType = aclDataType::ACL_BOOL;
pub(crate) const FLOATS: &[aclDataType] = &[F32, F16, BF16];
pub(crate) const INDICES: &[aclDataType] = &[I32, I64];
pub(crate) const NUMBERS: &[aclDataType] = &[F32, F16, BF16, I8, I32, I64];
pub(crate) const ALL: &[aclDataType] = &[F32, F16, BF16, I8, I32, I64, BOOL];

/// What an operator computes: from all its operands, in their order, the outputs in theirs. Where an
/// output stands among the operands it reads nothing.
pub(crate) type Kernel = Arc<dyn Fn(&[Array]) -> Result<Vec<Array>, Fault> + Send + Sync>;

pub(crate) fn kernel(
    compute: impl Fn(&[Array]) -> Result<Vec<Array>, Fault> + Send + Sync + 'static,
) -> Kernel {
    Arc::new(compute)
}

/// How an operand is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Read as a whole.
    Input,
    /// Read in part: the kernel asks what was written.
    Source,
    /// Written.
    Output,
    /// Written in part; what is not stays as it was.
    Reference,
}

/// An operand of a planned operator.
#[derive(Debug, Clone)]
pub(crate) struct Operand {
    pub(crate) name: &'static str,
    pub(crate) handle: Handle,
    pub(crate) tensor: Tensor,
    pub(crate) role: Role,
}

/// What is planned so far.
#[derive(Debug)]
pub(crate) struct Planner<'a> {
    call: &'a Call,
    operator: &'static str,
    pub(crate) operands: Vec<Operand>,
    /// All objects that the call named; they must live until the second half.
    pub(crate) uses: Vec<Handle>,
    /// Bytes that the operator wants beside its operands.
    pub(crate) workspace: usize,
}

/// An operand as a contract looks at it.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    /// Which operand it is.
    pub(crate) slot: usize,
    pub(crate) dims: Vec<usize>,
    pub(crate) dtype: aclDataType,
    label: String,
    is_contiguous: bool,
    is_fractal: bool,
}

/// Operators that are there with CANN, whatever the chip; a contract says where one is not.
#[expect(clippy::unnecessary_wraps, reason = "the form of each provider's")]
pub(crate) fn everywhere(_: &Planner<'_>) -> Outcome {
    Ok(())
}

/// Operators of vllm-ascend 0.23.0, whose packages have kernels for A2 and A3.
pub(crate) fn by_vllm_ascend(op: &Planner<'_>) -> Outcome {
    let is_there = op.call.config.provider == Provider::VllmAscend023;
    if is_there && op.family() != Family::A5 {
        return Ok(());
    }
    Err(op.absent())
}

impl<'a> Planner<'a> {
    pub(crate) fn new(call: &'a Call, operator: &'static str) -> Self {
        Self {
            call,
            operator,
            operands: Vec::new(),
            uses: Vec::new(),
            workspace: 0,
        }
    }

    /// The chip that it is for.
    pub(crate) fn family(&self) -> Family {
        self.call.config.family
    }

    /// Why the operator is not to be had on this chip.
    pub(crate) fn absent(&self) -> Failure {
        let text = format!("{}: not on {:?}", self.operator, self.family());
        Failure::new(codes::FIND_KERNEL, text)
    }

    /// Whether a package has a kernel for these operands, in the order of its description: inputs, then outputs.
    pub(crate) fn kernel_for(
        &self,
        contracts: &'static [Contract],
        given: &[Option<&Spec>],
    ) -> Outcome {
        let contract = Contract::of(contracts, self.operator);
        let contract = contract.ok_or_else(|| self.absent())?;
        let given: Vec<_> = given
            .iter()
            .map(|spec| spec.map(|spec| (spec.dtype, aclFormat::ACL_FORMAT_ND)))
            .collect();
        if contract.accepts(&given) {
            return Ok(());
        }
        Err(self.refuse("types that there is no kernel for"))
    }

    /// Why the operator does not take its arguments.
    pub(crate) fn refuse(&self, what: impl std::fmt::Display) -> Failure {
        Failure::new(codes::PARAM_INVALID, format!("{}: {what}", self.operator))
    }

    fn find(&mut self, name: &str, handle: Handle, kind: Kind) -> Outcome<&'a Object> {
        if handle.is_null() {
            let text = format!("{}: {name}: null", self.operator);
            return Err(Failure::new(codes::NULLPTR, text));
        }
        self.uses.push(handle);
        let found = self.call.objects.get(&handle).filter(|_| handle.is(kind));
        found.ok_or_else(|| dead(handle, kind))
    }

    fn operand(&mut self, name: &'static str, handle: Handle, role: Role) -> Outcome<Spec> {
        let Object::Tensor(tensor) = self.find(name, handle, Kind::Tensor)? else {
            unreachable!("a handle of a tensor");
        };
        let label = format!("{}: {name}", self.operator);
        if let Some(flaw) = tensor.flaw() {
            return Err(Failure::new(
                codes::PARAM_INVALID,
                format!("{label}: {flaw}"),
            ));
        }
        self.operands.push(Operand {
            name,
            handle,
            tensor: tensor.clone(),
            role,
        });
        Ok(Spec {
            slot: self.operands.len() - 1,
            dims: tensor.sizes(),
            dtype: tensor.dtype,
            label,
            is_contiguous: tensor.is_contiguous(),
            is_fractal: tensor.is_fractal(),
        })
    }

    pub(crate) fn input(&mut self, name: &'static str, handle: Handle) -> Outcome<Spec> {
        self.operand(name, handle, Role::Input)
    }

    pub(crate) fn source(&mut self, name: &'static str, handle: Handle) -> Outcome<Spec> {
        self.operand(name, handle, Role::Source)
    }

    pub(crate) fn output(&mut self, name: &'static str, handle: Handle) -> Outcome<Spec> {
        self.operand(name, handle, Role::Output)
    }

    pub(crate) fn reference(&mut self, name: &'static str, handle: Handle) -> Outcome<Spec> {
        self.operand(name, handle, Role::Reference)
    }

    /// The tensors of a list, to be read.
    pub(crate) fn list(&mut self, name: &'static str, handle: Handle) -> Outcome<Vec<Spec>> {
        self.members(name, handle, Role::Input)
    }

    /// The tensors of a list, to be written.
    pub(crate) fn output_list(&mut self, name: &'static str, handle: Handle) -> Outcome<Vec<Spec>> {
        self.members(name, handle, Role::Output)
    }

    fn members(&mut self, name: &'static str, handle: Handle, role: Role) -> Outcome<Vec<Spec>> {
        let Object::TensorList(members) = self.find(name, handle, Kind::TensorList)? else {
            unreachable!("a handle of a list");
        };
        members
            .iter()
            .map(|member| self.operand(name, *member, role))
            .collect()
    }

    /// The integers of an array.
    pub(crate) fn ints(&mut self, name: &'static str, handle: Handle) -> Outcome<Vec<i64>> {
        let Object::IntArray(values) = self.find(name, handle, Kind::IntArray)? else {
            unreachable!("a handle of an array");
        };
        Ok(values.clone())
    }

    pub(crate) fn scalar(&mut self, name: &'static str, handle: Handle) -> Outcome<Scalar> {
        let Object::Scalar(scalar) = self.find(name, handle, Kind::Scalar)? else {
            unreachable!("a handle of a scalar");
        };
        Ok(*scalar)
    }

    /// An axis that may be counted from the end.
    pub(crate) fn axis(&self, axis: i64, rank: usize) -> Outcome<usize> {
        let from_start = if axis < 0 { axis + rank as i64 } else { axis };
        let found = usize::try_from(from_start).ok().filter(|axis| *axis < rank);
        found.ok_or_else(|| self.refuse(format!("axis {axis} of {rank}")))
    }
}

impl Spec {
    fn refuse(&self, what: impl std::fmt::Display) -> Failure {
        Failure::new(codes::PARAM_INVALID, format!("{}: {what}", self.label))
    }

    pub(crate) fn of(self, types: &[aclDataType]) -> Outcome<Self> {
        if types.contains(&self.dtype) {
            return Ok(self);
        }
        let names = types
            .iter()
            .filter_map(|dtype| dtype.name())
            .collect::<Vec<_>>()
            .join(", ");
        let name = self.dtype.name().unwrap_or("unknown");
        Err(self.refuse(format!("type {name}, takes {names}")))
    }

    pub(crate) fn shape(self, dims: &[usize]) -> Outcome<Self> {
        if self.dims == dims {
            return Ok(self);
        }
        Err(self.refuse(format!("shape {:?}, takes {dims:?}", self.dims)))
    }

    pub(crate) fn rank(self, ranks: std::ops::RangeInclusive<usize>) -> Outcome<Self> {
        if ranks.contains(&self.dims.len()) {
            return Ok(self);
        }
        Err(self.refuse(format!("rank {}, takes {ranks:?}", self.dims.len())))
    }

    pub(crate) fn contiguous(self) -> Outcome<Self> {
        if self.is_contiguous {
            return Ok(self);
        }
        Err(self.refuse("not contiguous"))
    }

    pub(crate) fn fractal(self) -> Outcome<Self> {
        if self.is_fractal {
            return Ok(self);
        }
        Err(self.refuse("not in the fractal format"))
    }

    pub(crate) fn len(&self) -> usize {
        self.dims.iter().product()
    }
}
