//! Streams that are captured, and graphs: what was captured, to be replayed.
//!
//! A capture begins on one stream. Others join it where they wait for an event that was recorded in it, and are
//! joined again before its end. A replay queues all of it in the order in which it was captured, on one stream,
//! with the numbers that pinned memory of the host has then.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::thread::{self as host, ThreadId};

use backend_ascend_sys::types::{aclmdlRICaptureMode, aclmdlRICaptureStatus};
use emulator_support::{Goal, QueueId};

use crate::call::{Call, gone};
use crate::codes::{self, RT_PARAM_INVALID};
use crate::emulator::Emulator;
use crate::exports::{Place, Pointer};
use crate::failure::{Failure, Outcome};
use crate::handles::{Handle, Kind};
use crate::thread;
use crate::work::{Task, Work};

/// A capture that has begun and not ended. It goes by the stream that it began on.
#[derive(Debug)]
pub(crate) struct Capture {
    context: Handle,
    thread: ThreadId,
    mode: aclmdlRICaptureMode,
    /// Whether no call was made that it forbids.
    is_valid: bool,
    works: Vec<Work>,
    streams: BTreeMap<Handle, Part>,
}

/// What a stream has of a capture.
#[derive(Debug, Default)]
struct Part {
    works: u64,
    /// Whether another stream of the capture has waited for all of it.
    is_joined: bool,
}

/// Where in a capture an event was recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    origin: Handle,
    stream: Handle,
    /// The work of the stream before it.
    works: u64,
}

/// What was captured.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) context: Handle,
    works: Vec<Work>,
    /// Where its last replay ends.
    last: Option<Goal>,
}

fn mode_name(mode: aclmdlRICaptureMode) -> &'static str {
    mode.name().unwrap_or("a mode")
}

impl Emulator {
    /// The capture that a stream is part of, by the stream that it began on.
    pub(crate) fn capture_of(&self, stream: Handle) -> Option<Handle> {
        let mut captures = self.captures.iter();
        captures.find_map(|(origin, of)| of.streams.contains_key(&stream).then_some(*origin))
    }

    /// What a context has of captures and graphs, in words.
    pub(crate) fn captured_in(&self, context: Handle) -> impl Iterator<Item = &'static str> {
        let captures = self
            .captures
            .values()
            .filter(move |of| of.context == context);
        let graphs = self.graphs.values().filter(move |of| of.context == context);
        let captures = captures.map(|_| "a capture");
        captures.chain(graphs.map(|_| "a graph"))
    }

    /// Ends what a context has of them.
    pub(crate) fn close_captures(&mut self, context: Handle) {
        self.captures.retain(|_, of| of.context != context);
        self.graphs.retain(|_, of| of.context != context);
    }
}

impl Call {
    /// Ends captures for good: what is asked of them from now on fails.
    fn invalidate(&mut self, origins: &[Handle]) {
        for origin in origins {
            if let Some(capture) = self.captures.get_mut(origin) {
                capture.is_valid = false;
            }
        }
    }

    /// A call that captures forbid, by the mode of each and that of the thread that calls.
    pub(crate) fn forbid_in_captures(&mut self) -> Outcome {
        if self.captures.is_empty() {
            return Ok(());
        }
        let (device, own) = (self.device()?, host::current().id());
        let of_thread = thread::capture_mode(self.epoch);
        let here = self.captures.iter().filter(|(_, of)| {
            let is_here = self.contexts[&of.context].device == device;
            let is_own = of.thread == own && of.mode != RELAXED;
            is_here
                && match of_thread {
                    RELAXED => false,
                    THREAD_LOCAL => is_own,
                    _ => is_own || of.mode == GLOBAL,
                }
        });
        let here: Vec<_> = here.map(|(origin, of)| (*origin, of.mode)).collect();
        let Some((_, mode)) = here.first() else {
            return Ok(());
        };
        let text = format!("a stream is captured in {}", mode_name(*mode));
        let origins: Vec<_> = here.iter().map(|(origin, _)| *origin).collect();
        self.invalidate(&origins);
        Err(Failure::new(codes::RT_CAPTURE_MODE_NOT_SUPPORT, text))
    }

