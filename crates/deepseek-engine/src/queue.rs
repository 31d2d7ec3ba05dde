//! Where requests wait between their callers and the engine's thread.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use crate::errand::Errand;
use crate::events::{Event, Fault};
use crate::refusal::Refusal;
use crate::request::Queued;

/// A queue with a bound, which is open until it is closed. Who adds to it or closes it wakes the
/// thread.
#[derive(Debug)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    queue_max: usize,
}

#[derive(Debug)]
struct Inner {
    waiting: VecDeque<Queued>,
    errands: VecDeque<Errand>,
    state: QueueState,
}

/// Whether more may come.
#[derive(Debug, Clone)]
pub(crate) enum QueueState {
    /// It may.
    Open,
    /// No more; what was taken may run until then, or to its end.
    Closing(Option<Instant>),
    /// The thread is gone, because of the fault if there is one.
    Ended(Option<Fault>),
}

impl Queue {
    pub(crate) fn new(queue_max: usize) -> Self {
        let inner = Inner {
            waiting: VecDeque::new(),
            errands: VecDeque::new(),
            state: QueueState::Open,
        };
        Self {
            inner: Mutex::new(inner),
            queue_max,
        }
    }

    pub(crate) fn submit(&self, queued: Queued) -> Result<(), Refusal> {
        let mut inner = self.lock();
        let waiting = inner.waiting.len();
        self.admits(&inner.state, waiting)?;
        inner.waiting.push_back(queued);
        Ok(())
    }

    /// The same with what is asked of places, of which as many may wait.
    pub(crate) fn submit_errand(&self, errand: Errand) -> Result<(), Refusal> {
        let mut inner = self.lock();
        let waiting = inner.errands.len();
        self.admits(&inner.state, waiting)?;
        inner.errands.push_back(errand);
        Ok(())
    }

    /// Whether one more may come.
    fn admits(&self, state: &QueueState, waiting: usize) -> Result<(), Refusal> {
        match state {
            QueueState::Open if waiting < self.queue_max => Ok(()),
            QueueState::Open => Err(Refusal::Busy { waiting }),
            QueueState::Ended(Some(fault)) => Err(Refusal::Ended {
                why: fault.to_string(),
            }),
            QueueState::Closing(_) | QueueState::Ended(None) => Err(Refusal::Closing),
        }
    }

    /// Whether there are errands.
    pub(crate) fn has_errands(&self) -> bool {
        !self.lock().errands.is_empty()
    }

    /// The errand that waits longest.
    pub(crate) fn take_errand(&self) -> Option<Errand> {
        self.lock().errands.pop_front()
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&self, deadline: Option<Instant>) {
        let mut inner = self.lock();
        if matches!(inner.state, QueueState::Open) {
            inner.state = QueueState::Closing(deadline);
        }
    }

    pub(crate) fn state(&self) -> QueueState {
        self.lock().state.clone()
    }

    /// Takes those whose readers have gone, wherever they wait, and up to `places` others from the
    /// front.
    pub(crate) fn take(&self, places: usize) -> Vec<Queued> {
        let mut inner = self.lock();
        let is_gone = |queued: &Queued| queued.sender.is_cancelled();
        let mut taken = Vec::new();
        if inner.waiting.iter().any(is_gone) {
            let all = std::mem::take(&mut inner.waiting).into_iter();
            let (gone, waiting): (VecDeque<Queued>, _) = all.partition(is_gone);
            taken.extend(gone);
            inner.waiting = waiting;
        }
        let places = places.min(inner.waiting.len());
        taken.extend(inner.waiting.drain(..places));
        taken
    }

    /// The thread is over: what waits ends now, and nothing comes after.
    pub(crate) fn end(&self, fault: Option<&Fault>) {
        let mut inner = self.lock();
        let waiting = std::mem::take(&mut inner.waiting);
        // Whoever waits for one of these learns it by its end.
        inner.errands.clear();
        inner.state = QueueState::Ended(fault.cloned());
        drop(inner);
        for queued in waiting {
            queued
                .sender
                .end(Event::Failed(fault.cloned().unwrap_or(Fault::Closed)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("nothing panics while it holds the queue")
    }
}
