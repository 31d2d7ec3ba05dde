//! A driver on plain memory: what an accelerator does, written plainly, so that all that is no vendor's can
//! be tested without one.
//!
//! It is stricter than a device. Nothing runs before something waits for it, so an order that is missing
//! shows; memory is filled with a pattern that is no number until it is written; and whatever uses memory
//! that is not there, names a row that does not exist, or writes over its own operands is an error.

mod memory;
mod ops;
mod verbs;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::thread::{self, ThreadId};

use deepseek_core::operands::WeightRounding;
use deepseek_core::weights::WeightView;
use deepseek_core::{Error, Level, Member, Result, Share};

use self::memory::HostMemory;
use crate::driver::{Chip, Driver};
use crate::matrix::Packed;
use crate::op::Op;
use crate::verb::{Declined, Verb};
use crate::view::{Address, DType, View};
use crate::workspace::Workspace;

/// What the device is called in messages.
const NAME: &str = "host driver";

/// What the host does in one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostChip {
    /// Primitives alone.
    Composed,
    /// Verbs as well, but for attention with weights that are rounded by chunks.
    Fused,
}

impl Chip for HostChip {
    type Form = ();

    fn name(&self) -> &str {
        NAME
    }

    fn levels(&self) -> &[Level] {
        &Level::ALL
    }

    fn pack(&self, above: &[&WeightView]) -> Result<Packed<()>> {
        Ok(Packed::widened(above))
    }

    fn joins(&self) -> Result<(), Declined> {
        Ok(())
    }

    fn takes(&self, verb: &Verb<()>) -> Result<(), Declined> {
        match (self, verb) {
            (Self::Composed, _) => Err(Declined("primitives alone".to_owned())),
            (Self::Fused, Verb::Attend { softmax, .. }) => match softmax.round {
                Some(WeightRounding::Chunks(rows)) => {
                    Err(Declined(format!("weights rounded by chunks of {rows}")))
                }
                Some(WeightRounding::OnePeak) | None => Ok(()),
            },
            (Self::Fused, _) => Ok(()),
        }
    }

    fn captures(&self) -> Result<(), Declined> {
        Ok(())
    }
}

/// The driver. Like those of vendors it belongs to the thread that made it, and refuses calls of others.
#[derive(Debug)]
pub struct HostDriver {
    chip: Arc<HostChip>,
    /// Its place among several ranks, if it is one of them.
    member: Option<Member>,
    owner: ThreadId,
    memory: HostMemory,
    queue: VecDeque<Task>,
    /// Tasks that were queued, and those that have run or been given up, since the beginning.
    queued: u64,
    passed: u64,
    /// Buffers of copies that have run, by the number of their task.
    landed: BTreeMap<u64, HostStaging>,
    /// What is captured at the moment; an error once a call was made that a capture forbids.
    capture: Option<Result<Vec<Kernel>>>,
}

/// A buffer of the host.
#[derive(Debug)]
pub struct HostStaging(Vec<u8>);

impl AsRef<[u8]> for HostStaging {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for HostStaging {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// A copy on its way: the number of its task.
#[derive(Debug)]
pub struct HostFlight(u64);

/// Operations that were captured.
#[derive(Debug)]
pub struct HostGraph {
    kernels: Arc<[Kernel]>,
    /// The task that replays it, if one does.
    task: Option<u64>,
}

/// An operation of either kind.
#[derive(Debug)]
enum Kernel {
    Run { op: Op<()>, workspace: Option<View> },
    RunVerb { verb: Verb<()>, results: Vec<View> },
}

/// What is queued.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all that is queued is of the large one"
)]
#[derive(Debug)]
enum Task {
    Run(Kernel),
    Replay(Arc<[Kernel]>),
    CopyIn {
        from: HostStaging,
        bytes: usize,
        to: Address,
    },
    CopyOut {
        from: Address,
        bytes: usize,
        to: HostStaging,
    },
}

impl HostDriver {
    /// A device with so many bytes of memory, for the thread that calls.
    #[must_use]
    pub fn new(chip: HostChip, memory_bytes: usize) -> Self {
        Self {
            chip: Arc::new(chip),
            member: None,
            owner: thread::current().id(),
            memory: HostMemory::new(memory_bytes),
            queue: VecDeque::new(),
            queued: 0,
            passed: 0,
            landed: BTreeMap::new(),
            capture: None,
        }
    }

    /// The same as one of several ranks.
    #[must_use]
    pub fn joined(self, member: Member) -> Self {
        Self {
            member: Some(member),
            ..self
        }
    }

    /// The device, for a call of its own thread that is made while nothing is captured.
    fn called(&mut self, what: &str) -> Result<&mut Self> {
        self.entered(what)?;
        if let Some(capture) = &mut self.capture {
            let why = format!("{what} within a capture");
            *capture = Err(fault(format!("a capture ended by {what}")));
            return Err(fault(why));
        }
        Ok(self)
    }

    /// The device, for a call of its own thread.
    fn entered(&mut self, what: &str) -> Result<&mut Self> {
        if thread::current().id() == self.owner {
            return Ok(self);
        }
        Err(fault(format!("{what} on a thread that did not open it")))
    }

    /// Queues an operation, or captures it.
    fn launch(&mut self, kernel: Kernel) -> Result<()> {
        match &mut self.capture {
            None => {
                self.push(Task::Run(kernel));
                Ok(())
            }
            Some(Ok(kernels)) => {
                kernels.push(kernel);
                Ok(())
            }
            Some(Err(_)) => Err(fault(
                "an operation within a capture that has ended".to_owned(),
            )),
        }
    }