    /// A call on a stream that no capture allows.
    pub(crate) fn forbid_on_captured(&mut self, stream: Handle, code: i32) -> Outcome {
        let Some(origin) = self.capture_of(stream) else {
            return Ok(());
        };
        self.invalidate(&[origin]);
        Err(Failure::new(code, "the stream is captured"))
    }

    /// A look at an event that is recorded in a capture, which no capture allows.
    pub(crate) fn forbid_on_marked(&mut self, event: Handle) -> Outcome {
        let Some(mark) = self.mark(event) else {
            return Ok(());
        };
        self.invalidate(&[mark.origin]);
        let text = "the event is recorded in a capture";
        Err(Failure::new(codes::RT_EVENT_CAPTURED, text))
    }

    /// Where in a capture that goes on an event is recorded.
    fn mark(&self, event: Handle) -> Option<Mark> {
        let mark = self.events.get(&event)?.mark?;
        self.captures.contains_key(&mark.origin).then_some(mark)
    }

    /// Adds work to the capture of a stream.
    pub(crate) fn capture(&mut self, origin: Handle, stream: Handle, work: Work) -> Outcome {
        if let Task::Host(_) = &work.task {
            self.invalidate(&[origin]);
            let text = "functions of the host are not captured here";
            return Err(Failure::new(codes::RT_FEATURE_NOT_SUPPORT, text));
        }
        let capture = valid(self, origin)?;
        capture.works.push(work);
        let part = capture.streams.entry(stream).or_default();
        part.works += 1;
        part.is_joined = false;
        Ok(())
    }

    /// Records an event in the capture of a stream.
    pub(crate) fn mark_event(&mut self, origin: Handle, stream: Handle, event: Handle) -> Outcome {
        let works = valid(self, origin)?.streams[&stream].works;
        let mark = Mark {
            origin,
            stream,
            works,
        };
        self.events.get_mut(&event).expect("a known event").mark = Some(mark);
        Ok(())
    }

    /// Lets a stream wait for an event where either is part of a capture; whether one is.
    pub(crate) fn join(&mut self, stream: Handle, event: Handle) -> Outcome<bool> {
        match (self.capture_of(stream), self.mark(event)) {
            (None, None) => Ok(false),
            (Some(origin), None) => {
                self.invalidate(&[origin]);
                let text = "the event was not recorded in the capture of the stream";
                Err(Failure::new(codes::RT_CAPTURE_DEPENDENCY, text))
            }
            (Some(origin), Some(mark)) if origin != mark.origin => {
                self.invalidate(&[origin, mark.origin]);
                let text = "the event was recorded in another capture";
                Err(Failure::new(codes::STREAM_CAPTURE_CONFLICT, text))
            }
            (_, Some(mark)) => {
                let capture = valid(self, mark.origin)?;
                capture.streams.entry(stream).or_default();
                if let Some(part) = capture.streams.get_mut(&mark.stream)
                    && part.works == mark.works
                    && mark.stream != stream
                {
                    part.is_joined = true;
                }
                Ok(true)
            }
        }
    }
}

const GLOBAL: aclmdlRICaptureMode = aclmdlRICaptureMode::ACL_MODEL_RI_CAPTURE_MODE_GLOBAL;
const THREAD_LOCAL: aclmdlRICaptureMode =
    aclmdlRICaptureMode::ACL_MODEL_RI_CAPTURE_MODE_THREAD_LOCAL;
const RELAXED: aclmdlRICaptureMode = aclmdlRICaptureMode::ACL_MODEL_RI_CAPTURE_MODE_RELAXED;

