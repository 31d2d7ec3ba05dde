//! Copies and fills, at once and queued.

use backend_cambricon_sys::types::cnrtMemTransDir_t;
use emulator_support::Misuse;
use emulator_support::argument::Pointer;
use emulator_support::failure::{Failure, Fault, Outcome};

use crate::call::Call;
use crate::codes;
use crate::memory::{Owner, check_of};
use crate::work::{Copy, Fill, Side, Task};

/// A copy as it was asked for.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) to: Pointer,
    pub(crate) from: Pointer,
    pub(crate) bytes: usize,
    pub(crate) direction: cnrtMemTransDir_t,
}

/// Looks at one side of a copy. What was freed is left to the task to find, as on a device.
fn side(call: &Call, pointer: Pointer, bytes: usize, what: &str) -> Outcome<Side> {
    let here = call.device();
    let address = pointer.address();
    match call.owner(address) {
        Owner::Device(device) if device != here => {
            let text = format!("{what}: memory of device {device}, the thread has {here}");
            Err(Failure::violation("E-DEV", codes::ARGS, text))
        }
        Owner::Device(device) => match call.devices[device].locate(address, bytes) {
            Ok(_) | Err(Misuse::Freed(_)) => Ok(Side::Device { device, address }),
            Err(misuse) => {
                let text = format!("{what}: {misuse}");
                Err(Failure::violation(check_of(misuse), codes::ARGS, text))
            }
        },
        Owner::Pinned(left) if bytes > left => {
            let text = format!("{what}: {bytes} bytes, {left} are left of the pinned memory");
            Err(Failure::violation("E-HPTR", codes::ARGS, text))
        }
        Owner::Pinned(_) => Ok(Side::Pinned(pointer.bytes(bytes), address)),
        Owner::Host if address == 0 => {
            let text = format!("{what}: null");
            Err(Failure::violation("E-PTR", codes::ARGS, text))
        }
        Owner::Host => Ok(Side::Pageable(pointer.bytes(bytes))),
    }
}

fn plan(call: &Call, request: &Request) -> Outcome<Copy> {
    let Request {
        to,
        from,
        bytes,
        direction,
    } = *request;
    if bytes == 0 {
        return Err(Failure::new(codes::ARGS, "a size of 0"));
    }
    let from = side(call, from, bytes, "source")?;
    let to = side(call, to, bytes, "destination")?;
    let want = match direction {
        cnrtMemTransDir_t::cnrtMemcpyHostToHost => (false, false),
        cnrtMemTransDir_t::cnrtMemcpyHostToDev => (false, true),
        cnrtMemTransDir_t::cnrtMemcpyDevToHost => (true, false),
        cnrtMemTransDir_t::cnrtMemcpyDevToDev => (true, true),
        _ => {
            let text = format!("direction {}: say which", direction.0);
            return Err(Failure::new(codes::DIRECTION, text));
        }
    };
    if want != (from.is_device(), to.is_device()) {
        let name = direction.name().unwrap_or("a copy");
        let check = if want.0 && !from.is_device() || want.1 && !to.is_device() {
            "E-PTR"
        } else {
            "E-HPTR"
        };
        let text = format!("{name}: from {from}, to {to}");
        return Err(Failure::violation(check, codes::DIRECTION, text));
    }
    Ok(Copy {
        from,
        to,
        bytes,
        checksum: None,
    })
}

/// Runs a task at once, as part of this call.
fn now(call: &mut Call, task: &Task) -> Outcome {
    call.forbid_in_captures()?;
    let name = call.name;
    let (reads, writes) = task.ranges();
    if let Some(race) = call.races.at_once(name, &reads, &writes) {
        call.violation("E-RACE", race);
    }
    let failed = |fault: Fault| Failure::violation(fault.kind, codes::ARGS, fault.text);
    task.run(call).map_err(failed)
}

/// Copies at once, in no order with what queues hold.
pub(crate) fn copy(call: &mut Call, request: &Request) -> Outcome {
    let copy = plan(call, request)?;
    now(call, &Task::Copy(copy))
}

/// Queues a copy. Memory of the host that is not pinned is copied before the call returns, after what the queue holds.
pub(crate) fn queue_copy(call: &mut Call, request: &Request, queue: Pointer) -> Outcome {
    let queue = call.queue(queue)?;
    let mut copy = plan(call, request)?;
    if copy.from.is_pageable() || copy.to.is_pageable() {
        call.drain(queue)?;
        return now(call, &Task::Copy(copy));
    }
    copy.queued(call.config.pattern);
    call.submit(queue, Task::Copy(copy), codes::QUEUE)
}

fn plan_fill(call: &Call, to: Pointer, value: i32, bytes: usize) -> Outcome<Fill> {
    if bytes == 0 {
        return Err(Failure::new(codes::ARGS, "a size of 0"));
    }
    let Side::Device { device, address } = side(call, to, bytes, "memory")? else {
        let text = "memory of the host";
        return Err(Failure::violation("E-PTR", codes::ARGS, text));
    };
    Ok(Fill {
        device,
        address,
        bytes,
        byte: value as u8,
    })
}

pub(crate) fn fill(call: &mut Call, to: Pointer, value: i32, bytes: usize) -> Outcome {
    let fill = plan_fill(call, to, value, bytes)?;
    now(call, &Task::Fill(fill))
}

pub(crate) fn queue_fill(
    call: &mut Call,
    to: Pointer,
    value: i32,
    bytes: usize,
    queue: Pointer,
) -> Outcome {
    let queue = call.queue(queue)?;
    let fill = plan_fill(call, to, value, bytes)?;
    call.submit(queue, Task::Fill(fill), codes::QUEUE)
}
