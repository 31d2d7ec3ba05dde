//! Devices, versions and errors.

use std::ffi::c_char;

use backend_cambricon_sys::types::{CNdev, cnrtDeviceAttr_t};
use backend_cambricon_sys::{Library, status};
use emulator_support::argument::{Place, Text};
use emulator_support::failure::{Failure, Outcome};

use crate::call::Call;
use crate::codes;
use crate::config::Profile;
use crate::handles::Handle;
use crate::thread;

/// The releases whose declarations are emulated.
pub(crate) const CNRT: [i32; 3] = [6, 14, 1];
pub(crate) const CNDRV: [i32; 3] = [2, 15, 5];
pub(crate) const CNNL: [i32; 3] = [1, 28, 6];

/// Writes a version.
pub(crate) fn version(release: [i32; 3], places: [Place<i32>; 3]) -> Outcome {
    for (place, number) in places.into_iter().zip(release) {
        place.some(codes::ARGS)?.put(number);
    }
    Ok(())
}

fn device(call: &Call, ordinal: i32) -> Outcome<usize> {
    let index = usize::try_from(ordinal).ok();
    let index = index.filter(|index| *index < call.devices.len());
    index.ok_or_else(|| {
        let text = format!("device {ordinal} of {}", call.devices.len());
        Failure::new(codes::NO_DEVICE, text)
    })
}

pub(crate) fn count(call: &mut Call, count: Place<u32>) -> Outcome {
    count.some(codes::ARGS)?.put(call.config.devices);
    Ok(())
}

/// Binds this thread to a device.
pub(crate) fn set(call: &mut Call, ordinal: i32) -> Outcome {
    let index = device(call, ordinal)?;
    thread::bind(call.epoch, index);
    Ok(())
}

pub(crate) fn get(call: &mut Call, ordinal: Place<i32>) -> Outcome {
    ordinal.some(codes::ARGS)?.put(call.device() as i32);
    Ok(())
}

/// How the host waits: nothing here depends on it.
pub(crate) fn set_flag(_call: &mut Call, flags: u32) -> Outcome {
    if flags > 3 {
        return Err(Failure::new(codes::ARGS, format!("flags {flags}")));
    }
    Ok(())
}

/// Waits for all queues of this thread's device.
pub(crate) fn synchronize(call: &mut Call) -> Outcome {
    call.forbid_in_captures()?;
    let device = call.device();
    let of = call
        .queues
        .iter()
        .filter(|(_, queue)| queue.device == device);
    for queue in of.map(|(handle, _)| *handle).collect::<Vec<Handle>>() {
        call.drain(queue)?;
        if call.queues[&queue].has_failed {
            return Err(Failure::new(codes::QUEUE, "a task of a queue has failed"));
        }
    }
    Ok(())
}

/// What is published of the chip.
pub(crate) fn attribute(
    call: &mut Call,
    value: Place<i32>,
    attr: cnrtDeviceAttr_t,
    ordinal: i32,
) -> Outcome {
    let index = device(call, ordinal)?;
    let (major, has_bf16) = match call.config.profile {
        Profile::Mlu590 => (5, 1),
        Profile::Mlu370 => (3, 0),
    };
    let found = match attr {
        cnrtDeviceAttr_t::cnrtAttrComputeCapabilityMajor => major,
        cnrtDeviceAttr_t::cnrtAttrComputeCapabilityMinor => 0,
        cnrtDeviceAttr_t::cnrtAttrFP16ComputingSupported => 1,
        cnrtDeviceAttr_t::cnrtAttrBF16ComputingSupported
        | cnrtDeviceAttr_t::cnrtAttrTF32ComputingSupported => has_bf16,
        cnrtDeviceAttr_t::cnrtAttrTotalMemSize => (call.devices[index].capacity() >> 20) as i32,
        _ => {
            let text = format!("attribute {} is not known of this chip", attr.0);
            return Err(Failure::new(codes::UNSUPPORTED, text));
        }
    };
    value.some(codes::ARGS)?.put(found);
    Ok(())
}

pub(crate) fn memory(call: &mut Call, free: Place<usize>, total: Place<usize>) -> Outcome {
    let memory = &call.devices[call.device()];
    let (capacity, used) = (memory.capacity(), memory.used());
    free.some(codes::ARGS)?.put(capacity - used);
    total.some(codes::ARGS)?.put(capacity);
    Ok(())
}

/// The driver's name for a device.
pub(crate) fn driver_device(call: &mut Call, place: Place<CNdev>, ordinal: i32) -> Outcome {
    let index = device(call, ordinal)?;
    place.some(codes::ARGS)?.put(index as CNdev);
    Ok(())
}

/// The name of a chip: one that is emulated says so.
pub(crate) fn name(call: &mut Call, name: Text, capacity: u32, _device: CNdev) -> Outcome {
    let chip = match call.config.profile {
        Profile::Mlu590 => "MLU590-EMU",
        Profile::Mlu370 => "MLU370-EMU",
    };
    name.write(chip, capacity as usize);
    Ok(())
}

/// The text of this thread's last failure if it has this code, or what the code is called.
#[expect(clippy::unnecessary_wraps, reason = "the form of every call")]
pub(crate) fn error_text(_call: &mut Call, code: u32) -> Outcome<*const c_char> {
    let is_last = code != 0 && thread::last_code() as u32 == code;
    Ok(if is_last {
        thread::text()
    } else {
        c"".as_ptr()
    })
}

/// The same of operators, whose codes are others.
#[expect(clippy::unnecessary_wraps, reason = "the form of every call")]
pub(crate) fn operator_text(_call: &mut Call, code: u32) -> Outcome<*const c_char> {
    let is_known = status(Library::Cnnl, code).is_some();
    Ok(if is_known {
        thread::text()
    } else {
        c"".as_ptr()
    })
}

/// The code of this thread's last failure is what the call returns.
pub(crate) fn last_error(_call: &mut Call) -> Outcome {
    last(thread::last_code())
}

pub(crate) fn take_error(_call: &mut Call) -> Outcome {
    last(thread::take_code())
}

fn last(code: i32) -> Outcome {
    if code == codes::OK {
        return Ok(());
    }
    Err(Failure::new(code, "the last failure of this thread"))
}
