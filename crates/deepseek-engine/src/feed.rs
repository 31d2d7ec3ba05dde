//! The thread that reads the sounds of a prompt while the prompt is run, a little ahead.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

use deepseek_model::Media;

use crate::bell::Bell;
use crate::limits::CHUNKS_AHEAD;
use crate::source::{Player, Tape, TapeError};

/// Chunks in the order in which a prompt has them. Dropping it stops the thread.
pub(crate) struct Feed {
    arrived: Receiver<Result<Media, TapeError>>,
    front: Option<Media>,
    /// Why nothing will arrive.
    fault: Option<TapeError>,
}

impl Feed {
    /// Starts to read: the next chunk of each tape, as often as it stands in `order`. `bell` is rung
    /// whenever one has arrived. Where the system has no thread for it, the first [`Feed::poll`] says so.
    pub(crate) fn start(order: Vec<Arc<Tape>>, bell: Arc<Bell>) -> Self {
        let (sender, arrived) = sync_channel(CHUNKS_AHEAD);
        let reader = thread::Builder::new()
            .name("sounds".to_owned())
            .spawn(move || {
                let rings = Rings(bell);
                // Gone before the last ring, whatever happens, so that nobody waits for what never comes.
                let sender = sender;
                read(&order, &sender, &rings);
            });
        Self {
            arrived,
            front: None,
            fault: reader.err().map(TapeError::Thread),
        }
    }

    /// Whether the next chunk is at hand.
    pub(crate) fn poll(&mut self) -> Result<bool, TapeError> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        if self.front.is_none() {
            self.front = match self.arrived.try_recv() {
                Ok(chunk) => Some(chunk?),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => return Err(TapeError::Gone),
            };
        }
        Ok(self.front.is_some())
    }

    /// Takes it.
    ///
    /// # Panics
    /// If it is not at hand.
    pub(crate) fn take(&mut self) -> Media {
        self.front.take().expect("a chunk that is at hand")
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").finish_non_exhaustive()
    }
}

/// Rings once more when the thread is over.
struct Rings(Arc<Bell>);

impl Drop for Rings {
    fn drop(&mut self) {
        self.0.ring();
    }
}

fn read(order: &[Arc<Tape>], sender: &SyncSender<Result<Media, TapeError>>, rings: &Rings) {
    let mut players = HashMap::new();
    for tape in order {
        let player = players.entry(Arc::as_ptr(tape));
        let chunk = player
            .or_insert_with(|| Player::new(Arc::clone(tape)))
            .next();
        let is_over = chunk.is_err();
        // Nobody listens once the sequence is over.
        if sender.send(chunk).is_err() || is_over {
            return;
        }
        rings.0.ring();
    }
}
