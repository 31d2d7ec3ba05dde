//! The threads of the host's kernels.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use deepseek_core::{Error, Result};
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

use super::lanes::Isa;

/// Work below this many multiply-adds is done where it stands: waking threads would cost more.
const SMALL: usize = 1 << 16;

/// Threads, the instruction set they use, and the memory they work in.
pub(crate) struct Pool {
    threads: rayon::ThreadPool,
    isa: Isa,
    scratch: Box<[Mutex<Vec<Vec<f32>>>]>,
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
    pub(crate) fn start(threads: usize, isa: Isa) -> Result<Self> {
        let count = threads.max(1);
        let built = ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|index| format!("kernel-{index}"))
            .build();
        Ok(Self {
            threads: built.map_err(|error| no_threads(threads, &error))?,
            isa,
            scratch: (0..=count).map(|_| Mutex::default()).collect(),
        })
    }

    /// The same with the best instruction set, where the system gives the threads.
    #[cfg(test)]
    pub(crate) fn new(threads: usize) -> Self {
        Self::start(threads, Isa::available()[0]).expect("the system gives threads")
    }

    /// The same pool on another instruction set.
    #[cfg(test)]
    pub(crate) fn with_isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    /// Lends `work` room for `length` numbers, with whatever was left in it. Each thread keeps its
    /// own, so that inner loops ask the system for no memory; what is lent within `work` is another.
    pub(crate) fn scratch<T>(&self, length: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
        // The first are those of whoever is none of our threads.
        let own = self.threads.current_thread_index();
        let rooms = &self.scratch[own.map_or(0, |index| index + 1)];
        // Nothing that holds the lock can fail halfway, so a poisoned one is as good.
        let rooms = || rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let mut room = rooms().pop().unwrap_or_default();
        if room.len() < length {
            room = vec![0.0; length];
        }
        let result = work(&mut room[..length]);
        rooms().push(room);
        result
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
