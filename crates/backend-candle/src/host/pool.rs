//! The threads of the host's kernels.

use std::error::Error as _;
use std::sync::Mutex;
use std::{fmt, io, thread};

use deepseek_core::{Error, Result};
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

use super::lanes::Isa;

/// Work below this many multiply-adds is done where it stands: waking threads would cost more.
const SMALL: usize = 1 << 16;

/// Threads and the instruction set they use.
pub(crate) struct Pool {
    threads: rayon::ThreadPool,
    isa: Isa,
}

/// Has candle start the threads that it keeps for itself. It would start them in the middle of a
/// step, and panic where the system gives none, so the system is asked first.
///
/// # Errors
/// [`Error::NoThreads`] if it gives none.
pub(crate) fn start_candle() -> Result<()> {
    let count = candle_core::utils::get_num_threads();
    // Those that have just ended may still be counted when candle starts its own.
    give(2 * count).map_err(|error| no_threads(count, &error))?;
    candle_core::utils::barrier_pool();
    Ok(())
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

/// Starts the threads on which candle's own operations compute, which it would start by itself, and
/// panic without. A second time nothing happens.
///
/// # Errors
/// [`Error::NoThreads`] if the system gives no more threads.
pub fn start_threads(threads: usize) -> Result<()> {
    start_candle()?;
    let count = candle_core::utils::get_num_threads();
    give(2 * count).map_err(|error| no_threads(count, &error))?;
    candle_core::utils::with_threadpool(|| ());
    match builder(threads, "candle").build_global() {
        Err(error) if error.source().is_some() => Err(no_threads(threads, &error)),
        // They are there already.
        Ok(()) | Err(_) => Ok(()),
    }
}

fn builder(threads: usize, name: &'static str) -> ThreadPoolBuilder {
    ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .thread_name(move |index| format!("{name}-{index}"))
}

fn no_threads(count: usize, error: &impl fmt::Display) -> Error {
    Error::NoThreads {
        device: "cpu".to_owned(),
        count,
        why: error.to_string(),
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Pool({} threads, {:?})",
            self.threads.current_num_threads(),
            self.isa
        )
    }
}

impl Pool {
    /// A pool of at least one thread.
    ///
    /// # Errors
    /// [`Error::NoThreads`] if the system gives no more threads.
    pub(crate) fn start(threads: usize) -> Result<Self> {
        start_candle()?;
        Ok(Self {
            threads: builder(threads, "kernel")
                .build()
                .map_err(|error| no_threads(threads, &error))?,
            isa: Isa::available()[0],
        })
    }

    /// The same where the system gives them.
    #[cfg(test)]
    pub(crate) fn new(threads: usize) -> Self {
        Self::start(threads).expect("the system gives threads")
    }

    /// The same pool on another instruction set.
    #[cfg(test)]
    pub(crate) fn with_isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    /// The instruction set.
    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    /// How many threads there are.
    pub(crate) fn count(&self) -> usize {
        self.threads.current_num_threads()
    }

    /// Runs `work` on pieces of `out` of `piece` numbers each, with the index of the piece. `cost`
    /// is the work of the whole in multiply-adds.
    pub(crate) fn pieces(
        &self,
        out: &mut [f32],
        piece: usize,
        cost: usize,
        work: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        if cost < SMALL || self.count() == 1 || out.len() <= piece {
            out.chunks_mut(piece)
                .enumerate()
                .for_each(|(index, out)| work(index, out));
        } else {
            self.threads.install(|| {
                out.par_chunks_mut(piece)
                    .enumerate()
                    .for_each(|(index, out)| work(index, out));
            });
        }
    }

    /// Runs `work` on each of `0..count` and collects what it returns, in order.
    pub(crate) fn each<T: Send>(
        &self,
        count: usize,
        cost: usize,
        work: impl Fn(usize) -> T + Sync + Send,
    ) -> Vec<T> {
        if cost < SMALL || self.count() == 1 || count <= 1 {
            (0..count).map(work).collect()
        } else {
            self.threads
                .install(|| (0..count).into_par_iter().map(work).collect())
        }
    }
}
