//! The process, devices and contexts.

use std::ffi::c_char;

use backend_ascend_sys::types::{
    aclrtDevAttr, aclrtLastErrLevel, aclrtMemAttr, aclrtRunMode, aclrtUuid,
};

use crate::call::{Call, gone};
use crate::codes::{self, RT_PARAM_INVALID};
use crate::config::Family;
use crate::emulator::Phase;
use crate::exports::{Place, Pointer, Text};
use crate::failure::{Failure, Outcome};
use crate::handles::{Handle, Kind};
use crate::thread;

/// Bytes of the buffer for a version.
const VERSION_BYTES: usize = 128;

pub(crate) fn init(call: &mut Call, _config: Text) -> Outcome {
    if call.phase != Phase::Fresh {
        return Err(Failure::new(
            codes::REPEAT_INITIALIZE,
            "aclInit was called before",
        ));
    }
    call.phase = Phase::Ready;
    Ok(())
}

pub(crate) fn finalize(call: &mut Call) -> Outcome {
    match call.phase {
        Phase::Fresh => Err(Failure::new(codes::UNINITIALIZE, "aclInit was not called")),
        Phase::Finalized => Err(Failure::new(
            codes::REPEAT_FINALIZE,
            "aclFinalize was called before",
        )),
        Phase::Ready => {
            if call.devices.iter().any(|device| device.users > 0) {
                call.violation("finalize_before_reset", "a device was not reset");
            }
            let objects = call
                .objects
                .values()
                .map(|object| ("leaked_object", object.name().to_owned()));
            let executors = call
                .executors
                .values()
                .map(|executor| ("leaked_executor", executor.name()));
            for (kind, left) in objects.chain(executors).collect::<Vec<_>>() {
                call.violation(kind, left);
            }
            call.phase = Phase::Finalized;
            Ok(())
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the form of every call")]
pub(crate) fn recent_text(_call: &mut Call) -> Outcome<*const c_char> {
    Ok(thread::text())
}

/// The code of this thread's last failure is what the call returns.
pub(crate) fn peek_error(_call: &mut Call, _level: aclrtLastErrLevel) -> Outcome {
    last(thread::last_code())
}

pub(crate) fn take_error(_call: &mut Call, _level: aclrtLastErrLevel) -> Outcome {
    let code = thread::last_code();
    let outcome = last(code);
    thread::take_code();
    outcome
}

fn last(code: i32) -> Outcome {
    if code == codes::OK {
        return Ok(());
    }
    Err(Failure::new(code, "the last failure of this thread"))
}

/// The version of a package, into a buffer of 128 bytes.
pub(crate) fn version(call: &mut Call, package: Text, version: Text) -> Outcome {
    if package.read().as_deref() != Some("runtime") {
        return Err(Failure::new(
            codes::INVALID_PARAM,
            "the one package here is runtime",
        ));
    }
    version.write(&call.config.cann_version, VERSION_BYTES);
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "the form of every call")]
pub(crate) fn soc_name(call: &mut Call) -> Outcome<*const c_char> {
    let name = match call.config.family {
        Family::A2 => c"Ascend910B3-EMU",
        Family::A3 => c"Ascend910_9392-EMU",
        Family::A5 => c"Ascend950-EMU",
    };
    Ok(name.as_ptr())
}

pub(crate) fn count(call: &mut Call, count: Place<u32>) -> Outcome {
    count.some(RT_PARAM_INVALID)?.put(call.config.devices);
    Ok(())
}

fn device(call: &Call, id: i32) -> Outcome<usize> {
    let index = usize::try_from(id).ok();
    index
        .filter(|index| *index < call.devices.len())
        .ok_or_else(|| {
            let text = format!("device {id} of {}", call.devices.len());
            Failure::new(codes::RT_INVALID_DEVICEID, text)
        })
}

/// Binds this thread to the default context of a device, which is counted as used once more.
pub(crate) fn set(call: &mut Call, id: i32) -> Outcome {
    let index = device(call, id)?;
    call.devices[index].users += 1;
    let context = match call.devices[index].context {
        Some(context) => context,
        None => call.open_context(index),
    };
    call.devices[index].context = Some(context);
    thread::bind(call.epoch, Some(context));
    Ok(())
}

pub(crate) fn get(call: &mut Call, id: Place<i32>) -> Outcome {
    let index = call.contexts[&call.bound()?].device;
    id.some(RT_PARAM_INVALID)?.put(index as i32);
    Ok(())
}

/// Takes back one `aclrtSetDevice`. The last one ends everything on the device; what was not given back
/// is told.
pub(crate) fn reset(call: &mut Call, id: i32) -> Outcome {
    let index = device(call, id)?;
    if call.devices[index].users == 0 {
        let text = format!("device {id} was not set");
        return Err(Failure::new(codes::RT_CONTEXT_NULL, text));
    }
    call.devices[index].users -= 1;
    if call.devices[index].users > 0 {
        return Ok(());
    }
    for leak in call.buffers(index) {
        call.report.leak(leak);
    }
    let contexts = call
        .contexts
        .iter()
        .filter(|(_, context)| context.device == index);
    for context in contexts.map(|(handle, _)| *handle).collect::<Vec<_>>() {
        call.close_context(context);
    }
    let buffers: Vec<_> = call.devices[index].memory.blocks().collect();
    for (start, _) in buffers {
        let freed = call.devices[index].memory.free(start);
        freed.expect("it was just listed");
    }
    call.devices[index].context = None;
    Ok(())
}

/// What is published of the chip.
pub(crate) fn info(call: &mut Call, id: u32, attr: aclrtDevAttr, value: Place<i64>) -> Outcome {
    let index = device(call, id as i32)?;
    let cubes = match call.config.family {
        Family::A2 => Some(20),
        Family::A3 => Some(24),
        Family::A5 => None,
    };
    let found = match attr {
        aclrtDevAttr::ACL_DEV_ATTR_AICORE_CORE_NUM | aclrtDevAttr::ACL_DEV_ATTR_CUBE_CORE_NUM => {
            cubes
        }
        aclrtDevAttr::ACL_DEV_ATTR_VECTOR_CORE_NUM => cubes.map(|cubes| 2 * cubes),
        aclrtDevAttr::ACL_DEV_ATTR_TOTAL_GLOBAL_MEM_SIZE => {
            Some(call.devices[index].memory.capacity() as i64)
        }
        _ => None,
    };
    let found = found.ok_or_else(|| {
        let text = format!("attribute {} is not known of this chip", attr.0);
        Failure::new(codes::RT_FEATURE_NOT_SUPPORT, text)
    })?;
    value.some(RT_PARAM_INVALID)?.put(found);
    Ok(())
}

/// An identifier that differs by device.
pub(crate) fn uuid(call: &mut Call, id: i32, uuid: Place<aclrtUuid>) -> Outcome {
    let index = device(call, id)?;
    let mut bytes = *b"ascend-emulator\0";
    bytes[15] = index as u8;
    let bytes = bytes.map(|byte| byte as c_char);
    uuid.some(RT_PARAM_INVALID)?.put(aclrtUuid { bytes });
    Ok(())
}

pub(crate) fn memory(
    call: &mut Call,
    attr: aclrtMemAttr,
    free: Place<usize>,
    total: Place<usize>,
) -> Outcome {
    let index = call.device()?;
    if attr != aclrtMemAttr::ACL_HBM_MEM {
        return Err(Failure::new(
            RT_PARAM_INVALID,
            "the memory of this chip is ACL_HBM_MEM",
        ));
    }
    let memory = &call.devices[index].memory;
    free.some(RT_PARAM_INVALID)?
        .put(memory.capacity() - memory.used());
    total.some(RT_PARAM_INVALID)?.put(memory.capacity());
    Ok(())
}

pub(crate) fn run_mode(_call: &mut Call, mode: Place<aclrtRunMode>) -> Outcome {
    mode.some(RT_PARAM_INVALID)?.put(aclrtRunMode::ACL_HOST);
    Ok(())
}

pub(crate) fn create_context(
    call: &mut Call,
    place: Place<*mut std::ffi::c_void>,
    id: i32,
) -> Outcome {
    let index = device(call, id)?;
    let place = place.some(RT_PARAM_INVALID)?;
    let context = call.open_context(index);
    thread::bind(call.epoch, Some(context));
    place.put(context.pointer());
    Ok(())
}

fn known(call: &Call, context: Pointer) -> Outcome<Handle> {
    let context = context.handle();
    if call.contexts.contains_key(&context) {
        Ok(context)
    } else {
        Err(gone(context, Kind::Context))
    }
}

pub(crate) fn destroy_context(call: &mut Call, context: Pointer) -> Outcome {
    let context = known(call, context)?;
    if call
        .devices
        .iter()
        .any(|device| device.context == Some(context))
    {
        let text = "the default context of a device goes with aclrtResetDevice";
        return Err(Failure::new(RT_PARAM_INVALID, text));
    }
    call.close_context(context);
    Ok(())
}

pub(crate) fn set_context(call: &mut Call, context: Pointer) -> Outcome {
    let context = known(call, context)?;
    thread::bind(call.epoch, Some(context));
    Ok(())
}

pub(crate) fn get_context(call: &mut Call, place: Place<*mut std::ffi::c_void>) -> Outcome {
    let context = call.bound()?;
    place.some(RT_PARAM_INVALID)?.put(context.pointer());
    Ok(())
}
