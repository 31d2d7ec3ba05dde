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
//!         Event::Token { id } => Some(id),
//!         _ => None,
//!     })
//!     .collect();
//! assert_eq!(ids, [5, 6]);
//! # Ok::<(), deepseek_engine::Refusal>(())
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use deepseek_model::{
    Capacity, Decoder, Error, Logits, Media, MediaId, Placeholders, Result, SeqId, Span, Step,
    TokenId, Want,
};

/// What a [`ToyDecoder`] says, and when it breaks.
#[derive(Debug, Clone)]
pub struct Toy {
    /// What it can hold.
    pub capacity: Capacity,
    /// Another seed, other logits.
    pub seed: u64,
    /// Ids to say. Where a history ends with the first `n` of them, for the largest such `n`, the
    /// likeliest next is the one after, by a margin that sampling does not cross; after all of
    /// them, the last again. With no script every id is about as likely as the next.
    pub script: Vec<TokenId>,
    /// How many of a hundred drafted ids are the likeliest ones.
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
    /// Its length at the end of the last step it was in.
    stood: usize,
    /// It was in a step that failed.
    lost: bool,
}

impl Sequence {
    fn length(&self) -> u32 {
        u32::try_from(self.marks.len()).expect("a sequence fits the context")
    }
}

/// A history, in short.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    hash: u64,
    /// Ids of the script with which it ends.
    said: usize,
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

    fn after(&self, mark: Mark, id: TokenId) -> Mark {
        let script = &self.toy.script;
        let mut said = mark.said;
        while said > 0 && script.get(said) != Some(&id) {
            said = self.borders[said];
        }
        said += usize::from(script.get(said) == Some(&id));
        Mark {
            hash: mix(mark.hash ^ u64::from(id)),
            said,
        }
    }

    /// The history after token `index` of a span, be it text or a row of a medium.
    fn after_row(&self, mark: Mark, span: &Span, index: usize) -> Mark {
        let insert = span.media.iter().find(|own| own.tokens.contains(&index));
        let Some(insert) = insert else {
            return self.after(mark, span.tokens[index]);
        };
        let row = insert.from + index - insert.tokens.start;
        let (medium, rows) = self.media[&insert.media];
        assert!(row < rows, "row {row} of {rows}");
        Mark {
            hash: mix(mark.hash ^ mix(medium ^ row as u64)),
            said: 0,
        }
    }

    fn row(&self, mark: Mark) -> Vec<f32> {
        let history = mix(self.toy.seed ^ mark.hash);
        let mut row: Vec<f32> = (0..self.toy.capacity.vocabulary)
            .map(|id| unit(mix(history ^ u64::from(id))) * 4.0 - 2.0)
            .collect();
        if let Some(&id) = self.toy.script.get(mark.said).or(self.toy.script.last()) {
            row[id as usize] += 100.0;
        }
        row
    }

    fn likeliest(&self, mark: Mark) -> TokenId {
        let row = self.row(mark);
        (0..)
            .zip(row)
            .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
            .expect("a vocabulary")
            .0
    }

    fn check(&self, step: &Step) {
        let capacity = &self.toy.capacity;
        let mut seen = HashSet::new();
        let mut tokens = 0;
        assert!(!step.spans.is_empty(), "a step without spans");
        for span in &step.spans {
            let seq = span.seq;
            assert!(
                seq.0 < capacity.sequences,
                "{seq:?} of {}",
                capacity.sequences
            );
            assert!(seen.insert(seq), "{seq:?} twice in a step");
            assert!(!span.tokens.is_empty(), "{seq:?}: a span without tokens");
            let sequence = self.sequences.get(&seq);
            assert!(
                sequence.is_none_or(|s| !s.lost),
                "{seq:?} was lost in a step that failed"
            );
            let stands = sequence.map_or(0, |s| s.marks.len());
            assert_eq!(
                span.at as usize, stands,
                "{seq:?}: where it begins, where it stands"
            );
            let end = stands + span.tokens.len();
            assert!(
                end <= capacity.context as usize,
                "{seq:?}: {end} of {}",
                capacity.context
            );
            self.check_ids(&span.tokens);
            tokens += span.tokens.len();
        }
        assert!(
            tokens <= capacity.step_tokens as usize,
            "{tokens} of {}",
            capacity.step_tokens
        );
    }

    fn check_ids(&self, ids: &[TokenId]) {
        let vocabulary = self.toy.capacity.vocabulary;
        assert!(
            ids.iter().all(|&id| id < vocabulary),
            "{ids:?}, {vocabulary} ids"
        );
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
                    Want::All => true,
                };
                if wanted {
                    values.extend(self.row(mark));
                }
            }
            counts.push((values.len() - before) / self.toy.capacity.vocabulary as usize);
            self.tally
                .tokens
                .fetch_add(span.tokens.len() as u64, Ordering::AcqRel);
            sequence.stood = sequence.marks.len();
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

    fn draft(&mut self, seq: SeqId, after: TokenId, max: u32) -> Result<Vec<TokenId>> {
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
            let chance = unit(mix(!self.toy.seed ^ mark.hash)) * 100.0;
            let wrong = u32::from(chance >= self.toy.drafts_right_percent as f32);
            id = (self.likeliest(mark) + wrong) % self.toy.capacity.vocabulary;
            drafted.push(id);
        }
        Ok(drafted)
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

    fn forget(&mut self, seq: SeqId) {
        self.sequences.remove(&seq);
        self.tell();
    }

    fn attach(&mut self, media: &Media) -> Result<MediaId> {
        let Capacity { vision, audio, .. } = self.toy.capacity;
        match media {
            Media::Audio(_) => assert!(audio.is_some(), "sounds are refused"),
            _ => assert!(vision.is_some(), "pictures are refused"),
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

/// A number that another medium does not have.
fn hash(media: &Media) -> u64 {
    let bytes = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |hash, byte| mix(hash ^ u64::from(*byte)))
    };
    match media {
        Media::Image(canvas) => bytes(canvas.rgb()),
        Media::Shot(shot) => shot
            .frames
            .iter()
            .fold(1, |hash, frame| mix(hash ^ bytes(frame.rgb()))),
        Media::Audio(chunk) => {
            let features = chunk.features.data().iter();
            features.fold(2, |hash, x| mix(hash ^ u64::from(x.to_bits())))
        }
        _ => unreachable!("other media are not known here"),
    }
}

