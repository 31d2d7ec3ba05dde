//! A decoder without weights, to test with whatever stands on a [`Decoder`].
//!
//! Its next id is a function of a seed and of the ids before it, so that an answer can be told in
//! advance; and it holds its caller to the contract of the trait, to the letter.
//!
//! ```
//! use deepseek_engine::{Engine, Event, Limits, Request, Sampling, toy::{Toy, ToyDecoder}};
//!
//! let decoder = ToyDecoder::new(Toy { script: vec![5, 6, 7], ..Toy::default() });
//! let engine = Engine::spawn(Box::new(decoder), Limits::default());
//! let request = Request {
//!     sampling: Sampling::greedy(),
//!     stop_ids: vec![7],
//!     ..Request::new(vec![1, 2])
//! };
//! let ids: Vec<u32> = engine
//!     .submit(request)?
//!     .filter_map(|event| match event {
//!         Event::Token { id, .. } => Some(id),
//!         _ => None,
//!     })
//!     .collect();
//! assert_eq!(ids, [5, 6]);
//! # Ok::<(), deepseek_engine::Refusal>(())
//! ```

mod contract;
mod logits;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use deepseek_model::{
    Capacity, Decoder, DraftAsk, Error, Extent, Logits, Media, MediaId, Placeholders, Result,
    SeqId, SequenceState, Step, TokenId, Want,
};

use self::logits::{Mark, hash};

/// What a [`ToyDecoder`] says, and when it breaks.
#[derive(Debug, Clone)]
pub struct Toy {
    /// What it can hold.
    pub capacity: Capacity,
    /// Another seed, other logits.
    pub seed: u64,
    /// Ids to say. Where a history ends with the first `n` of them, for the largest such `n`, the
    /// most likely next is the one after, by a margin that sampling does not cross; after all of
    /// them, the last again. With no script every id is about as likely as the next.
    pub script: Vec<TokenId>,
    /// How many of a hundred drafted ids are the most likely ones.
    pub drafts_right_percent: u32,
    /// What goes wrong in which step, counted from 0.
    pub faults: BTreeMap<u64, ToyFault>,
}

/// A way to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToyFault {
    /// The step returns an error.
    Error,
    /// The step panics.
    Panic,
    /// The step's logits are NaN.
    NotANumber,
    /// The first draft made after the step before returns an error.
    Draft,
}

impl Default for Toy {
    /// A vocabulary of 64, a context of 1024, 4 sequences, 16 tokens a step, 4 drafts.
    fn default() -> Self {
        Self {
            capacity: Capacity {
                vocabulary: 64,
                context: 1024,
                sequences: 4,
                step_tokens: 16,
                rewind: 4,
                drafts: 4,
                vision: None,
                audio: None,
                placeholders: Placeholders::default(),
            },
            seed: 0,
            script: Vec::new(),
            drafts_right_percent: 75,
            faults: BTreeMap::new(),
        }
    }
}

/// What a [`ToyDecoder`] was made to do so far. Can be read while it is at work.
#[derive(Debug, Default)]
pub struct ToyTally {
    steps: AtomicU64,
    tokens: AtomicU64,
    drafts: AtomicU64,
    sequences: AtomicU64,
    media: AtomicU64,
}

impl ToyTally {
    /// Steps begun.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Acquire)
    }

    /// Tokens run, those taken back later among them.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Acquire)
    }

    /// Batches of drafts asked for.
    #[must_use]
    pub fn drafts(&self) -> u64 {
        self.drafts.load(Ordering::Acquire)
    }

    /// Sequences that have begun and are not forgotten.
    #[must_use]
    pub fn sequences(&self) -> u64 {
        self.sequences.load(Ordering::Acquire)
    }

    /// Media that are attached and not released.
    #[must_use]
    pub fn media(&self) -> u64 {
        self.media.load(Ordering::Acquire)
    }
}

