//! The threads of the host and the instruction set they use.

use rayon::prelude::*;

use super::table::Table;

/// The threads of the host's kernels, and the instruction set that was found at the start.
#[derive(Debug)]
pub(crate) struct Pool {
    threads: Option<rayon::ThreadPool>,
    pub(super) table: &'static Table,
}

impl Pool {
    /// A pool of `threads` threads; of one, the caller's own.
    ///
    /// # Panics
    /// If the system refuses the threads.
    pub(crate) fn new(threads: usize) -> Self {
        Self::with(threads, Table::best())
    }

    /// A pool under a chosen instruction set.
    pub(super) fn with(threads: usize, table: &'static Table) -> Self {
        let threads = (threads > 1).then(|| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .thread_name(|index| format!("cpu-{index}"))
                .build()
                .expect("the system has threads to give")
        });
        Self { threads, table }
    }

    /// How many threads work.
    pub(super) fn threads(&self) -> usize {
        self.threads
            .as_ref()
            .map_or(1, rayon::ThreadPool::current_num_threads)
    }

    /// Does all tasks, each with room that is used again for others, and returns what they gave,
    /// in order.
    pub(super) fn map<T: Send, S: Default, R: Send>(
        &self,
        tasks: Vec<T>,
        work: impl Fn(&mut S, T) -> R + Sync + Send,
    ) -> Vec<R> {
        match &self.threads {
            Some(threads) if tasks.len() > 1 => {
                threads.install(|| tasks.into_par_iter().map_init(S::default, &work).collect())
            }
            _ => {
                let mut room = S::default();
                tasks
                    .into_iter()
                    .map(|task| work(&mut room, task))
                    .collect()
            }
        }
    }

    /// Calls `work` on blocks of at least `least` whole rows of `out`, with the index of their
    /// first row.
    pub(super) fn for_rows(
        &self,
        out: &mut [f32],
        row: usize,
        least: usize,
        work: impl Fn(usize, &mut [f32]) + Sync + Send,
    ) {
        if out.is_empty() {
            return;
        }
        let block = (out.len() / row).div_ceil(4 * self.threads()).max(least);
        let tasks = out.chunks_mut(block * row).enumerate().collect();
        self.map(tasks, |(): &mut (), (index, rows)| {
            work(index * block, rows);
        });
    }
}

/// How many rows of `width` make a block worth a thread's while.
pub(super) fn least_rows(width: usize) -> usize {
    (16_384 / width.max(1)).max(1)
}
