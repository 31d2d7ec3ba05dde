//! What a vendor implements.

use std::fmt;
use std::sync::Arc;

use deepseek_core::weights::WeightView;
use deepseek_core::{Error, Level, Result, Share};

use crate::matrix::Packed;
use crate::op::Op;
use crate::verb::{Declined, Verb};
use crate::view::{Address, View};
use crate::workspace::Workspace;

/// What is known of a device without calling it. It may be asked on any thread.
pub trait Chip: fmt::Debug + Send + Sync + 'static {
    /// What the chip knows of a packed matrix beside its numbers: layouts, scales' meaning. `()` where there
    /// is one way alone.
    type Form: Clone + fmt::Debug + PartialEq + Send + Sync + 'static;

    /// The device in a word or two, as in messages.
    fn name(&self) -> &str;

    /// The levels of numerics that its operators keep.
    fn levels(&self) -> &[Level];

    /// A matrix as the products of this chip want it: that of which `above` are the rows, one above the other, as gate and other
    /// branch of an expert stand in files. Matrices of one shape and format are packed in one form, in parts of the same shapes.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a format that it has no products of.
    fn pack(&self, above: &[&WeightView]) -> Result<Packed<Self::Form>>;

    /// Whether it has an operator for a verb of these shapes and types.
    ///
    /// # Errors
    /// Why not. The verb is then composed of [`Op`]s.
    fn takes(&self, verb: &Verb<Self::Form>) -> Result<(), Declined>;

    /// Whether its driver captures operations as a graph, which it replays.
    ///
    /// # Errors
    /// Why not. Each step is then asked for anew.
    fn captures(&self) -> Result<(), Declined> {
        Err(Declined("its driver captures no graphs".to_owned()))
    }

    /// Whether it may be one of several ranks, which have a part of a model each.
    ///
    /// # Errors
    /// Why not.
    fn joins(&self) -> Result<(), Declined> {
        Err(Declined("its driver has no collectives".to_owned()))
    }
}

/// The form of a driver's chip.
pub type Form<D> = <<D as Driver>::Chip as Chip>::Form;

/// A device, as its vendor's library has it: memory, copies, and operators, all on one queue.
///
/// - A driver is opened, called and dropped on one thread, which belongs to it alone, so it need be neither
///   `Send` nor `Sync`, and may keep handles that are bound to their thread.
/// - What is asked for is done in the order in which it is asked for. A driver with several queues joins
///   them itself. Nothing but [`land`](Self::land), [`synchronize`](Self::synchronize) and
///   [`free`](Self::free) has to wait, and failures of queued work appear there.
/// - Between [`begin_capture`](Self::begin_capture) and [`end_capture`](Self::end_capture) only
///   [`run`](Self::run) and [`run_verb`](Self::run_verb) are called, with workspace that is large enough.
/// - Errors are [`OutOfMemory`](deepseek_core::Error::OutOfMemory), [`Lost`](deepseek_core::Error::Lost) where
///   the device is gone for good, and else [`Device`](deepseek_core::Error::Device) with the vendor's
///   own code and text.
pub trait Driver: Sized + 'static {
    /// What is known of it without calling it.
    type Chip: Chip;
    /// A buffer of the host that the device copies to and from by itself: pinned memory.
    type Staging: AsRef<[u8]> + AsMut<[u8]>;
    /// A copy on its way. It owns its buffer, so nobody can touch that before the copy has run; one that
    /// is dropped waits.
    type Flight;
    /// Operations that were captured. It owns none of the memory that they use, which stays until it is
    /// dropped; it is dropped once it has run. [`Infallible`](std::convert::Infallible) where there is none.
    type Graph;

    /// What is known of it.
    fn chip(&self) -> Arc<Self::Chip>;

    /// Which of the ranks that share a model it is. One that is not alone runs [`Op::AllReduce`] and
    /// [`Op::AllGather`].
    fn share(&self) -> Share {
        Share::WHOLE
    }

    /// Whether steps are captured: as its chip says, where it knows of nothing against it.
    ///
    /// # Errors
    /// Why not.
    fn captures(&self) -> Result<(), Declined> {
        self.chip().captures()
    }

    /// Memory of the device, at least 512-byte aligned, with whatever is in it.
    fn allocate(&mut self, bytes: usize) -> Result<Address>;
    /// Gives back what [`allocate`](Self::allocate) gave, after all queued work has run.
    fn free(&mut self, at: Address) -> Result<()>;

    /// A buffer of the host.
    fn staging(&mut self, bytes: usize) -> Result<Self::Staging>;
    /// Queues a copy of the first `bytes` of a buffer to the device.
    fn copy_in(&mut self, from: Self::Staging, bytes: usize, to: Address) -> Result<Self::Flight>;
    /// Queues a copy from the device to the first `bytes` of a buffer.
    fn copy_out(&mut self, from: Address, bytes: usize, to: Self::Staging) -> Result<Self::Flight>;
    /// Whether a copy has run. Does not wait.
    fn has_landed(&mut self, flight: &Self::Flight) -> Result<bool>;
    /// Waits until a copy has run, and gives its buffer back.
    fn land(&mut self, flight: Self::Flight) -> Result<Self::Staging>;

    /// Queues a primitive.
    fn run(&mut self, op: &Op<Form<Self>>, workspace: &mut Workspace) -> Result<()>;
    /// Queues a verb that its chip takes, with the places of its results in the order that [`Verb`] has.
    fn run_verb(
        &mut self,
        verb: &Verb<Form<Self>>,
        results: &[View],
        workspace: &mut Workspace,
    ) -> Result<()>;

    /// Waits for all queued work.
    fn synchronize(&mut self) -> Result<()>;

    /// From now on operations are captured, and do not run.
    fn begin_capture(&mut self) -> Result<()> {
        Err(captures_none(&*self.chip()))
    }
    /// What was captured. After an error nothing is captured any more, whatever failed.
    fn end_capture(&mut self) -> Result<Self::Graph> {
        Err(captures_none(&*self.chip()))
    }
    /// Queues all of it once. It has run before it is replayed again.
    fn replay(&mut self, graph: &mut Self::Graph) -> Result<()> {
        let _ = graph;
        Err(captures_none(&*self.chip()))
    }
}

fn captures_none(chip: &impl Chip) -> Error {
    Error::Unsupported {
        device: chip.name().to_owned(),
        what: "captured graphs".to_owned(),
    }
}
