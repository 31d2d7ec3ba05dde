//! One request's events on the way to its reader: a bounded channel that always has an end.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::TryRecvError;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use deepseek_model::TokenId;
use futures_core::Stream;

use crate::logprobs::Logprobs;
use crate::media_source::{MediaError, MediaKind};

/// A request, by its number: no other of the same engine has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct RequestId(pub(crate) u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a reader learns of its request. [`Finished`](Event::Finished) or
/// [`Failed`](Event::Failed) comes last, and comes always.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// So much of the prompt has been run. Only the latest is kept for a slow reader.
    Prefill {
        /// Tokens of the prompt that have been run.
        done: u32,
        /// Tokens of the prompt.
        total: u32,
    },
    /// The next id of the answer. An id at which the request asked to stop is not sent.
    Token {
        /// The id.
        id: TokenId,
        /// How likely it was, if that was asked.
        logprobs: Option<Logprobs>,
    },
    /// The answer has ended.
    Finished {
        /// Why.
        reason: Reason,
        /// What it took.
        usage: Usage,
    },
    /// The machine failed. The ids sent before are good.
    Failed(Fault),
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The model wrote an id at which to stop.
    Stop,
    /// It wrote a string at which to stop.
    StopString,
    /// `max_tokens` are written.
    Length,
    /// The context is full.
    Context,
    /// The reader asked for it.
    Cancelled,
}

/// What a request took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt: u32,
    /// Those of them that are rows of images and of frames.
    pub image_tokens: u32,
    /// Those of them that are rows of audio.
    pub audio_tokens: u32,
    /// Those of the prompt that were not run, because they stood in the decoder already.
    pub cached: u32,
    /// Ids drawn, an id at which it stopped among them.
    pub generated: u32,
    /// Ids proposed by the draft head.
    pub drafted: u32,
    /// Proposed ids that were the ones drawn.
    pub accepted: u32,
    /// From submission to a place in the decoder.
    pub queued: Duration,
    /// From there to the first id.
    pub prefill: Duration,
    /// From the first id to the end.
    pub decode: Duration,
}

impl Usage {
    /// From submission to the first id.
    #[must_use]
    pub fn time_to_first_token(&self) -> Duration {
        self.queued + self.prefill
    }
}

/// How the machine failed a request.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The decoder returned an error from a step or a draft.
    #[error("the decoder failed")]
    Decoder(#[source] Arc<deepseek_model::Error>),
    /// A medium of the prompt could not be had while the prompt was run.
    #[error("{kind} of the prompt cannot be read on")]
    Media {
        /// What it should have been.
        kind: MediaKind,
        /// What its source said.
        #[source]
        source: MediaError,
    },
    /// Logits from which nothing can be drawn: a NaN, an infinity, or nothing but `-inf`.
    #[error("logits for position {position} are not numbers")]
    NotANumber {
        /// The position of the id that was to be drawn.
        position: u32,
    },
    /// The request's constraint lets no id follow that the model may write.
    #[error("nothing that the constraint allows at position {position} can be written")]
    DeadEnd {
        /// The position of the id that was to be drawn.
        position: u32,
    },
    /// What the decoder made of the request's ids is not finite.
    #[error("numbers that are not finite came first from {0}")]
    NotFinite(deepseek_model::Trouble),
    /// The engine's thread panicked. The engine is over.
    #[error("the engine panicked: {message}")]
    Panicked {
        /// What the panic said.
        message: Arc<str>,
    },
    /// The system has no thread for the engine, which never began.
    #[error("no thread for the engine: {why}")]
    NoThread {
        /// What the system said.
        why: Arc<str>,
    },
    /// The engine was closed before the answer was finished.
    #[error("the engine was closed")]
    Closed,
}

/// The reader's end: an iterator that waits, or a [`Stream`] for those who may not; what one of them
/// has given the other does not. Dropping it cancels the request.
pub struct Events {
    request: RequestId,
    channel: Arc<Channel>,
}

/// Cancels a request from another thread, such as a signal's. Its reader then meets
/// [`Reason::Cancelled`].
#[derive(Clone)]
pub struct Canceller {
    channel: Arc<Channel>,
}

/// The engine's end. Dropped without an end, it fails the request, so that no reader waits in vain.
pub(crate) struct Sender {
    channel: Arc<Channel>,
    unread_max: usize,
}

struct Channel {
    state: Mutex<State>,
    arrived: Condvar,
    cancelled: AtomicBool,
    /// Wakes the engine.
    engine: Waker,
}

/// What is unread. Progress precedes every token, the end follows them.
#[derive(Default)]
struct State {
    progress: Option<(u32, u32)>,
    tokens: VecDeque<(TokenId, Option<Logprobs>)>,
    end: Option<Event>,
    ended: bool,
    /// The engine found the channel full and passed the request over.
    paused: bool,
    /// Whom to wake at the next event, if the reader does not wait by itself.
    reader: Option<Waker>,
}

/// Makes a channel that holds `unread_max` tokens. The engine is woken when a paused request can go
/// on and when one is cancelled.
pub(crate) fn channel(request: RequestId, unread_max: usize, engine: Waker) -> (Sender, Events) {
    let channel = Arc::new(Channel {
        state: Mutex::default(),
        arrived: Condvar::new(),
        cancelled: AtomicBool::new(false),
        engine,
    });
    (
        Sender {
            channel: Arc::clone(&channel),
            unread_max,
        },
        Events { request, channel },
    )
}

