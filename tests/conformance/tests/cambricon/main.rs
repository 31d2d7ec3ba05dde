//! Cambricon over the emulator of Neuware. Linux only, as the emulator's loader is.
#![cfg(target_os = "linux")]

#[path = "../emulated/mod.rs"]
mod emulated;
#[path = "../../../emulators/cambricon/tests/emulator/vendor.rs"]
mod vendor;

use backend_cambricon::CambriconDriver;
use emulator_support::Run;

type Session = Run<vendor::Mlu>;
type Tested = CambriconDriver;

/// How the emulator's own functions begin.
const CONTROL: &str = "neuwareEmu";
/// Why the chip declines verbs.
const DECLINED: &str = "composed of the operators of CNNL";
/// Calls that give or take memory.
const MEMORY: [&str; 4] = ["cnrtMalloc", "cnrtFree", "cnrtHostMalloc", "cnrtFreeHost"];
/// Calls that wait, and how often a step makes them: a copy out is waited for by its queue, because notifiers do not tell of failures.
const WAITS: [(&str, u64); 2] = [("cnrtQueueSync", 1), ("cnrtSyncDevice", 0)];