/// A [`Decoder`] that computes nothing.
///
/// # Panics
/// In every method, if the call breaks the contract of the trait.
#[derive(Debug)]
pub struct ToyDecoder {
    toy: Toy,
    /// For `n` ids of the script, the longest of its beginnings, but itself, with which they end.
    borders: Vec<usize>,
    sequences: HashMap<SeqId, Sequence>,
    /// What each medium is, in short, and how many rows it has.
    media: HashMap<MediaId, (u64, usize)>,
    tally: Arc<ToyTally>,
}

/// What is known of a sequence after each of its tokens.
#[derive(Debug, Default)]
struct Sequence {
    marks: Vec<Mark>,
    /// The longest that it has been.
    stood: usize,
    /// It was in a step that failed.
    lost: bool,
}

impl Sequence {
    fn length(&self) -> u32 {
        u32::try_from(self.marks.len()).expect("a sequence fits the context")
    }
}

impl ToyDecoder {
    /// Makes one.
    ///
    /// # Panics
    /// If an id of the script is not in the vocabulary.
    #[must_use]
    pub fn new(toy: Toy) -> Self {
        assert!(
            toy.script.iter().all(|&id| id < toy.capacity.vocabulary),
            "{toy:?}"
        );
        let mut borders = vec![0; toy.script.len() + 1];
        let mut border = 0;
        for said in 1..toy.script.len() {
            while border > 0 && toy.script[border] != toy.script[said] {
                border = borders[border];
            }
            border += usize::from(toy.script[border] == toy.script[said]);
            borders[said + 1] = border;
        }
        Self {
            toy,
            borders,
            sequences: HashMap::new(),
            media: HashMap::new(),
            tally: Arc::default(),
        }
    }

    /// Its counts, to be kept when the decoder itself is given away.
    #[must_use]
    pub fn tally(&self) -> Arc<ToyTally> {
        Arc::clone(&self.tally)
    }

    fn tell(&self) {
        self.tally
            .sequences
            .store(self.sequences.len() as u64, Ordering::Release);
        self.tally
            .media
            .store(self.media.len() as u64, Ordering::Release);
    }
}

impl ToyDecoder {
    fn draft_one(&mut self, ask: &DraftAsk) -> Result<Vec<TokenId>> {
        let DraftAsk { seq, after, max } = *ask;
        let drafts = self.toy.capacity.drafts;
        assert!(0 < max && max <= drafts, "{max} drafts of {drafts}");
        self.check_ids(&[after]);
        let sequence = self.sequences.get(&seq).expect("a sequence that has begun");
        assert!(!sequence.lost, "{seq:?} was lost in a step that failed");
        let next = self.tally.steps();
        if self.toy.faults.get(&next) == Some(&ToyFault::Draft) {
            self.toy.faults.remove(&next);
            return Err(Error::Decoder {
                why: format!("told to fail at {}", sequence.length()),
            });
        }
        let mut mark = sequence.marks.last().copied().unwrap_or_default();
        let mut id = after;
        let mut drafted = Vec::with_capacity(max as usize);
        for _ in 0..max {
            mark = self.after(mark, id);
            let chance = self.chance(mark) * 100.0;
            let wrong = u32::from(chance >= self.toy.drafts_right_percent as f32);
            id = (self.most_likely(mark) + wrong) % self.toy.capacity.vocabulary;
            drafted.push(id);
        }
        Ok(drafted)
    }
}

impl Decoder for ToyDecoder {
    fn capacity(&self) -> Capacity {
        self.toy.capacity
    }

