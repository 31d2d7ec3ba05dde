//! The engine from outside: what readers see, whatever else happens.

mod alone;
mod senses;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::TryRecvError;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alone::{alone, below, some_sampling};
use deepseek_engine::toy::{Toy, ToyDecoder, ToyFault, ToyTally};
use deepseek_engine::{
    Constraint, ConstraintSource, Engine, Event, Events, Fault, Limits, MediaError, MediaShape,
    MediaSource, MediaSpan, MediaStream, Reason, Refusal, Request, Sampling, SamplingOptions,
    Usage,
};
use deepseek_model::{
    Capacity, Decoder, DraftAsk, Logits, Media, MediaId, Placeholders, SeqId, Step, TokenId,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use senses::{AUDIO, Pace, Source, VISION, audio, image};

fn spawn(toy: Toy, limits: Limits) -> (Engine, Arc<ToyTally>) {
    let decoder = ToyDecoder::new(toy);
    let tally = decoder.tally();
    (Engine::spawn(Box::new(decoder), limits), tally)
}

/// One place, one unread token: whoever is not read keeps the place.
fn narrow() -> (Toy, Limits) {
    let capacity = Capacity {
        sequences: 1,
        ..Toy::default().capacity
    };
    let limits = Limits {
        queue_max: 1,
        unread_max: 1,
        ..Limits::default()
    };
    (
        Toy {
            capacity,
            ..Toy::default()
        },
        limits,
    )
}

fn greedy(prompt: &[TokenId], max_tokens: u32) -> Request {
    Request {
        sampling: Sampling::greedy(),
        max_tokens: Some(max_tokens),
        ..Request::new(prompt.to_vec())
    }
}

fn broken(number: u64, fault: ToyFault) -> Toy {
    Toy {
        faults: BTreeMap::from([(number, fault)]),
        ..Toy::default()
    }
}

/// Reads to the end.
fn read(events: Events) -> (Vec<TokenId>, Result<(Reason, Usage), Fault>) {
    let mut ids = Vec::new();
    for event in events {
        match event {
            Event::Token { id, .. } => ids.push(id),
            Event::Finished { reason, usage } => return (ids, Ok((reason, usage))),
            Event::Failed(fault) => return (ids, Err(fault)),
            _ => {}
        }
    }
    panic!("the events ended without an end, after {ids:?}");
}

/// Waits for the first token, skipping the prompt's progress.
fn first(events: &mut Events) -> TokenId {
    events
        .find_map(|event| match event {
            Event::Token { id, .. } => Some(id),
            _ => None,
        })
        .expect("a token")
}

#[test]
fn a_request_yields_progress_then_tokens_then_its_end() {
    let capacity = Capacity {
        step_tokens: 4,
        ..Toy::default().capacity
    };
    let toy = Toy {
        capacity,
        ..Toy::default()
    };
    let (engine, _) = spawn(toy.clone(), Limits::default());
    let request = greedy(&[1, 2, 3, 4, 5, 6, 7], 3);
    let (want, _) = alone(&toy, &request);
    let mut stage = 0;
    let mut ids = Vec::new();
    for event in engine.submit(request).unwrap() {
        match event {
            Event::Prefill { done, total } => {
                assert_eq!((stage, total), (0, 7));
                assert!(done == 4 || done == 7, "{done}");
            }
            Event::Token { id, .. } => {
                stage = 1;
                ids.push(id);
            }
            Event::Finished { reason, usage } => {
                assert_eq!(
                    (reason, usage.prompt, usage.generated),
                    (Reason::Length, 7, 3)
                );
                stage = 2;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((stage, ids), (2, want));
}

#[test]
fn an_answer_ends_at_a_stop_id_and_does_not_show_it() {
    let (engine, _) = spawn(
        Toy {
            script: vec![5, 6, 7],
            ..Toy::default()
        },
        Limits::default(),
    );
    let request = Request {
        stop_ids: vec![9, 7],
        ..greedy(&[1], 100)
    };
    let (ids, end) = read(engine.submit(request).unwrap());
    let (reason, usage) = end.unwrap();
    assert_eq!(
        (ids, reason, usage.generated),
        (vec![5, 6], Reason::Stop, 3)
    );
}

#[test]
fn an_answer_ends_with_the_context() {
    let capacity = Capacity {
        context: 10,
        ..Toy::default().capacity
    };
    let (engine, _) = spawn(
        Toy {
            capacity,
            ..Toy::default()
        },
        Limits::default(),
    );
    for (prompt, most) in [(4, 6), (9, 1)] {
        let request = Request {
            max_tokens: None,
            ..greedy(&vec![1; prompt], 1)
        };
        let (ids, end) = read(engine.submit(request).unwrap());
        assert_eq!((ids.len(), end.unwrap().0), (most, Reason::Context));
    }
    let refusal = engine.submit(Request::new(vec![1; 10])).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::TooLong {
            tokens: 10,
            context: 10
        }
    );
}

#[test]
fn the_same_seed_gives_the_same_ids_in_any_company() {
    let toy = Toy::default();
    let request = Request {
        max_tokens: Some(20),
        drafts: 2,
        ..Request::new(vec![1, 2, 3])
    };
    let (want, _) = alone(&toy, &request);
    for company in 0..6 {
        let (engine, _) = spawn(toy.clone(), Limits::default());
        let others: Vec<Events> = (0..company)
            .map(|id| {
                engine
                    .submit(greedy(&vec![id; 5 + id as usize], 30))
                    .unwrap()
            })
            .collect();
        let (ids, _) = read(engine.submit(request.clone()).unwrap());
        assert_eq!(ids, want, "beside {company} others");
        drop(others);
    }
}

#[test]
fn a_dropped_request_gives_its_place_back() {
    let (toy, limits) = narrow();
    let (engine, tally) = spawn(toy, limits);
    let mut held = engine.submit(greedy(&[1], 500)).unwrap();
    first(&mut held);
    let next = engine.submit(greedy(&[2], 5)).unwrap();
    drop(held);
    let (ids, end) = read(next);
    assert_eq!((ids.len(), end.unwrap().0), (5, Reason::Length));
    engine.close(Duration::MAX).unwrap();
    assert_eq!(tally.sequences(), 0);
}

#[test]
fn a_cancelled_request_ends_and_says_so() {
    let (toy, limits) = narrow();
    let (engine, _) = spawn(toy, limits);
    let mut running = engine.submit(greedy(&[1], 500)).unwrap();
    first(&mut running);
    let waiting = engine.submit(greedy(&[1, 2], 500)).unwrap();
    waiting.canceller().cancel();
    let (ids, end) = read(waiting);
    let (reason, usage) = end.unwrap();
    assert_eq!((ids.len(), reason, usage.prompt), (0, Reason::Cancelled, 2));
    running.canceller().cancel();
    assert_eq!(read(running).1.unwrap().0, Reason::Cancelled);
}

#[test]
fn a_full_queue_refuses_until_someone_leaves() {
    let (toy, limits) = narrow();
    let (engine, _) = spawn(toy, limits);
    let mut held = engine.submit(greedy(&[1], 500)).unwrap();
    first(&mut held);
    let waiting = engine.submit(greedy(&[2], 3)).unwrap();
    let refusal = engine.submit(greedy(&[3], 3)).unwrap_err();
    assert_eq!(refusal, Refusal::Busy { waiting: 1 });
    waiting.canceller().cancel();
    read(waiting).1.unwrap();
    let waiting = engine.submit(greedy(&[3], 3)).unwrap();
    drop(held);
    assert_eq!(read(waiting).0.len(), 3);
}

#[test]
fn a_slow_reader_is_paused_and_holds_up_nobody() {
    let limits = Limits {
        unread_max: 3,
        ..Limits::default()
    };
    let toy = Toy::default();
    let (engine, tally) = spawn(toy.clone(), limits);
    let request = greedy(&[1], 50);
    let mut slow = engine.submit(request.clone()).unwrap();
    let head = first(&mut slow);
    let (ids, _) = read(engine.submit(greedy(&[2], 40)).unwrap());
    assert_eq!(ids.len(), 40);
    // The slow one has had at most its first token, those unread and the prompt's step.
    assert!(tally.tokens() <= 40 + 5, "{} tokens", tally.tokens());
    let (tail, end) = read(slow);
    assert_eq!([vec![head], tail].concat(), alone(&toy, &request).0);
    assert_eq!(end.unwrap().1.generated, 50);
}

#[test]
fn a_long_prompt_does_not_stop_those_who_talk() {
    let capacity = Capacity {
        step_tokens: 3,
        ..Toy::default().capacity
    };
    let (engine, tally) = spawn(
        Toy {
            capacity,
            ..Toy::default()
        },
        Limits::default(),
    );
    let mut talker = engine.submit(greedy(&[1], 1000)).unwrap();
    first(&mut talker);
    let long = engine.submit(greedy(&vec![2; 600], 1)).unwrap();
    let (ids, _) = read(talker);
    assert_eq!(ids.len(), 999);
    // One token a step from the first to the last, whatever else a step holds.
    assert!(tally.steps() >= 1000);
    assert_eq!(read(long).0.len(), 1);
}

#[test]
fn a_failed_step_fails_its_requests_and_no_others() {
    let (engine, tally) = spawn(broken(3, ToyFault::Error), Limits::default());
    let (ids, end) = read(engine.submit(greedy(&[1], 10)).unwrap());
    assert_eq!(ids.len(), 3);
    assert!(matches!(end, Err(Fault::Decoder(_))), "{end:?}");
    let (ids, end) = read(engine.submit(greedy(&[1], 10)).unwrap());
    assert_eq!((ids.len(), end.unwrap().0), (10, Reason::Length));
    engine.close(Duration::MAX).unwrap();
    assert_eq!(tally.sequences(), 0);
}

#[test]
fn a_failed_draft_fails_its_request() {
    let (engine, _) = spawn(broken(3, ToyFault::Draft), Limits::default());
    let request = Request {
        drafts: 1,
        ..greedy(&[1], 100)
    };
    let (ids, end) = read(engine.submit(request.clone()).unwrap());
    assert!((3..=5).contains(&ids.len()), "{ids:?}");
    assert!(matches!(end, Err(Fault::Decoder(_))), "{end:?}");
    assert!(read(engine.submit(request).unwrap()).1.is_ok());
}

#[test]
fn all_who_draft_draft_in_one_batch_a_step() {
    let (engine, tally) = spawn(Toy::default(), Limits::default());
    let ask = |id| Request {
        drafts: 2,
        ..greedy(&[id; 3], 40)
    };
    let open: Vec<_> = (1..5).map(|id| engine.submit(ask(id)).unwrap()).collect();
    for events in open {
        assert!(read(events).1.unwrap().1.drafted > 0);
    }
    // Four sequences, of which each is in nearly every step.
    assert!(0 < tally.drafts() && tally.drafts() <= tally.steps());
}

#[test]
fn logits_that_are_no_numbers_fail_their_request() {
    for sampling in [Sampling::greedy(), Sampling::default()] {
        let (engine, _) = spawn(broken(2, ToyFault::NotANumber), Limits::default());
        let request = Request {
            sampling,
            ..greedy(&[1], 10)
        };
        let (ids, end) = read(engine.submit(request).unwrap());
        assert_eq!(ids.len(), 2);
        assert!(
            matches!(end, Err(Fault::NotANumber { position: 3 })),
            "{end:?}"
        );
    }
}

#[test]
fn a_panic_of_the_decoder_ends_everything_and_says_so() {
    let (mut toy, mut limits) = narrow();
    toy.faults.insert(4, ToyFault::Panic);
    limits.queue_max = 2;
    let (engine, _) = spawn(toy, limits);
    let mut running = engine.submit(greedy(&[1], 10)).unwrap();
    first(&mut running);
    let waiting = engine.submit(greedy(&[2], 10)).unwrap();
    for (events, count) in [(running, 3), (waiting, 0)] {
        let (ids, end) = read(events);
        assert_eq!(ids.len(), count);
        let Err(Fault::Panicked { message }) = end else {
            panic!("{end:?}")
        };
        assert!(message.contains("told to panic in step 4"), "{message}");
    }
    let refusal = engine.submit(greedy(&[1], 1)).unwrap_err();
    assert!(matches!(refusal, Refusal::Ended { .. }), "{refusal}");
    assert!(matches!(
        engine.close(Duration::ZERO),
        Err(Fault::Panicked { .. })
    ));
}

#[test]
fn closing_lets_finish_what_was_taken() {
    let toy = Toy::default();
    let (engine, tally) = spawn(toy.clone(), Limits::default());
    let requests: Vec<Request> = (1..9).map(|id| greedy(&[id], 30)).collect();
    let all: Vec<Events> = requests
        .iter()
        .map(|request| engine.submit(request.clone()).unwrap())
        .collect();
    engine.close(Duration::MAX).unwrap();
    assert_eq!(tally.sequences(), 0);
    for (request, events) in requests.iter().zip(all) {
        let (ids, end) = read(events);
        assert_eq!(ids, alone(&toy, request).0);
        assert_eq!(end.unwrap().0, Reason::Length);
    }
}

#[test]
fn closing_at_once_fails_what_is_left() {
    for drop_only in [false, true] {
        let (toy, limits) = narrow();
        let (engine, _) = spawn(toy, limits);
        let mut running = engine.submit(greedy(&[1], 100)).unwrap();
        first(&mut running);
        let waiting = engine.submit(greedy(&[2], 100)).unwrap();
        if drop_only {
            drop(engine);
        } else {
            engine.close(Duration::ZERO).unwrap();
        }
        for events in [running, waiting] {
            assert!(matches!(read(events).1, Err(Fault::Closed)));
        }
    }
}

#[test]
fn an_idle_engine_closes() {
    let (engine, tally) = spawn(Toy::default(), Limits::default());
    engine.close(Duration::MAX).unwrap();
    assert_eq!(tally.steps(), 0);
}

/// A request that is being read.
struct Reading {
    events: Events,
    ids: Vec<TokenId>,
    /// What it yields alone, and how that ends.
    alone: (Vec<TokenId>, Reason),
}

/// One life of an engine with random requests, readers, cancels and faults. Whatever was read of a
/// request is what it yields alone: all of it if it finished, a beginning if it did not.
///
/// Answers how many ids of prompts were not run, because they stood there.
fn swarm(seed: u64) -> u32 {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let capacity = Capacity {
        vocabulary: 8 + below(rng, 24),
        context: 8 + below(rng, 120),
        sequences: 1 + below(rng, 4),
        step_tokens: 1 + below(rng, 12),
        rewind: below(rng, 4),
        drafts: below(rng, 4),
        vision: (below(rng, 2) == 0).then_some(VISION),
        audio: (below(rng, 2) == 0).then_some(AUDIO),
        placeholders: Placeholders {
            image: Some(7),
            audio: (below(rng, 2) == 0).then_some(6),
            video: None,
        },
    };
    let mut faults = BTreeMap::new();
    let kinds = [
        ToyFault::Error,
        ToyFault::NotANumber,
        ToyFault::Draft,
        ToyFault::Error,
        ToyFault::Panic,
    ];
    for _ in 0..[0, 0, 1, 3][below(rng, 4) as usize] {
        let kind = kinds[below(rng, 5) as usize];
        faults.insert(u64::from(below(rng, 60)), kind);
    }
    let drafts_right_percent = below(rng, 101);
    let toy = Toy {
        capacity,
        seed,
        faults,
        drafts_right_percent,
        ..Toy::default()
    };
    let limits = Limits {
        queue_max: 1 + below(rng, 4) as usize,
        unread_max: 1 + below(rng, 5) as usize,
        ..Limits::default()
    };
    let may_panic = toy.faults.values().any(|&fault| fault == ToyFault::Panic);
    let (engine, tally) = spawn(toy.clone(), limits);

    let mut requests: Vec<Request> = Vec::new();
    for _ in 0..10 {
        let request = match requests.last() {
            Some(last) if below(rng, 2) == 0 => some_later_request(rng, &toy, last),
            _ => some_request(rng, &capacity),
        };
        requests.push(request);
    }
    requests.reverse();
    let (keeps, mut cached) = (requests.iter().any(|request| request.keep), 0);
    let mut open: Vec<Reading> = Vec::new();
    while !(requests.is_empty() && open.is_empty()) {
        if let Some(request) = requests.pop_if(|_| open.is_empty() || below(rng, 4) == 0) {
            match engine.submit(request.clone()) {
                Ok(events) => open.push(Reading {
                    events,
                    ids: Vec::new(),
                    alone: alone(&toy, &request),
                }),
                Err(Refusal::Busy { .. }) => requests.push(request),
                Err(Refusal::TooLong { tokens, .. }) => {
                    assert!(tokens >= capacity.context as usize, "seed {seed}");
                }
                Err(Refusal::Ended { .. }) => assert!(may_panic, "seed {seed}"),
                Err(refusal) => panic!("seed {seed}: {refusal}"),
            }
        }
        if open.is_empty() {
            continue;
        }
        let index = below(rng, open.len() as u32) as usize;
        // Waiting is safe as long as nobody who goes unread can have the place that is waited for.
        let may_wait = open.len() <= capacity.sequences.min(capacity.step_tokens) as usize;
        let Reading {
            events,
            ids,
            alone: (want, end),
        } = &mut open[index];
        let event = match below(rng, 20) {
            0 => Err(TryRecvError::Disconnected),
            1 => {
                events.canceller().cancel();
                Err(TryRecvError::Empty)
            }
            2..20 if may_wait => events.recv().ok_or(TryRecvError::Disconnected),
            _ => events.try_recv(),
        };
        match event {
            Ok(Event::Token { id, .. }) => {
                assert_eq!(want.get(ids.len()), Some(&id), "seed {seed}");
                ids.push(id);
            }
            Ok(Event::Finished { reason, usage }) => {
                if reason != Reason::Cancelled {
                    assert_eq!((&*ids, reason), (&*want, *end), "seed {seed}");
                    let stopped = u32::from(reason == Reason::Stop);
                    assert_eq!(usage.generated as usize, ids.len() + stopped as usize);
                }
                assert!(usage.accepted <= usage.drafted, "seed {seed}");
                assert!(usage.cached < usage.prompt, "seed {seed}");
                cached += usage.cached;
                open.swap_remove(index);
            }
            Ok(Event::Failed(fault)) => {
                assert!(!toy.faults.is_empty(), "seed {seed}: {fault}");
                open.swap_remove(index);
            }
            Ok(_) => {}
            Err(TryRecvError::Empty) => std::thread::yield_now(),
            Err(TryRecvError::Disconnected) => drop(open.swap_remove(index)),
        }
    }
    match engine.close(Duration::MAX) {
        Ok(()) => {
            assert_eq!(tally.media(), 0, "seed {seed}");
            assert!(keeps || tally.sequences() == 0, "seed {seed}");
        }
        Err(fault) => assert!(may_panic, "seed {seed}: {fault}"),
    }
    cached
}

/// A request that begins as another, or as that one and its answer.
fn some_later_request(rng: &mut ChaCha8Rng, toy: &Toy, last: &Request) -> Request {
    let mut request = Request {
        sampling: some_sampling(rng),
        keep: below(rng, 4) > 0,
        ..last.clone()
    };
    let context = toy.capacity.context as usize;
    if last.prompt.len() < context && below(rng, 3) > 0 {
        request.prompt.extend(alone(toy, last).0);
    }
    let cut = request.prompt.len() - below(rng, 5).min(request.prompt.len() as u32) as usize;
    let ends = request.spans.last().map_or(0, |last| last.places().end);
    request.prompt.truncate(cut.max(ends));
    let more = 1 + below(rng, 9);
    let more = (0..more).map(|_| below(rng, toy.capacity.vocabulary));
    request.prompt.extend(more);
    request
}

fn some_request(rng: &mut ChaCha8Rng, capacity: &Capacity) -> Request {
    // One prompt in a while is too long.
    let length = 1 + below(rng, capacity.context + 2).min(below(rng, capacity.context + 2));
    let (mut spans, mut media) = (Vec::new(), Vec::new());
    let mut free = 0;
    while below(rng, 3) > 0 {
        let all = match below(rng, 2) {
            0 if capacity.vision.is_some() => vec![image(rng)],
            1 if capacity.audio.is_some() => {
                // Up to three chunks, of which some are short.
                let samples = 1 + below(rng, 40_000) as usize;
                audio(rng, samples)
            }
            _ => continue,
        };
        let first = (spans.len(), media.len());
        for medium in all {
            // The whole of it, or a few runs of rows one behind the other.
            let (mut row, rows) = (0, medium.tokens());
            while row < rows {
                let end = rows.min(row + 1 + below(rng, 40) as usize);
                let at = free + below(rng, 3) as usize;
                spans.push(MediaSpan {
                    at,
                    media: media.len(),
                    rows: row..end,
                });
                free = at + (end - row);
                row = end;
            }
            media.push(medium);
        }
        if free > length as usize {
            spans.truncate(first.0);
            media.truncate(first.1);
            break;
        }
    }
    let pace = [Pace::AtHand, Pace::Asked, Pace::Threaded][below(rng, 3) as usize];
    Request {
        prompt: (0..length)
            .map(|_| below(rng, capacity.vocabulary))
            .collect(),
        spans,
        media: Some(Arc::new(Source::new(media, pace))),
        max_tokens: [None, Some(1 + below(rng, 12))][below(rng, 2) as usize],
        never: Vec::new(),
        stop_ids: (0..below(rng, 3))
            .map(|_| below(rng, capacity.vocabulary))
            .collect(),
        sampling: some_sampling(rng),
        constraint: None,
        logprobs: None,
        drafts: below(rng, 5),
        keep: below(rng, 2) == 0,
    }
}

#[test]
fn in_a_swarm_every_request_yields_what_it_yields_alone() {
    let cached: u32 = (0..400).map(swarm).sum();
    assert!(cached > 1000, "{cached}");
}

/// A conversation of prompts, each with what of it stood in the decoder, what was run of it, and its
/// answer of 5 ids.
fn kept(toy: &Toy, prompts: &[&[TokenId]]) -> Vec<(u32, u64, Vec<TokenId>)> {
    let (engine, tally) = spawn(toy.clone(), Limits::default());
    let ask = |prompt: &&[TokenId]| {
        let before = tally.tokens();
        let request = Request {
            keep: true,
            ..greedy(prompt, 5)
        };
        let want = alone(toy, &request).0;
        let (ids, end) = read(engine.submit(request).unwrap());
        assert_eq!(ids, want);
        (end.unwrap().1.cached, tally.tokens() - before, ids)
    };
    prompts.iter().map(ask).collect()
}

#[test]
fn a_prompt_goes_on_from_the_answer_before() {
    let toy = narrow().0;
    let first = &kept(&toy, &[&[1; 30]])[0];
    // The last id of an answer has not been run.
    assert_eq!((first.0, first.1), (0, 34));
    let second = [&[1; 30][..], &first.2, &[2, 3]].concat();
    let both = kept(&toy, &[&[1; 30], &second]);
    assert_eq!((both[1].0, both[1].1), (34, 3 + 4));
}

#[test]
fn a_prompt_without_the_answer_goes_on_from_the_prompt_before() {
    let toy = narrow().0;
    // The last id of the first prompt is another one in the second.
    let prompts = [&[1; 30][..], &[&[1; 29][..], &[2; 9]].concat()];
    let both = kept(&toy, &prompts);
    assert_eq!((both[1].0, both[1].1), (29, 9 + 4));
    // The same again, and one that has too little in common.
    let prompts = [&[1; 30][..], &[1; 30], &[&[1; 20][..], &[2; 9]].concat()];
    let all = kept(&toy, &prompts);
    assert_eq!((all[1].0, all[1].1), (29, 1 + 4));
    assert_eq!((all[2].0, all[2].1), (0, 29 + 4));
}

#[test]
fn a_place_goes_back_no_further_than_from_the_furthest_that_it_has_stood() {
    let toy = narrow().0;
    let (engine, _) = spawn(toy.clone(), Limits::default());
    let ask = |prompt: &[TokenId], most: u32| {
        let request = Request {
            keep: true,
            ..greedy(prompt, most)
        };
        let want = alone(&toy, &request).0;
        let (ids, end) = read(engine.submit(request).unwrap());
        assert_eq!(ids, want);
        (end.unwrap().1.cached, ids)
    };
    // To 34, back to 31 and on to 32; the toy objects to going back to 29 from there.
    let first = ask(&[1; 30], 5).1;
    let second = [&[1; 30][..], &first[..1], &[2]].concat();
    assert_eq!(ask(&second, 1).0, 31);
    assert_eq!(ask(&[&[1; 29][..], &[3; 5]].concat(), 1).0, 29);
}

#[test]
fn a_kept_place_is_there_for_whoever_needs_it() {
    let (toy, limits) = narrow();
    let (engine, tally) = spawn(toy.clone(), limits);
    let kept = Request {
        keep: true,
        ..greedy(&[1; 9], 1)
    };
    read(engine.submit(kept).unwrap()).1.unwrap();
    assert_eq!(tally.sequences(), 1);
    let other = greedy(&[2; 9], 1);
    let want = alone(&toy, &other).0;
    assert_eq!(read(engine.submit(other).unwrap()).0, want);
    // It was not to be kept.
    read(engine.submit(greedy(&[1; 9], 1)).unwrap()).1.unwrap();
    engine.close(Duration::MAX).unwrap();
    assert_eq!(tally.sequences(), 0);
}

#[test]
fn a_medium_is_read_once_by_a_conversation_and_another_medium_anew() {
    let (engine, tally) = spawn(sensing(), Limits::default());
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let seen = image(rng);
    let rows = seen.tokens();
    let source = Arc::new(Source::new(vec![seen], Pace::AtHand));
    let ask = |source: &Arc<Source>, more: usize| {
        let spans = vec![MediaSpan {
            at: 2,
            media: 0,
            rows: 0..rows,
        }];
        let request = Request {
            spans,
            media: Some(Arc::clone(source) as Arc<dyn MediaSource>),
            keep: true,
            ..greedy(&vec![1; 4 + rows + more], 1)
        };
        let want = alone(&sensing(), &request).0;
        let before = tally.tokens();
        let (ids, end) = read(engine.submit(request).unwrap());
        assert_eq!(ids, want);
        let run = (tally.tokens() - before) as usize;
        assert_eq!(run, 4 + rows + more - end.unwrap().1.cached as usize);
        run
    };
    assert_eq!(ask(&source, 0), 4 + rows);
    assert_eq!(ask(&source, 3), 3);
    // It may be another image of the same size.
    let other = Arc::new(Source::new(
        source
            .media
            .iter()
            .map(|media| Media::clone(media))
            .collect(),
        Pace::AtHand,
    ));
    assert_eq!(ask(&other, 6), 4 + rows + 6);
}

#[test]
fn a_prompt_that_goes_on_within_a_medium_waits_for_it() {
    let capacity = Capacity {
        rewind: 40,
        ..sensing().capacity
    };
    let toy = Toy {
        capacity,
        ..sensing()
    };
    let (engine, _) = spawn(toy.clone(), Limits::default());
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let heard = Source::new(audio(rng, 16_000), Pace::Asked);
    let ask = |between: TokenId| {
        let mut request = Request {
            keep: true,
            ..showing(&heard, &[(2, 0, 0..10), (13, 0, 10..25)])
        };
        request.prompt.truncate(40);
        request.prompt[12] = between;
        let want = alone(&toy, &request).0;
        let (ids, end) = read(engine.submit(request).unwrap());
        assert_eq!(ids, want);
        end.unwrap().1.cached
    };
    assert_eq!(ask(1), 0);
    // What differs lies between two runs of its rows.
    assert_eq!(ask(2), 12);
}

/// Media of so many rows each, named as `(at, media, rows)`.
fn showing(media: &Source, spans: &[(usize, usize, Range<usize>)]) -> Request {
    let span = |(at, media, rows): &(usize, usize, Range<usize>)| MediaSpan {
        at: *at,
        media: *media,
        rows: rows.clone(),
    };
    Request {
        spans: spans.iter().map(span).collect(),
        media: Some(Arc::new(media.clone())),
        ..greedy(&[1; 100], 1)
    }
}

/// A toy that looks and listens.
fn sensing() -> Toy {
    let capacity = Capacity {
        vision: Some(VISION),
        audio: Some(AUDIO),
        ..Toy::default().capacity
    };
    Toy {
        capacity,
        ..Toy::default()
    }
}

#[test]
fn a_medium_has_to_lie_in_the_prompt_of_a_model_with_an_encoder_for_it() {
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let image = Source::new(vec![image(rng), image(rng)], Pace::AtHand);
    let rows = image.shapes()[0].rows;
    let audio = Source::new(audio(rng, 40_000), Pace::AtHand);
    let (toy, _) = spawn(Toy::default(), Limits::default());
    let all = 0..rows;
    let refusal = toy.submit(showing(&image, &[(0, 0, all.clone())]));
    assert_eq!(refusal.unwrap_err(), Refusal::NoVision);
    let refusal = toy.submit(showing(&audio, &[(0, 0, 0..27)])).unwrap_err();
    assert_eq!(refusal, Refusal::NoAudio);
    assert!(refusal.to_string().contains("audio_config"), "{refusal}");

    let (engine, _) = spawn(sensing(), Limits::default());
    let taken = |source: &Source, spans: &[_]| engine.submit(showing(source, spans));
    taken(&image, &[(0, 0, all.clone()), (rows, 0, all.clone())]).unwrap();
    taken(
        &audio,
        &[
            (0, 0, 0..27),
            (30, 0, 3..5),
            (40, 1, 0..27),
            (70, 2, 0..15),
            (85, 0, 2..3),
        ],
    )
    .unwrap();
    let refused = |source: &Source, spans: &[_], field: &str| {
        let refusal = taken(source, spans).unwrap_err();
        assert!(
            matches!(&refusal, Refusal::Invalid(invalid) if invalid.field == field),
            "{spans:?}: {refusal}"
        );
    };
    refused(&image, &[(101 - rows, 0, all.clone())], "spans");
    refused(
        &image,
        &[(0, 0, all.clone()), (rows - 1, 0, all.clone())],
        "spans",
    );
    refused(&image, &[(usize::MAX, 0, all.clone())], "spans");
    refused(&image, &[(0, 0, 0..rows + 1)], "rows");
    refused(&image, &[(0, 0, 2..2)], "rows");
    refused(
        &audio,
        &[(0, 0, 0..27), (27, 1, 0..27), (54, 2, 0..16)],
        "rows",
    );
    refused(&image, &[(0, 1, all)], "media");
    refused(&audio, &[(0, 1, 0..27)], "media");
    refused(&audio, &[(0, 0, 0..27), (30, 2, 0..15)], "media");
    let none = Request {
        media: None,
        ..showing(&image, &[(0, 0, 0..1)])
    };
    let refusal = engine.submit(none).unwrap_err();
    assert!(matches!(&refusal, Refusal::Invalid(invalid) if invalid.field == "media"));
}

/// A source that breaks its word.
#[derive(Debug)]
struct Broken {
    shapes: Vec<MediaShape>,
    gives: Vec<Result<Arc<Media>, MediaError>>,
}

impl MediaSource for Broken {
    fn shapes(&self) -> &[MediaShape] {
        &self.shapes
    }

    fn open(&self, first: usize) -> MediaStream {
        Box::pin(Gives(self.gives[first..].iter().cloned().collect()))
    }
}

struct Gives(VecDeque<Result<Arc<Media>, MediaError>>);

impl futures_core::Stream for Gives {
    type Item = Result<Arc<Media>, MediaError>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.pop_front())
    }
}

#[test]
fn a_source_that_breaks_its_word_fails_its_request_alone() {
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let media: Vec<Arc<Media>> = audio(rng, 32_000).into_iter().map(Arc::new).collect();
    let short: Arc<Media> = Arc::new(audio(rng, 8_000).remove(0));
    let image = Arc::new(image(rng));
    let gone: MediaError = Arc::new(std::io::Error::other("gone"));
    let shapes: Vec<MediaShape> = media
        .iter()
        .map(|media| MediaShape::from(&**media))
        .collect();
    for (second, says) in [
        (Some(Err(gone)), "gone"),
        (Some(Ok(short)), "of 15 rows, "),
        (Some(Ok(image)), "an image of "),
        (None, "its source ended before it"),
    ] {
        let source = Broken {
            shapes: shapes.clone(),
            gives: [Ok(media[0].clone())].into_iter().chain(second).collect(),
        };
        let spans = (0..2).map(|number| MediaSpan {
            at: 27 * number,
            media: number,
            rows: 0..27,
        });
        let (engine, tally) = spawn(sensing(), Limits::default());
        let request = Request {
            spans: spans.collect(),
            media: Some(Arc::new(source)),
            ..greedy(&[1; 100], 1)
        };
        let (_, end) = read(engine.submit(request).unwrap());
        let Err(Fault::Media { source, .. }) = end else {
            panic!("{says}: {end:?}");
        };
        assert!(source.to_string().contains(says), "{source}");
        let (_, end) = read(engine.submit(greedy(&[1], 3)).unwrap());
        assert!(end.is_ok(), "{end:?}");
        engine.close(Duration::MAX).unwrap();
        assert_eq!((tally.sequences(), tally.media()), (0, 0));
    }
}

/// A decoder that writes down how many rows its encoders made before each step, and how many spans
/// the step had.
#[derive(Debug)]
struct Watched {
    toy: ToyDecoder,
    rows: usize,
    steps: Arc<Mutex<Vec<(usize, usize)>>>,
}

impl Decoder for Watched {
    fn capacity(&self) -> Capacity {
        self.toy.capacity()
    }

    fn step(&mut self, step: &Step) -> deepseek_model::Result<Logits> {
        let rows = std::mem::take(&mut self.rows);
        self.steps.lock().unwrap().push((rows, step.spans.len()));
        self.toy.step(step)
    }

    fn draft(&mut self, asks: &[DraftAsk]) -> deepseek_model::Result<Vec<Vec<TokenId>>> {
        self.toy.draft(asks)
    }

    fn rewind(&mut self, seq: SeqId, position: u32) {
        self.toy.rewind(seq, position);
    }

    fn forget(&mut self, seq: SeqId) {
        self.toy.forget(seq);
    }

    fn attach(&mut self, media: &Media) -> deepseek_model::Result<MediaId> {
        self.rows += media.tokens();
        self.toy.attach(media)
    }

    fn release(&mut self, media: MediaId) {
        self.toy.release(media);
    }
}

/// The images of a long video are encoded a few at a time while another request decodes, and as many
/// as a step takes while nobody does.
#[test]
fn a_long_video_stalls_no_one_who_decodes() {
    let rng = &mut ChaCha8Rng::seed_from_u64(4);
    let frames: Vec<Media> = (0..60).map(|_| image(rng)).collect();
    let largest = frames.iter().map(Media::tokens).max().unwrap();
    let total: usize = frames.iter().map(Media::tokens).sum();
    for (rows_max, pace) in [(0, Pace::AtHand), (20, Pace::AtHand), (20, Pace::Threaded)] {
        let capacity = Capacity {
            context: 1 << 24,
            step_tokens: 200,
            ..sensing().capacity
        };
        let steps = Arc::default();
        let watched = Watched {
            toy: ToyDecoder::new(Toy {
                capacity,
                ..sensing()
            }),
            rows: 0,
            steps: Arc::clone(&steps),
        };
        let limits = Limits {
            encoder_rows_max: rows_max,
            unread_max: 1 << 24,
            ..Limits::default()
        };
        let engine = Engine::spawn(Box::new(watched), limits);
        let mut at = 0;
        let spans = (0..).zip(&frames).map(|(number, frame)| {
            at += frame.tokens();
            MediaSpan {
                at: at - frame.tokens(),
                media: number,
                rows: 0..frame.tokens(),
            }
        });
        let video = Request {
            spans: spans.collect(),
            media: Some(Arc::new(Source::new(frames.clone(), pace))),
            ..greedy(&vec![1; total], 1)
        };
        // It talks until it is stopped, however slow the others are.
        let mut talker = engine.submit(greedy(&[1], 1 << 23)).unwrap();
        first(&mut talker);
        let (_, end) = read(engine.submit(video.clone()).unwrap());
        assert!(end.is_ok(), "{end:?}");
        talker.canceller().cancel();
        assert_eq!(read(talker).1.unwrap().0, Reason::Cancelled);
        let beside = std::mem::take(&mut *steps.lock().unwrap());
        assert_eq!(beside.iter().map(|(rows, _)| rows).sum::<usize>(), total);
        for (rows, spans) in &beside {
            assert!(*rows <= rows_max.max(largest), "{rows} rows at once");
            assert!(*rows == 0 || *spans == 2, "the talker is left out");
        }

        let (_, end) = read(engine.submit(video).unwrap());
        assert!(end.is_ok(), "{end:?}");
        let alone = steps.lock().unwrap();
        if pace == Pace::AtHand {
            assert_eq!(alone.len(), total.div_ceil(200), "as few steps as can be");
        }
    }
}

/// A waker that counts.
#[derive(Debug, Default)]
struct Count(AtomicUsize, Mutex<Option<std::thread::Thread>>);

impl std::task::Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::AcqRel);
        if let Some(thread) = &*self.1.lock().unwrap() {
            thread.unpark();
        }
    }
}

