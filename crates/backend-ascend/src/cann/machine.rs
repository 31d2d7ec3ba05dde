//! What a runtime says of a machine before a device is opened.

use backend_ascend_sys::Ascend;
use backend_ascend_sys::abi::runtime::Runtime;
use backend_offload::Machine;
use deepseek_core::Result;

use super::custom;
use super::device::{checked, initialise, text};
use crate::chip::AscendChip;

/// Bytes of the buffer that the vendor writes a version into.
const VERSION_BYTES: usize = 128;

/// What failures are told of that are no single device's.
const NAME: &str = "npu";

/// Asks a runtime.
pub(crate) fn machine(ascend: &Ascend) -> Result<Machine<AscendChip>> {
    let runtime = &ascend.runtime;
    initialise(runtime, NAME)?;
    let mut devices = 0;
    // SAFETY: a place for the number.
    let code = unsafe { (runtime.aclrtGetDeviceCount)(&raw mut devices) };
    let counted = checked(runtime, "aclrtGetDeviceCount", code);
    counted.map_err(|failure| failure.of(NAME))?;
    let model = soc(runtime);
    Ok(Machine {
        devices,
        chip: AscendChip::named(&model).map(|chip| {
            let custom = custom::operators(ascend, chip.family());
            chip.with_custom(custom.map(custom::missing))
        }),
        model,
        software: version(runtime).map(|version| format!("CANN {version}")),
    })
}

/// The vendor's name for the chip; empty if the release does not tell.
pub(super) fn soc(runtime: &Runtime) -> String {
    let Some(name) = runtime.aclrtGetSocName else {
        return String::new();
    };
    // SAFETY: it takes nothing.
    let name = unsafe { name() };
    // SAFETY: the runtime gives none, or a text with a zero at its end that stays as long as the process.
    unsafe { text(name) }
}

fn version(runtime: &Runtime) -> Option<String> {
    let ask = runtime.aclsysGetVersionStr?;
    let mut package = *b"runtime\0";
    let mut version = [0_u8; VERSION_BYTES];
    // SAFETY: a name with a zero at its end, and a buffer of the size that the vendor documents.
    let code = unsafe { ask(package.as_mut_ptr().cast(), version.as_mut_ptr().cast()) };
    let end = version.iter().position(|byte| *byte == 0)?;
    let version = String::from_utf8_lossy(&version[..end]).into_owned();
    (code == 0 && !version.is_empty()).then_some(version)
}
