//! Streams.

use std::ffi::c_void;

use backend_ascend_sys::types::{
    ACL_STREAM_FAST_LAUNCH, ACL_STREAM_FAST_SYNC, ACL_STREAM_HUGE, ACL_STREAM_PERSISTENT,
    aclrtStreamStatus,
};
use emulator_support::QueueId;

use crate::call::{Call, gone};
use crate::codes::{self, RT_PARAM_INVALID};
use crate::exports::{HostFunction, Place, Pointer};
use crate::failure::{Failure, Outcome};
use crate::handles::{Handle, Kind};
use crate::work::Task;

const FLAGS: u32 =
    ACL_STREAM_FAST_LAUNCH | ACL_STREAM_FAST_SYNC | ACL_STREAM_PERSISTENT | ACL_STREAM_HUGE;

pub(crate) fn create(
    call: &mut Call,
    place: Place<*mut c_void>,
    _priority: u32,
    flag: u32,
) -> Outcome {
    let context = call.context()?;
    let place = place.some(RT_PARAM_INVALID)?;
    if flag & !FLAGS != 0 {
        return Err(Failure::new(
            RT_PARAM_INVALID,
            format!("flag {flag:#x}, known are {FLAGS:#x}"),
        ));
    }
    let device = call.contexts[&context].device;
    let streams = call.streams.values();
    let count = streams
        .filter(|stream| call.contexts[&stream.context].device == device)
        .count();
    let limit = call.config.limits.streams;
    if count >= limit {
        let text = format!("{count} streams of {limit}");
        return Err(Failure::new(codes::RT_NO_STREAM_RESOURCE, text));
    }
    place.put(call.open_stream(context).pointer());
    Ok(())
}

/// A stream that may be destroyed.
fn own(call: &Call, stream: Pointer) -> Outcome<Handle> {
    let handle = stream.handle();
    let context = call.bound()?;
    if !call.streams.contains_key(&handle) {
        return Err(gone(handle, Kind::Stream));
    }
    let stream = call.stream_of(handle, context)?;
    if call.contexts[&context].default_stream == stream {
        let text = "the default stream goes with its context";
        return Err(Failure::new(RT_PARAM_INVALID, text));
    }
    Ok(stream)
}

/// Waits for the stream, then destroys it.
pub(crate) fn destroy(call: &mut Call, stream: Pointer) -> Outcome {
    let stream = own(call, stream)?;
    call.forbid_on_captured(stream, codes::RT_STREAM_CAPTURED)?;
    call.drain(stream)?;
    call.close_stream(stream);
    Ok(())
}

/// Destroys the stream with what is in it.
pub(crate) fn destroy_now(call: &mut Call, stream: Pointer) -> Outcome {
    let stream = own(call, stream)?;
    call.forbid_on_captured(stream, codes::RT_STREAM_CAPTURED)?;
    call.close_stream(stream);
    Ok(())
}

/// Waits for all that a stream holds; without end, as far as it goes, if the timeout is -1.
pub(crate) fn synchronize(call: &mut Call, stream: Pointer, timeout_ms: i32) -> Outcome {
    let stream = call.stream(stream)?;
    let limit_ms = match timeout_ms {
        -1 => None,
        1.. => Some(timeout_ms as u64),
        _ => {
            let text = format!("a timeout of {timeout_ms} ms");
            return Err(Failure::new(RT_PARAM_INVALID, text));
        }
    };
    call.forbid_on_captured(stream, codes::RT_STREAM_CAPTURED)?;
    call.forbid_in_captures()?;
    let goal = call.queues.now(QueueId(stream.0));
    call.wait(goal, limit_ms, codes::RT_STREAM_SYNC_TIMEOUT)?;
    call.context().map(|_| ())
}

/// Waits for all streams of this thread's device.
pub(crate) fn synchronize_device(call: &mut Call) -> Outcome {
    let device = call.device()?;
    call.forbid_in_captures()?;
    let streams = call.streams.iter();
    let of = streams.filter(|(_, stream)| call.contexts[&stream.context].device == device);
    for stream in of.map(|(handle, _)| *handle).collect::<Vec<_>>() {
        call.drain(stream)?;
    }
    call.context().map(|_| ())
}

/// Whether a stream is done. Each look takes a step, so that whoever looks again and again gets there.
pub(crate) fn query(call: &mut Call, stream: Pointer, status: Place<aclrtStreamStatus>) -> Outcome {
    let stream = call.stream(stream)?;
    let status = status.some(RT_PARAM_INVALID)?;
    call.forbid_on_captured(stream, codes::RT_STREAM_CAPTURED)?;
    call.forbid_in_captures()?;
    let goal = call.queues.now(QueueId(stream.0));
    let is_done = call.look(goal);
    call.context()?;
    status.put(if is_done {
        aclrtStreamStatus::ACL_STREAM_STATUS_COMPLETE
    } else {
        aclrtStreamStatus::ACL_STREAM_STATUS_NOT_READY
    });
    Ok(())
}

/// A function of the host, in its turn.
pub(crate) fn launch_host_function(
    call: &mut Call,
    stream: Pointer,
    function: Option<unsafe extern "C" fn(*mut c_void)>,
    argument: Pointer,
) -> Outcome {
    let stream = call.stream(stream)?;
    let function = function.ok_or_else(|| Failure::new(RT_PARAM_INVALID, "no function"))?;
    call.submit(stream, Task::Host(HostFunction::new(function, argument)))
}
