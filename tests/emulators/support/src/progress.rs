//! Threads that wait until another one has called.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, MutexGuard, PoisonError};
use std::time::Duration;

/// What they wait for. To tell nobody costs nothing: a process makes millions of calls, hardly any of which is waited for.
#[derive(Debug, Default)]
pub struct Progress {
    condition: Condvar,
    /// Threads that wait, counted behind the lock of the state.
    waiting: AtomicUsize,
}

impl Progress {
    /// Nobody waits yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            condition: Condvar::new(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Tells all that wait. What they wait for was changed behind the lock: whoever had it before is seen to wait here, whoever has
    /// it later sees the change.
    pub fn tell(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.condition.notify_all();
        }
    }

    /// Gives the lock up until somebody tells; whether somebody did before a limit.
    pub fn wait<'a, T>(
        &self,
        state: MutexGuard<'a, T>,
        limit: Option<Duration>,
    ) -> (MutexGuard<'a, T>, bool) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let (state, is_told) = match limit {
            None => {
                let state = self.condition.wait(state);
                (state.unwrap_or_else(PoisonError::into_inner), true)
            }
            Some(limit) => {
                let waited = self.condition.wait_timeout(state, limit);
                let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                (state, !waited.timed_out())
            }
        };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        (state, is_told)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::thread;

    use super::*;

    #[test]
    fn who_waits_is_told_and_who_is_not_comes_back() {
        let (state, progress) = (Mutex::new(0), Progress::new());
        let soon = Some(Duration::from_millis(1));
        let guard = state.lock().expect("a lock");
        assert!(!progress.wait(guard, soon).1);
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..100 {
                    *state.lock().expect("a lock") += 1;
                    progress.tell();
                }
            });
            let mut guard = state.lock().expect("a lock");
            while *guard < 100 {
                guard = progress.wait(guard, None).0;
            }
        });
    }
}
