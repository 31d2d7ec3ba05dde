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
const DECLINED: [(&str, &str); 6] = [
    ("attend", CNNL),
    ("experts", CNNL),
    ("hc_post", CNNL),
    ("hc_pre", CNNL),
    ("index_topk", CNNL),
    ("route", CNNL),
];
const CNNL: &str = "composed of the operators of CNNL";
/// Calls that give or take memory.
const MEMORY: [&str; 4] = ["cnrtMalloc", "cnrtFree", "cnrtHostMalloc", "cnrtFreeHost"];
/// Calls that wait, and how often a step makes them. What is copied out is waited for by its queue, part by part, because notifiers
/// do not tell of failures: the first part waits for all.
const WAITS: [(&str, u64); 1] = [("cnrtSyncDevice", 0)];
/// The call that replays a graph, how operators begin, and calls that a step by a graph does without.
const REPLAY: &str = "cnrtTaskTopoEntityInvoke";
const OPERATORS: &str = "cnnl";
const UNASKED: [&str; 3] = ["cnrtMemsetAsync", "cnrtMalloc", "cnrtFree"];
/// Of so many fixtures each test takes one, because this emulator takes longer. Tests begin at others, so that each fixture has some.
const SHARE: usize = 3;
