//! The device as callers see it: its thread, its memory, and what has been asked of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deepseek_core::{Error, Result, Share};

use crate::arena::{Arena, Extent, OnRelease};
use crate::driver::{Chip, Driver, Form};
use crate::graphs::Told;
use crate::limits::CHOICES_MAX;
use crate::op::Op;
use crate::steps::{Asked, Task};
use crate::tensor::Tensor;
use crate::thread::{Command, DeviceThread};
use crate::verb::{Declined, Verb};
use crate::view::{Address, DType, Dims, View};

/// How a device is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Bytes of the device's memory that weights, rows and activations may take together; none for as many
    /// as its driver gives. Workspace and staging are beside it.
    pub memory_bytes: Option<u64>,
    /// Whether memory is filled with a pattern that is no number when its owner lets go of it, so that a
    /// use of it afterwards shows. For tests.
    pub poison: bool,
    /// Whether steps that are asked for again are captured as graphs and replayed, where the driver can. A
    /// step comes again where the same operations are asked for at the same addresses, such as the next
    /// token's. What the device is asked for and gives is the same.
    pub capture: bool,
}

/// How much was asked of a device, and what it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Calls that waited for queued work.
    pub waits: u64,
    /// Copies to the device.
    pub copies_in: u64,
    /// Primitives, and verbs that were taken whole.
    pub operations: u64,
    /// Times that its driver was asked for memory.
    pub allocations: u64,
    /// Bytes that its driver gave.
    pub held_bytes: u64,
    /// Those in use.
    pub used_bytes: u64,
}

/// How many steps are replayed as graphs, and why others are not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captures {
    /// Graphs that are kept: one for each number of tokens, and for each length of the lists of rows.
    pub graphs: u64,
    /// Steps that were replayed.
    pub replays: u64,
    /// Why steps that came again were not captured, or a graph was given up, and how often. The first few
    /// reasons.
    pub refused: BTreeMap<String, u64>,
}

/// How a verb was done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Choice {
    /// The verb.
    pub verb: &'static str,
    /// Why it was composed of primitives; none where the chip's own operator did it.
    pub declined: Option<String>,
}

/// What was asked of a device, in order: a line of its log.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry<F> {
    /// A copy to the device.
    CopyIn(View),
    /// A copy from the device.
    CopyOut(View),
    /// A primitive.
    Op(Op<F>),
    /// A verb with its results.
    Verb(Verb<F>, Vec<View>),
}

impl<F> fmt::Display for Entry<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CopyIn(view) => write!(f, "copy in {view}"),
            Self::CopyOut(view) => write!(f, "copy out {view}"),
            Self::Op(op) => op.fmt(f),
            Self::Verb(verb, results) => {
                let results: Vec<_> = results.iter().map(View::to_string).collect();
                write!(f, "{verb} -> {}", results.join(", "))
            }
        }
    }
}

/// An accelerator behind a [`Driver`].
pub struct Offload<D: Driver> {
    chip: Arc<D::Chip>,
    /// Which of the ranks it is.
    share: Share,
    thread: DeviceThread<Form<D>>,
    graphs: Arc<Told>,
    arena: Arc<Arena>,
    /// Zeros, as many as were wanted at once so far.
    zeros: Mutex<Option<Tensor>>,
    counts: Counts,
    choices: Mutex<BTreeMap<Choice, u64>>,
    log: Mutex<Option<Vec<Entry<Form<D>>>>>,
}

#[derive(Debug, Default)]
struct Counts {
    waits: AtomicU64,
    copies_in: AtomicU64,
    operations: AtomicU64,
}

impl<D: Driver> fmt::Debug for Offload<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offload")
            .field("chip", &self.chip)
            .field("usage", &self.usage())
            .finish_non_exhaustive()
    }
}

impl<D: Driver> Offload<D> {
    /// Starts the thread of a device, and opens the device there.
    ///
    /// # Errors
    /// What opening it says, and [`Error::NoThreads`] if the system gives no thread.
    pub fn start(
        options: Options,
        open: impl FnOnce() -> Result<D> + Send + 'static,
    ) -> Result<Self> {
        let graphs = Arc::new(Told::default());
        let told = options.capture.then(|| Arc::clone(&graphs));
        let (thread, chip, share) = DeviceThread::start(told, open)?;
        let poison = options.poison.then(|| poison(&thread));
        Ok(Self {
            chip,
            share,
            thread,
            graphs,
            arena: Arc::new(Arena::new(options.memory_bytes, poison)),
            zeros: Mutex::default(),
            counts: Counts::default(),
            choices: Mutex::default(),
            log: Mutex::default(),
        })
    }

