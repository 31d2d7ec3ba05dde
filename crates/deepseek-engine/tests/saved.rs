//! Places that are saved, and gone on from in another engine.

mod alone;
mod senses;

use std::sync::{Arc, Mutex};

use alone::{alone, below, some_sampling};
use deepseek_engine::toy::{Toy, ToyDecoder, ToyFault};
use deepseek_engine::{
    Engine, Event, Events, Limits, MediaSource, MediaSpan, PlaceError, Reason, Refusal, Request,
    RequestId, Sampling, SavedPlace, Usage,
};
use deepseek_model::saved::{Binding, SavedError};
use deepseek_model::{
    Capacity, Decoder, DraftAsk, Error, Extent, Logits, Media, MediaId, Result, SeqId,
    SequenceState, Step, TokenId,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use senses::{AUDIO, Pace, Source, VISION, audio, image};

fn toy() -> Toy {
    Toy {
        capacity: Capacity {
            vision: Some(VISION),
            audio: Some(AUDIO),
            ..Toy::default().capacity
        },
        ..Toy::default()
    }
}

fn engine() -> Engine {
    Engine::spawn(Box::new(ToyDecoder::new(toy())), Limits::default())
}

fn asking(prompt: &[TokenId], max_tokens: u32) -> Request {
    Request {
        sampling: Sampling::greedy(),
        max_tokens: Some(max_tokens),
        keep: true,
        ..Request::new(prompt.to_vec())
    }
}

/// Reads an answer that ends as it should.
fn read(events: Events) -> (Vec<TokenId>, Usage) {
    let mut ids = Vec::new();
    for event in events {
        match event {
            Event::Token { id, .. } => ids.push(id),
            Event::Finished { usage, .. } => return (ids, usage),
            Event::Failed(fault) => panic!("{fault}"),
            _ => {}
        }
    }
    panic!("the events ended without an end");
}

/// Has an answer given, which is the one of nobody beside it, and says how much of the prompt was cached.
fn ask(engine: &Engine, request: Request) -> (RequestId, Vec<TokenId>, u32) {
    let want = alone(&toy(), &request).0;
    let events = engine.submit(request).unwrap();
    let id = events.request();
    let (ids, usage) = read(events);
    assert_eq!(ids, want);
    (id, ids, usage.cached)
}

fn binding() -> Binding {
    Binding::default().with("weights", "a toy")
}

fn bytes_of(saved: &SavedPlace) -> Vec<u8> {
    let mut bytes = Vec::new();
    saved.write(&mut bytes, &binding()).unwrap();
    bytes
}

fn read_back(mut bytes: &[u8]) -> Result<SavedPlace, SavedError> {
    let count = bytes.len() as u64;
    SavedPlace::read(&mut bytes, count, &binding())
}

#[test]
fn another_engine_goes_on_from_a_saved_place_as_its_own_would() {
    let (first, second) = (engine(), engine());
    let (id, answer, _) = ask(&first, asking(&[1; 30], 5));
    let saved = first.save(id).unwrap();
    assert_eq!(saved.tokens(), 34);
    // As another process would read it.
    let read = read_back(&bytes_of(&saved)).unwrap();
    assert_eq!(read, saved);
    second.load(read).unwrap();
    // Behind the answer, and from the end of the prompt before, where the answer is another one.
    let next = [&[1; 30][..], &answer, &[2, 3]].concat();
    for engine in [&first, &second] {
        assert_eq!(ask(engine, asking(&next, 3)).2, 34);
    }
    let third = engine();
    third.load(saved).unwrap();
    let other = [&[1; 29][..], &[2; 9]].concat();
    assert_eq!(ask(&third, asking(&other, 3)).2, 29);
}

/// Whatever was asked before, and whatever is asked then, the answer is the one of a fresh run.
#[test]
fn what_follows_a_saved_place_is_what_follows_it_anywhere() {
    let mut cached = 0;
    for seed in 0..60 {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let some = |rng: &mut ChaCha8Rng, prompt: Vec<TokenId>| Request {
            sampling: some_sampling(rng),
            drafts: below(rng, 5),
            ..asking(&prompt, 1 + below(rng, 9))
        };
        let mut ids = |count: u32| -> Vec<TokenId> { (0..count).map(|_| below(rng, 64)).collect() };
        let (mut prompt, more) = (ids(20), ids(6));
        let first = engine();
        let (id, answer, _) = ask(&first, some(rng, prompt.clone()));
        let saved = read_back(&bytes_of(&first.save(id).unwrap())).unwrap();
        let second = engine();
        second.load(saved).unwrap();
        prompt.extend(answer);
        prompt.truncate(prompt.len() - below(rng, 4) as usize);
        prompt.extend(more);
        cached += ask(&second, some(rng, prompt)).2;
    }
    assert!(cached > 60 * 10, "{cached}");
}

#[test]
fn media_are_found_again_by_their_keys() {
    media_are_found_again(Pace::AtHand);
    media_are_found_again(Pace::Asked);
    media_are_found_again(Pace::Threaded);
}

fn media_are_found_again(pace: Pace) {
    let rng = &mut ChaCha8Rng::seed_from_u64(3);
    let media: Vec<Media> = [vec![image(rng)], audio(rng, 16_000)].concat();
    let (mut at, mut spans) = (2, Vec::new());
    for (number, medium) in media.iter().enumerate() {
        let rows = medium.tokens();
        spans.push(MediaSpan {
            at,
            media: number,
            rows: 0..rows,
        });
        at += rows + 1;
    }
    let source = Arc::new(Source::new(media, pace));
    let request = |more: usize| Request {
        spans: spans.clone(),
        media: Some(Arc::clone(&source) as Arc<dyn MediaSource>),
        ..asking(&vec![1; at + more], 1)
    };
    let (first, second) = (engine(), engine());
    let (id, _, cached) = ask(&first, request(0));
    assert_eq!(cached, 0);
    let saved = read_back(&bytes_of(&first.save(id).unwrap())).unwrap();
    second.load(saved).unwrap();
    assert_eq!(ask(&second, request(4)).2 as usize, at);
}

#[test]
fn what_was_not_kept_or_has_been_taken_cannot_be_saved() {
    let capacity = Capacity {
        sequences: 1,
        ..toy().capacity
    };
    let decoder = ToyDecoder::new(Toy { capacity, ..toy() });
    let engine = Engine::spawn(Box::new(decoder), Limits::default());
    let passing = Request {
        keep: false,
        ..asking(&[1; 9], 1)
    };
    let gone = ask(&engine, passing).0;
    let is_gone = |id| matches!(engine.save(id), Err(PlaceError::Gone));
    assert!(is_gone(gone));
    let kept = ask(&engine, asking(&[1; 9], 1)).0;
    let saved = engine.save(kept).unwrap();
    // It may be saved again, as long as nobody needs its place.
    assert_eq!(engine.save(kept).unwrap(), saved);
    ask(&engine, asking(&[2; 9], 1));
    assert!(is_gone(kept));
    // And it takes the place of what was left longest ago.
    engine.load(saved).unwrap();
    assert_eq!(ask(&engine, asking(&[1; 12], 1)).2, 9);
}

#[test]
fn what_does_not_fit_the_decoder_is_refused_and_leaves_an_empty_place() {
    let first = engine();
    let id = ask(&first, asking(&[1; 30], 5)).0;
    let saved = first.save(id).unwrap();
    let capacity = Capacity {
        context: 33,
        sequences: 1,
        ..toy().capacity
    };
    let decoder = ToyDecoder::new(Toy { capacity, ..toy() });
    let short = Engine::spawn(Box::new(decoder), Limits::default());
    let error = short.load(saved.clone()).unwrap_err();
    assert_eq!(error.to_string(), "34 tokens, in a context of 33");
    // Rows that are none of the toy's.
    let decoder = Stubborn(ToyDecoder::new(toy()));
    let other = Engine::spawn(Box::new(decoder), Limits::default());
    let error = other.load(saved).unwrap_err();
    assert!(matches!(error, PlaceError::Decoder(_)), "{error}");
    assert_eq!(ask(&other, asking(&[1; 30], 2)).2, 0);
}

#[test]
fn an_engine_that_has_ended_says_so() {
    let toy = Toy {
        faults: [(0, ToyFault::Panic)].into(),
        ..toy()
    };
    let engine = Engine::spawn(Box::new(ToyDecoder::new(toy)), Limits::default());
    let events = engine.submit(asking(&[1; 9], 1)).unwrap();
    let id = events.request();
    assert!(matches!(events.last(), Some(Event::Failed(_))));
    let error = engine.save(id).unwrap_err();
    assert!(
        matches!(error, PlaceError::Refusal(Refusal::Ended { .. })),
        "{error}"
    );
}

#[test]
fn bytes_that_are_cut_or_changed_are_refused() {
    let engine = engine();
    let id = ask(&engine, asking(&[1, 2, 3, 4, 5, 6], 3)).0;
    let good = bytes_of(&engine.save(id).unwrap());
    assert!(read_back(&good).is_ok());
    for end in 0..good.len() {
        let error = read_back(&good[..end]).unwrap_err();
        let is_short = matches!(error, SavedError::Name | SavedError::Short { .. });
        assert!(is_short, "cut at {end}: {error}");
    }
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        read_back(&bytes).expect_err(&format!("{at} changed"));
    }
    let error = read_back(&[&good[..], &[0]].concat()).unwrap_err();
    assert_eq!(error.to_string(), "1 bytes stand behind its end");
    let mut bytes = good;
    *bytes.last_mut().unwrap() ^= 1;
    let error = read_back(&bytes).unwrap_err();
    assert!(matches!(error, SavedError::Checksum), "{error}");
}

