//! What ranks are told: every call that changes what a decoder holds, as plain data.

use std::sync::Arc;

use deepseek_core::operands::Visits;
use deepseek_model::{Decoder, DraftAsk, Media, MediaId, Result, SeqId, SequenceState, Step};

/// A call of [`Decoder`].
#[derive(Debug, Clone)]
pub enum Command {
    /// [`Decoder::step`].
    Step(Arc<Step>),
    /// [`Decoder::draft`].
    Draft(Arc<[DraftAsk]>),
    /// [`Decoder::load`].
    Load(SeqId, Arc<SequenceState>),
    /// [`Decoder::load_more`].
    LoadMore {
        /// The place.
        seq: SeqId,
        /// The whole.
        state: Arc<SequenceState>,
        /// From where on.
        from: usize,
        /// How much of it.
        bytes: usize,
    },
    /// [`Decoder::adopt`].
    Adopt(SeqId, Arc<SequenceState>),
    /// [`Decoder::rewind`].
    Rewind(SeqId, u32),
    /// [`Decoder::resume`].
    Resume(SeqId, u32),
    /// [`Decoder::forget`].
    Forget(SeqId),
    /// [`Decoder::attach`].
    Attach(Arc<Media>),
    /// [`Decoder::release`].
    Release(MediaId),
    /// [`Decoder::visits`].
    Visits,
}

/// What a rank answers that is not the first, beside whether it could.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Attached(MediaId),
    Visits(Visits),
}

impl Command {
    /// Makes the call.
    pub(crate) fn run<D: Decoder>(self, decoder: &mut D) -> Result<Answer> {
        match self {
            Self::Step(step) => drop(decoder.step(&step)?),
            Self::Draft(asks) => drop(decoder.draft(&asks)?),
            Self::Load(seq, state) => decoder.load(seq, &state)?,
            Self::LoadMore {
                seq,
                state,
                from,
                bytes,
            } => drop(decoder.load_more(seq, &state, from, bytes)?),
            Self::Adopt(seq, tail) => decoder.adopt(seq, &mut SequenceState::clone(&tail))?,
            Self::Rewind(seq, position) => decoder.rewind(seq, position),
            Self::Resume(seq, position) => decoder.resume(seq, position),
            Self::Forget(seq) => decoder.forget(seq),
            Self::Attach(media) => return decoder.attach(&media).map(Answer::Attached),
            Self::Release(media) => decoder.release(media),
            Self::Visits => return Ok(Answer::Visits(decoder.visits())),
        }
        Ok(Answer::Done)
    }
}