/// A capture in which no call was made that it forbids.
fn valid(call: &mut Call, origin: Handle) -> Outcome<&mut Capture> {
    let capture = call
        .captures
        .get_mut(&origin)
        .expect("a capture that goes on");
    if capture.is_valid {
        return Ok(capture);
    }
    let text = "a call that the capture forbids has ended it";
    Err(Failure::new(codes::RT_STREAM_CAPTURE_INVALIDATED, text))
}

fn known_mode(mode: aclmdlRICaptureMode) -> Outcome<aclmdlRICaptureMode> {
    if mode.name().is_some() {
        return Ok(mode);
    }
    Err(Failure::new(RT_PARAM_INVALID, format!("mode {}", mode.0)))
}

pub(crate) fn begin(call: &mut Call, stream: Pointer, mode: aclmdlRICaptureMode) -> Outcome {
    let context = call.context()?;
    let stream = call.stream(stream)?;
    let mode = known_mode(mode)?;
    if stream == call.contexts[&context].default_stream {
        let text = "the default stream is not captured: name one";
        return Err(Failure::new(codes::RT_STREAM_CAPTURE_IMPLICIT, text));
    }
    call.forbid_on_captured(stream, codes::RT_STREAM_CAPTURED)?;
    let capture = Capture {
        context,
        thread: host::current().id(),
        mode,
        is_valid: true,
        works: Vec::new(),
        streams: [(stream, Part::default())].into(),
    };
    call.captures.insert(stream, capture);
    Ok(())
}

/// Ends a capture, well or not: after this the stream is as any other.
pub(crate) fn end(call: &mut Call, stream: Pointer, place: Place<*mut c_void>) -> Outcome {
    let stream = call.stream(stream)?;
    let place = place.some(RT_PARAM_INVALID)?;
    let Some(origin) = call.capture_of(stream) else {
        let text = "the stream is not captured";
        return Err(Failure::new(codes::RT_STREAM_NOT_CAPTURED, text));
    };
    if origin != stream {
        call.invalidate(&[origin]);
        let text = "the capture began on another stream";
        return Err(Failure::new(codes::RT_STREAM_CAPTURE_UNMATCHED, text));
    }
    if call.captures[&origin].thread != host::current().id() {
        call.invalidate(&[origin]);
        let text = "the capture began on another thread";
        return Err(Failure::new(codes::RT_STREAM_CAPTURE_WRONG_THREAD, text));
    }
    let checked = valid(call, origin).map(|_| ());
    let Capture {
        context,
        works,
        streams,
        ..
    } = call.captures.remove(&origin).expect("it was just found");
    // An event that was recorded in it is as one that never was.
    let marked =
        |event: &&mut crate::emulator::Event| event.mark.is_some_and(|mark| mark.origin == origin);
    for event in call.events.values_mut().filter(marked) {
        event.mark = None;
    }
    checked?;
    let apart = streams
        .iter()
        .filter(|(of, part)| **of != origin && !part.is_joined);
    let apart = apart.count();
    if apart > 0 {
        let text = format!("{apart} streams of the capture are not joined");
        return Err(Failure::new(codes::RT_STREAM_UNJOINED, text));
    }
    let limit = call.config.limits.graphs;
    if call.graphs.len() >= limit {
        let text = format!("{} graphs of {limit}", call.graphs.len());
        return Err(Failure::new(codes::RT_NO_MODEL_RESOURCE, text));
    }
    let graph = call.handles.make(Kind::Graph);
    let made = Graph {
        context,
        works,
        last: None,
    };
    call.graphs.insert(graph, made);
    place.put(graph.pointer());
    Ok(())
}

