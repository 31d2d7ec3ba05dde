//! Ascend over the emulator of CANN. Linux only, as the emulator's loader is.
#![cfg(target_os = "linux")]

#[path = "../emulated/mod.rs"]
mod emulated;
mod families;
mod graphs;
#[path = "../../../emulators/ascend/tests/emulator/vendor.rs"]
mod vendor;
mod whole;

use backend_ascend::AscendDriver;
use emulator_support::Run;

type Session = Run<vendor::Cann>;
type Tested = AscendDriver;

/// How the emulator's own functions begin.
const CONTROL: &str = "ascendEmu";
/// Why the chip declines verbs, on a machine without custom operators.
const DECLINED: [(&str, &str); 6] = [
    (
        "attend",
        "rows in lists: SparseAttnSharedkv takes pages, and a window by position",
    ),
    (
        "experts",
        "roundings within the mixture: GroupedMatmulSwigluQuant weighs rows behind them",
    ),
    (
        "hc_post",
        "HcPost of vllm-ascend 0.23.0 on A2: not installed",
    ),
    ("hc_pre", "HcPre of vllm-ascend 0.23.0 on A2: not installed"),
    (
        "index_topk",
        "rows in lists: the indexers take pages, lengths and INT8 keys",
    ),
    (
        "route",
        "MoeGatingTopKHash of vllm-ascend 0.23.0 on A2: not installed",
    ),
];
/// Calls that give or take memory.
const MEMORY: [&str; 4] = [
    "aclrtMalloc",
    "aclrtFree",
    "aclrtMallocHost",
    "aclrtFreeHost",
];
/// Calls that wait, and how often a step makes them: a copy out is waited for by its event.
const WAITS: [(&str, u64); 2] = [("aclrtSynchronizeStream", 0), ("aclrtSynchronizeDevice", 0)];
/// The call that replays a graph, how operators begin, and calls that a step by a graph does without.
const REPLAY: &str = "aclmdlRIExecuteAsync";
const OPERATORS: &str = "aclnn";
const UNASKED: [&str; 4] = [
    "aclrtMemsetAsync",
    "aclrtMalloc",
    "aclrtFree",
    "aclrtSynchronizeStream",
];
/// Of so many fixtures each test takes one: all of them.
const SHARE: usize = 1;
