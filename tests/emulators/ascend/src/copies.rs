//! Copies and fills, at once and queued.

use backend_ascend_sys::types::aclrtMemcpyKind;
use emulator_support::Misuse;

use crate::call::Call;
use crate::codes::{self, RT_PARAM_INVALID};
use crate::exports::Pointer;
use crate::failure::{Failure, Fault, Outcome};
use crate::memory::Owner;
use crate::work::{Copy, Fill, Side, Task};

/// A copy as it was asked for.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) to: Pointer,
    pub(crate) capacity: usize,
    pub(crate) from: Pointer,
    pub(crate) count: usize,
    pub(crate) kind: aclrtMemcpyKind,
}

fn invalid(text: impl Into<String>) -> Failure {
    Failure::new(RT_PARAM_INVALID, text)
}

/// Looks at one side of a copy. What was freed is left to the task to find, as on a device.
fn side(call: &Call, pointer: Pointer, count: usize, what: &str) -> Outcome<Side> {
    let here = call.device()?;
    let address = pointer.address();
    match call.owner(address) {
        Owner::Device(device) if device != here => Err(invalid(format!(
            "{what}: memory of device {device}, the thread is bound to {here}"
        ))),
        Owner::Device(device) => {
            let found = call.devices[device].memory.locate(address, count);
            match found {
                Ok(_) | Err(Misuse::Freed(_)) => Ok(Side::Device { device, address }),
                Err(misuse) => Err(invalid(format!("{what}: {misuse}"))),
            }
        }
        Owner::Pinned(left) if count > left => Err(invalid(format!(
            "{what}: {count} bytes, {left} are left of the pinned memory"
        ))),
        Owner::Pinned(_) => Ok(Side::Pinned(pointer.bytes(count), address)),
        Owner::Host if address == 0 => Err(invalid(format!("{what}: null"))),
        Owner::Host => Ok(Side::Pageable(pointer.bytes(count))),
    }
}

fn plan(call: &Call, request: &Request) -> Outcome<Copy> {
    let Request {
        to,
        capacity,
        from,
        count,
        kind,
    } = *request;
    if count == 0 || count > capacity {
        return Err(invalid(format!("{count} bytes into {capacity}")));
    }
    let from = side(call, from, count, "source")?;
    let to = side(call, to, count, "destination")?;
    let want = match kind {
        aclrtMemcpyKind::ACL_MEMCPY_HOST_TO_HOST => (false, false),
        aclrtMemcpyKind::ACL_MEMCPY_HOST_TO_DEVICE => (false, true),
        aclrtMemcpyKind::ACL_MEMCPY_DEVICE_TO_HOST => (true, false),
        aclrtMemcpyKind::ACL_MEMCPY_DEVICE_TO_DEVICE => (true, true),
        aclrtMemcpyKind::ACL_MEMCPY_DEFAULT => (from.is_device(), to.is_device()),
        _ => return Err(invalid(format!("kind {}", kind.0))),
    };
    if want != (from.is_device(), to.is_device()) {
        let name = kind.name().unwrap_or("a copy");
        return Err(invalid(format!("{name}: from {from}, to {to}")));
    }
    Ok(Copy {
        from,
        to,
        count,
        checksum: None,
    })
}

/// Runs a task at once, as part of this call.
fn now(call: &mut Call, task: &Task) -> Outcome {
    let failed = |fault: Fault| Failure::violation(fault.kind, RT_PARAM_INVALID, fault.text);
    task.run(call).map_err(failed)
}

/// Copies at once. Only the default stream is waited for: what other streams have queued may come later.
pub(crate) fn copy(call: &mut Call, request: &Request) -> Outcome {
    let context = call.context()?;
    call.forbid_in_captures()?;
    let copy = plan(call, request)?;
    call.drain(call.contexts[&context].default_stream)?;
    call.context()?;
    now(call, &Task::Copy(copy))
}

/// Queues a copy. Memory of the host that is not pinned is copied before the call returns, after what the
/// stream holds.
pub(crate) fn queue_copy(call: &mut Call, request: &Request, stream: Pointer) -> Outcome {
    let stream = call.stream(stream)?;
    let mut copy = plan(call, request)?;
    if copy.from.is_pageable() || copy.to.is_pageable() {
        call.forbid_on_captured(stream, codes::RT_CAPTURE_MODE_BLOCK_ASYNC)?;
        call.drain(stream)?;
        call.context()?;
        return now(call, &Task::Copy(copy));
    }
    if call.capture_of(stream).is_none() {
        copy.queued(call.config.pattern);
    }
    call.submit(stream, Task::Copy(copy))
}

fn plan_fill(call: &Call, to: Pointer, capacity: usize, value: i32, count: usize) -> Outcome<Fill> {
    if count == 0 || count > capacity {
        return Err(invalid(format!("{count} bytes into {capacity}")));
    }
    let Side::Device { device, address } = side(call, to, count, "memory")? else {
        return Err(invalid("memory of the host"));
    };
    Ok(Fill {
        device,
        address,
        count,
        byte: value as u8,
    })
}

pub(crate) fn fill(
    call: &mut Call,
    to: Pointer,
    capacity: usize,
    value: i32,
    count: usize,
) -> Outcome {
    let context = call.context()?;
    call.forbid_in_captures()?;
    let fill = plan_fill(call, to, capacity, value, count)?;
    call.drain(call.contexts[&context].default_stream)?;
    call.context()?;
    now(call, &Task::Fill(fill))
}

pub(crate) fn queue_fill(
    call: &mut Call,
    to: Pointer,
    capacity: usize,
    value: i32,
    count: usize,
    stream: Pointer,
) -> Outcome {
    let stream = call.stream(stream)?;
    let fill = plan_fill(call, to, capacity, value, count)?;
    call.submit(stream, Task::Fill(fill))
}
