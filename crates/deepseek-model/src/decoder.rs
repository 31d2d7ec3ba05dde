//! Where the world of devices ends: ids in, logits out.

use std::ops::Range;
use std::{fmt, mem};

use deepseek_audio::{AudioConfig, Chunk};
use deepseek_core::operands::Visits;
use deepseek_vision::video::Shot;
use deepseek_vision::{Canvas, VisionConfig};

use crate::draft::Ask;
use crate::error::{Error, Result};
use crate::model::Sequence;

/// A token's number in the vocabulary.
pub type TokenId = u32;

/// A sequence's place in the decoder's memory, below [`Capacity::sequences`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeqId(pub u32);

/// A medium that the decoder has taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaId(pub u32);

/// What can stand in a prompt beside text.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Media {
    /// An image, at the size at which it is looked at.
    Image(Canvas),
    /// A frame of a video, or several that are looked at as one.
    Shot(Shot),
    /// As much of audio as is encoded at once.
    Audio(Chunk),
}

impl Media {
    /// Positions that it takes in a sequence.
    #[must_use]
    pub fn tokens(&self) -> usize {
        match self {
            Self::Image(canvas) => canvas.grid().tokens(),
            Self::Shot(shot) => shot.grid().tokens(),
            Self::Audio(chunk) => chunk.layout().count(),
        }
    }
}

/// What a decoder can hold. Fixed when it is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Capacity {
    /// Ids are below this; a row of logits has as many numbers.
    pub vocabulary: u32,
    /// Positions of one sequence.
    pub context: u32,
    /// Sequences at a time.
    pub sequences: u32,
    /// Tokens of one step, over all its spans.
    pub step_tokens: u32,
    /// Positions that [`Decoder::rewind`] can take back, counted from the furthest that the sequence has
    /// stood.
    pub rewind: u32,
    /// Tokens that [`Decoder::draft`] can propose at once; 0 without a draft head.
    pub drafts: u32,
    /// How it looks at images, if it does.
    pub vision: Option<VisionConfig>,
    /// How it listens to audio, if it does.
    pub audio: Option<AudioConfig>,
    /// The ids that stand for media.
    pub placeholders: Placeholders,
}

/// Ids that stand in a prompt for media, where the model has them. They are never to be written
/// (`docs/models/audio-video.md` §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Placeholders {
    /// For a row of an image or of a frame.
    pub image: Option<TokenId>,
    /// For a row of audio.
    pub audio: Option<TokenId>,
    /// For a video. It is in no prompt that runs.
    pub video: Option<TokenId>,
}

impl Placeholders {
    /// All that there are.
    pub fn iter(self) -> impl Iterator<Item = TokenId> {
        [self.image, self.audio, self.video].into_iter().flatten()
    }
}

/// Which logits a span asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// None: a prompt that goes on.
    Nothing,
    /// Those after its last token.
    Last,
    /// Those after each of its tokens.
    All,
    /// The most likely id after each of its tokens, the lower of two alike, and no logits.
    Best,
}

/// A sequence that drafts are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DraftAsk {
    /// The sequence.
    pub seq: SeqId,
    /// The token that itself follows the sequence.
    pub after: TokenId,
    /// How many tokens to propose at most.
    pub max: u32,
}

impl DraftAsk {
    /// The same in a batch, for a sequence that stands at `at`.
    pub(crate) fn place(&self, at: u32) -> Ask {
        Ask {
            slot: self.seq.0 as usize,
            at,
            after: self.after,
        }
    }
}

/// How much of a sequence is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All that it may still need. It can be put back in its place, or in another, of the same decoder or
    /// of one made alike.
    Whole,
    /// What a sequence overwrites when it goes on, which does not grow with its length. It can be put back
    /// in its own place alone, as long as the sequence there has not been forgotten, and is the same up to
    /// [`Capacity::rewind`] positions before the saved one.
    Tail,
}

