//! An operator before it is queued: its operands against its contract.

use std::sync::Arc;

use backend_cambricon_sys::types::cnnlDataType_t;
use emulator_support::Misuse;
use emulator_support::argument::Pointer;
use emulator_support::failure::{Failure, Fault, Outcome};

use crate::array::Array;
use crate::call::Call;
use crate::codes::{CNNL_ARCH_MISMATCH, CNNL_BAD_PARAM};
use crate::config::Profile;
use crate::handles::{Handle, Kind};
use crate::memory::{Owner, check_of};
use crate::objects::{Object, dead, desc, host_bytes};
use crate::tensor::{BF16, Tensor};

/// A description of an operand and where it lies.
pub(crate) type At = (Handle, Pointer);

/// What an operator computes: from all its operands, in their order, the outputs in theirs. Where an output stands among the
/// operands it reads nothing.
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

/// An operand of an operator.
#[derive(Debug, Clone)]
pub(crate) struct Operand {
    pub(crate) name: &'static str,
    pub(crate) tensor: Tensor,
    pub(crate) at: u64,
    pub(crate) role: Role,
}

impl Operand {
    pub(crate) fn writes(&self) -> bool {
        matches!(self.role, Role::Output | Role::Reference)
    }

    pub(crate) fn range(&self) -> (u64, usize) {
        (self.at, self.tensor.bytes())
    }
}

/// What is planned so far.
pub(crate) struct Planner<'a> {
    pub(crate) call: &'a Call,
    pub(crate) device: usize,
    pub(crate) operands: Vec<Operand>,
    pub(crate) workspace: Option<(u64, usize)>,
}

/// An operand as a contract looks at it.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) tensor: Tensor,
    name: &'static str,
}

/// A violation of a contract.
pub(crate) fn refuse(check: &'static str, text: impl Into<String>) -> Failure {
    Failure::violation(check, CNNL_BAD_PARAM, text)
}

/// Bytes of workspace that an operator wants for these shapes: never none, and others for others, so that whoever does not ask
/// is found.
pub(crate) fn workspace_bytes(operator: &str, shapes: &[&[usize]]) -> usize {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |byte: u64| hash = (hash ^ byte).wrapping_mul(0x0100_0000_01b3);
    operator.bytes().for_each(|byte| mix(byte.into()));
    for shape in shapes {
        mix(0xFF);
        shape.iter().for_each(|length| mix(*length as u64));
    }
    256 * (1 + (hash >> 32) as usize % 256)
}

