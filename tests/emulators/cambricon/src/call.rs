//! One call of the interface, from its beginning to the code that it returns.
//!
//! All state stands behind one lock, which a call holds until it returns, but for a wait that other threads must end.

use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use emulator_support::argument::Pointer;
use emulator_support::failure::{Failure, Fault, Outcome, words};
use emulator_support::ranks::Missing;
use emulator_support::{Goal, Progress, QueueId, Reply, Step};

use crate::codes;
use crate::collectives::CHECK;
use crate::emulator::Emulator;
use crate::handles::{Handle, Kind};
use crate::thread;
use crate::work::{Task, Work};

static STATE: LazyLock<Mutex<Emulator>> = LazyLock::new(|| Mutex::new(Emulator::first()));
static PROGRESS: Progress = Progress::new();

/// What returns the code of the last failure, which is not one itself.
const ASKS: [&str; 2] = ["cnrtGetLastError", "cnrtPeekAtLastError"];

/// A call, which holds the state.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    state: Option<MutexGuard<'static, Emulator>>,
}

impl Deref for Call {
    type Target = Emulator;

    fn deref(&self) -> &Emulator {
        self.state.as_ref().expect("held but for a moment")
    }
}

impl DerefMut for Call {
    fn deref_mut(&mut self) -> &mut Emulator {
        self.state.as_mut().expect("held but for a moment")
    }
}

/// Does one call: a failure becomes its code and this thread's text, a panic becomes both.
pub(crate) fn enter<R: Reply>(
    name: &'static str,
    body: impl FnOnce(&mut Call) -> Outcome<R::Value>,
) -> R {
    let whole = || Call::begin(name).and_then(|mut call| body(&mut call));
    let outcome = catch_unwind(AssertUnwindSafe(whole))
        .unwrap_or_else(|panic| Err(Failure::violation("panic", codes::STATE, words(&*panic))));
    let reply = match outcome {
        Ok(value) => R::of(value),
        Err(failure) => {
            if let Some(kind) = failure.violation {
                found(&mut lock(), name, Fault::new(kind, failure.text.clone()));
            }
            if !ASKS.contains(&name) {
                thread::remember(name, &failure);
            }
            R::refused(failure.code)
        }
    };
    PROGRESS.tell();
    reply
}

fn lock() -> MutexGuard<'static, Emulator> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes down a violation, and ends the process if that is set.
fn found(emulator: &mut Emulator, call: &str, fault: Fault) {
    let on = emulator.config.on_violation;
    emulator.report.found(on, call, fault);
}

impl Call {
    fn begin(name: &'static str) -> Outcome<Self> {
        let mut call = Self {
            name,
            state: Some(lock()),
        };
        let nth = call.report.count(name);
        match call.config.faults.code(name, nth) {
            Some(code) => Err(Failure::new(code, format!("call {nth} was set to fail"))),
            None => Ok(call),
        }
    }

    /// Writes down what does not fail the call.
    pub(crate) fn violation(&mut self, kind: &'static str, text: impl Into<String>) {
        let name = self.name;
        found(self, name, Fault::new(kind, text));
    }

    /// The device of this thread.
    pub(crate) fn device(&self) -> usize {
        thread::device(self.epoch)
    }

    /// A queue of this thread's device. The default queue is another for each thread, so it is not used.
    pub(crate) fn queue(&self, queue: Pointer) -> Outcome<Handle> {
        let handle = queue.handle();
        if [0, 1].contains(&handle.0) {
            let text = "a default queue, which is another for each thread";
            return Err(Failure::violation("E-DEFQ", codes::ARGS, text));
        }
        let found = self
            .queues
            .get(&handle)
            .ok_or_else(|| gone(handle, Kind::Queue))?;
        if found.device != self.device() {
            let text = format!(
                "a queue of device {}, the thread has {}",
                found.device,
                self.device()
            );
            return Err(Failure::violation("E-DEV", codes::HANDLE, text));
        }
        Ok(handle)
    }

