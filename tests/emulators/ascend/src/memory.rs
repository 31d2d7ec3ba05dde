//! Memory of devices, and pinned memory of the host.

use std::ffi::c_void;

use backend_ascend_sys::types::{
    aclrtMemLocation, aclrtMemLocationType, aclrtMemMallocPolicy, aclrtPtrAttributes,
};
use emulator_support::Pages;

use crate::call::Call;
use crate::codes::{self, RT_PARAM_INVALID};
use crate::emulator::Emulator;
use crate::exports::{Place, Pointer};
use crate::failure::{Failure, Outcome};

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
        let holds = |device: &crate::emulator::Device| device.memory.holds(address);
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

    /// The calls that queued work which has not run and uses a range.
    fn users(&self, start: u64, bytes: usize) -> Vec<&'static str> {
        let end = start + bytes as u64;
        let pending = self.queues.pending().filter(|(_, work)| {
            let ranges = work.task.ranges();
            ranges
                .iter()
                .any(|(from, count)| *from < end && start < from + *count as u64)
        });
        pending.map(|(_, work)| work.call).collect()
    }
}

pub(crate) fn malloc(
    call: &mut Call,
    place: Place<*mut c_void>,
    bytes: usize,
    policy: aclrtMemMallocPolicy,
) -> Outcome {
    let device = call.device()?;
    call.forbid_in_captures()?;
    let place = place.some(RT_PARAM_INVALID)?;
    if bytes == 0 {
        return Err(Failure::new(RT_PARAM_INVALID, "a size of 0"));
    }
    if policy.name().is_none() {
        return Err(Failure::new(
            RT_PARAM_INVALID,
            format!("policy {}", policy.0),
        ));
    }
    let charge = call.charge(bytes);
    let made = call.devices[device].memory.alloc(bytes, charge);
    let full = |full: emulator_support::Full| {
        Failure::new(
            codes::RT_MEMORY_ALLOCATION,
            format!("device {device}: {full}"),
        )
    };
    place.put(std::ptr::without_provenance_mut(
        made.map_err(full)? as usize
    ));
    Ok(())
}

/// Frees at once, whatever is queued: that is a violation here, and corrupts memory on a device.
pub(crate) fn free(call: &mut Call, pointer: Pointer) -> Outcome {
    let context = call.bound()?;
    call.forbid_in_captures()?;
    let device = call.contexts[&context].device;
    let start = pointer.address();
    let blocks = call.devices[device].memory.blocks();
    let bytes = { blocks }
        .find(|block| block.0 == start)
        .map_or(0, |block| block.1);
    let users = call.users(start, bytes);
    if bytes > 0 && !users.is_empty() {
        let text = format!("{bytes} bytes that are queued for {}", users.join(", "));
        call.violation("free_in_flight", text);
    }
    let freed = call.devices[device].memory.free(start);
    freed.map_err(|misuse| Failure::new(RT_PARAM_INVALID, misuse.to_string()))
}

pub(crate) fn malloc_host(call: &mut Call, place: Place<*mut c_void>, bytes: usize) -> Outcome {
    call.context()?;
    call.forbid_in_captures()?;
    let place = place.some(RT_PARAM_INVALID)?;
    if bytes == 0 {
        return Err(Failure::new(RT_PARAM_INVALID, "a size of 0"));
    }
    let refused = |error: std::io::Error| {
        Failure::new(
            codes::RT_MEMORY_ALLOCATION,
            format!("{bytes} bytes: {error}"),
        )
    };
    let pages = Pages::map(bytes).map_err(refused)?;
    let start = pages.start();
    call.pinned.insert(start, (pages, bytes));
    place.put(std::ptr::with_exposed_provenance_mut(start as usize));
    Ok(())
}

pub(crate) fn free_host(call: &mut Call, pointer: Pointer) -> Outcome {
    call.bound()?;
    call.forbid_in_captures()?;
    let start = pointer.address();
    let Some((_, bytes)) = call.pinned.get(&start) else {
        let text = "no pinned memory begins here";
        return Err(Failure::new(RT_PARAM_INVALID, text));
    };
    let bytes = *bytes;
    let users = call.users(start, bytes);
    if !users.is_empty() {
        let text = format!(
            "{bytes} pinned bytes that are queued for {}",
            users.join(", ")
        );
        call.violation("free_in_flight", text);
    }
    call.pinned.remove(&start);
    Ok(())
}

/// Where a pointer leads.
pub(crate) fn attributes(
    call: &mut Call,
    pointer: Pointer,
    place: Place<aclrtPtrAttributes>,
) -> Outcome {
    call.context()?;
    let place = place.some(RT_PARAM_INVALID)?;
    let (id, type_) = match call.owner(pointer.address()) {
        Owner::Device(device) => (
            device as u32,
            aclrtMemLocationType::ACL_MEM_LOCATION_TYPE_DEVICE,
        ),
        Owner::Pinned(_) => (0, aclrtMemLocationType::ACL_MEM_LOCATION_TYPE_HOST),
        Owner::Host => (0, aclrtMemLocationType::ACL_MEM_LOCATION_TYPE_UNREGISTERED),
    };
    place.put(aclrtPtrAttributes {
        location: aclrtMemLocation { id, type_ },
        pageSize: 4096,
        rsv: [0; 4],
    });
    Ok(())
}