    fn compute(&mut self, kernel: &Kernel) -> Result<()> {
        match kernel {
            Kernel::Run { op, workspace } => {
                let member = self.member.as_ref();
                ops::run(&mut self.memory, op, workspace.as_ref(), member)
            }
            Kernel::RunVerb { verb, results } => verbs::run(&mut self.memory, verb, results),
        }
    }

    fn push(&mut self, task: Task) -> u64 {
        self.queue.push_back(task);
        self.queued += 1;
        self.queued - 1
    }

    /// Runs what was queued before task `end`. When some of it fails, what is queued behind it is given up.
    fn pass(&mut self, end: u64) -> Result<()> {
        while self.passed < end {
            let Some(task) = self.queue.pop_front() else {
                break;
            };
            let number = self.passed;
            self.passed += 1;
            if let Err(error) = self.execute(number, task) {
                self.give_up();
                return Err(error);
            }
        }
        Ok(())
    }

    fn execute(&mut self, number: u64, task: Task) -> Result<()> {
        match task {
            Task::Run(kernel) => self.compute(&kernel),
            Task::Replay(kernels) => kernels.iter().try_for_each(|kernel| self.compute(kernel)),
            Task::CopyIn { from, bytes, to } => {
                let done = self.memory.write(to, &from.0[..bytes]);
                self.landed.insert(number, from);
                done
            }
            Task::CopyOut {
                from,
                bytes,
                mut to,
            } => {
                let done = self.memory.read(from, bytes);
                let done = done.map(|bytes| to.0[..bytes.len()].copy_from_slice(bytes));
                self.landed.insert(number, to);
                done
            }
        }
    }

    fn give_up(&mut self) {
        for (number, task) in (self.passed..).zip(self.queue.drain(..)) {
            if let Task::CopyIn { from: buffer, .. } | Task::CopyOut { to: buffer, .. } = task {
                self.landed.insert(number, buffer);
            }
        }
        self.passed = self.queued;
    }
}

impl Driver for HostDriver {
    type Chip = HostChip;
    type Staging = HostStaging;
    type Flight = HostFlight;
    type Graph = HostGraph;

    fn chip(&self) -> Arc<HostChip> {
        Arc::clone(&self.chip)
    }

    fn share(&self) -> Share {
        let share = |member: &Member| Share::new(member.rank(), member.world());
        self.member.as_ref().map_or(Share::WHOLE, share)
    }

    fn allocate(&mut self, bytes: usize) -> Result<Address> {
        self.called("allocate")?.memory.allocate(bytes)
    }

    /// As devices do, it does not wait: what is queued and uses the memory fails.
    fn free(&mut self, at: Address) -> Result<()> {
        self.called("free")?.memory.free(at)
    }

    fn staging(&mut self, bytes: usize) -> Result<HostStaging> {
        self.called("staging")?;
        Ok(HostStaging(vec![0; bytes]))
    }

    fn copy_in(&mut self, from: HostStaging, bytes: usize, to: Address) -> Result<HostFlight> {
        let number = self
            .called("copy_in")?
            .push(Task::CopyIn { from, bytes, to });
        Ok(HostFlight(number))
    }

    fn copy_out(&mut self, from: Address, bytes: usize, to: HostStaging) -> Result<HostFlight> {
        let number = self
            .called("copy_out")?
            .push(Task::CopyOut { from, bytes, to });
        Ok(HostFlight(number))
    }

    fn has_landed(&mut self, flight: &HostFlight) -> Result<bool> {
        Ok(flight.0 < self.called("has_landed")?.passed)
    }

    fn land(&mut self, flight: HostFlight) -> Result<HostStaging> {
        let ran = self.called("land")?.pass(flight.0 + 1);
        let buffer = self.landed.remove(&flight.0);
        ran?;
        buffer.ok_or_else(|| fault("a copy landed twice".to_owned()))
    }

    fn run(&mut self, op: &Op<()>, workspace: &mut Workspace) -> Result<()> {
        self.entered("run")?;
        let room = match ops::workspace(op) {
            None => None,
            Some(dims) => {
                let bytes = dims.count() * DType::F32.bytes();
                let at = workspace.at_least(self, bytes)?;
                Some(View::new(at, DType::F32, dims))
            }
        };
        self.launch(Kernel::Run {
            op: op.clone(),
            workspace: room,
        })
    }

    fn run_verb(&mut self, verb: &Verb<()>, results: &[View], _: &mut Workspace) -> Result<()> {
        self.entered("run_verb")?.launch(Kernel::RunVerb {
            verb: verb.clone(),
            results: results.to_vec(),
        })
    }

    fn synchronize(&mut self) -> Result<()> {
        let all = self.queued;
        self.called("synchronize")?.pass(all)
    }

    fn begin_capture(&mut self) -> Result<()> {
        self.called("begin_capture")?.capture = Some(Ok(Vec::new()));
        Ok(())
    }

    fn end_capture(&mut self) -> Result<HostGraph> {
        let capture = self.entered("end_capture")?.capture.take();
        let none = || Err(fault("a capture ended that was not begun".to_owned()));
        Ok(HostGraph {
            kernels: capture.unwrap_or_else(none)?.into(),
            task: None,
        })
    }

    fn replay(&mut self, graph: &mut HostGraph) -> Result<()> {
        self.called("replay")?;
        if graph.task.is_some_and(|task| task >= self.passed) {
            return Err(fault("a graph replayed while it runs".to_owned()));
        }
        graph.task = Some(self.push(Task::Replay(Arc::clone(&graph.kernels))));
        Ok(())
    }
}

/// What is wrong with what was asked, as a device says it.
fn fault(why: String) -> Error {
    Error::Device {
        device: NAME.to_owned(),
        why,
    }
}