/// What a decoder was asked for, one letter each.
type Log = Arc<Mutex<String>>;

/// A toy that is saved and loaded by a row at a time, and takes notes.
#[derive(Debug)]
struct Slow {
    toy: ToyDecoder,
    log: Log,
    /// What is loaded so far.
    rows: Vec<Vec<u8>>,
}

impl Slow {
    fn note(&self, letter: char) {
        self.log.lock().unwrap().push(letter);
    }

    /// A part of so many bytes, or, with a capital, all that there are.
    fn note_part(&self, letter: char, bytes: usize) {
        let is_bounded = bytes <= Limits::default().saved_bytes_max;
        self.note(if is_bounded {
            letter
        } else {
            letter.to_ascii_uppercase()
        });
    }
}

/// A toy that loads nothing.
#[derive(Debug)]
struct Stubborn(ToyDecoder);

/// The rest of a decoder, as the toy does it.
macro_rules! like_the_toy {
    ($toy:tt) => {
        fn capacity(&self) -> Capacity {
            self.$toy.capacity()
        }

        fn draft(&mut self, asks: &[DraftAsk]) -> Result<Vec<Vec<TokenId>>> {
            self.$toy.draft(asks)
        }

        fn rewind(&mut self, seq: SeqId, position: u32) {
            self.$toy.rewind(seq, position);
        }

        fn save(&mut self, seq: SeqId, extent: Extent) -> Result<SequenceState> {
            self.$toy.save(seq, extent)
        }

        fn forget(&mut self, seq: SeqId) {
            self.$toy.forget(seq);
        }

        fn attach(&mut self, media: &Media) -> Result<MediaId> {
            self.$toy.attach(media)
        }

        fn release(&mut self, media: MediaId) {
            self.$toy.release(media);
        }
    };
}

