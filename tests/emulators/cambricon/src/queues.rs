//! Queues and notifiers.

use backend_cambricon_sys::types::{cnrtNotifier_t, cnrtQueue_t};
use emulator_support::argument::{Place, Pointer};
use emulator_support::failure::{Failure, Outcome};
use emulator_support::{Goal, QueueId};

use crate::call::{Call, gone};
use crate::codes;
use crate::emulator::{Notifier, Queue};
use crate::handles::{Handle, Kind};

/// Flags that a notifier may have.
const NOTIFIER_FLAGS: u32 = 2 | 4 | 8;

pub(crate) fn create(call: &mut Call, place: Place<cnrtQueue_t>) -> Outcome {
    let place = place.some(codes::ARGS)?;
    let handle = call.handles.make(Kind::Queue);
    let device = call.device();
    let queue = Queue {
        device,
        has_failed: false,
    };
    call.queues.insert(handle, queue);
    call.work.open(QueueId(handle.0));
    place.put(cnrtQueue_t(handle.pointer()));
    Ok(())
}

/// Destroys a queue. What is in it is run or not, by the release: so nothing may be.
pub(crate) fn destroy(call: &mut Call, queue: Pointer) -> Outcome {
    let queue = call.queue(queue)?;
    if call.is_pending(queue) || call.captures.remove(&queue).is_some() {
        call.violation("E-DESTROY", "a queue with work in it");
    }
    call.queues.remove(&queue);
    call.work.close(QueueId(queue.0));
    Ok(())
}

/// Waits for all that a queue holds, and tells whether some of it failed.
pub(crate) fn synchronize(call: &mut Call, queue: Pointer) -> Outcome {
    let queue = call.queue(queue)?;
    call.forbid_on_captured(queue)?;
    call.drain(queue)?;
    told(call, queue)
}

fn told(call: &Call, queue: Handle) -> Outcome {
    if call.queues[&queue].has_failed {
        return Err(Failure::new(codes::QUEUE, "a task of the queue has failed"));
    }
    Ok(())
}

fn not_ready(call: &Call) -> Failure {
    Failure::new(call.config.not_ready, "not done")
}

/// Whether a queue is done. Each look takes a step, so that whoever looks again and again gets there.
pub(crate) fn query(call: &mut Call, queue: Pointer) -> Outcome {
    let queue = call.queue(queue)?;
    call.forbid_on_captured(queue)?;
    let goal = call.work.now(QueueId(queue.0));
    if !call.look(goal) {
        return Err(not_ready(call));
    }
    call.races.passed(QueueId(queue.0));
    told(call, queue)
}

pub(crate) fn create_notifier(
    call: &mut Call,
    place: Place<cnrtNotifier_t>,
    flags: u32,
) -> Outcome {
    let place = place.some(codes::ARGS)?;
    if flags & !NOTIFIER_FLAGS != 0 {
        return Err(Failure::new(codes::ARGS, format!("flags {flags:#x}")));
    }
    let handle = call.handles.make(Kind::Notifier);
    let new = Notifier {
        device: call.device(),
        point: call.work.point(),
        is_placed: false,
    };
    call.notifiers.insert(handle, new);
    place.put(cnrtNotifier_t(handle.pointer()));
    Ok(())
}

fn known(call: &Call, notifier: Pointer) -> Outcome<Handle> {
    let handle = notifier.handle();
    if call.notifiers.contains_key(&handle) {
        return Ok(handle);
    }
    Err(gone(handle, Kind::Notifier))
}

/// Destroys a notifier, which must have been reached if it was placed.
pub(crate) fn destroy_notifier(call: &mut Call, notifier: Pointer) -> Outcome {
    let handle = known(call, notifier)?;
    let Notifier {
        point, is_placed, ..
    } = call.notifiers[&handle];
    if is_placed && !call.work.is_met(Goal::Reached(point)) {
        call.violation("E-DESTROY", "a notifier that its queue has not come to");
    }
    call.notifiers.remove(&handle);
    Ok(())
}

pub(crate) fn place(call: &mut Call, notifier: Pointer, queue: Pointer) -> Outcome {
    let queue = call.queue(queue)?;
    call.forbid_on_captured(queue)?;
    let handle = known(call, notifier)?;
    if call.notifiers[&handle].device != call.queues[&queue].device {
        let text = "a notifier and a queue of different devices";
        return Err(Failure::violation("E-DEV", codes::HANDLE, text));
    }
    // The first place reaches what waits were queued for before it.
    let point = if call.notifiers[&handle].is_placed {
        call.work.point()
    } else {
        call.notifiers[&handle].point
    };
    let notifier = call.notifiers.get_mut(&handle).expect("it was just found");
    (notifier.point, notifier.is_placed) = (point, true);
    call.work.record(QueueId(queue.0), point);
    call.races.recorded(QueueId(queue.0), point);
    call.settle();
    Ok(())
}

/// Lets a queue wait for the last place of a notifier; for its first if there is none yet.
pub(crate) fn wait(call: &mut Call, notifier: Pointer, queue: Pointer, flag: u32) -> Outcome {
    let queue = call.queue(queue)?;
    call.forbid_on_captured(queue)?;
    let handle = known(call, notifier)?;
    if flag > 1 {
        return Err(Failure::new(codes::ARGS, format!("flag {flag}")));
    }
    let point = call.notifiers[&handle].point;
    call.work.wait(QueueId(queue.0), point);
    call.races.waits(QueueId(queue.0), point);
    call.settle();
    Ok(())
}

/// Whether the last place was passed. A notifier does not tell of failures.
pub(crate) fn query_notifier(call: &mut Call, notifier: Pointer) -> Outcome {
    let handle = known(call, notifier)?;
    let point = call.notifiers[&handle].point;
    if !call.look(Goal::Reached(point)) {
        return Err(not_ready(call));
    }
    call.races.reached(point);
    Ok(())
}

/// Waits for the last place. A notifier does not tell of failures.
pub(crate) fn wait_notifier(call: &mut Call, notifier: Pointer) -> Outcome {
    let handle = known(call, notifier)?;
    let point = call.notifiers[&handle].point;
    call.wait(Goal::Reached(point))?;
    call.races.reached(point);
    Ok(())
}