    /// What is known of the device without calling it.
    #[must_use]
    pub fn chip(&self) -> &D::Chip {
        &self.chip
    }

    /// Which of the ranks it is that share a model.
    pub(crate) fn share(&self) -> Share {
        self.share
    }

    /// How much was asked of it so far, and what it holds.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let Extent {
            held_bytes,
            used_bytes,
            allocations,
        } = self.arena.extent();
        Usage {
            waits: self.counts.waits.load(Ordering::Relaxed),
            copies_in: self.counts.copies_in.load(Ordering::Relaxed),
            operations: self.counts.operations.load(Ordering::Relaxed),
            allocations,
            held_bytes,
            used_bytes,
        }
    }

    /// How many steps were captured and replayed so far.
    #[must_use]
    pub fn captures(&self) -> Captures {
        self.graphs.captures()
    }

    /// How each verb was done so far and how often, the first few hundred ways.
    #[must_use]
    pub fn choices(&self) -> Vec<(Choice, u64)> {
        let choices = lock(&self.choices);
        choices.iter().map(|(c, n)| (c.clone(), *n)).collect()
    }

    /// Begins to write down what is asked of the device.
    pub fn start_log(&self) {
        *lock(&self.log) = Some(Vec::new());
    }

    /// What was asked of it since [`start_log`](Self::start_log), which ends.
    pub fn end_log(&self) -> Vec<Entry<Form<D>>> {
        lock(&self.log).take().unwrap_or_default()
    }

    /// Room for numbers, with whatever is in it.
    pub(crate) fn make(&self, dims: impl Into<Dims>, dtype: DType) -> Result<Tensor> {
        let view = View::new(Address(0), dtype, dims);
        if view.count() == 0 {
            return Ok(Tensor::new(view, None));
        }
        let bytes = view.bytes();
        loop {
            if let Some(block) = self.arena.take(bytes) {
                let view = View {
                    at: block.at(),
                    ..view
                };
                return Ok(Tensor::new(view, Some(Arc::new(block))));
            }
            if !self.grow(bytes)? {
                let spare = self.arena.trim();
                if spare.is_empty() {
                    return Err(Error::OutOfMemory {
                        device: self.chip.name().to_owned(),
                        bytes,
                    });
                }
                self.thread
                    .ask(|reply| Command::Free { at: spare, reply })?;
            }
        }
    }

    /// Gets memory of the driver for a block of `bytes`, if bound and device have it.
    fn grow(&self, bytes: usize) -> Result<bool> {
        let Some(growth) = self.arena.growth(bytes) else {
            return Ok(false);
        };
        let got = self.thread.ask(|reply| Command::Allocate {
            bytes: growth,
            reply,
        });
        match got {
            Ok(at) => self.arena.adopt(at, growth),
            Err(Error::OutOfMemory { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Zeros, not to be written.
    pub(crate) fn zeros(&self, dims: impl Into<Dims>, dtype: DType) -> Result<Tensor> {
        let want = View::new(Address(0), dtype, dims);
        let mut zeros = lock(&self.zeros);
        let enough = zeros
            .as_ref()
            .filter(|zeros| zeros.view().bytes() >= want.bytes());
        if let Some(zeros) = enough {
            return Ok(zeros.retyped(want));
        }
        let numbers = want.bytes().div_ceil(DType::F32.bytes());
        let more = self.make([numbers.next_power_of_two()], DType::F32)?;
        self.run(Op::Fill {
            out: more.view(),
            byte: 0,
        })?;
        Ok(zeros.insert(more).retyped(want))
    }

    /// Queues a primitive, unless nothing comes of it.
    pub(crate) fn run(&self, op: Op<Form<D>>) -> Result<()> {
        if op.writes().iter().all(|out| out.count() == 0) {
            return Ok(());
        }
        self.note(|| Entry::Op(op.clone()));
        self.counts.operations.fetch_add(1, Ordering::Relaxed);
        self.ask(Task::Run(op), Vec::new())
    }

    /// Whether the chip takes a verb, which is noted. Only shapes and types of its operands matter.
    pub(crate) fn takes(&self, verb: &Verb<Form<D>>) -> bool {
        let taken = self.chip.takes(verb);
        self.note_choice(verb.name(), taken.as_ref().err());
        taken.is_ok()
    }

    /// Queues a verb that the chip takes, unless nothing comes of it, and gives its results.
    pub(crate) fn run_verb<const N: usize>(
        &self,
        verb: Verb<Form<D>>,
        results: [(Dims, DType); N],
    ) -> Result<[Tensor; N]> {
        let made = results
            .into_iter()
            .map(|(dims, dtype)| self.make(dims, dtype))
            .collect::<Result<Vec<_>>>()?;
        self.run_verb_into(verb, &made)?;
        Ok(made.try_into().expect("a tensor for each result"))
    }

    /// The same into results that were made for it.
    pub(crate) fn run_verb_into(&self, verb: Verb<Form<D>>, results: &[Tensor]) -> Result<()> {
        let results: Vec<_> = results.iter().map(Tensor::view).collect();
        if results.iter().all(|result| result.count() == 0) {
            return Ok(());
        }
        self.note(|| Entry::Verb(verb.clone(), results.clone()));
        self.counts.operations.fetch_add(1, Ordering::Relaxed);
        self.ask(Task::RunVerb { verb, results }, Vec::new())
    }

    fn ask(&self, task: Task<Form<D>>, bytes: Vec<u8>) -> Result<()> {
        self.thread.send(Command::Ask(Asked { task, bytes }))
    }

    /// Remembers that a verb was composed, or not.
    pub(crate) fn note_choice(&self, verb: &'static str, declined: Option<&Declined>) {
        let choice = Choice {
            verb,
            declined: declined.map(|Declined(why)| why.clone()),
        };
        let mut choices = lock(&self.choices);
        if choices.len() < CHOICES_MAX || choices.contains_key(&choice) {
            *choices.entry(choice).or_default() += 1;
        }
    }

    /// Queues a copy to the device.
    pub(crate) fn copy_in(&self, to: View, bytes: Vec<u8>) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.note_copy_in(to, &bytes);
        self.ask(Task::CopyIn(to), bytes)
    }

    /// The same, and waits until the bytes have left the host: what is loaded is large.
    pub(crate) fn load_in(&self, to: View, bytes: Vec<u8>) -> Result<()> {
        self.note_copy_in(to, &bytes);
        self.thread.ask(|reply| Command::Load {
            bytes,
            to: to.at,
            reply,
        })
    }

    fn note_copy_in(&self, to: View, bytes: &[u8]) {
        assert_eq!(bytes.len(), to.bytes(), "bytes of {to}");
        self.note(|| Entry::CopyIn(to));
        self.counts.copies_in.fetch_add(1, Ordering::Relaxed);
    }

    /// Copies from the device: waits.
    pub(crate) fn copy_out(&self, from: Vec<View>) -> Result<Vec<Vec<u8>>> {
        for view in &from {
            self.note(|| Entry::CopyOut(*view));
        }
        self.counts.waits.fetch_add(1, Ordering::Relaxed);
        self.thread.ask(|reply| Command::CopyOut { from, reply })
    }

    /// Waits for all queued work.
    pub(crate) fn wait(&self) -> Result<()> {
        self.counts.waits.fetch_add(1, Ordering::Relaxed);
        self.thread.ask(|reply| Command::Synchronize { reply })
    }

    fn note(&self, entry: impl FnOnce() -> Entry<Form<D>>) {
        if let Some(log) = &mut *lock(&self.log) {
            log.push(entry());
        }
    }
}

/// What fills released memory with a pattern that is no number, and no row number either.
fn poison<F: PartialEq + Send + Sync + 'static>(thread: &DeviceThread<F>) -> OnRelease {
    let commands = thread.commands();
    Box::new(move |at, bytes| {
        let out = View::new(at, DType::F32, [bytes / DType::F32.bytes()]);
        // A thread that has ended uses no memory.
        let _ = commands.send(Command::Ask(Asked {
            task: Task::Run(Op::Fill { out, byte: 0xff }),
            bytes: Vec::new(),
        }));
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