impl Decoder for Stubborn {
    like_the_toy!(0);

    fn step(&mut self, step: &Step) -> Result<Logits> {
        self.0.step(step)
    }

    fn load(&mut self, _: SeqId, _: &SequenceState) -> Result<()> {
        Err(Error::State)
    }
}

impl Decoder for Slow {
    like_the_toy!(toy);

    fn step(&mut self, step: &Step) -> Result<Logits> {
        self.note('.');
        self.toy.step(step)
    }

    fn save_more(&mut self, seq: SeqId, state: &mut SequenceState, bytes: usize) -> Result<bool> {
        self.note_part('s', bytes);
        let whole = self.toy.save(seq, Extent::Whole)?;
        let rows = whole.rows()[..=state.rows().len()].to_vec();
        let is_whole = rows.len() == whole.rows().len();
        *state = SequenceState::new(whole.position(), rows);
        Ok(is_whole)
    }

    fn load(&mut self, seq: SeqId, state: &SequenceState) -> Result<()> {
        self.toy.load(seq, state)
    }

    fn load_more(
        &mut self,
        seq: SeqId,
        state: &SequenceState,
        from: usize,
        bytes: usize,
    ) -> Result<Option<usize>> {
        self.note_part('l', bytes);
        self.rows.truncate(from);
        self.rows.push(state.rows()[from].clone());
        if self.rows.len() < state.rows().len() {
            return Ok(Some(from + 1));
        }
        let whole = SequenceState::new(state.position(), std::mem::take(&mut self.rows));
        self.toy.load(seq, &whole).map(|()| None)
    }
}

#[test]
fn between_two_parts_of_a_place_whoever_runs_takes_a_step() {
    /// Ids of an answer that does not end before it is stopped, and whose reader may be late.
    const MANY: usize = 1 << 20;

    let log = Log::default();
    let capacity = Capacity {
        context: MANY as u32,
        ..toy().capacity
    };
    let decoder = Slow {
        toy: ToyDecoder::new(Toy { capacity, ..toy() }),
        log: Arc::clone(&log),
        rows: Vec::new(),
    };
    let limits = Limits {
        unread_max: MANY,
        ..Limits::default()
    };
    let engine = Engine::spawn(Box::new(decoder), limits);
    let id = ask(&engine, asking(&[1; 20], 1)).0;
    let running = Request {
        sampling: Sampling::greedy(),
        ..Request::new(vec![2; 9])
    };
    let mut events = engine.submit(running).unwrap();
    let is_token = |event: &Event| matches!(event, Event::Token { .. });
    assert!(events.any(|event| is_token(&event)));
    log.lock().unwrap().clear();
    let saved = engine.save(id).unwrap();
    engine.load(saved).unwrap();
    let taken = log.lock().unwrap().clone();
    for part in ["s", "l"] {
        assert_eq!(taken.matches(part).count(), 20, "{taken}");
        assert!(!taken.contains(&part.repeat(2)), "{taken}");
    }
    // Nobody waits who has gone on meanwhile.
    events.canceller().cancel();
    assert!(matches!(
        events.last(),
        Some(Event::Finished {
            reason: Reason::Cancelled,
            ..
        })
    ));
    assert_eq!(ask(&engine, asking(&[1; 24], 1)).2, 20);
    // Where nobody runs, all of it may be saved at once.
    log.lock().unwrap().clear();
    let id = ask(&engine, asking(&[3; 20], 1)).0;
    engine.save(id).unwrap();
    assert!(log.lock().unwrap().ends_with(&"S".repeat(20)));
}
