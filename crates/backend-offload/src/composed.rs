//! A driver whose operations are calls of a vendor's operators, queued one by one.
//!
//! What it does with memory, with copies and with what lies between the calls is no vendor's. A vendor's crate says how its
//! device is opened and how each call is made: a [`Runtime`].

use std::fmt;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;

use deepseek_core::group::{self, Member};
use deepseek_core::{Error, Result, Share};

use crate::aligned::Allocations;
use crate::compose::{Call, Program};
use crate::driver::{Chip, Driver, Form};
use crate::machine::Machine;
use crate::matrix::Matrix;
use crate::op::Op;
use crate::queue::{Flight, Pinned, Queue, Way};
use crate::verb::{Declined, Verb};
use crate::view::{Address, DType, View};
use crate::workspace::Workspace;

/// A device behind a vendor's libraries, with one queue. It belongs to the thread that opened it.
pub trait Runtime: fmt::Debug + Sized + 'static {
    /// The vendor's libraries, which any thread may open a device of.
    type Library: Send + Sync + 'static;
    /// What is known of the device without calling it.
    type Chip: Chip;
    /// Its queue.
    type Queue: Queue;
    /// Operators of the vendor's own, beside those that every vendor has.
    type Own;

    /// What a library says of its machine. No device is opened.
    ///
    /// # Errors
    /// [`Error::Device`] with the vendor's code: of a machine without a driver most of all.
    fn machine(library: &Self::Library) -> Result<Machine<Self::Chip>>;
    /// Opens a device by its number, for the thread that calls.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it is not served; [`Error::Device`] with the vendor's code if it cannot be used.
    fn open(library: Arc<Self::Library>, id: i32) -> Result<Self>;
    /// What is known of it.
    fn chip(&self) -> &Arc<Self::Chip>;
    /// Its queue.
    fn queue(&self) -> &Rc<Self::Queue>;

    /// Memory of the device, with whatever is in it, aligned as the vendor likes; `bytes` are one or more.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or what else the vendor says.
    fn malloc(&self, bytes: usize) -> Result<Address>;
    /// Gives memory back at once, whatever is queued.
    ///
    /// # Errors
    /// What the vendor says.
    fn free(&self, at: Address) -> Result<()>;

    /// The calls of an operation. Plain data: no device is asked. Where there are none for [`Op::Grouped`], runs of rows are
    /// multiplied one by one.
    fn program(&self, op: &Op<<Self::Chip as Chip>::Form>) -> Option<Program<Self::Own>>;

    /// The calls of a verb that the chip takes, with the places of its results. None where it takes none.
    fn verb(
        verb: &Verb<<Self::Chip as Chip>::Form>,
        results: &[View],
    ) -> Option<Program<Self::Own>> {
        let _ = (verb, results);
        None
    }
    /// Queues a call. Memory for intermediate results begins at `scratch`. `workspace` gives as much memory as the operator wants
    /// beside its operands, none for no bytes: it is the queue's alone.
    ///
    /// # Errors
    /// What the vendor says.
    fn call(
        &self,
        call: &Call<Self::Own>,
        scratch: Address,
        workspace: impl FnOnce(usize) -> Result<Option<Address>>,
    ) -> Result<()>;

    /// Becomes one of several ranks, whose devices have these numbers: all of them call it, each on its thread.
    ///
    /// # Errors
    /// [`Error::Unsupported`] without the vendor's collectives, [`Error::Rank`] where another rank fails, or what the vendor says.
    fn join(&mut self, member: &Member, devices: &[i32]) -> Result<()>;
    /// Queues that the numbers of all ranks, in their order, come to lie one behind the other: `x: [n]` to `out: [ranks, n]`, both
    /// of a type of floats. All ranks call it after they have met.
    ///
    /// # Errors
    /// What the vendor says.
    fn gather(&self, x: &View, out: &View) -> Result<()>;
    /// Lets the devices of other ranks go that wait for this one, which brings nothing more. Without a call for it they wait as long
    /// as the vendor lets them.
    fn abandon(&self) {}
}