#[test]
fn events_are_a_stream_that_wakes_its_reader() {
    use futures_core::Stream;
    use std::task::{Context, Poll, Waker};

    let toy = Toy::default();
    let (engine, _) = spawn(toy.clone(), Limits::default());
    let request = greedy(&[1, 2, 3], 40);
    let (want, _) = alone(&toy, &request);
    let mut events = engine.submit(request).unwrap();
    let count = Arc::new(Count::default());
    *count.1.lock().unwrap() = Some(std::thread::current());
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    let (mut ids, mut waits, mut finished) = (Vec::new(), 0, false);
    loop {
        match Pin::new(&mut events).poll_next(&mut context) {
            Poll::Ready(Some(Event::Token { id, .. })) => ids.push(id),
            Poll::Ready(Some(Event::Finished { .. })) => finished = true,
            Poll::Ready(Some(_)) => {}
            Poll::Ready(None) => break,
            Poll::Pending => {
                waits += 1;
                // Nothing but the waker ends this wait.
                while count.0.load(Ordering::Acquire) < waits {
                    std::thread::park();
                }
            }
        }
    }
    assert_eq!((ids, finished), (want, true));
    assert_eq!(
        count.0.load(Ordering::Acquire),
        waits,
        "a wake for each wait"
    );
    assert!(matches!(
        Pin::new(&mut events).poll_next(&mut context),
        Poll::Ready(None)
    ));
}

