//! One call of the interface, from its beginning to the code that it returns.
//!
//! All state stands behind one lock, which a call holds until it returns; only functions of the host run
//! without it, and a wait that others must end.

use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use emulator_support::failure::words;
use emulator_support::ranks::Missing;
use emulator_support::{Goal, Progress, QueueId, Reply, Step};

use crate::codes;
use crate::collectives::MISMATCH;
use crate::emulator::{Emulator, Phase};
use crate::exports::Pointer;
use crate::failure::{Failure, Fault, Outcome};
use crate::handles::{Handle, Kind};
use crate::thread;
use crate::work::{Task, Work};

static STATE: LazyLock<Mutex<Emulator>> = LazyLock::new(|| Mutex::new(Emulator::first()));
static PROGRESS: Progress = Progress::new();

/// What may be called before `aclInit` and after `aclFinalize`.
const EARLY: [&str; 10] = [
    "aclInit",
    "aclFinalize",
    "aclGetRecentErrMsg",
    "aclsysGetVersionStr",
    "aclrtGetSocName",
    "ascendEmuVersion",
    "ascendEmuConfigure",
    "ascendEmuReport",
    "ascendEmuReset",
    "ascendEmuProvides",
];

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
    let outcome = if thread::is_in_callback() {
        let text = "a function of the host that runs for a stream calls the runtime";
        Err(Failure::violation(
            "call_in_callback",
            codes::RT_INTERNAL_ERROR,
            text,
        ))
    } else {
        let whole = || Call::begin(name).and_then(|mut call| body(&mut call));
        catch_unwind(AssertUnwindSafe(whole)).unwrap_or_else(|panic| {
            let text = words(&*panic);
            Err(Failure::violation("panic", codes::RT_INTERNAL_ERROR, text))
        })
    };
    let reply = match outcome {
        Ok(value) => R::of(value),
        Err(failure) => {
            if let Some(kind) = failure.violation {
                found(&mut lock(), name, Fault::new(kind, failure.text.clone()));
            }
            thread::remember(name, &failure);
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
        if let Some(code) = call.config.faults.code(name, nth) {
            return Err(Failure::new(code, format!("call {nth} was set to fail")));
        }
        if call.phase != Phase::Ready && !EARLY.contains(&name) {
            return Err(Failure::new(codes::UNINITIALIZE, "aclInit was not called"));
        }
        Ok(call)
    }

    /// Writes down what does not fail the call.
    pub(crate) fn violation(&mut self, kind: &'static str, text: impl Into<String>) {
        let name = self.name;
        found(self, name, Fault::new(kind, text));
    }

    /// The context of this thread, even one that has failed.
    pub(crate) fn bound(&self) -> Outcome<Handle> {
        let context = thread::context(self.epoch);
        let alive = context.filter(|context| self.contexts.contains_key(context));
        alive.ok_or_else(|| {
            let text = "this thread has no context: aclrtSetDevice binds the thread that calls it";
            Failure::new(codes::RT_CONTEXT_NULL, text)
        })
    }

    /// The context of this thread.
    pub(crate) fn context(&self) -> Outcome<Handle> {
        let bound = self.bound()?;
        match self.contexts[&bound].failed {
            Some(code) => Err(Failure::new(
                code,
                "a task of this context has failed before",
            )),
            None => Ok(bound),
        }
    }

    /// The device of this thread.
    pub(crate) fn device(&self) -> Outcome<usize> {
        Ok(self.contexts[&self.context()?].device)
    }

    /// A stream of this thread's context; null is its default stream.
    pub(crate) fn stream(&self, stream: Pointer) -> Outcome<Handle> {
        let context = self.context()?;
        self.stream_of(stream.handle(), context)
    }

    /// A stream of a context; null is its default stream.
    pub(crate) fn stream_of(&self, stream: Handle, context: Handle) -> Outcome<Handle> {
        if stream.is_null() {
            return Ok(self.contexts[&context].default_stream);
        }
        let found = self
            .streams
            .get(&stream)
            .ok_or_else(|| gone(stream, Kind::Stream))?;
        if found.context != context {
            let text = "the stream is of another context than this thread's";
            return Err(Failure::new(codes::RT_STREAM_CONTEXT, text));
        }
        Ok(stream)
    }

    /// Queues work on a stream; adds it to the capture that the stream is part of, if it is.
    pub(crate) fn submit(&mut self, stream: Handle, task: Task) -> Outcome {
        let work = Work {
            call: self.name,
            context: self.streams[&stream].context,
            is_captured: false,
            task,
        };
        if let Some(origin) = self.capture_of(stream) {
            return self.capture(origin, stream, work);
        }
        self.queues.submit(QueueId(stream.0), work);
        self.settle();
        Ok(())
    }

    /// Runs what the schedule runs though nobody waits.
    pub(crate) fn settle(&mut self) {
        while let Some(step) = self.queues.stray() {
            self.take(step);
        }
    }

    /// Lets the streams of a context that has failed wait for nothing any more.
    fn fail_streams(&mut self, context: Handle) {
        let streams = { self.streams.iter() }.filter(|(_, stream)| stream.context == context);
        for stream in streams.map(|(handle, _)| *handle).collect::<Vec<_>>() {
            self.queues.fail(QueueId(stream.0));
        }
    }

    /// Waits until a stream has passed what it holds now.
    pub(crate) fn drain(&mut self, stream: Handle) -> Outcome {
        let goal = self.queues.now(QueueId(stream.0));
        self.wait(goal, None, codes::RT_STREAM_SYNC_TIMEOUT)
    }

    /// Runs queued work until a goal is met. If nothing that is queued leads there, others have
    /// `limit_ms` to queue it; after that the call fails with `code` and tells who waits for whom.
    pub(crate) fn wait(&mut self, goal: Goal, limit_ms: Option<u64>, code: i32) -> Outcome {
        while !self.queues.is_met(goal) {
            match self.queues.step(goal) {
                Step::Busy => self.pause(None),
                Step::Stuck => {
                    let limit_ms = limit_ms.unwrap_or(self.config.deadlock_ms);
                    if !self.pause(Some(Duration::from_millis(limit_ms))) {
                        return Err(self.stuck(code));
                    }
                    true
                }
                step => self.take(step),
            };
        }
        self.settle();
        Ok(())
    }

    /// Why a wait ends: ranks that do not come, or else who waits for whom.
    fn stuck(&self, code: i32) -> Failure {
        let Missing { texts, is_known } = self.missing_ranks();
        if !texts.is_empty() {
            return Failure::violation(MISMATCH, code, texts.join("; "));
        }
        let waits = self.queues.waits().join("; ");
        let text = format!("nothing ends this wait: {waits}");
        if is_known {
            return Failure::new(code, text);
        }
        Failure::violation("deadlock", code, text)
    }

    /// Waits for what other threads do; whether it came before all of them stood still for a while.
    pub(crate) fn wait_until(&mut self, is_done: impl Fn(&Emulator) -> bool) -> bool {
        let limit = Duration::from_millis(self.config.deadlock_ms);
        while !is_done(self) {
            if !self.pause(Some(limit)) {
                return is_done(self);
            }
        }
        true
    }

    /// One step towards a goal, as every look at it takes.
    pub(crate) fn look(&mut self, goal: Goal) -> bool {
        if !self.queues.is_met(goal) {
            let step = self.queues.step(goal);
            self.take(step);
        }
        self.queues.is_met(goal)
    }

    /// Lets other threads call; whether one did before the limit.
    fn pause(&mut self, limit: Option<Duration>) -> bool {
        let state = self.state.take().expect("held but for a moment");
        let (state, called) = PROGRESS.wait(state, limit);
        self.state = Some(state);
        called
    }

    fn take(&mut self, step: Step<Work>) -> bool {
        if let Step::Run(queue, work) = step {
            self.run(queue, &work);
        }
        true
    }

    /// Runs one task, unless its context has failed.
    fn run(&mut self, queue: QueueId, work: &Work) {
        self.clock += 1;
        let context = self.contexts.get(&work.context);
        if context.is_some_and(|context| context.failed.is_none()) {
            let done = match &work.task {
                Task::Host(function) => {
                    self.state = None;
                    thread::call_back(|| function.call());
                    self.state = Some(lock());
                    Ok(())
                }
                task => {
                    let run = || task.run(self);
                    let done = catch_unwind(AssertUnwindSafe(run));
                    done.unwrap_or_else(|panic| Err(Fault::new("panic", words(&*panic))))
                }
            };
            if let Err(mut fault) = done {
                if work.is_captured && fault.kind == "use_after_free" {
                    fault.kind = "graph_dangling";
                }
                found(self, work.call, fault);
                if let Some(context) = self.contexts.get_mut(&work.context) {
                    context.failed = Some(codes::RT_AICORE_EXCEPTION);
                }
                self.fail_streams(work.context);
            }
        }
        self.queues.finish(queue);
        PROGRESS.tell();
    }
}

/// Why a handle is none.
pub(crate) fn gone(handle: Handle, kind: Kind) -> Failure {
    let text = if handle.is(kind) {
        format!("the {kind:?} was destroyed")
    } else {
        format!("no {kind:?} was ever made with this handle")
    };
    Failure::new(codes::RT_INVALID_HANDLE, text)
}