/// A bijection without pattern: the finaliser of splitmix64.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The upper 24 bits, from 0 to 1.
fn unit(x: u64) -> f32 {
    (x >> 40) as f32 / (1_u32 << 24) as f32
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn run(decoder: &mut ToyDecoder, at: u32, tokens: &[TokenId], want: Want) -> Vec<f32> {
        let span = Span {
            seq: SeqId(0),
            at,
            tokens: tokens.to_vec(),
            media: Vec::new(),
            want,
        };
        decoder
            .step(&Step { spans: vec![span] })
            .unwrap()
            .into_values()
    }

    /// Whether the decoder, standing at 3 after a step of 2, objects.
    fn objects(act: impl FnOnce(&mut ToyDecoder)) -> bool {
        let mut decoder = ToyDecoder::new(Toy {
            capacity: Capacity {
                context: 8,
                rewind: 2,
                ..Toy::default().capacity
            },
            ..Toy::default()
        });
        run(&mut decoder, 0, &[1], Want::Nothing);
        run(&mut decoder, 1, &[2, 3], Want::Nothing);
        catch_unwind(AssertUnwindSafe(|| act(&mut decoder))).is_err()
    }

    #[test]
    fn cuts_and_rewinds_leave_no_trace() {
        let mut whole = ToyDecoder::new(Toy::default());
        let all = run(&mut whole, 0, &[1, 2, 3], Want::All);
        let mut cut = ToyDecoder::new(Toy::default());
        let mut rows = run(&mut cut, 0, &[1], Want::Last);
        run(&mut cut, 1, &[9, 9], Want::All);
        cut.rewind(SeqId(0), 1);
        rows.extend(run(&mut cut, 1, &[2], Want::Last));
        cut.draft(SeqId(0), 3, 4).unwrap();
        rows.extend(run(&mut cut, 2, &[3], Want::Last));
        assert_eq!(all, rows);
    }

    #[test]
    fn a_script_is_said_after_any_prompt_and_through_its_own_repeats() {
        let script = [4, 4, 5, 4, 4, 4, 5, 6];
        let mut decoder = ToyDecoder::new(Toy {
            script: script.to_vec(),
            ..Toy::default()
        });
        run(&mut decoder, 0, &[1, 2], Want::Nothing);
        let mut id = 3;
        for (at, want) in (2..).zip(script) {
            run(&mut decoder, at, &[id], Want::Nothing);
            id = decoder.likeliest(*decoder.sequences[&SeqId(0)].marks.last().unwrap());
            assert_eq!(id, want, "at {at}");
        }
    }

    #[test]
    fn drafts_are_as_right_as_told() {
        for (percent, least, most) in [(0, 0, 0), (50, 400, 600), (100, 1000, 1000)] {
            let toy = Toy {
                drafts_right_percent: percent,
                ..Toy::default()
            };
            let mut decoder = ToyDecoder::new(toy);
            let right = (0..1000).filter(|&at| {
                run(&mut decoder, at, &[at % 64], Want::Nothing);
                let drafted = decoder.draft(SeqId(0), 1, 1).unwrap();
                let mark = *decoder.sequences[&SeqId(0)].marks.last().unwrap();
                drafted == [decoder.likeliest(decoder.after(mark, 1))]
            });
            let right = right.count();
            assert!(
                least <= right && right <= most,
                "{right} of 1000 at {percent} %"
            );
        }
    }

    #[test]
    fn breaches_of_the_contract_are_met_with_a_panic() {
        let step = |at, count: usize| {
            move |decoder: &mut ToyDecoder| {
                run(decoder, at, &vec![1; count], Want::Nothing);
            }
        };
        assert!(!objects(step(3, 5)), "up to the context");
        assert!(objects(step(3, 6)), "one past the context");
        assert!(objects(step(2, 1)), "behind where it stands");
        assert!(objects(step(4, 1)), "ahead of where it stands");
        assert!(objects(step(3, 0)), "no tokens");
        assert!(
            objects(|d| drop(run(d, 3, &[64], Want::Nothing))),
            "an unknown id"
        );
        assert!(
            !objects(|d| d.rewind(SeqId(0), 1)),
            "as far back as it goes"
        );
        assert!(objects(|d| d.rewind(SeqId(0), 0)), "one further");
        assert!(objects(|d| d.rewind(SeqId(0), 4)), "ahead");
        assert!(
            objects(|d| d.rewind(SeqId(1), 0)),
            "a sequence that never began"
        );
        assert!(
            !objects(|d| drop(d.draft(SeqId(0), 1, 4))),
            "as many drafts as it has"
        );
        assert!(objects(|d| drop(d.draft(SeqId(0), 1, 5))), "one more");
        assert!(
            objects(|d| drop(d.draft(SeqId(0), 64, 1))),
            "a draft after an unknown id"
        );
        let twice = Span {
            seq: SeqId(1),
            at: 0,
            tokens: vec![1],
            media: Vec::new(),
            want: Want::Last,
        };
        let twice = Step {
            spans: vec![twice.clone(), twice],
        };
        assert!(objects(move |d| drop(d.step(&twice))), "one sequence twice");
        let beyond = Span {
            seq: SeqId(4),
            at: 0,
            tokens: vec![1],
            media: Vec::new(),
            want: Want::Last,
        };
        assert!(
            objects(move |d| drop(d.step(&Step {
                spans: vec![beyond]
            }))),
            "no such place"
        );
        assert!(objects(|d| drop(d.step(&Step::default()))), "no spans");
    }

    #[test]
    fn a_sequence_of_a_failed_step_can_only_be_forgotten() {
        let faults = BTreeMap::from([(1, ToyFault::Error)]);
        let mut decoder = ToyDecoder::new(Toy {
            faults,
            ..Toy::default()
        });
        run(&mut decoder, 0, &[1], Want::Nothing);
        let span = Span {
            seq: SeqId(0),
            at: 1,
            tokens: vec![2],
            media: Vec::new(),
            want: Want::Last,
        };
        let step = Step { spans: vec![span] };
        assert!(decoder.step(&step).is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| decoder.rewind(SeqId(0), 1))).is_err());
        decoder.forget(SeqId(0));
        run(&mut decoder, 0, &[1], Want::Nothing);
    }
}