#[test]
fn placeholders_are_never_drawn() {
    let capacity = Capacity {
        placeholders: Placeholders {
            image: Some(5),
            audio: Some(6),
            video: Some(7),
        },
        ..Toy::default().capacity
    };
    let toy = Toy {
        capacity,
        script: vec![5, 6, 7],
        ..Toy::default()
    };
    let (engine, _) = spawn(toy, Limits::default());
    for request in [
        greedy(&[1], 200),
        Request {
            sampling: Sampling::new(SamplingOptions::default()).unwrap(),
            drafts: 3,
            ..greedy(&[1], 200)
        },
    ] {
        let (ids, end) = read(engine.submit(request).unwrap());
        assert!(end.is_ok(), "{end:?}");
        assert!(
            ids.len() == 200 && ids.iter().all(|id| !(5..8).contains(id)),
            "{ids:?}"
        );
    }
}

#[test]
fn usage_tells_what_of_a_prompt_is_seen_and_heard() {
    let rng = &mut ChaCha8Rng::seed_from_u64(2);
    let capacity = Capacity {
        vision: Some(VISION),
        audio: Some(AUDIO),
        ..Toy::default().capacity
    };
    let (engine, _) = spawn(
        Toy {
            capacity,
            ..Toy::default()
        },
        Limits::default(),
    );
    let image = image(rng);
    let rows = image.tokens();
    let mut media = audio(rng, 16_000);
    media.insert(0, image);
    let span = |at, media, rows: Range<usize>| MediaSpan { at, media, rows };
    let request = Request {
        spans: vec![span(2, 0, 0..rows), span(20, 1, 0..1), span(21, 1, 3..10)],
        media: Some(Arc::new(Source::new(media, Pace::AtHand))),
        ..greedy(&[1; 40], 1)
    };
    let (_, end) = read(engine.submit(request).unwrap());
    let (_, usage) = end.unwrap();
    let counts = [usage.prompt, usage.image_tokens, usage.audio_tokens];
    assert_eq!(counts, [40, rows as u32, 8]);
}