    fn step(&mut self, step: &Step) -> Result<Logits> {
        self.check(step);
        let number = self.tally.steps.fetch_add(1, Ordering::AcqRel);
        let fault = self.toy.faults.get(&number).copied();
        assert_ne!(
            fault,
            Some(ToyFault::Panic),
            "told to panic in step {number}"
        );
        let mut values = Vec::new();
        let mut counts = Vec::with_capacity(step.spans.len());
        for span in &step.spans {
            let mut sequence = self.sequences.remove(&span.seq).unwrap_or_default();
            let mut mark = sequence.marks.last().copied().unwrap_or_default();
            let before = values.len();
            for index in 0..span.tokens.len() {
                mark = self.after_row(mark, span, index);
                sequence.marks.push(mark);
                let wanted = match span.want {
                    Want::Nothing => false,
                    Want::Last => index + 1 == span.tokens.len(),
                    Want::All | Want::Best => true,
                };
                if wanted {
                    values.extend(self.row(mark));
                }
            }
            counts.push((values.len() - before) / self.toy.capacity.vocabulary as usize);
            self.tally
                .tokens
                .fetch_add(span.tokens.len() as u64, Ordering::AcqRel);
            sequence.stood = sequence.stood.max(sequence.marks.len());
            sequence.lost = fault == Some(ToyFault::Error);
            self.sequences.insert(span.seq, sequence);
        }
        self.tell();
        match fault {
            Some(ToyFault::Error) => {
                return Err(Error::Decoder {
                    why: format!("told to fail at {}", step.spans[0].at),
                });
            }
            Some(ToyFault::NotANumber) => values.fill(f32::NAN),
            Some(ToyFault::Draft | ToyFault::Panic) | None => {}
        }
        Ok(Logits::new(
            self.toy.capacity.vocabulary as usize,
            values,
            &counts,
        ))
    }

    fn draft(&mut self, asks: &[DraftAsk]) -> Result<Vec<Vec<TokenId>>> {
        self.tally.drafts.fetch_add(1, Ordering::AcqRel);
        asks.iter().map(|ask| self.draft_one(ask)).collect()
    }

    fn rewind(&mut self, seq: SeqId, position: u32) {
        let sequence = self
            .sequences
            .get_mut(&seq)
            .expect("a sequence that has begun");
        assert!(!sequence.lost, "{seq:?} was lost in a step that failed");
        let (from, to) = (sequence.marks.len(), position as usize);
        let earliest = sequence
            .stood
            .saturating_sub(self.toy.capacity.rewind as usize);
        assert!(
            earliest <= to && to <= from,
            "{seq:?}: to {to}, from {earliest} to {from} allowed"
        );
        sequence.marks.truncate(to);
    }

    fn save(&mut self, seq: SeqId, extent: Extent) -> Result<SequenceState> {
        let sequence = self.sequences.get(&seq).ok_or(Error::State)?;
        let length = sequence.marks.len();
        let first = match extent {
            Extent::Whole => 0,
            Extent::Tail => length.saturating_sub(self.toy.capacity.rewind as usize + 1),
        };
        let marks = sequence.marks[first..].iter();
        let state = SequenceState::new(
            sequence.length(),
            marks.map(|mark| mark.to_bytes().to_vec()).collect(),
        );
        Ok(match extent {
            Extent::Whole => state,
            Extent::Tail => state.into_tail(),
        })
    }

    fn load(&mut self, seq: SeqId, state: &SequenceState) -> Result<()> {
        let marks = state.rows().iter().map(|row| Mark::from_bytes(row));
        let marks: Vec<Mark> = marks.collect::<Option<_>>().ok_or(Error::State)?;
        let sequence = self.sequences.entry(seq).or_default();
        let length = state.position() as usize;
        let first = length.checked_sub(marks.len()).ok_or(Error::State)?;
        assert!(
            first == 0 || sequence.marks.get(first) == marks.first(),
            "{seq:?}: a tail of what is not there any more"
        );
        sequence.marks.truncate(first);
        sequence.marks.extend(marks);
        sequence.stood = length;
        sequence.lost = false;
        self.tell();
        Ok(())
    }

    fn forget(&mut self, seq: SeqId) {
        self.sequences.remove(&seq);
        self.tell();
    }

    fn attach(&mut self, media: &Media) -> Result<MediaId> {
        let Capacity { vision, audio, .. } = self.toy.capacity;
        match media {
            Media::Audio(_) => assert!(audio.is_some(), "audio is refused"),
            _ => assert!(vision.is_some(), "images are refused"),
        }
        let id = (0..)
            .map(MediaId)
            .find(|id| !self.media.contains_key(id))
            .expect("an endless range");
        self.media.insert(id, (hash(media), media.tokens()));
        self.tell();
        Ok(id)
    }

    fn release(&mut self, media: MediaId) {
        assert!(self.media.remove(&media).is_some(), "{media:?}");
        self.tell();
    }
}
