//! The threads on which candle's own operations compute on the host.

use std::error::Error as _;
use std::sync::Mutex;
use std::{fmt, io, thread};

use deepseek_core::{Error, Result};
use rayon::ThreadPoolBuilder;

/// Starts the threads that candle keeps for itself, and the global ones on which it computes. It would
/// start both in the middle of a step, and panic where the system gives none, so the system is asked
/// first. A second time nothing happens.
///
/// # Errors
/// [`Error::NoThreads`] if the system gives no more threads.
pub fn start_threads(threads: usize) -> Result<()> {
    let count = candle_core::utils::get_num_threads();
    // Those that have just ended may still be counted when candle starts its own.
    give(2 * count).map_err(|error| no_threads(count, &error))?;
    candle_core::utils::barrier_pool();
    give(2 * count).map_err(|error| no_threads(count, &error))?;
    candle_core::utils::with_threadpool(|| ());
    let global = ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .thread_name(|index| format!("candle-{index}"))
        .build_global();
    match global {
        Err(error) if error.source().is_some() => Err(no_threads(threads, &error)),
        // They are there already.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether the system gives so many threads at once.
fn give(count: usize) -> io::Result<()> {
    let gate = Mutex::new(());
    thread::scope(|scope| {
        let _closed = gate.lock();
        let wait = || drop(gate.lock());
        (0..count).try_for_each(|_| thread::Builder::new().spawn_scoped(scope, wait).map(drop))
    })
}

fn no_threads(count: usize, error: &impl fmt::Display) -> Error {
    Error::NoThreads {
        device: "cpu".to_owned(),
        count,
        why: error.to_string(),
    }
}
