//! The driver over the emulator of CANN: the calls that it makes are those that the vendor documents.
//! Linux only, as the emulator's loader is.
#![cfg(target_os = "linux")]

#[path = "../../../../tests/emulators/driver/mod.rs"]
mod driver;
mod own;
mod ranks;
#[path = "../../../../tests/emulators/ascend/tests/emulator/vendor.rs"]
mod vendor;
mod whole;

use backend_ascend::AscendDriver;
use emulator_support::Run;

type Session = Run<vendor::Cann>;
type Tested = AscendDriver;

/// What messages call the device.
const NAME: &str = "npu:0-EMU";
/// What the emulator's configuration calls the memory of a device.
const MEMORY: &str = "hbm_bytes";
/// The call that gives memory.
const MALLOC: &str = "aclrtMalloc";
const GRAPHS: driver::Graphs = driver::Graphs {
    calls: &[
        "aclmdlRICaptureBegin",
        "aclmdlRICaptureEnd",
        "aclmdlRIExecuteAsync",
    ],
    code: 207_010,
    code_name: "ACL_ERROR_RT_NO_MODEL_RESOURCE",
    forbidden: ["107030", "107030", "107027"],
    ended: "507903",
};
