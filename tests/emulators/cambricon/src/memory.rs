//! Memory of devices, and pinned memory of the host.

use std::ffi::c_void;
use std::ptr::{with_exposed_provenance_mut, without_provenance_mut};

use emulator_support::argument::{Place, Pointer};
use emulator_support::failure::{Failure, Outcome};
use emulator_support::{Memory, Misuse, Pages};

use crate::call::Call;
use crate::codes;
use crate::emulator::Emulator;

/// Whose memory a pointer leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Of this device, whether a block is there or not.
    Device(usize),
    /// Pinned memory of the host, with the bytes that are left behind the pointer.
    Pinned(usize),
    /// Other memory of the host, or none.
    Host,
}

impl Emulator {
    pub(crate) fn owner(&self, address: u64) -> Owner {
        let holds = |memory: &Memory| memory.holds(address);
        if let Some(device) = self.devices.iter().position(holds) {
            return Owner::Device(device);
        }
        let below = self.pinned.range(..=address).next_back();
        match below {
            Some((start, (_, bytes))) if address - start < *bytes as u64 => {
                Owner::Pinned(bytes - (address - start) as usize)
            }
            _ => Owner::Host,
        }
    }
}

/// The check that a misused pointer is found by.
pub(crate) fn check_of(misuse: Misuse) -> &'static str {
    match misuse {
        Misuse::Freed(_) => "E-UAF",
        Misuse::Outside(_) | Misuse::Beyond { .. } | Misuse::Interior { .. } => "E-PTR",
    }
}

pub(crate) fn malloc(call: &mut Call, place: Place<*mut c_void>, bytes: usize) -> Outcome {
    let place = place.some(codes::ARGS)?;
    if bytes == 0 {
        return Err(Failure::new(codes::ARGS, "a size of 0"));
    }
    call.forbid_in_captures()?;
    let device = call.device();
    let made = call.devices[device].alloc(bytes, bytes);
    let full = |full| Failure::new(codes::NO_MEMORY, format!("device {device}: {full}"));
    place.put(without_provenance_mut(made.map_err(full)? as usize));
    Ok(())
}

/// Frees at once, whatever is queued: that is a violation here, and corrupts memory on a device.
pub(crate) fn free(call: &mut Call, pointer: Pointer) -> Outcome {
    call.forbid_in_captures()?;
    let start = pointer.address();
    let Owner::Device(device) = call.owner(start) else {
        let text = format!("{start:#x} is no address of a device");
        return Err(Failure::violation("E-DFREE", codes::ARGS, text));
    };
    let mut blocks = call.devices[device].blocks();
    let bytes = blocks
        .find(|block| block.0 == start)
        .map_or(0, |block| block.1);
    drop(blocks);
    let users = call.users(start, bytes);
    if bytes > 0 && !users.is_empty() {
        let text = format!("{bytes} bytes that are queued for {}", users.join(", "));
        call.violation("E-UAF", text);
    }
    let freed = call.devices[device].free(start);
    freed.map_err(|misuse| Failure::violation("E-DFREE", codes::ARGS, misuse.to_string()))
}

pub(crate) fn malloc_host(call: &mut Call, place: Place<*mut c_void>, bytes: usize) -> Outcome {
    let place = place.some(codes::ARGS)?;
    if bytes == 0 {
        return Err(Failure::new(codes::ARGS, "a size of 0"));
    }
    call.forbid_in_captures()?;
    let refused = |error| Failure::new(codes::NO_MEMORY, format!("{bytes} bytes: {error}"));
    let pages = Pages::map(bytes).map_err(|error: std::io::Error| refused(error.to_string()))?;
    let start = pages.start();
    call.pinned.insert(start, (pages, bytes));
    place.put(with_exposed_provenance_mut(start as usize));
    Ok(())
}

pub(crate) fn free_host(call: &mut Call, pointer: Pointer) -> Outcome {
    call.forbid_in_captures()?;
    let start = pointer.address();
    let Some((_, bytes)) = call.pinned.get(&start) else {
        let text = "no pinned memory begins here";
        return Err(Failure::violation("E-DFREE", codes::ARGS, text));
    };
    let users = call.users(start, *bytes);
    if !users.is_empty() {
        let text = format!("pinned memory that is queued for {}", users.join(", "));
        call.violation("E-HOSTLIFE", text);
    }
    call.pinned.remove(&start);
    Ok(())
}
