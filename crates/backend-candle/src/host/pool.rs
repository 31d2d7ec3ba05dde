//! The threads of the host's kernels.

use std::fmt;

use rayon::prelude::*;

use super::lanes::Isa;

/// Work below this many multiply-adds is done where it stands: waking threads would cost more.
const SMALL: usize = 1 << 16;

/// Threads and the instruction set they use.
pub(crate) struct Pool {
    threads: rayon::ThreadPool,
    isa: Isa,
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
    pub(crate) fn new(threads: usize) -> Self {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|index| format!("kernel-{index}"))
            .build()
            .expect("the system gives threads");
        Self {
            threads,
            isa: Isa::available()[0],
        }
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
