//! Captures of queues, and what becomes of them: topologies of tasks, and entities that run.
//!
//! A capture is one queue's: notifiers are not captured here, so no other queue joins it. Calls that are known to wait, or to give or
//! take memory, end it, as those of CUDA's do that the interface follows; which operators may be captured the vendor does not document.

use std::thread::{self, ThreadId};

use backend_cambricon_sys::types::{
    cnrtQueueCaptureMode, cnrtQueueCaptureStatus, cnrtTaskTopo_t, cnrtTaskTopoEntity_t,
    cnrtTaskTopoNode_t,
};
use emulator_support::argument::{Place, Pointer, Text};
use emulator_support::failure::{Failure, Outcome};
use emulator_support::{Goal, QueueId};

use crate::call::{Call, gone};
use crate::codes;
use crate::handles::{Handle, Kind};
use crate::work::Task;

/// A capture that has begun and not ended. It goes by its queue.
#[derive(Debug)]
pub(crate) struct Capture {
    thread: ThreadId,
    mode: cnrtQueueCaptureMode,
    /// Whether no call was made that it forbids.
    is_valid: bool,
    tasks: Vec<Task>,
}

/// Tasks that can be run.
#[derive(Debug)]
pub(crate) struct Entity {
    pub(crate) device: usize,
    tasks: Vec<Task>,
    /// Where its last run ends.
    last: Option<Goal>,
}

/// Tasks that were captured, and the device that they are of.
pub(crate) type Topology = (usize, Vec<Task>);

fn ended() -> Failure {
    let text = "a call that the capture forbids has ended it";
    Failure::new(codes::CAPTURE_UNSUPPORTED, text)
}

impl Call {
    /// A call that captures forbid: those of this thread, and those that forbid it to all.
    pub(crate) fn forbid_in_captures(&mut self) -> Outcome {
        let own = thread::current().id();
        let mut is_forbidden = false;
        for capture in self.captures.values_mut() {
            let meets = match capture.mode {
                cnrtQueueCaptureMode::cnrtQueueCaptureModeGlobal => true,
                cnrtQueueCaptureMode::cnrtQueueCaptureModeThreadLocal => capture.thread == own,
                _ => false,
            };
            capture.is_valid &= !meets;
            is_forbidden |= meets;
        }
        if is_forbidden {
            let text = "a queue is captured";
            return Err(Failure::new(codes::CAPTURE_UNSUPPORTED, text));
        }
        Ok(())
    }

    /// A call on a queue that no capture of it allows.
    pub(crate) fn forbid_on_captured(&mut self, queue: Handle) -> Outcome {
        match self.captures.get_mut(&queue) {
            None => Ok(()),
            Some(capture) => {
                capture.is_valid = false;
                let text = "the queue is captured";
                Err(Failure::new(codes::CAPTURE_UNSUPPORTED, text))
            }
        }
    }

    /// Adds a task to the capture of its queue; gives it back if there is none.
    pub(crate) fn capture(&mut self, queue: Handle, task: Task) -> Outcome<Option<Task>> {
        match self.captures.get_mut(&queue) {
            None => Ok(Some(task)),
            Some(capture) if capture.is_valid => {
                capture.tasks.push(task);
                Ok(None)
            }
            Some(_) => Err(ended()),
        }
    }
}

pub(crate) fn begin(call: &mut Call, queue: Pointer, mode: cnrtQueueCaptureMode) -> Outcome {
    let queue = call.queue(queue)?;
    if mode.name().is_none() {
        return Err(Failure::new(codes::ARGS, format!("mode {}", mode.0)));
    }
    if call.captures.contains_key(&queue) {
        let text = "a queue that is captured already";
        return Err(Failure::new(codes::STATE, text));
    }
    let capture = Capture {
        thread: thread::current().id(),
        mode,
        is_valid: true,
        tasks: Vec::new(),
    };
    call.captures.insert(queue, capture);
    Ok(())
}

