//! Which fixtures there are, and how near to their references a device has to be.

use deepseek_model::Prefill;

/// V4: each fixture and how many prompts it has.
pub const V4: [(&str, usize); 7] = [
    ("flashy-s0", 10),
    ("prolike-s0", 8),
    ("realrope-s0", 4),
    ("cached-s0", 3),
    ("quant-s0", 3),
    ("base-s0", 3),
    ("dspark-s0", 2),
];

/// Those of V4 with a draft head.
pub const V4_DRAFTING: [&str; 5] = [
    "flashy-s0",
    "prolike-s0",
    "realrope-s0",
    "cached-s0",
    "base-s0",
];

/// Agreement with the reference of V4 on logits of unit scale (`docs/models/deepseek-v4.md` §5.3, level
/// A).
pub const V4_TOLERANCE: f32 = 2e-4;

/// V4.1.
pub const V41: [&str; 4] = [
    "plain-s7-bf16",
    "plain-s7-release",
    "wide-s3-f32",
    "wide-s4-release",
];

/// Agreement with the reference of V4.1, whose sums are in 64 bits, on logits of scale 8
/// (`docs/models/deepseek-v41.md` §7.1).
pub const V41_TOLERANCE: f32 = 1e-3;

/// The same for a drafter's confidence.
pub const V41_CONFIDENCE: f32 = 1e-4;

/// Those whose sequences are saved, and how a prompt of theirs is read.
pub const SAVED: [(&str, Prefill); 8] = [
    ("flashy-s0", Prefill::Full),
    ("prolike-s0", Prefill::Full),
    ("realrope-s0", Prefill::Full),
    ("cached-s0", Prefill::Full),
    ("plain-s7-release", Prefill::Full),
    ("plain-s7-bf16", Prefill::Replay),
    ("wide-s3-f32", Prefill::Replay),
    ("wide-s4-release", Prefill::Replay),
];
