//! What a run takes of memory, held against what the process may have, before anything is loaded.
//!
//! Weights are mapped: the system brings them in and lets go of them as it likes, so they need not fit.

use std::fs;
use std::path::Path;

use anyhow::anyhow;
use deepseek_model::Plan;

use crate::fault::{Fault, Result};
use crate::heap;

/// What to do where there is not enough.
pub(crate) const HINT: &str =
    "a smaller --context takes less; limits are those of ulimit -v, ulimit -d and the container";

/// Bytes that a thread is given for its stack, with what lies around it.
const THREAD_BYTES: u64 = 2 << 20;

/// Bytes of everything that does not grow with the model: buffers, tables, the texts at hand.
const OTHER_BYTES: u64 = 16 << 20;

/// Holds what `plan` takes with so many threads against what there is; `widened` are the bytes of
/// weights that are not multiplied as they are stored.
pub(crate) fn check(plan: &Plan, threads: usize, widened: u64) -> Result<()> {
    // Every rank keeps all rows.
    let ranks = plan.parallel().world() as u64;
    let caches = plan.memory_bytes().saturating_mul(ranks);
    let cache = caches.saturating_add(widened);
    let all = cache
        .saturating_add(THREAD_BYTES.saturating_mul(threads as u64))
        .saturating_add(OTHER_BYTES);
    let what = match widened {
        0 => "cache and buffers",
        _ => "weights, cache and buffers",
    };
    let takes = size(all);
    let fault = match available() {
        Some(memory) if all > memory => anyhow!("{takes} of {what}, {} of memory", size(memory)),
        _ if !heap::would_give(all) => {
            anyhow!("{takes} of {what}, which is more than the system gives this process")
        }
        _ => return Ok(()),
    };
    Err(Fault::machine(fault).hint(HINT))
}

/// A number of bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    const GIB: u64 = 1 << 30;

    match bytes {
        GIB.. => format!("{:.1} GiB", bytes as f64 / GIB as f64),
        _ => format!("{} MiB", bytes.div_ceil(1 << 20)),
    }
}

/// Bytes that the machine has left, or the container may have, where the system says so.
pub(crate) fn available() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| free(&text));
    machine.into_iter().chain(container()).min()
}

/// The memory that is free, or can be freed, in bytes.
fn free(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// The least of the limits of the control groups that the process is in.
fn container() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let limits = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (kind, path) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let (root, file) = match kind {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        };
        let counts = kind.is_empty() || kind.split(',').any(|name| name == "memory");
        let groups = Path::new(path).ancestors().filter(move |_| counts);
        groups.filter_map(move |group| {
            let group = group.strip_prefix("/").ok()?;
            let limit = fs::read_to_string(Path::new(root).join(group).join(file)).ok()?;
            limit.trim().parse::<u64>().ok()
        })
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_free_memory_is_read_in_bytes() {
        let text = "MemTotal:       24000 kB\nMemFree: 1 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(free(text), Some(2 << 20));
        for text in [
            "",
            "MemAvailable:",
            "MemAvailable: much kB",
            "MemFree: 1 kB",
        ] {
            assert_eq!(free(text), None, "{text}");
        }
    }
}
