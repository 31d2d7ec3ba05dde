//! What wakes the engine's thread: a [`Waker`] that unparks it. A wake that comes before the thread
//! waits is not lost; one that comes for nothing costs a look.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

/// Unparks a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// A waker of a thread that waits in [`wait`].
pub(crate) fn waker(thread: Thread) -> Waker {
    Waker::from(Arc::new(Unpark(thread)))
}

/// Returns when this thread has been woken since the last wait, or at the deadline, or for no
/// reason.
pub(crate) fn wait(deadline: Option<Instant>) {
    match deadline {
        None => thread::park(),
        Some(deadline) => {
            thread::park_timeout(deadline.saturating_duration_since(Instant::now()));
        }
    }
}