    /// Queues work, unless the queue has failed.
    pub(crate) fn submit(&mut self, queue: Handle, task: Task, refused: i32) -> Outcome {
        if self.queues[&queue].has_failed {
            let text = "a task of this queue has failed before";
            return Err(Failure::new(refused, text));
        }
        let Some(task) = self.capture(queue, task)? else {
            return Ok(());
        };
        let (id, name) = (QueueId(queue.0), self.name);
        let (reads, writes) = task.ranges();
        if let Some(race) = self.races.queued(id, name, &reads, &writes) {
            self.violation("E-RACE", race);
        }
        self.work.submit(
            id,
            Work {
                call: name,
                queue,
                task,
            },
        );
        self.settle();
        Ok(())
    }

    /// Runs what the schedule runs though nobody waits.
    pub(crate) fn settle(&mut self) {
        while let Some(step) = self.work.stray() {
            self.take(step);
        }
    }

    /// Waits until a queue has passed what it holds now.
    pub(crate) fn drain(&mut self, queue: Handle) -> Outcome {
        let id = QueueId(queue.0);
        self.wait(self.work.now(id))?;
        self.races.passed(id);
        Ok(())
    }

    /// Runs queued work until a goal is met. If nothing that is queued leads there, others have some time to queue it; after
    /// that the call fails and tells who waits for whom.
    pub(crate) fn wait(&mut self, goal: Goal) -> Outcome {
        while !self.work.is_met(goal) {
            match self.work.step(goal) {
                Step::Busy => {
                    self.pause(None);
                }
                Step::Stuck => {
                    let limit = Duration::from_millis(self.config.deadlock_ms);
                    if !self.pause(Some(limit)) {
                        return Err(self.stuck());
                    }
                }
                step => self.take(step),
            }
        }
        self.settle();
        Ok(())
    }

    /// Why a wait ends: ranks that do not come, or else who waits for whom.
    fn stuck(&self) -> Failure {
        let Missing { texts, is_known } = self.collectives.missing();
        if !texts.is_empty() {
            return Failure::violation(CHECK, codes::STATE, texts.join("; "));
        }
        let waits = self.work.waits().join("; ");
        let text = format!("nothing ends this wait: {waits}");
        if is_known {
            return Failure::new(codes::STATE, text);
        }
        Failure::violation("deadlock", codes::STATE, text)
    }

    /// One step towards a goal, as every look at it takes.
    pub(crate) fn look(&mut self, goal: Goal) -> bool {
        if !self.work.is_met(goal) {
            let step = self.work.step(goal);
            self.take(step);
        }
        self.work.is_met(goal)
    }

    /// Lets other threads call; whether one did before the limit.
    fn pause(&mut self, limit: Option<Duration>) -> bool {
        let state = self.state.take().expect("held but for a moment");
        let (state, called) = PROGRESS.wait(state, limit);
        self.state = Some(state);
        called
    }

    /// Runs one task, unless its queue has failed: what is behind a failure is not run.
    fn take(&mut self, step: Step<Work>) {
        let Step::Run(id, work) = step else {
            return;
        };
        let has_failed = self
            .queues
            .get(&work.queue)
            .is_none_or(|queue| queue.has_failed);
        if !has_failed {
            let run = || work.task.run(self);
            let done = catch_unwind(AssertUnwindSafe(run));
            let done = done.unwrap_or_else(|panic| Err(Fault::new("panic", words(&*panic))));
            if let Err(fault) = done {
                found(self, work.call, fault);
                if let Some(queue) = self.queues.get_mut(&work.queue) {
                    queue.has_failed = true;
                }
                self.work.fail(id);
            }
        }
        self.work.finish(id);
        PROGRESS.tell();
    }
}

/// Why a handle of the runtime is none.
pub(crate) fn gone(handle: Handle, kind: Kind) -> Failure {
    let text = if handle.is(kind) {
        format!("the {kind:?} was destroyed")
    } else {
        format!("no {kind:?} was ever made with this handle")
    };
    Failure::violation("E-HANDLE", codes::HANDLE, text)
}
