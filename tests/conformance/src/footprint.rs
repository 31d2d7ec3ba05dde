//! What a sequence takes of memory, measured in the process.

use std::ops::Range;

use anyhow::{Context, Result};
use deepseek_core::Kernels;
use deepseek_model::{Decoder, Model, SeqId, Span, Step, TokenId, Want};

/// Tokens of a step, as the program has them.
pub const STEP_TOKENS: usize = 512;

/// Of two sequences, the one that is measured. The other goes before it: it brings in the weights and
/// whatever a step needs for its own time.
pub const MEASURED: SeqId = SeqId(0);

/// What the program foretells, and what is measured, may be so far apart.
const TOLERANCE: f64 = 0.05;

/// Fills the measured sequence of a model that has room for two, and holds what the process grows by
/// against what was foretold. The other has `before` positions by then: the longer it is, the more of
/// what the allocator keeps for itself is there already. Returns the logits after the last position.
///
/// # Errors
/// A fault of the device, or a system that does not tell what a process takes.
///
/// # Panics
/// If the two are too far apart.
pub fn check<B: Kernels>(
    what: &str,
    model: &mut Model<B>,
    before: usize,
    positions: usize,
    foretold: u64,
) -> Result<Vec<f32>> {
    feed(model, SeqId(1), 0..before)?;
    let start = taken()?;
    let logits = feed(model, MEASURED, 0..positions)?;
    let (grown, foretold) = (taken()? as f64 - start as f64, foretold as f64);
    assert!(
        (grown - foretold).abs() <= TOLERANCE * foretold,
        "{what}: grew by {grown} bytes, the plan foretells {foretold}"
    );
    Ok(logits)
}

/// Feeds positions of a sequence and returns the logits after the last.
///
/// # Errors
/// A fault of the device.
pub fn feed<B: Kernels>(
    model: &mut Model<B>,
    seq: SeqId,
    positions: Range<usize>,
) -> Result<Vec<f32>> {
    let mut last = Vec::new();
    let end = positions.end;
    for at in positions.step_by(STEP_TOKENS) {
        let tokens: Vec<TokenId> = (at..end.min(at + STEP_TOKENS)).map(token).collect();
        let want = if at + tokens.len() == end {
            Want::Last
        } else {
            Want::Nothing
        };
        let span = Span {
            seq,
            at: at as u32,
            tokens,
            media: Vec::new(),
            want,
        };
        last = model.step(&Step { spans: vec![span] })?.into_values();
    }
    Ok(last)
}

/// A stream of ids without a period that the model could lean on.
fn token(position: usize) -> TokenId {
    let mixed = (position as u32).wrapping_mul(0x9e37_79b9);
    2 + (mixed ^ (mixed >> 15)) % 62
}

/// Bytes of this process that are no mapped file's, in memory or swapped out. The counters of
/// `/proc/self/status` lag by some dozen pages for each processor; these are counted when they are read.
fn taken() -> Result<u64> {
    let pages = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let kib = |name: &str| -> Result<u64> {
        let line = pages.lines().find_map(|line| line.strip_prefix(name));
        let number = line.with_context(|| format!("no {name} in smaps_rollup"))?;
        Ok(number.trim().trim_end_matches(" kB").parse()?)
    };
    Ok((kib("Anonymous:")? + kib("Swap:")?) * 1024)
}
