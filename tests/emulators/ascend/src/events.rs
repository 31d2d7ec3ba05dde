//! Events.

use std::ffi::c_void;

use backend_ascend_sys::types::{
    ACL_EVENT_CAPTURE_STREAM_PROGRESS, ACL_EVENT_EXTERNAL, ACL_EVENT_SYNC, ACL_EVENT_TIME_LINE,
    aclrtEventRecordedStatus,
};
use emulator_support::{Goal, QueueId};

use crate::call::{Call, gone};
use crate::codes::{self, RT_PARAM_INVALID};
use crate::emulator::Event;
use crate::exports::{Place, Pointer};
use crate::failure::{Failure, Outcome};
use crate::handles::{Handle, Kind};
use crate::work::Task;

const FLAGS: u32 =
    ACL_EVENT_SYNC | ACL_EVENT_CAPTURE_STREAM_PROGRESS | ACL_EVENT_TIME_LINE | ACL_EVENT_EXTERNAL;
/// Milliseconds that a task is said to take. Nothing is measured here.
const TASK_MS: f32 = 0.001;

pub(crate) fn create(call: &mut Call, place: Place<*mut c_void>, flag: u32) -> Outcome {
    let context = call.context()?;
    let place = place.some(RT_PARAM_INVALID)?;
    if flag == 0 || flag & !FLAGS != 0 {
        let text = format!("flag {flag:#x}, one or more of {FLAGS:#x}");
        return Err(Failure::new(RT_PARAM_INVALID, text));
    }
    let event = call.handles.make(Kind::Event);
    let new = Event {
        context,
        point: call.queues.point(),
        is_recorded: false,
        takes_time: flag & ACL_EVENT_TIME_LINE != 0,
        time: None,
        mark: None,
    };
    call.events.insert(event, new);
    place.put(event.pointer());
    Ok(())
}

fn known(call: &Call, event: Pointer) -> Outcome<Handle> {
    let event = event.handle();
    if call.events.contains_key(&event) {
        Ok(event)
    } else {
        Err(gone(event, Kind::Event))
    }
}

pub(crate) fn destroy(call: &mut Call, event: Pointer) -> Outcome {
    call.bound()?;
    let event = known(call, event)?;
    call.events.remove(&event);
    Ok(())
}

/// An event and a stream of its own context, to be written there.
fn pair(call: &Call, event: Pointer, stream: Pointer) -> Outcome<(Handle, Handle)> {
    let stream = call.stream(stream)?;
    let event = known(call, event)?;
    if call.events[&event].context != call.streams[&stream].context {
        let text = "the event is of another context than the stream";
        return Err(Failure::new(codes::RT_STREAM_CONTEXT, text));
    }
    Ok((event, stream))
}

pub(crate) fn record(call: &mut Call, event: Pointer, stream: Pointer) -> Outcome {
    let (event, stream) = pair(call, event, stream)?;
    if let Some(origin) = call.capture_of(stream) {
        return call.mark_event(origin, stream, event);
    }
    // The first record reaches what waits were queued for before it.
    if call.events[&event].is_recorded {
        renew(call, event);
    }
    let recorded = call.events.get_mut(&event).expect("it was just found");
    recorded.is_recorded = true;
    recorded.time = None;
    recorded.mark = None;
    let (point, takes_time) = (recorded.point, recorded.takes_time);
    if takes_time {
        call.submit(stream, Task::Stamp(event))?;
    }
    call.queues.record(QueueId(stream.0), point);
    call.settle();
    Ok(())
}

/// The event is as new once the stream comes here. Waits that are queued from now on wait for its next
/// record.
pub(crate) fn reset(call: &mut Call, event: Pointer, stream: Pointer) -> Outcome {
    let (event, stream) = pair(call, event, stream)?;
    call.forbid_on_captured(stream, codes::RT_FEATURE_NOT_SUPPORT)?;
    renew(call, event);
    call.events
        .get_mut(&event)
        .expect("it was just found")
        .is_recorded = false;
    Ok(())
}

/// Gives an event a point that is not reached.
fn renew(call: &mut Call, event: Handle) {
    let point = call.queues.point();
    call.events.get_mut(&event).expect("a known event").point = point;
}

/// Lets a stream wait for the last record of an event, of any device; for its first if there is none yet.
pub(crate) fn wait(call: &mut Call, stream: Pointer, event: Pointer) -> Outcome {
    let stream = call.stream(stream)?;
    let event = known(call, event)?;
    if call.join(stream, event)? {
        return Ok(());
    }
    let point = call.events[&event].point;
    call.queues.wait(QueueId(stream.0), point);
    call.settle();
    Ok(())
}

/// Whether the last record is passed; an event that was never recorded is not ready.
pub(crate) fn query(
    call: &mut Call,
    event: Pointer,
    status: Place<aclrtEventRecordedStatus>,
) -> Outcome {
    call.context()?;
    let event = known(call, event)?;
    let status = status.some(RT_PARAM_INVALID)?;
    call.forbid_on_marked(event)?;
    call.forbid_in_captures()?;
    let goal = Goal::Reached(call.events[&event].point);
    let is_reached = call.look(goal);
    call.context()?;
    status.put(if is_reached {
        aclrtEventRecordedStatus::ACL_EVENT_RECORDED_STATUS_COMPLETE
    } else {
        aclrtEventRecordedStatus::ACL_EVENT_RECORDED_STATUS_NOT_READY
    });
    Ok(())
}

pub(crate) fn synchronize(call: &mut Call, event: Pointer) -> Outcome {
    call.context()?;
    let event = known(call, event)?;
    call.forbid_on_marked(event)?;
    call.forbid_in_captures()?;
    let goal = Goal::Reached(call.events[&event].point);
    call.wait(goal, None, codes::RT_WAIT_TIMEOUT)?;
    call.context().map(|_| ())
}

/// The tasks between two records, each as a fixed time.
pub(crate) fn elapsed(call: &mut Call, ms: Place<f32>, start: Pointer, end: Pointer) -> Outcome {
    call.context()?;
    let ms = ms.some(RT_PARAM_INVALID)?;
    let mut times = [0; 2];
    for (time, event) in times.iter_mut().zip([start, end]) {
        let event = &call.events[&known(call, event)?];
        *time = event.time.ok_or_else(|| {
            let text = "the event takes no time, or its record was not passed";
            Failure::new(codes::RT_EVENT_TIMESTAMP_INVALID, text)
        })?;
    }
    let Some(tasks) = times[1].checked_sub(times[0]) else {
        let text = "the end was recorded before the start";
        return Err(Failure::new(codes::RT_EVENT_TIMESTAMP_REVERSAL, text));
    };
    ms.put(tasks as f32 * TASK_MS);
    Ok(())
}