/// What a decoder remembers of a sequence, as plain data.
#[derive(Debug, Clone, PartialEq)]
pub struct SequenceState {
    pub(crate) sequence: Sequence,
    /// Packed rows, pool by pool.
    pub(crate) rows: Vec<Vec<u8>>,
    pub(crate) kind: Kind,
}

/// How much of a sequence a state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Whole,
    /// The tail of this life; of none yet where it was read from bytes.
    Tail(Option<Life>),
}

/// One use of a place: from a beginning to the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Life(pub(crate) u64);

impl SequenceState {
    /// A sequence that stands at `position` and is nothing but rows of bytes: for decoders that are no
    /// models on a device.
    #[must_use]
    pub fn new(position: u32, rows: Vec<Vec<u8>>) -> Self {
        Self {
            sequence: Sequence::at(position),
            rows,
            kind: Kind::Whole,
        }
    }

    /// The same as the tail of a sequence, for such decoders.
    #[must_use]
    pub fn into_tail(self) -> Self {
        let kind = Kind::Tail(None);
        Self { kind, ..self }
    }

    /// Its rows, packed, pool by pool.
    #[must_use]
    pub fn rows(&self) -> &[Vec<u8>] {
        &self.rows
    }

    /// Where the sequence stands.
    #[must_use]
    pub fn position(&self) -> u32 {
        self.sequence.position
    }

    /// The furthest that the sequence had stood.
    #[must_use]
    pub fn reached(&self) -> u32 {
        self.sequence.reached
    }

    /// How much of the sequence it is.
    #[must_use]
    pub fn extent(&self) -> Extent {
        match self.kind {
            Kind::Whole => Extent::Whole,
            Kind::Tail(_) => Extent::Tail,
        }
    }

    /// Whether all numbers of the sequence were finite.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.sequence.trouble.is_none()
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.rows.iter().map(Vec::len).sum()
    }
}

/// Tokens of a span that are rows of a medium, whatever their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insert {
    /// The medium.
    pub media: MediaId,
    /// Which of the span's tokens.
    pub tokens: Range<usize>,
    /// The row of the medium that the first of them is.
    pub from: usize,
}

/// One sequence's part of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The sequence.
    pub seq: SeqId,
    /// The position of the first token: where the sequence stands.
    pub at: u32,
    /// The tokens, at least one.
    pub tokens: Vec<TokenId>,
    /// Those among them that are no text, in order.
    pub media: Vec<Insert>,
    /// The logits to return. A prompt may be cut into spans that want nothing and a last one.
    pub want: Want,
}

/// One forward over a ragged batch. No sequence occurs twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// The parts, in the order in which their logits return.
    pub spans: Vec<Span>,
}

/// Where the parts of a list end that have so many entries each, in place of what `ends` held.
fn ends_of(counts: &[usize], mut ends: Vec<usize>) -> Vec<usize> {
    let end = |end: &mut usize, count: &usize| {
        *end += count;
        Some(*end)
    };
    ends.clear();
    ends.extend(counts.iter().scan(0, end));
    ends
}

/// The logits of a step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Logits {
    vocabulary: usize,
    values: Vec<f32>,
    ends: Vec<usize>,
    best: Vec<TokenId>,
    best_ends: Vec<usize>,
}

impl Logits {
    /// Wraps `values: [rows, vocabulary]`, of which span `i` of the step owns `counts[i]` rows.
    ///
    /// # Panics
    /// If the counts and the values do not agree.
    #[must_use]
    pub fn new(vocabulary: usize, values: Vec<f32>, counts: &[usize]) -> Self {
        Self::default().again(vocabulary, values, counts)
    }

    /// [`Logits::new`] in the memory of these.
    pub(crate) fn again(mut self, vocabulary: usize, values: Vec<f32>, counts: &[usize]) -> Self {
        let ends = ends_of(counts, self.ends);
        let rows = ends.last().copied().unwrap_or(0);
        assert_eq!(
            values.len(),
            rows * vocabulary,
            "{rows} rows of {vocabulary} logits"
        );
        self.best.clear();
        self.best_ends.clear();
        self.best_ends.resize(ends.len(), 0);
        Self {
            vocabulary,
            values,
            ends,
            ..self
        }
    }