/// Ids of this remainder by turns, and nothing at all after so many.
#[derive(Debug, Clone)]
struct Turns {
    of: TokenId,
    next: TokenId,
    left: usize,
}

impl ConstraintSource for Turns {
    fn begin(&self) -> Box<dyn Constraint> {
        Box::new(self.clone())
    }
}

impl Constraint for Turns {
    fn narrow(&mut self, allowed: &mut [u32]) {
        for (word, at) in allowed.iter_mut().zip((0..).step_by(32)) {
            for bit in 0..32 {
                if self.left == 0 || (at + bit) % self.of != self.next {
                    *word &= !(1 << bit);
                }
            }
        }
    }

    fn accept(&mut self, id: TokenId) {
        assert_eq!(id % self.of, self.next, "only what was allowed is drawn");
        (self.next, self.left) = ((self.next + 1) % self.of, self.left - 1);
    }
}

#[test]
fn a_constraint_decides_what_may_follow_with_drafts_and_without() {
    let (engine, _) = spawn(Toy::default(), Limits::default());
    let turns = Turns {
        of: 3,
        next: 0,
        left: 12,
    };
    let ask = |drafts, sampling| {
        let request = Request {
            constraint: Some(Arc::new(turns.clone())),
            drafts,
            sampling,
            ..greedy(&[1, 2], 12)
        };
        let (ids, end) = read(engine.submit(request).unwrap());
        assert_eq!(end.unwrap().0, Reason::Length);
        ids
    };
    for sampling in [Sampling::greedy(), Sampling::default()] {
        let ids = ask(0, sampling);
        assert_eq!(ids.len(), 12);
        let turns = ids.iter().map(|id| id % 3);
        assert!(turns.eq((0..12).map(|at| at % 3)), "{ids:?}");
        assert_eq!(ask(3, sampling), ids);
    }
}

