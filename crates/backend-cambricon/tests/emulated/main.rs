//! The driver over the emulator of Neuware: the calls that it makes are those that the vendor documents.
//! Linux only, as the emulator's loader is.
#![cfg(target_os = "linux")]

#[path = "../../../../tests/emulators/driver/mod.rs"]
mod driver;
mod faults;
mod own;
mod ranks;
#[path = "../../../../tests/emulators/cambricon/tests/emulator/vendor.rs"]
mod vendor;

use backend_cambricon::CambriconDriver;
use emulator_support::Run;

type Session = Run<vendor::Mlu>;
type Tested = CambriconDriver;

/// What messages call the device.
const NAME: &str = "mlu:0-EMU";
/// What the emulator's configuration calls the memory of a device.
const MEMORY: &str = "memory_bytes";
/// The call that gives memory.
const MALLOC: &str = "cnrtMalloc";
const GRAPHS: driver::Graphs = driver::Graphs {
    calls: &[
        "cnrtQueueBeginCapture",
        "cnrtQueueEndCapture",
        "cnrtTaskTopoInstantiate",
        "cnrtTaskTopoEntityInvoke",
    ],
    code: 100_006,
    code_name: "cnrtErrorArgsInvalid",
    forbidden: ["100360"; 3],
    ended: "100360",
};