/// A driver of a [`Runtime`].
#[derive(Debug)]
pub struct ComposedDriver<R: Runtime> {
    runtime: Rc<R>,
    /// What lies between the calls of an operation: beside the operators' own workspace, which they are given one after the
    /// other.
    scratch: Workspace,
    /// Its place among several ranks, if it is one of them.
    member: Option<Member>,
    /// Where terms of all ranks lie that are added up.
    terms: Workspace,
    allocations: Allocations,
}

impl<R: Runtime> ComposedDriver<R> {
    /// Opens a device by its number, for the thread that calls.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it is not served; [`Error::Device`] with the vendor's code if it cannot be used.
    pub fn open(library: Arc<R::Library>, id: i32) -> Result<Self> {
        Ok(Self::of(R::open(library, id)?, None))
    }

    /// The same as one of several ranks, which are opened at once, each on a thread of its own.
    ///
    /// # Errors
    /// The same; [`Error::Unsupported`] where the vendor's collectives are not installed; [`Error::Rank`] where another rank fails.
    pub fn join(library: Arc<R::Library>, id: i32, member: Member) -> Result<Self> {
        let joined = || -> Result<R> {
            let mut runtime = R::open(library, id)?;
            // Who has no device tells the others here, before a call of the vendor's waits for all.
            let devices: Vec<i32> = member.exchange(id)?.iter().map(|id| **id).collect();
            runtime.join(&member, &devices)?;
            Ok(runtime)
        };
        let runtime = joined().inspect_err(|error| {
            let meeting = member.rendezvous();
            meeting.fail(member.rank(), &error.to_string());
        })?;
        Ok(Self::of(runtime, Some(member)))
    }

    fn of(runtime: R, member: Option<Member>) -> Self {
        Self {
            runtime: Rc::new(runtime),
            scratch: Workspace::default(),
            member,
            terms: Workspace::default(),
            allocations: Allocations::default(),
        }
    }

    /// Memory that is the queue's alone, so the next operation may have it again.
    fn room(&mut self, of: fn(&mut Self) -> &mut Workspace, bytes: usize) -> Result<Address> {
        if bytes == 0 {
            return Ok(Address(0));
        }
        let mut room = mem::take(of(self));
        let at = room.at_least(self, bytes);
        *of(self) = room;
        at
    }

    fn run_program(&mut self, program: &Program<R::Own>, workspace: &mut Workspace) -> Result<()> {
        let scratch = self.room(|own| &mut own.scratch, program.scratch_bytes)?;
        let runtime = Rc::clone(&self.runtime);
        if let Some((out, byte)) = program.fill {
            runtime.queue().fill(out.at(scratch), byte, out.bytes())?;
        }
        for call in &program.calls {
            runtime.call(call, scratch, |bytes| match bytes {
                0 => Ok(None),
                _ => workspace.at_least(self, bytes).map(Some),
            })?;
        }
        Ok(())
    }

    /// A product for each run of rows. Where they end is asked for, so it waits.
    fn grouped(
        &mut self,
        (x, weight, ends, out): (&View, &Matrix<Form<Self>>, &View, &View),
        workspace: &mut Workspace,
    ) -> Result<()> {
        let [rows, inputs, outputs] = [x.dims[0], x.dims[1], out.dims[1]];
        let mut first = 0;
        for (group, end) in self.numbers(ends)?.into_iter().enumerate() {
            let count = usize::try_from(end).ok().filter(|end| *end <= rows);
            let count = count.and_then(|end| end.checked_sub(first));
            let Some(count) = count else {
                return Err(self.fault(format!(
                    "run {group} of {rows} rows, from {first}, ends at {end}"
                )));
            };
            if count > 0 {
                let op = Op::Linear {
                    x: x.part(first * inputs, [count, inputs]),
                    weight: Arc::new(weight.member(group)),
                    out: out.part(first * outputs, [count, outputs]),
                };
                self.run(&op, workspace)?;
            }
            first += count;
        }
        Ok(())
    }

