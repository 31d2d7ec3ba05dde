//! Where requests wait between their callers and the engine's thread.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use crate::bell::Bell;
use crate::events::{Event, Fault};
use crate::request::{Job, Refusal};

/// A queue with a bound and a door.
#[derive(Debug)]
pub(crate) struct Desk {
    state: Mutex<State>,
    queue_max: usize,
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<Job>,
    door: Door,
}

/// Whether more may come.
#[derive(Debug, Clone)]
pub(crate) enum Door {
    /// It may.
    Open,
    /// No more; what was taken may run until then, or to its end.
    Closing(Option<Instant>),
    /// The thread is gone, because of the fault if there is one.
    Ended(Option<Fault>),
}

impl Desk {
    pub(crate) fn new(queue_max: usize, bell: Arc<Bell>) -> Self {
        let state = State {
            queue: VecDeque::new(),
            door: Door::Open,
        };
        Self {
            state: Mutex::new(state),
            queue_max,
            bell,
        }
    }

    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    pub(crate) fn submit(&self, job: Job) -> Result<(), Refusal> {
        let mut state = self.lock();
        match &state.door {
            Door::Open => {}
            Door::Ended(Some(fault)) => {
                return Err(Refusal::Ended {
                    why: fault.to_string(),
                });
            }
            Door::Closing(_) | Door::Ended(None) => return Err(Refusal::Closing),
        }
        if state.queue.len() >= self.queue_max {
            return Err(Refusal::Busy {
                waiting: state.queue.len(),
            });
        }
        state.queue.push_back(job);
        drop(state);
        self.bell.ring();
        Ok(())
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&self, deadline: Option<Instant>) {
        let mut state = self.lock();
        if matches!(state.door, Door::Open) {
            state.door = Door::Closing(deadline);
        }
        drop(state);
        self.bell.ring();
    }

    pub(crate) fn door(&self) -> Door {
        self.lock().door.clone()
    }

    /// Takes the jobs whose readers have gone, wherever they wait, and up to `places` others from
    /// the front.
    pub(crate) fn take(&self, places: usize) -> Vec<Job> {
        let mut state = self.lock();
        let mut taken = Vec::new();
        let mut left = places;
        for job in std::mem::take(&mut state.queue) {
            let gone = job.sender.is_cancelled();
            if gone || left > 0 {
                left -= usize::from(!gone);
                taken.push(job);
            } else {
                state.queue.push_back(job);
            }
        }
        taken
    }

    /// The thread is over: what waits ends now, and nothing comes after.
    pub(crate) fn end(&self, fault: Option<&Fault>) {
        let mut state = self.lock();
        let queue = std::mem::take(&mut state.queue);
        state.door = Door::Ended(fault.cloned());
        drop(state);
        for job in queue {
            job.sender
                .end(Event::Failed(fault.cloned().unwrap_or(Fault::Closed)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it holds the desk")
    }
}