    /// The memory of their numbers.
    pub(crate) fn take_values(&mut self) -> Vec<f32> {
        mem::take(&mut self.values)
    }

    /// The same with the most likely ids of spans that want [`Want::Best`], of which span `i` owns
    /// `counts[i]`.
    ///
    /// # Panics
    /// If the counts and the ids do not agree.
    #[must_use]
    pub fn with_best(mut self, best: &[TokenId], counts: &[usize]) -> Self {
        let best_ends = ends_of(counts, mem::take(&mut self.best_ends));
        assert_eq!(best_ends.last().copied().unwrap_or(0), best.len(), "ids");
        assert_eq!(best_ends.len(), self.ends.len(), "spans");
        self.best.clear();
        self.best.extend_from_slice(best);
        Self { best_ends, ..self }
    }

    /// The most likely ids of span `index`: one after each of its tokens, if it wanted them.
    ///
    /// # Panics
    /// If there is no such span.
    #[must_use]
    pub fn best(&self, index: usize) -> &[TokenId] {
        let start = if index == 0 {
            0
        } else {
            self.best_ends[index - 1]
        };
        &self.best[start..self.best_ends[index]]
    }

    /// The rows of span `index`: none, one or one for each token, as it wanted.
    ///
    /// # Panics
    /// If there is no such span.
    #[must_use]
    pub fn span(&self, index: usize) -> impl ExactSizeIterator<Item = &[f32]> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        self.values[start * self.vocabulary..self.ends[index] * self.vocabulary]
            .chunks_exact(self.vocabulary)
    }

    /// All rows, in the order of the spans.
    #[must_use]
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }
}

/// Where a sequence first met a number that is not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    /// The part of the model that it came out of.
    pub place: Place,
    /// The position of the row.
    pub position: u32,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at position {}", self.place, self.position)
    }
}

/// A part of the model that rows come out of, in the order of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The rows of token ids.
    Embedding,
    /// A tower, or what stands around its rows.
    Media,
    /// The n-gram table of a layer.
    Table(usize),
    /// A layer.
    Layer(usize),
    /// What makes logits of the streams.
    Head,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedding => f.write_str("the embedding"),
            Self::Media => f.write_str("the rows of a medium"),
            Self::Table(layer) => write!(f, "the n-gram table of layer {layer}"),
            Self::Layer(layer) => write!(f, "layer {layer}"),
            Self::Head => f.write_str("the output matrix"),
        }
    }
}

/// A model with its memory of sequences, on some device.
///
/// What a span yields does not depend on the other spans of its step, nor on how its sequence was
/// cut into steps.
pub trait Decoder: fmt::Debug + Send {
    /// What it can hold.
    fn capacity(&self) -> Capacity;

    /// Runs a step.
    ///
    /// # Errors
    /// A fault of the device. The sequences of the step are then in an unknown state and good only
    /// for [`forget`](Self::forget).
    ///
    /// # Panics
    /// If the step breaks its contract: a span that does not begin where its sequence stands, an
    /// id outside the vocabulary, more tokens or positions than the capacity.
    fn step(&mut self, step: &Step) -> Result<Logits>;

    /// Takes back what a step gave, so that the next one asks for no memory.
    fn recycle(&mut self, logits: Logits) {
        drop(logits);
    }

    /// Proposes tokens for each of several sequences, in one batch, in the order of the asks. Changes
    /// nothing that a later step could see. No sequence occurs twice.
    ///
    /// # Errors
    /// A fault of the device.
    fn draft(&mut self, asks: &[DraftAsk]) -> Result<Vec<Vec<TokenId>>>;

