//! The threads of the host's kernels.

use std::sync::{Mutex, PoisonError};
use std::{fmt, mem};

use deepseek_core::{Error, Result};
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

use super::lanes::{Isa, LANES};

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

    /// Lends `work` rooms for so many numbers each, with whatever was left in them. Each thread keeps
    /// its own, so that inner loops ask the system for no memory; what is lent within `work` is
    /// another.
    pub(crate) fn scratch<const N: usize, T>(
        &self,
        lengths: [usize; N],
        work: impl FnOnce([&mut [f32]; N]) -> T,
    ) -> T {
        // The first are those of whoever is none of our threads.
        let own = self.threads.current_thread_index();
        let kept = &self.scratch[own.map_or(0, |index| index + 1)];
        // Nothing that holds the lock can fail halfway, so a poisoned one is as good.
        let kept = || kept.lock().unwrap_or_else(PoisonError::into_inner);
        let size = |length: usize| length.next_multiple_of(LANES);
        let total = lengths.into_iter().map(size).sum::<usize>() + LANES;
        let mut numbers = kept().pop().unwrap_or_default();
        if numbers.len() < total {
            numbers = vec![0.0; total];
        }
        let first = numbers.as_ptr().align_offset(size_of::<[f32; LANES]>());
        let mut rest = &mut numbers[first.min(LANES)..];
        let result = work(lengths.map(|length| {
            let (room, later) = mem::take(&mut rest).split_at_mut(size(length));
            rest = later;
            &mut room[..length]
        }));
        kept().push(numbers);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_within_rooms_are_others_and_are_kept() {
        let pool = Pool::new(1);
        let places = || {
            pool.scratch([100, 7], |[a, b]| {
                assert_eq!((a.len(), b.len()), (100, 7));
                a.fill(1.0);
                b.fill(2.0);
                let within = pool.scratch([100], |[c]| {
                    c.fill(3.0);
                    c.as_ptr().addr()
                });
                assert!(a.iter().all(|x| *x == 1.0) && b.iter().all(|x| *x == 2.0));
                [a.as_ptr().addr(), b.as_ptr().addr(), within]
            })
        };
        let first = places();
        assert_eq!(places(), first);
        assert!(
            first.iter().all(|place| place.is_multiple_of(64)),
            "{first:?}"
        );
    }
}
