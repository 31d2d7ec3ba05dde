//! The door to the thread that owns the decoder.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use deepseek_model::{Capacity, Decoder};

use crate::bell::Bell;
use crate::desk::{Desk, Door};
use crate::events::{Events, Fault, line};
use crate::limits::Limits;
use crate::request::{Job, Refusal, Request};
use crate::run::run;

/// A decoder at work on a thread of its own. Without work it sleeps.
///
/// Dropping it closes it at once; see [`close`](Self::close).
#[derive(Debug)]
pub struct Engine {
    desk: Arc<Desk>,
    capacity: Capacity,
    limits: Limits,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts the thread. Where the system has none for it, the engine has ended before it began, and
    /// every request is refused with [`Refusal::Ended`].
    ///
    /// # Panics
    /// If the limits leave no room for a single waiting request or unread token, or the capacity none
    /// for a single sequence of one token and one more.
    #[must_use]
    pub fn spawn(decoder: Box<dyn Decoder>, limits: Limits) -> Self {
        let capacity = decoder.capacity();
        assert!(limits.queue_max > 0 && limits.unread_max > 0, "{limits:?}");
        assert!(
            capacity.sequences > 0 && capacity.step_tokens > 0,
            "{capacity:?}"
        );
        assert!(
            capacity.vocabulary > 0 && capacity.context > 1,
            "{capacity:?}"
        );
        let desk = Arc::new(Desk::new(limits.queue_max, Arc::new(Bell::default())));
        let thread = thread::Builder::new().name("engine".to_owned()).spawn({
            let desk = Arc::clone(&desk);
            move || run(decoder, &desk)
        });
        if let Err(error) = &thread {
            let why = Arc::from(error.to_string());
            desk.end(Some(&Fault::NoThread { why }));
        }
        Self {
            desk,
            capacity,
            limits,
            thread: thread.ok(),
        }
    }

    /// What the decoder can hold.
    #[must_use]
    pub fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    /// What the engine holds for its callers.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Puts a request in the queue.
    ///
    /// # Errors
    /// Why it cannot be taken: what is wrong with it, or that there is no room, or none any more.
    pub fn submit(&self, request: Request) -> Result<Events, Refusal> {
        let order = request.check(&self.capacity, &self.limits)?;
        let (sender, events) = line(self.limits.unread_max, Arc::clone(self.desk.bell()));
        self.desk.submit(Job {
            order,
            sender,
            submitted: Instant::now(),
        })?;
        Ok(events)
    }

    /// Takes no more requests, lets those it has taken run for `drain`, fails the rest with
    /// [`Fault::Closed`], and waits for the thread. Returns as soon as all have ended, but not
    /// before the step at hand has.
    ///
    /// A request whose reader does not read runs until the deadline: whoever holds its [`Events`]
    /// on this thread drops them first.
    ///
    /// # Errors
    /// The fault, if one had ended the engine.
    pub fn close(mut self, drain: Duration) -> Result<(), Fault> {
        self.shut(drain)
    }

    fn shut(&mut self, drain: Duration) -> Result<(), Fault> {
        self.desk.close(Instant::now().checked_add(drain));
        if let Some(thread) = self.thread.take() {
            thread
                .join()
                .expect("the loop catches what the decoder throws");
        }
        match self.desk.door() {
            Door::Ended(Some(fault)) => Err(fault),
            Door::Ended(None) | Door::Open | Door::Closing(_) => Ok(()),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.thread.is_some() {
            // A fault has reached the readers; here is nobody to tell.
            let _ = self.shut(Duration::ZERO);
        }
    }
}
