//! The driver: an operation at a time, as calls on one stream.

use std::rc::Rc;
use std::sync::Arc;

use backend_ascend_sys::Ascend;
use backend_offload::compose::Call;
use backend_offload::{
    Address, Allocations, Driver, Flight, Op, Pinned, Queue, Verb, View, Way, Workspace,
};
use deepseek_core::{Error, Result};

use crate::cann::{Device, Operators, Stream};
use crate::chip::{AscendChip, Family};
use crate::translate::{Own, translate};

/// A device over CANN. It belongs to the thread that opened it.
#[derive(Debug)]
pub struct AscendDriver {
    chip: Arc<AscendChip>,
    device: Rc<Device>,
    stream: Rc<Stream>,
    operators: Operators,
    /// What lies between the calls of an operation: beside the operators' own workspace, which they are
    /// given one after the other.
    scratch: Workspace,
    allocations: Allocations,
}

impl AscendDriver {
    /// Opens a device by its number, for the thread that calls.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the chip is of no family that is served, or the installation lacks an
    /// operator; [`Error::Device`] with the vendor's code if the device cannot be used.
    pub fn open(ascend: Arc<Ascend>, id: i32) -> Result<Self> {
        let device = Device::open(ascend, id)?;
        let soc = device.soc();
        let family = Family::of(&soc).ok_or_else(|| Error::Unsupported {
            device: device.name().to_owned(),
            what: format!("the chip {soc:?}: 910B, 910C and 950 are served"),
        })?;
        Ok(Self {
            chip: Arc::new(AscendChip::new(device.name(), &soc, family)),
            stream: Stream::new(&device)?,
            operators: Operators::of(&device)?,
            scratch: Workspace::default(),
            allocations: Allocations::default(),
            device,
        })
    }

    /// Memory between the calls of an operation. It is the stream's alone, so the next operation may
    /// have it again.
    fn scratch(&mut self, bytes: usize) -> Result<Address> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let at = scratch.at_least(self, bytes);
        self.scratch = scratch;
        at
    }

    fn call(
        &mut self,
        call: &Call<Own>,
        scratch: Address,
        workspace: &mut Workspace,
    ) -> Result<()> {
        let planned = self.operators.plan(call, scratch)?;
        let room = match planned.workspace_bytes() {
            0 => None,
            bytes => Some(workspace.at_least(self, bytes)?),
        };
        planned.launch(room, &self.stream)
    }
}

impl Driver for AscendDriver {
    type Chip = AscendChip;
    type Staging = Pinned<Stream>;
    type Flight = Flight<Stream>;

    fn chip(&self) -> Arc<AscendChip> {
        Arc::clone(&self.chip)
    }

    fn allocate(&mut self, bytes: usize) -> Result<Address> {
        let (malloc, free) = (|bytes| self.device.malloc(bytes), |at| self.device.free(at));
        self.allocations.take(bytes, malloc, free)
    }

    /// Waits for all queued work, because the vendor gives memory back at once.
    fn free(&mut self, at: Address) -> Result<()> {
        if !self.allocations.holds(at) {
            return Err(Error::Device {
                device: self.device.name().to_owned(),
                why: format!("{:#x} given back and not held", at.0),
            });
        }
        self.stream.synchronize()?;
        match self.allocations.remove(at) {
            Some(given) => self.device.free(given),
            None => Ok(()),
        }
    }

    fn staging(&mut self, bytes: usize) -> Result<Pinned<Stream>> {
        Pinned::new(&self.stream, bytes)
    }

    fn copy_in(
        &mut self,
        from: Pinned<Stream>,
        bytes: usize,
        to: Address,
    ) -> Result<Flight<Stream>> {
        Flight::start(&self.stream, Way::In, to, from, bytes)
    }

    fn copy_out(
        &mut self,
        from: Address,
        bytes: usize,
        to: Pinned<Stream>,
    ) -> Result<Flight<Stream>> {
        Flight::start(&self.stream, Way::Out, from, to, bytes)
    }

    fn has_landed(&mut self, flight: &Flight<Stream>) -> Result<bool> {
        flight.has_landed()
    }

    fn land(&mut self, flight: Flight<Stream>) -> Result<Pinned<Stream>> {
        flight.land()
    }

    fn run(&mut self, op: &Op<()>, workspace: &mut Workspace) -> Result<()> {
        let program = translate(op);
        let scratch = match program.scratch_bytes {
            0 => Address(0),
            bytes => self.scratch(bytes)?,
        };
        if let Some((out, byte)) = program.fill {
            self.stream.fill(out.at(scratch), byte, out.bytes())?;
        }
        let mut calls = program.calls.iter();
        calls.try_for_each(|call| self.call(call, scratch, workspace))
    }

    /// Its chip takes none.
    fn run_verb(&mut self, verb: &Verb<()>, _: &[View], _: &mut Workspace) -> Result<()> {
        Err(Error::Unsupported {
            device: self.device.name().to_owned(),
            what: format!("{} as one operation: its chip declines it", verb.name()),
        })
    }

    fn synchronize(&mut self) -> Result<()> {
        self.stream.synchronize()
    }
}

impl Drop for AscendDriver {
    /// Gives back what is held. A device that fails at that has told of it, or nobody waits for it.
    fn drop(&mut self) {
        if self.stream.synchronize().is_ok() {
            for given in self.allocations.all() {
                let _ = self.device.free(given);
            }
        }
    }
}
