//! The handle of the thread that owns the decoder.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use deepseek_model::{Capacity, Decoder};

use crate::errand::{Errand, PlaceError, Reply};
use crate::events::{Events, Fault, RequestId, channel};
use crate::limits::Limits;
use crate::queue::{Queue, QueueState};
use crate::refusal::Refusal;
use crate::request::{Queued, Request};
use crate::run::run;
use crate::saved::SavedPlace;
use crate::wake::waker;

/// A decoder at work on a thread of its own. Without work it sleeps.
///
/// Dropping it closes it at once; see [`close`](Self::close).
#[derive(Debug)]
pub struct Engine {
    queue: Arc<Queue>,
    /// Wakes the thread, if there is one.
    waker: Waker,
    capacity: Capacity,
    limits: Limits,
    /// Requests so far.
    requests: AtomicU64,
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
        let queue = Arc::new(Queue::new(limits.queue_max));
        let thread = thread::Builder::new().name("engine".to_owned()).spawn({
            let queue = Arc::clone(&queue);
            move || run(decoder, limits, &queue)
        });
        let waker = match &thread {
            Ok(thread) => waker(thread.thread().clone()),
            Err(error) => {
                let why = Arc::from(error.to_string());
                queue.end(Some(&Fault::NoThread { why }));
                Waker::noop().clone()
            }
        };
        Self {
            queue,
            waker,
            capacity,
            limits,
            requests: AtomicU64::new(0),
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
        let accepted = request.check(&self.capacity, &self.limits)?;
        let request = RequestId(self.requests.fetch_add(1, Ordering::Relaxed));
        let (sender, events) = channel(request, self.limits.unread_max, self.waker.clone());
        self.queue.submit(Queued {
            request,
            accepted,
            sender,
            submitted: Instant::now(),
        })?;
        self.waker.wake_by_ref();
        Ok(events)
    }

    /// What a request that has ended left in its place ([`Request::keep`]), as data that outlives the
    /// engine. The place stays as it is. Waits until it is read: between steps, a part at a time
    /// ([`Limits::saved_bytes_max`]).
    ///
    /// # Errors
    /// [`PlaceError::Gone`] where somebody has the place by now; a decoder that cannot save.
    pub fn save(&self, request: RequestId) -> Result<SavedPlace, PlaceError> {
        let (reply, answer) = Reply::new();
        self.queue.submit_errand(Errand::Save(request, reply))?;
        self.waker.wake_by_ref();
        answer.recv().unwrap_or(Err(PlaceError::Ended))
    }

    /// Takes in what was saved, of this engine or of one whose decoder computes the same, as if the request
    /// had just ended: in an empty place, or in the one that was left longest ago. Waits as
    /// [`save`](Self::save) does, and for a place.
    ///
    /// # Errors
    /// What does not fit the decoder.
    pub fn load(&self, saved: SavedPlace) -> Result<(), PlaceError> {
        let (tokens, context) = (saved.tokens(), self.capacity.context);
        if tokens > context {
            return Err(PlaceError::TooLong { tokens, context });
        }
        let (reply, answer) = Reply::new();
        let errand = Errand::Load(Box::new(saved), reply);
        self.queue.submit_errand(errand)?;
        self.waker.wake_by_ref();
        answer.recv().unwrap_or(Err(PlaceError::Ended))
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
        self.queue.close(Instant::now().checked_add(drain));
        self.waker.wake_by_ref();
        if let Some(thread) = self.thread.take() {
            thread
                .join()
                .expect("the loop catches what the decoder throws");
        }
        match self.queue.state() {
            QueueState::Ended(Some(fault)) => Err(fault),
            QueueState::Ended(None) | QueueState::Open | QueueState::Closing(_) => Ok(()),
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