    fn member(&self) -> Result<&Member> {
        let alone = || self.declined("what ranks do together: it is none".to_owned());
        self.member.as_ref().ok_or_else(alone)
    }

    /// The numbers of all ranks. They meet before their devices do, so none of these waits for a rank that has failed or calls for
    /// something else.
    fn gather(&self, what: group::Call, x: &View, out: &View) -> Result<()> {
        self.member()?.meet(what)?;
        let x = x.shaped([x.count()]);
        let gathered = self.runtime.gather(&x, out);
        // The others have come, and wait.
        gathered.inspect_err(|_| self.runtime.abandon())
    }

    /// The sum over all ranks, term by term in their order. A vendor's own sum has an order that is not said, and need not be the same
    /// on two ranks or twice on one; what ranks compute on their own must stay alike to the bit.
    fn all_reduce(&mut self, x: &View, out: &View, workspace: &mut Workspace) -> Result<()> {
        let (world, count) = (self.member()?.world(), x.count());
        // The terms, and behind them the sums on the way, two by turns.
        let slots = [world + world.saturating_sub(2).min(2), count];
        let bytes = slots[0] * count * x.dtype.bytes();
        let terms = View::new(self.room(|own| &mut own.terms, bytes)?, x.dtype, slots);
        let slot = |index: usize| terms.part(index * count, [count]);
        let all = terms.part(0, [world, count]);
        self.gather(group::Call::AllReduce(count), x, &all)?;
        for rank in 1..world {
            let so_far = if rank == 1 { 0 } else { world + rank % 2 };
            let sum = if rank + 1 == world {
                out.shaped([count])
            } else {
                slot(world + (rank + 1) % 2)
            };
            let add = Op::Add {
                a: slot(so_far),
                b: slot(rank),
                out: sum,
            };
            self.run(&add, workspace)?;
        }
        Ok(())
    }

    /// Tells the devices of other ranks of a loss, which do not see it by themselves.
    fn told<T>(&self, result: Result<T>) -> Result<T> {
        result.inspect_err(|error| {
            if matches!(error, Error::Lost { .. }) {
                self.runtime.abandon();
            }
        })
    }

    /// The numbers of a list, when all that is queued has run.
    fn numbers(&mut self, list: &View) -> Result<Vec<i32>> {
        let buffer = self.staging(list.bytes())?;
        let flight = self.copy_out(list.at, list.bytes(), buffer)?;
        let buffer = self.land(flight)?;
        let bytes = &buffer.as_ref()[..list.bytes()];
        let numbers = bytes.as_chunks::<{ DType::I32.bytes() }>().0.iter();
        Ok(numbers.map(|number| i32::from_le_bytes(*number)).collect())
    }

    fn name(&self) -> String {
        self.runtime.chip().name().to_owned()
    }

    fn fault(&self, why: String) -> Error {
        let device = self.name();
        Error::Device { device, why }
    }

    fn declined(&self, what: String) -> Error {
        let device = self.name();
        Error::Unsupported { device, what }
    }
}

impl<R: Runtime> Driver for ComposedDriver<R> {
    type Chip = R::Chip;
    type Staging = Pinned<R::Queue>;
    type Flight = Flight<R::Queue>;
    type Graph = <R::Queue as Queue>::Graph;

    fn chip(&self) -> Arc<R::Chip> {
        Arc::clone(self.runtime.chip())
    }

    fn share(&self) -> Share {
        let share = |member: &Member| Share::new(member.rank(), member.world());
        self.member.as_ref().map_or(Share::WHOLE, share)
    }

