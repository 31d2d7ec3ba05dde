//! The driver: an operation at a time, as calls on one queue.

use std::rc::Rc;
use std::sync::Arc;

use backend_cambricon_sys::Neuware;
use backend_offload::compose::{Call, Program};
use backend_offload::{Address, ComposedDriver, Machine, Op, Runtime, View};
use deepseek_core::Result;
use deepseek_core::group::Member;

use crate::chip::CambriconChip;
use crate::lower::{Own, program};
use crate::neuware::{Communicator, Device, MluQueue, Operators, machine};

/// A driver over Neuware. It belongs to the thread that opened it.
///
/// Products by runs of rows are the vendor's where the release has them and all is BF16; else they are composed.
pub type CambriconDriver = ComposedDriver<CambriconRuntime>;

/// A device over Neuware.
#[derive(Debug)]
pub struct CambriconRuntime {
    chip: Arc<CambriconChip>,
    /// What it gathers through, if it is one of several ranks.
    communicator: Option<Communicator>,
    device: Rc<Device>,
    queue: Rc<MluQueue>,
    operators: Operators,
}

impl Runtime for CambriconRuntime {
    type Library = Neuware;
    type Chip = CambriconChip;
    type Queue = MluQueue;
    type Own = Own;

    fn machine(neuware: &Neuware) -> Result<Machine<CambriconChip>> {
        machine(neuware)
    }

    /// Refuses chips without BF16.
    fn open(neuware: Arc<Neuware>, id: i32) -> Result<Self> {
        let device = Device::open(neuware, id)?;
        let chip = device.chip()?.without_ranks(device.joins_none());
        let queue = MluQueue::new(&device)?;
        Ok(Self {
            chip: Arc::new(chip),
            communicator: None,
            operators: Operators::new(&queue)?,
            queue,
            device,
        })
    }

    fn chip(&self) -> &Arc<CambriconChip> {
        &self.chip
    }

    fn queue(&self) -> &Rc<MluQueue> {
        &self.queue
    }

    fn malloc(&self, bytes: usize) -> Result<Address> {
        self.device.malloc(bytes)
    }

    fn free(&self, at: Address) -> Result<()> {
        self.device.free(at)
    }

    fn program(&self, op: &Op<()>) -> Option<Program<Own>> {
        program(op, self.operators.has_groups())
    }

    fn call(
        &self,
        call: &Call<Own>,
        scratch: Address,
        workspace: impl FnOnce(usize) -> Result<Option<Address>>,
    ) -> Result<()> {
        self.operators.call(call, scratch, workspace)
    }

    fn join(&mut self, member: &Member, devices: &[i32]) -> Result<()> {
        self.communicator = Some(Communicator::join(&self.device, member, devices)?);
        Ok(())
    }

    fn gather(&self, x: &View, out: &View) -> Result<()> {
        let alone = || self.device.fault("a rank that has not joined");
        let communicator = self.communicator.as_ref().ok_or_else(alone)?;
        communicator.gather(x, out, &self.queue)
    }

    fn abandon(&self) {
        if let Some(communicator) = &self.communicator {
            communicator.abandon();
        }
    }
}