/// Whether a stream is captured. There is no graph before the end.
pub(crate) fn info(
    call: &mut Call,
    stream: Pointer,
    status: Place<aclmdlRICaptureStatus>,
    graph: Place<*mut c_void>,
) -> Outcome {
    let stream = call.stream(stream)?;
    let status = status.some(RT_PARAM_INVALID)?;
    let capture = call
        .capture_of(stream)
        .map(|origin| &call.captures[&origin]);
    status.put(match capture {
        None => aclmdlRICaptureStatus::ACL_MODEL_RI_CAPTURE_STATUS_NONE,
        Some(of) if of.is_valid => aclmdlRICaptureStatus::ACL_MODEL_RI_CAPTURE_STATUS_ACTIVE,
        Some(_) => aclmdlRICaptureStatus::ACL_MODEL_RI_CAPTURE_STATUS_INVALIDATED,
    });
    if !graph.is_null() {
        graph.put(std::ptr::null_mut());
    }
    Ok(())
}

/// Gives this thread another mode, and the caller the one that it had.
pub(crate) fn exchange_mode(call: &mut Call, mode: Place<aclmdlRICaptureMode>) -> Outcome {
    let place = mode.some(RT_PARAM_INVALID)?;
    let mode = place.list(1).and_then(|modes| modes.first().copied());
    let mode = known_mode(mode.expect("a place that is not null"))?;
    place.put(thread::set_capture_mode(call.epoch, mode));
    Ok(())
}

/// A graph of this thread's context.
fn known(call: &Call, graph: Pointer) -> Outcome<Handle> {
    let (context, graph) = (call.bound()?, graph.handle());
    match call.graphs.get(&graph) {
        None => Err(gone(graph, Kind::Graph)),
        Some(found) if found.context != context => {
            let text = "the graph is of another context than this thread's";
            Err(Failure::new(codes::RT_MODEL_CONTEXT, text))
        }
        Some(_) => Ok(graph),
    }
}

/// A graph that does not run.
fn idle(call: &Call, graph: Pointer) -> Outcome<Handle> {
    let graph = known(call, graph)?;
    let last = call.graphs[&graph].last;
    if last.is_some_and(|last| !call.queues.is_met(last)) {
        let text = "the graph was replayed and has not run to its end";
        return Err(Failure::new(codes::RT_MODEL_RUNNING, text));
    }
    Ok(graph)
}

/// Queues all of a graph.
pub(crate) fn execute_async(call: &mut Call, graph: Pointer, stream: Pointer) -> Outcome {
    let stream = call.stream(stream)?;
    let graph = idle(call, graph)?;
    call.forbid_on_captured(stream, codes::RT_STREAM_CAPTURED)?;
    replay(call, graph, stream);
    Ok(())
}

/// Runs all of a graph, on the default stream of its context.
pub(crate) fn execute(call: &mut Call, graph: Pointer, timeout_ms: i32) -> Outcome {
    let context = call.context()?;
    call.forbid_in_captures()?;
    let graph = idle(call, graph)?;
    let limit_ms = match timeout_ms {
        -1 => None,
        1.. => Some(timeout_ms as u64),
        _ => {
            let text = format!("a timeout of {timeout_ms} ms");
            return Err(Failure::new(RT_PARAM_INVALID, text));
        }
    };
    let stream = call.contexts[&context].default_stream;
    let goal = replay(call, graph, stream);
    call.wait(goal, limit_ms, codes::RT_STREAM_SYNC_TIMEOUT)?;
    call.context().map(|_| ())
}

fn replay(call: &mut Call, graph: Handle, stream: Handle) -> Goal {
    let pattern = call.config.pattern;
    let works = call.graphs[&graph].works.iter();
    let works: Vec<_> = works.map(|work| work.again(pattern)).collect();
    let queue = QueueId(stream.0);
    for work in works {
        call.queues.submit(queue, work);
    }
    let goal = call.queues.now(queue);
    let of = call.graphs.get_mut(&graph).expect("it was just found");
    of.last = Some(goal);
    call.settle();
    goal
}

pub(crate) fn destroy(call: &mut Call, graph: Pointer) -> Outcome {
    let graph = idle(call, graph)?;
    call.graphs.remove(&graph);
    Ok(())
}