    /// What graphs do with a vendor's collectives has been seen by nobody, so a rank captures none.
    fn captures(&self) -> Result<(), Declined> {
        match self.member {
            Some(_) => Err(Declined(
                "a rank gathers within its steps, which no graph is known to keep".to_owned(),
            )),
            None => self.runtime.chip().captures(),
        }
    }

    fn allocate(&mut self, bytes: usize) -> Result<Address> {
        let runtime = &self.runtime;
        let (malloc, free) = (|bytes| runtime.malloc(bytes), |at| runtime.free(at));
        self.allocations.take(bytes, malloc, free)
    }

    /// Waits for all queued work, because vendors give memory back at once.
    fn free(&mut self, at: Address) -> Result<()> {
        if !self.allocations.holds(at) {
            return Err(self.fault(format!("{:#x} given back and not held", at.0)));
        }
        self.synchronize()?;
        match self.allocations.remove(at) {
            Some(given) => self.runtime.free(given),
            None => Ok(()),
        }
    }

    fn staging(&mut self, bytes: usize) -> Result<Self::Staging> {
        Pinned::new(self.runtime.queue(), bytes)
    }

    fn copy_in(&mut self, from: Self::Staging, bytes: usize, to: Address) -> Result<Self::Flight> {
        Flight::start(self.runtime.queue(), Way::In, to, from, bytes)
    }

    fn copy_out(&mut self, from: Address, bytes: usize, to: Self::Staging) -> Result<Self::Flight> {
        Flight::start(self.runtime.queue(), Way::Out, from, to, bytes)
    }

    fn has_landed(&mut self, flight: &Self::Flight) -> Result<bool> {
        flight.has_landed()
    }

    fn land(&mut self, flight: Self::Flight) -> Result<Self::Staging> {
        self.told(flight.land())
    }

    fn run(&mut self, op: &Op<Form<Self>>, workspace: &mut Workspace) -> Result<()> {
        match (self.runtime.program(op), op) {
            (Some(program), _) => self.run_program(&program, workspace),
            (
                None,
                Op::Grouped {
                    x,
                    weight,
                    ends,
                    out,
                },
            ) => self.grouped((x, weight, ends, out), workspace),
            (None, Op::AllReduce { x, out }) => self.all_reduce(x, out, workspace),
            (None, Op::AllGather { x, out }) => {
                self.gather(group::Call::AllGather(x.count()), x, out)
            }
            (None, op) => Err(self.declined(format!("{op}: no calls that make it"))),
        }
    }

    fn run_verb(
        &mut self,
        verb: &Verb<Form<Self>>,
        results: &[View],
        workspace: &mut Workspace,
    ) -> Result<()> {
        let name = verb.name();
        if let Err(Declined(why)) = self.runtime.chip().takes(verb) {
            return Err(self.declined(format!("{name} as one operation: {why}")));
        }
        match R::verb(verb, results) {
            Some(program) => self.run_program(&program, workspace),
            None => Err(self.declined(format!("{name}: no calls that make it"))),
        }
    }

    fn synchronize(&mut self) -> Result<()> {
        self.told(self.runtime.queue().synchronize())
    }

    fn begin_capture(&mut self) -> Result<()> {
        self.runtime.queue().begin_capture()
    }

    /// What lies between the calls stays until the driver goes, because graphs use it.
    fn end_capture(&mut self) -> Result<Self::Graph> {
        self.scratch.keep();
        self.runtime.queue().end_capture()
    }

    fn replay(&mut self, graph: &mut Self::Graph) -> Result<()> {
        self.runtime.queue().replay(graph)
    }
}

impl<R: Runtime> Drop for ComposedDriver<R> {
    /// Gives back what is held. A device that fails at that has told of it, or nobody waits for it.
    fn drop(&mut self) {
        if self.synchronize().is_ok() {
            for given in self.allocations.all() {
                let _ = self.runtime.free(given);
            }
        }
    }
}