impl Events {
    /// The request, by which what it leaves can be saved: [`Engine::save`](crate::Engine::save).
    #[must_use]
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// Waits for the next event; `None` after the last.
    pub fn recv(&mut self) -> Option<Event> {
        let mut state = self.channel.lock();
        loop {
            match self.channel.take(&mut state) {
                Ok(event) => return Some(event),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {
                    state = self.channel.arrived.wait(state).expect(UNPOISONED);
                }
            }
        }
    }

    /// The next event, if there is one now.
    ///
    /// # Errors
    /// `Empty` if there is none yet, `Disconnected` after the last.
    pub fn try_recv(&mut self) -> Result<Event, TryRecvError> {
        self.channel.take(&mut self.channel.lock())
    }

    /// A handle that cancels this request.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller {
            channel: Arc::clone(&self.channel),
        }
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.recv()
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut state = self.channel.lock();
        match self.channel.take(&mut state) {
            Ok(event) => Poll::Ready(Some(event)),
            Err(TryRecvError::Disconnected) => Poll::Ready(None),
            Err(TryRecvError::Empty) => {
                state.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.channel.cancel();
    }
}

impl Canceller {
    /// Ends the request after the step that is running. What has been written can still be read.
    pub fn cancel(&self) {
        self.channel.cancel();
    }
}

impl Sender {
    /// Tokens that can be sent before the reader takes one. At 0 the reader's next move wakes the engine.
    pub(crate) fn room(&self) -> usize {
        let mut state = self.channel.lock();
        let room = self.unread_max - state.tokens.len();
        state.paused = room == 0;
        room
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.channel.cancelled.load(Ordering::Acquire)
    }

    pub(crate) fn progress(&self, done: u32, total: u32) {
        self.channel
            .change(|state| state.progress = Some((done, total)));
    }

    pub(crate) fn token(&self, id: TokenId, logprobs: Option<Logprobs>) {
        let mut unread = 0;
        self.channel.change(|state| {
            state.tokens.push_back((id, logprobs));
            unread = state.tokens.len();
        });
        assert!(
            unread <= self.unread_max,
            "a token was sent without room for it"
        );
    }

    pub(crate) fn end(self, event: Event) {
        self.channel.end(event);
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.channel.end(Event::Failed(Fault::Closed));
    }
}

impl Channel {
    fn take(&self, state: &mut State) -> Result<Event, TryRecvError> {
        if let Some((done, total)) = state.progress.take() {
            return Ok(Event::Prefill { done, total });
        }
        if let Some((id, logprobs)) = state.tokens.pop_front() {
            if std::mem::take(&mut state.paused) {
                self.engine.wake_by_ref();
            }
            return Ok(Event::Token { id, logprobs });
        }
        match state.end.take() {
            Some(end) => Ok(end),
            None if state.ended => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let reader = state.reader.take();
        drop(state);
        self.arrived.notify_one();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// The first end counts.
    fn end(&self, event: Event) {
        self.change(|state| {
            if !state.ended {
                state.ended = true;
                state.end = Some(event);
            }
        });
    }

    fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.engine.wake_by_ref();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(UNPOISONED)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller").finish_non_exhaustive()
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

const UNPOISONED: &str = "nothing panics while it holds the channel";

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(unread_max: usize) -> (Sender, Events) {
        channel(RequestId(0), unread_max, Waker::noop().clone())
    }

    #[test]
    fn progress_that_nobody_read_is_replaced() {
        let (sender, mut events) = pair(1);
        sender.progress(1, 3);
        sender.progress(2, 3);
        assert!(matches!(
            events.try_recv(),
            Ok(Event::Prefill { done: 2, total: 3 })
        ));
        assert!(matches!(events.try_recv(), Err(TryRecvError::Empty)));
    }

    #[test]
    fn the_end_needs_no_room_and_comes_last() {
        let (sender, mut events) = pair(1);
        sender.token(7, None);
        assert_eq!(sender.room(), 0);
        sender.end(Event::Failed(Fault::NotANumber { position: 4 }));
        assert!(matches!(events.recv(), Some(Event::Token { id: 7, .. })));
        assert!(matches!(
            events.recv(),
            Some(Event::Failed(Fault::NotANumber { position: 4 }))
        ));
        assert!(events.recv().is_none());
        assert!(matches!(events.try_recv(), Err(TryRecvError::Disconnected)));
    }

    #[test]
    fn a_sender_that_vanishes_fails_its_request() {
        let (sender, mut events) = pair(1);
        drop(sender);
        assert!(matches!(events.recv(), Some(Event::Failed(Fault::Closed))));
        assert!(events.recv().is_none());
    }

    #[test]
    fn dropping_and_cancelling_reach_the_sender() {
        let (sender, events) = pair(1);
        assert!(!sender.is_cancelled());
        drop(events);
        assert!(sender.is_cancelled());
        let (sender, events) = pair(1);
        events.canceller().cancel();
        assert!(sender.is_cancelled());
    }
}
