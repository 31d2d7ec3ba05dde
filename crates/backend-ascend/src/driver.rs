//! The driver: an operation at a time, as calls on one stream.

use std::rc::Rc;
use std::sync::Arc;

use backend_ascend_sys::Ascend;
use backend_offload::compose::{Call, Program};
use backend_offload::{Address, ComposedDriver, Machine, Op, Runtime, Verb, View};
use deepseek_core::group::Member;
use deepseek_core::{Error, Result};

use crate::cann::{Communicator, Device, Operators, Stream, machine};
use crate::chip::{AscendChip, Family};
use crate::translate::{Own, translate, whole};

/// A driver over CANN. It belongs to the thread that opened it.
pub type AscendDriver = ComposedDriver<AscendRuntime>;

/// A device over CANN.
#[derive(Debug)]
pub struct AscendRuntime {
    chip: Arc<AscendChip>,
    /// What it gathers through, if it is one of several ranks.
    communicator: Option<Communicator>,
    device: Rc<Device>,
    stream: Rc<Stream>,
    operators: Operators,
}

impl Runtime for AscendRuntime {
    type Library = Ascend;
    type Chip = AscendChip;
    type Queue = Stream;
    type Own = Own;

    fn machine(ascend: &Ascend) -> Result<Machine<AscendChip>> {
        machine(ascend)
    }

    /// Refuses chips of no family that is served, and installations that lack an operator.
    fn open(ascend: Arc<Ascend>, id: i32) -> Result<Self> {
        let device = Device::open(ascend, id)?;
        let soc = device.soc();
        let family = Family::of(&soc).ok_or_else(|| Error::Unsupported {
            device: device.name().to_owned(),
            what: format!("the chip {soc:?}: 910B, 910C and 950 are served"),
        })?;
        let operators = Operators::of(&device, family)?;
        let chip = AscendChip::new(device.name(), &soc, family);
        let chip = chip.without_captures(device.captures_none());
        let chip = chip.without_ranks(device.joins_none());
        let chip = chip.without(operators.missing());
        Ok(Self {
            chip: Arc::new(chip.with_custom(operators.custom())),
            communicator: None,
            stream: Stream::new(&device)?,
            operators,
            device,
        })
    }

    fn chip(&self) -> &Arc<AscendChip> {
        &self.chip
    }

    fn queue(&self) -> &Rc<Stream> {
        &self.stream
    }

    fn malloc(&self, bytes: usize) -> Result<Address> {
        self.device.malloc(bytes)
    }

    fn free(&self, at: Address) -> Result<()> {
        self.device.free(at)
    }

    fn program(&self, op: &Op<()>) -> Option<Program<Own>> {
        translate(op)
    }

    fn verb(verb: &Verb<()>, results: &[View]) -> Option<Program<Own>> {
        whole(verb, results)
    }

    fn call(
        &self,
        call: &Call<Own>,
        scratch: Address,
        workspace: impl FnOnce(usize) -> Result<Option<Address>>,
    ) -> Result<()> {
        let planned = self.operators.plan(call, scratch)?;
        let room = workspace(planned.workspace_bytes())?;
        planned.launch(room, &self.stream)
    }

    fn join(&mut self, member: &Member, _: &[i32]) -> Result<()> {
        self.communicator = Some(Communicator::join(&self.device, member)?);
        Ok(())
    }

    fn gather(&self, x: &View, out: &View) -> Result<()> {
        let alone = || self.device.fault("a rank that has not joined");
        let communicator = self.communicator.as_ref().ok_or_else(alone)?;
        communicator.gather(x, out, &self.stream)
    }
}