#[test]
fn a_constraint_that_allows_nothing_is_a_fault_of_its_request() {
    let (engine, _) = spawn(Toy::default(), Limits::default());
    let turns = Turns {
        of: 1,
        next: 0,
        left: 2,
    };
    let request = Request {
        constraint: Some(Arc::new(turns)),
        ..greedy(&[1, 2], 12)
    };
    let (ids, end) = read(engine.submit(request).unwrap());
    assert!(
        matches!(end, Err(Fault::DeadEnd { position: 4 })),
        "{end:?}"
    );
    assert_eq!(ids.len(), 2);
    // The engine goes on.
    read(engine.submit(greedy(&[1, 2], 3)).unwrap()).1.unwrap();
}

#[test]
fn each_token_comes_with_its_probability_if_asked() {
    let (engine, _) = spawn(Toy::default(), Limits::default());
    let ask = |logprobs| {
        let request = Request {
            logprobs,
            ..greedy(&[1, 2], 6)
        };
        let events = engine.submit(request).unwrap();
        let tokens = events.filter_map(|event| match event {
            Event::Token { id, logprobs } => Some((id, logprobs)),
            _ => None,
        });
        tokens.collect::<Vec<_>>()
    };
    assert!(ask(None).iter().all(|(_, logprobs)| logprobs.is_none()));
    for (id, logprobs) in ask(Some(2)) {
        let logprobs = logprobs.unwrap();
        // The most likely was taken.
        assert_eq!(logprobs.top[0], (id, logprobs.drawn));
        assert!(logprobs.top.len() == 2 && logprobs.top[1].1 <= logprobs.drawn);
    }
    assert!(
        ask(Some(0))
            .iter()
            .all(|(_, own)| own.as_ref().is_some_and(|own| own.top.is_empty()))
    );
}