    /// What it remembers of a sequence. Media are not in it: a sequence keeps what it has read of them.
    ///
    /// # Errors
    /// A fault of the device, or a decoder that cannot.
    fn save(&mut self, seq: SeqId, extent: Extent) -> Result<SequenceState> {
        let _ = (seq, extent);
        Err(Error::State)
    }

    /// Puts a saved sequence in a place, whatever was there; the next step goes on as if it had been
    /// there all along. After an error the place holds an empty sequence.
    ///
    /// # Errors
    /// [`Error::State`] for a state of another decoder or for a tail of what is not there any more, or a
    /// fault of the device.
    fn load(&mut self, seq: SeqId, state: &SequenceState) -> Result<()> {
        let _ = (seq, state);
        Err(Error::State)
    }

    /// Saves a sequence whole, in parts between which others may take steps: adds rows to `state`, at
    /// first [`SequenceState::new`] of nothing, until `bytes` more are in it or all are, and says whether all
    /// are. What is saved in one piece may be larger. The sequence takes no step meanwhile.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    fn save_more(&mut self, seq: SeqId, state: &mut SequenceState, bytes: usize) -> Result<bool> {
        let _ = bytes;
        *state = self.save(seq, Extent::Whole)?;
        Ok(true)
    }

    /// Loads a whole sequence in such parts: from 0 on, then from where the call before says; nothing where
    /// all of it is there. Until then, and after an error, the place is good only for
    /// [`forget`](Self::forget).
    ///
    /// # Errors
    /// As [`load`](Self::load), and for a tail.
    fn load_more(
        &mut self,
        seq: SeqId,
        state: &SequenceState,
        from: usize,
        bytes: usize,
    ) -> Result<Option<usize>> {
        let _ = (from, bytes);
        self.load(seq, state).map(|()| None)
    }

    /// Makes a tail that was read from bytes one of the sequence in a place, of which it was saved: that
    /// has just been loaded, from a state that was saved behind the tail.
    ///
    /// # Errors
    /// [`Error::State`] for what is no such tail.
    fn adopt(&mut self, seq: SeqId, tail: &mut SequenceState) -> Result<()> {
        let _ = (seq, tail);
        Ok(())
    }

    /// Takes a sequence back to `position`, as if the later tokens had never been.
    ///
    /// # Panics
    /// If the position lies ahead, or further back than [`Capacity::rewind`].
    fn rewind(&mut self, seq: SeqId, position: u32);

    /// Takes a sequence back to `position`, as [`rewind`](Self::rewind) does, or leaves it where it stands,
    /// to go on with a prompt: what follows is as if all before had been the beginning of that prompt, and
    /// nothing of it an answer.
    ///
    /// # Panics
    /// As [`rewind`](Self::rewind).
    fn resume(&mut self, seq: SeqId, position: u32) {
        self.rewind(seq, position);
    }

    /// Where the sequence first met a number that is not finite, in what has not been taken back.
    /// What a step yields for it from there on is good for nothing.
    fn trouble(&self, seq: SeqId) -> Option<Trouble> {
        let _ = seq;
        None
    }

    /// How the routed experts of all layers were used since it was loaded, where not all of them stay in
    /// memory ([`Budget::experts`](crate::Budget::experts)).
    fn visits(&self) -> Visits {
        Visits::default()
    }

    /// Ends a sequence. Its place can begin anew at position 0.
    fn forget(&mut self, seq: SeqId);

    /// Takes in a medium, to be named in spans until it is released.
    ///
    /// # Errors
    /// A model that neither looks at nor listens to such things, or a fault of the device.
    fn attach(&mut self, media: &Media) -> Result<MediaId> {
        match media {
            Media::Image(_) | Media::Shot(_) => Err(Error::NoVision),
            Media::Audio(_) => Err(Error::NoAudio),
        }
    }

    /// Lets go of a medium. Sequences that have read it keep what they have read.
    fn release(&mut self, media: MediaId) {
        let _ = media;
    }
}
