//! The driver: an operation at a time, as calls on one queue.

use std::rc::Rc;
use std::sync::Arc;

use backend_cambricon_sys::Neuware;
use backend_offload::compose::{Operand, Program, compose};
use backend_offload::{
    Address, Allocations, DType, Driver, Flight, Matrix, Op, Pinned, Queue, Verb, View, Way,
    Workspace,
};
use deepseek_core::{Error, Result};

use crate::chip::CambriconChip;
use crate::lower::{Own, lower};
use crate::neuware::{Device, MluQueue, Operators};
use crate::visits;

/// A device over Neuware. It belongs to the thread that opened it.
#[derive(Debug)]
pub struct CambriconDriver {
    chip: Arc<CambriconChip>,
    device: Rc<Device>,
    queue: Rc<MluQueue>,
    operators: Rc<Operators>,
    /// What lies between the calls of an operation: beside the operators' own workspace, which they are
    /// given one after the other.
    scratch: Workspace,
    allocations: Allocations,
}

impl CambriconDriver {
    /// Opens a device by its number, for the thread that calls.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the chip has no BF16; [`Error::Device`] with the vendor's code if the device cannot be
    /// used.
    pub fn open(neuware: Arc<Neuware>, id: i32) -> Result<Self> {
        let device = Device::open(neuware, id)?;
        let model = device.model();
        if !device.has_bf16()? {
            return Err(Error::Unsupported {
                device: device.name().to_owned(),
                what: format!("the chip {model:?} without BF16: the 500 series has it"),
            });
        }
        let queue = MluQueue::new(&device)?;
        Ok(Self {
            chip: Arc::new(CambriconChip::new(
                device.name(),
                &model,
                device.releases()?,
            )),
            operators: Rc::new(Operators::new(&queue)?),
            queue,
            scratch: Workspace::default(),
            allocations: Allocations::default(),
            device,
        })
    }

    /// Memory between the calls of an operation. It is the queue's alone, so the next operation may
    /// have it again.
    fn scratch(&mut self, bytes: usize) -> Result<Address> {
        if bytes == 0 {
            return Ok(Address(0));
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let at = scratch.at_least(self, bytes);
        self.scratch = scratch;
        at
    }

    fn run_program(&mut self, program: Program<Own>, workspace: &mut Workspace) -> Result<()> {
        let program = lower(program);
        let scratch = self.scratch(program.scratch_bytes)?;
        if let Some((out, byte)) = program.fill {
            self.queue.fill(out.at(scratch), byte, out.bytes())?;
        }
        let operators = Rc::clone(&self.operators);
        for call in &program.calls {
            let prepared = operators.prepare(call, scratch)?;
            let room = match prepared.workspace_bytes() {
                0 => None,
                bytes => Some(workspace.at_least(self, bytes)?),
            };
            prepared.launch(room)?;
        }
        Ok(())
    }

    /// A product for each run of rows. Where they end is asked for: grouped products of the vendor's take where they lie by pointers
    /// whose mode is not documented, and no 32-bit floats.
    fn grouped(
        &mut self,
        (x, weight, ends, out): (&View, &Matrix<()>, &View, &View),
        workspace: &mut Workspace,
    ) -> Result<()> {
        let [rows, inputs, outputs] = [x.dims[0], x.dims[1], out.dims[1]];
        let mut first = 0;
        for (group, end) in self.ends(ends)?.into_iter().enumerate() {
            let count = usize::try_from(end).ok().filter(|end| *end <= rows);
            let count = count.and_then(|end| end.checked_sub(first));
            let Some(count) = count else {
                let why = format!("run {group} of {rows} rows, from {first}, ends at {end}");
                let device = self.device.name().to_owned();
                return Err(Error::Device { device, why });
            };
            if count > 0 {
                let part = &weight.parts[0];
                let part = part.part(group * inputs * outputs, [outputs, inputs]);
                let op = Op::Linear {
                    x: x.part(first * inputs, [count, inputs]),
                    weight: Arc::new(Matrix {
                        form: (),
                        shape: weight.shape,
                        stacked: None,
                        parts: vec![part],
                    }),
                    out: out.part(first * outputs, [count, outputs]),
                };
                self.run(&op, workspace)?;
            }
            first += count;
        }
        Ok(())
    }

    /// Row numbers of a list, when all that is queued has run.
    fn ends(&mut self, list: &View) -> Result<Vec<i32>> {
        let buffer = self.staging(list.bytes())?;
        let flight = self.copy_out(list.at, list.bytes(), buffer)?;
        let buffer = self.land(flight)?;
        let bytes = &buffer.as_ref()[..list.bytes()];
        let numbers = bytes.as_chunks::<{ DType::I32.bytes() }>().0.iter();
        Ok(numbers.map(|number| i32::from_le_bytes(*number)).collect())
    }
}

impl Driver for CambriconDriver {
    type Chip = CambriconChip;
    type Staging = Pinned<MluQueue>;
    type Flight = Flight<MluQueue>;

    fn chip(&self) -> Arc<CambriconChip> {
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
        self.queue.synchronize()?;
        match self.allocations.remove(at) {
            Some(given) => self.device.free(given),
            None => Ok(()),
        }
    }

    fn staging(&mut self, bytes: usize) -> Result<Pinned<MluQueue>> {
        Pinned::new(&self.queue, bytes)
    }

    fn copy_in(
        &mut self,
        from: Pinned<MluQueue>,
        bytes: usize,
        to: Address,
    ) -> Result<Flight<MluQueue>> {
        Flight::start(&self.queue, Way::In, to, from, bytes)
    }

    fn copy_out(
        &mut self,
        from: Address,
        bytes: usize,
        to: Pinned<MluQueue>,
    ) -> Result<Flight<MluQueue>> {
        Flight::start(&self.queue, Way::Out, from, to, bytes)
    }

    fn has_landed(&mut self, flight: &Flight<MluQueue>) -> Result<bool> {
        flight.has_landed()
    }

    fn land(&mut self, flight: Flight<MluQueue>) -> Result<Pinned<MluQueue>> {
        flight.land()
    }

    fn run(&mut self, op: &Op<()>, workspace: &mut Workspace) -> Result<()> {
        match op {
            Op::Grouped {
                x,
                weight,
                ends,
                out,
            } => self.grouped((x, weight, ends, out), workspace),
            Op::Dispatch {
                experts,
                rows,
                visits,
                places,
                ends,
            } => {
                let lists = [rows, visits, places].map(Operand::from);
                let program = visits::dispatch(experts.into(), lists, ends.into());
                self.run_program(program, workspace)
            }
            _ => {
                let program = compose(op).expect("what is no visit to experts is composed");
                self.run_program(program, workspace)
            }
        }
    }

    /// Its chip takes none.
    fn run_verb(&mut self, verb: &Verb<()>, _: &[View], _: &mut Workspace) -> Result<()> {
        Err(Error::Unsupported {
            device: self.device.name().to_owned(),
            what: format!("{} as one operation: its chip declines it", verb.name()),
        })
    }

    fn synchronize(&mut self) -> Result<()> {
        self.queue.synchronize()
    }
}

impl Drop for CambriconDriver {
    /// Gives back what is held. A device that fails at that has told of it, or nobody waits for it.
    fn drop(&mut self) {
        if self.queue.synchronize().is_ok() {
            for given in self.allocations.all() {
                let _ = self.device.free(given);
            }
        }
    }
}