impl Planner<'_> {
    /// What a description was set to.
    pub(crate) fn tensor(&self, name: &str, handle: Handle) -> Outcome<Tensor> {
        match self.call.objects.get(&handle) {
            Some(Object::Tensor { set: Some(set), .. }) => Ok(set.clone()),
            Some(Object::Tensor { set: None, .. }) => {
                Err(desc(format!("{name}: a tensor that was not set")))
            }
            _ => Err(dead(handle, Kind::Tensor)),
        }
    }

    /// A description of an operator.
    pub(crate) fn object(&self, handle: Handle, kind: Kind) -> Outcome<&Object> {
        let found = self.call.objects.get(&handle).filter(|_| handle.is(kind));
        found.ok_or_else(|| dead(handle, kind))
    }

    fn operand(&mut self, name: &'static str, (handle, at): At, role: Role) -> Outcome<Spec> {
        let tensor = self.tensor(name, handle)?;
        self.placed(name, tensor, at, role)
    }

    /// An operand that has no description of its own.
    pub(crate) fn placed(
        &mut self,
        name: &'static str,
        tensor: Tensor,
        at: Pointer,
        role: Role,
    ) -> Outcome<Spec> {
        if tensor.is_on_host {
            return Err(refuse(
                "E-SHAPE",
                format!("{name}: a number of the host, not a tensor"),
            ));
        }
        if tensor.count() == 0 {
            return Err(refuse(
                "E-SHAPE",
                format!("{name}: {:?}, no numbers", tensor.dims),
            ));
        }
        if tensor.count() > i32::MAX as usize {
            return Err(refuse("E-INT32", format!("{name}: {:?}", tensor.dims)));
        }
        if tensor.dtype == BF16 && self.call.config.profile == Profile::Mlu370 {
            let text = format!("{name}: BF16, which this chip does not have");
            return Err(Failure::violation("E-DTYPE", CNNL_ARCH_MISMATCH, text));
        }
        self.check_place(name, at.address(), tensor.bytes())?;
        self.operands.push(Operand {
            name,
            tensor: tensor.clone(),
            at: at.address(),
            role,
        });
        Ok(Spec { tensor, name })
    }

    /// Bytes of this device. What was freed is left to the task to find, as on a device.
    fn check_place(&self, name: &str, at: u64, bytes: usize) -> Outcome {
        match self.call.owner(at) {
            Owner::Device(device) if device != self.device => Err(refuse(
                "E-DEV",
                format!("{name}: memory of device {device}"),
            )),
            Owner::Device(device) => match self.call.devices[device].locate(at, bytes) {
                Ok(_) | Err(Misuse::Freed(_)) => Ok(()),
                Err(misuse) => Err(refuse(check_of(misuse), format!("{name}: {misuse}"))),
            },
            Owner::Pinned(_) | Owner::Host => Err(refuse(
                "E-PTR",
                format!("{name}: {at:#x} is not of a device"),
            )),
        }
    }

    pub(crate) fn input(&mut self, name: &'static str, at: At) -> Outcome<Spec> {
        self.operand(name, at, Role::Input)?.whole()
    }

    /// Between any strides.
    pub(crate) fn strided(&mut self, name: &'static str, at: At, role: Role) -> Outcome<Spec> {
        self.operand(name, at, role)
    }

    pub(crate) fn source(&mut self, name: &'static str, at: At) -> Outcome<Spec> {
        self.operand(name, at, Role::Source)?.whole()
    }

    pub(crate) fn output(&mut self, name: &'static str, at: At) -> Outcome<Spec> {
        self.operand(name, at, Role::Output)?.whole()
    }

    pub(crate) fn reference(&mut self, name: &'static str, at: At) -> Outcome<Spec> {
        self.operand(name, at, Role::Reference)?.whole()
    }

    /// Workspace of at least as many bytes as were asked for.
    pub(crate) fn workspace(&mut self, (at, bytes): (Pointer, usize), want: usize) -> Outcome {
        if bytes < want {
            return Err(refuse(
                "E-WS",
                format!("{bytes} bytes of workspace, {want} are wanted"),
            ));
        }
        let placed = self.check_place("workspace", at.address(), bytes);
        placed.map_err(|failure| refuse("E-WS", failure.text))?;
        self.workspace = Some((at.address(), bytes));
        Ok(())
    }

    /// A float of the host.
    pub(crate) fn float(&self, at: Pointer) -> Outcome<f32> {
        let bytes = host_bytes(self.call, at, 4)?;
        Ok(f32::from_le_bytes(bytes.try_into().expect("four bytes")))
    }

    /// An integer of the host.
    pub(crate) fn int(&self, at: Pointer) -> Outcome<i32> {
        let bytes = host_bytes(self.call, at, 4)?;
        Ok(i32::from_le_bytes(bytes.try_into().expect("four bytes")))
    }

    /// A number of the host with its description, of no dimensions.
    pub(crate) fn scalar(
        &self,
        name: &'static str,
        (handle, at): At,
    ) -> Outcome<(cnnlDataType_t, Pointer)> {
        let tensor = self.tensor(name, handle)?;
        if !tensor.is_on_host {
            return Err(refuse(
                "E-SHAPE",
                format!("{name}: a number of the host has no dimensions"),
            ));
        }
        Ok((tensor.dtype, at))
    }
}

impl Spec {
    pub(crate) fn dims(&self) -> &[usize] {
        &self.tensor.dims
    }

    pub(crate) fn dtype(&self) -> cnnlDataType_t {
        self.tensor.dtype
    }

    fn whole(self) -> Outcome<Self> {
        if self.tensor.is_whole() {
            return Ok(self);
        }
        let text = format!(
            "{}: strides {:?} of {:?}",
            self.name,
            self.tensor.strides,
            self.dims()
        );
        Err(refuse("E-LAYOUT", text))
    }

    pub(crate) fn of(self, types: &[cnnlDataType_t]) -> Outcome<Self> {
        if types.contains(&self.dtype()) {
            return Ok(self);
        }
        let name = self.dtype().name().unwrap_or("unknown");
        Err(refuse("E-DTYPE", format!("{}: {name}", self.name)))
    }

    pub(crate) fn shape(self, dims: &[usize]) -> Outcome<Self> {
        if self.dims() == dims {
            return Ok(self);
        }
        let text = format!("{}: {:?}, takes {dims:?}", self.name, self.dims());
        Err(refuse("E-SHAPE", text))
    }

    pub(crate) fn rank(self, rank: usize) -> Outcome<Self> {
        if self.dims().len() == rank {
            return Ok(self);
        }
        let text = format!("{}: {:?}, takes {rank} dimensions", self.name, self.dims());
        Err(refuse("E-SHAPE", text))
    }
}
