//! The thread that reads the audio of a prompt while the prompt is run, a little ahead.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

use deepseek_model::Media;

use crate::audio_source::{AudioSource, AudioSourceError, ChunkReader};
use crate::limits::CHUNKS_AHEAD;

/// Chunks in the order in which a prompt has them. Dropping it stops the thread.
#[derive(Debug)]
pub(crate) struct Prefetcher {
    arrived: Receiver<Result<Media, AudioSourceError>>,
    reader: Reader,
    /// Why nothing will arrive.
    fault: Option<AudioSourceError>,
}

/// Whoever waits for the next chunk.
#[derive(Debug, Clone)]
struct Reader(Arc<Mutex<Waker>>);

impl Reader {
    fn is(&self, waker: &Waker) {
        let mut reader = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reader.clone_from(waker);
    }

    fn wake(&self) {
        let reader = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waker = reader.clone();
        drop(reader);
        waker.wake();
    }
}

impl Prefetcher {
    /// Starts to read chunks of sources, by their numbers, in this order. Where the system has no thread
    /// for it, the first [`poll`](Self::poll) says so.
    pub(crate) fn start(order: Vec<(Arc<AudioSource>, usize)>) -> Self {
        let (sender, arrived) = sync_channel(CHUNKS_AHEAD);
        let reader = Reader(Arc::new(Mutex::new(Waker::noop().clone())));
        let wakes = WakesAtLast(reader.clone());
        let thread = thread::Builder::new()
            .name("audio".to_owned())
            .spawn(move || {
                let wakes = wakes;
                // Gone before the last wake, whatever happens, so that nobody waits for what never
                // comes.
                let sender = sender;
                read(&order, &sender, &wakes.0);
            });
        Self {
            arrived,
            reader,
            fault: thread.err().map(AudioSourceError::Thread),
        }
    }

    /// The next chunk, if it is at hand; else the waker of `context` is woken when it may be.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Media, AudioSourceError>> {
        if let Some(fault) = self.fault.take() {
            return Poll::Ready(Err(fault));
        }
        self.reader.is(context.waker());
        match self.arrived.try_recv() {
            Ok(chunk) => Poll::Ready(chunk),
            Err(TryRecvError::Empty) => Poll::Pending,
            Err(TryRecvError::Disconnected) => Poll::Ready(Err(AudioSourceError::Gone)),
        }
    }
}

/// Wakes once more when the thread is over.
struct WakesAtLast(Reader);

impl Drop for WakesAtLast {
    fn drop(&mut self) {
        self.0.wake();
    }
}

fn read(
    order: &[(Arc<AudioSource>, usize)],
    sender: &SyncSender<Result<Media, AudioSourceError>>,
    reader: &Reader,
) {
    let mut readers = HashMap::new();
    for (source, number) in order {
        let chunks = readers.entry(Arc::as_ptr(source));
        let chunk = chunks
            .or_insert_with(|| ChunkReader::new(Arc::clone(source)))
            .read(*number);
        let is_over = chunk.is_err();
        // Nobody listens once the request is over.
        if sender.send(chunk).is_err() || is_over {
            return;
        }
        reader.wake();
    }
}
