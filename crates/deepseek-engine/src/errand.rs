//! Places that are saved and loaded, between the steps of those who run.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use deepseek_model::{Decoder, SeqId, SequenceState};

use crate::events::RequestId;
use crate::places::{Kept, Places};
use crate::refusal::Refusal;
use crate::saved::SavedPlace;

/// Why a place was not saved, or not loaded.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// The engine does not take what is asked.
    #[error(transparent)]
    Refusal(#[from] Refusal),
    /// Nothing is kept of the request: it was not to be, or somebody else has its place by now.
    #[error("nothing is kept of the request")]
    Gone,
    /// What was saved does not fit the context.
    #[error("{tokens} tokens, in a context of {context}")]
    TooLong {
        /// Tokens that were saved.
        tokens: u32,
        /// Tokens of the context.
        context: u32,
    },
    /// The decoder failed, or it is a state of another one.
    #[error(transparent)]
    Decoder(Arc<deepseek_model::Error>),
    /// The engine ended before it was done.
    #[error("the engine has ended")]
    Ended,
}

impl From<deepseek_model::Error> for PlaceError {
    fn from(error: deepseek_model::Error) -> Self {
        Self::Decoder(Arc::new(error))
    }
}

/// Hands over what came of an errand, once. That nobody waits any more is no fault.
#[derive(Debug)]
pub(crate) struct Reply<T>(SyncSender<Result<T, PlaceError>>);

impl<T> Reply<T> {
    /// One, and where it arrives.
    pub(crate) fn new() -> (Self, Receiver<Result<T, PlaceError>>) {
        let (sender, receiver) = sync_channel(1);
        (Self(sender), receiver)
    }

    fn send(self, result: Result<T, PlaceError>) {
        let _ = self.0.send(result);
    }
}

/// What is asked of places beside prompts.
#[derive(Debug)]
pub(crate) enum Errand {
    /// To hand out what a request left.
    Save(RequestId, Reply<SavedPlace>),
    /// To take it in.
    Load(Box<SavedPlace>, Reply<()>),
}

/// An errand under way, which has a place that nobody else has meanwhile.
#[derive(Debug)]
pub(crate) enum Work {
    Save {
        kept: Box<Kept>,
        state: Box<SequenceState>,
        reply: Reply<SavedPlace>,
    },
    Load {
        seq: SeqId,
        saved: Box<SavedPlace>,
        /// From where the decoder goes on.
        next: usize,
        reply: Reply<()>,
    },
}

/// How far an errand got.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It is under way.
    Work(Work),
    /// It waits for a place.
    Waits(Errand),
    /// There was nothing to do.
    Over,
}

impl Errand {
    /// Begins it, if there is a place for it.
    pub(crate) fn begin(self, places: &mut Places) -> Begun {
        match self {
            Self::Save(request, reply) => match places.find(request) {
                Some(kept) => Begun::Work(Work::Save {
                    kept: kept.into(),
                    state: SequenceState::new(0, Vec::new()).into(),
                    reply,
                }),
                None => {
                    reply.send(Err(PlaceError::Gone));
                    Begun::Over
                }
            },
            Self::Load(saved, reply) => match places.vacate() {
                Some(seq) => Begun::Work(Work::Load {
                    seq,
                    saved,
                    next: 0,
                    reply,
                }),
                None => Begun::Waits(Self::Load(saved, reply)),
            },
        }
    }
}

impl Work {
    /// Does as much of it as `bytes` allow, at least a little, and gives its place back at the end.
    pub(crate) fn go_on(
        self,
        decoder: &mut dyn Decoder,
        places: &mut Places,
        bytes: usize,
    ) -> Option<Self> {
        let bytes = bytes.max(1);
        match self {
            Self::Save {
                kept,
                mut state,
                reply,
            } => match decoder.save_more(kept.seq, &mut state, bytes) {
                Ok(false) => Some(Self::Save { kept, state, reply }),
                Ok(true) => {
                    let saved = SavedPlace {
                        text: kept.text.clone(),
                        whole: *state,
                        tail: kept.state.clone(),
                    };
                    places.keep(*kept);
                    let is_finite = saved.whole.is_finite();
                    reply.send(is_finite.then_some(saved).ok_or(PlaceError::Gone));
                    None
                }
                Err(error) => {
                    // It could not be read. That does not make it worse to go on from.
                    places.keep(*kept);
                    reply.send(Err(error.into()));
                    None
                }
            },
            Self::Load {
                seq,
                saved,
                next,
                reply,
            } => match decoder.load_more(seq, &saved.whole, next, bytes) {
                Ok(Some(next)) => Some(Self::Load {
                    seq,
                    saved,
                    next,
                    reply,
                }),
                Ok(None) => {
                    places.keep(settle(decoder, seq, *saved));
                    reply.send(Ok(()));
                    None
                }
                Err(error) => {
                    decoder.forget(seq);
                    places.free(seq);
                    reply.send(Err(error.into()));
                    None
                }
            },
        }
    }
}

/// A place as it is kept, once its sequence is there. Without a tail that fits it there are fewer prompts
/// that go on from it.
fn settle(decoder: &mut dyn Decoder, seq: SeqId, saved: SavedPlace) -> Kept {
    let SavedPlace { text, whole, tail } = saved;
    let mut state = tail;
    state.take_if(|tail| decoder.adopt(seq, tail).is_err());
    Kept {
        seq,
        request: None,
        text,
        reached: whole.reached(),
        state,
    }
}