/// Ends a capture, well or not: after this the queue is as any other.
pub(crate) fn end(call: &mut Call, queue: Pointer, place: Place<cnrtTaskTopo_t>) -> Outcome {
    let queue = call.queue(queue)?;
    let place = place.some(codes::ARGS)?;
    let unmatched = |text| Err(Failure::new(codes::CAPTURE_UNMATCHED, text));
    let Some(capture) = call.captures.get(&queue) else {
        return unmatched("the queue is not captured");
    };
    if capture.thread != thread::current().id() {
        return unmatched("the capture began on another thread");
    }
    let capture = call.captures.remove(&queue).expect("it was just found");
    if !capture.is_valid {
        return Err(ended());
    }
    let handle = call.handles.make(Kind::Topology);
    let device = call.queues[&queue].device;
    call.topologies.insert(handle, (device, capture.tasks));
    place.put(cnrtTaskTopo_t(handle.pointer()));
    Ok(())
}

pub(crate) fn status(
    call: &mut Call,
    queue: Pointer,
    place: Place<cnrtQueueCaptureStatus>,
) -> Outcome {
    let queue = call.queue(queue)?;
    let status = match call.captures.get(&queue) {
        None => cnrtQueueCaptureStatus::cnrtQueueCaptureStatusNone,
        Some(of) if of.is_valid => cnrtQueueCaptureStatus::cnrtQueueCaptureStatusActive,
        Some(_) => cnrtQueueCaptureStatus::cnrtQueueCaptureStatusInvalidated,
    };
    place.some(codes::ARGS)?.put(status);
    Ok(())
}

/// Makes an entity of captured tasks, which are copied: the topology may go.
pub(crate) fn instantiate(
    call: &mut Call,
    place: Place<cnrtTaskTopoEntity_t>,
    topology: Pointer,
    (node, log, bytes): (Place<cnrtTaskTopoNode_t>, Text, usize),
) -> Outcome {
    let place = place.some(codes::ARGS)?;
    let topology = topology.handle();
    let found = call.topologies.get(&topology);
    let (device, tasks) = found.ok_or_else(|| gone(topology, Kind::Topology))?.clone();
    if !node.is_null() {
        node.put(cnrtTaskTopoNode_t::NULL);
    }
    log.write("", bytes);
    let handle = call.handles.make(Kind::Entity);
    let entity = Entity {
        device,
        tasks,
        last: None,
    };
    call.entities.insert(handle, entity);
    place.put(cnrtTaskTopoEntity_t(handle.pointer()));
    Ok(())
}

/// An entity that does not run.
fn idle(call: &Call, entity: Pointer) -> Outcome<Handle> {
    let handle = entity.handle();
    let found = call.entities.get(&handle);
    let last = found.ok_or_else(|| gone(handle, Kind::Entity))?.last;
    if last.is_some_and(|last| !call.work.is_met(last)) {
        let text = "an entity that was invoked and has not run to its end";
        return Err(Failure::violation("E-TOPO", codes::STATE, text));
    }
    Ok(handle)
}

/// Queues all tasks of an entity, with what pinned memory of the host holds now.
pub(crate) fn invoke(call: &mut Call, entity: Pointer, queue: Pointer) -> Outcome {
    let queue = call.queue(queue)?;
    let entity = idle(call, entity)?;
    call.forbid_on_captured(queue)?;
    let (device, pattern) = (call.entities[&entity].device, call.config.pattern);
    if device != call.queues[&queue].device {
        let text = "an entity and a queue of different devices";
        return Err(Failure::violation("E-DEV", codes::HANDLE, text));
    }
    for mut task in call.entities[&entity].tasks.clone() {
        if let Task::Copy(copy) = &mut task {
            copy.queued(pattern);
        }
        call.submit(queue, task, codes::QUEUE)?;
    }
    let last = call.work.now(QueueId(queue.0));
    let entity = call.entities.get_mut(&entity).expect("it was just found");
    entity.last = Some(last);
    Ok(())
}

pub(crate) fn destroy_entity(call: &mut Call, entity: Pointer) -> Outcome {
    let entity = idle(call, entity)?;
    call.entities.remove(&entity);
    Ok(())
}

pub(crate) fn destroy(call: &mut Call, topology: Pointer) -> Outcome {
    let topology = topology.handle();
    match call.topologies.remove(&topology) {
        Some(_) => Ok(()),
        None => Err(gone(topology, Kind::Topology)),
    }
}
