//! Drafts change how many steps an answer takes, never what it is.

mod alone;

use std::time::Duration;

use alone::{alone, below, some_sampling};
use deepseek_engine::toy::{Toy, ToyDecoder};
use deepseek_engine::{Engine, Event, Limits, Reason, Request, Sampling, Usage};
use deepseek_model::{Capacity, TokenId};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

struct Outcome {
    ids: Vec<TokenId>,
    reason: Reason,
    usage: Usage,
    steps: u64,
}

fn run(toy: &Toy, limits: Limits, request: &Request) -> Outcome {
    let decoder = ToyDecoder::new(toy.clone());
    let tally = decoder.tally();
    let engine = Engine::spawn(Box::new(decoder), limits);
    let mut ids = Vec::new();
    let mut end = None;
    for event in engine.submit(request.clone()).unwrap() {
        match event {
            Event::Token { id, .. } => ids.push(id),
            Event::Finished { reason, usage } => end = Some((reason, usage)),
            Event::Failed(fault) => panic!("{fault}"),
            _ => {}
        }
    }
    engine.close(Duration::MAX).unwrap();
    let (reason, usage) = end.unwrap();
    Outcome {
        ids,
        reason,
        usage,
        steps: tally.steps(),
    }
}

fn greedy(max_tokens: u32, drafts: u32) -> Request {
    Request {
        max_tokens: Some(max_tokens),
        sampling: Sampling::greedy(),
        drafts,
        ..Request::new(vec![1, 2, 3])
    }
}

#[test]
fn with_drafts_and_without_the_ids_are_the_same() {
    for seed in 0..300 {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let capacity = Capacity {
            vocabulary: 4 + below(rng, 12),
            context: 8 + below(rng, 60),
            step_tokens: 1 + below(rng, 8),
            rewind: below(rng, 6),
            drafts: below(rng, 6),
            ..Toy::default().capacity
        };
        let toy = Toy {
            capacity,
            seed,
            drafts_right_percent: below(rng, 101),
            ..Toy::default()
        };
        let first = 0..u32::from(capacity.vocabulary > 4);
        let request = Request {
            spans: Vec::new(),
            media: None,
            prompt: (0..1 + below(rng, 7))
                .map(|_| below(rng, capacity.vocabulary))
                .collect(),
            max_tokens: Some(1 + below(rng, 40)),
            stop_ids: vec![below(rng, capacity.vocabulary)],
            never: vec![first],
            sampling: some_sampling(rng),
            constraint: None,
            logprobs: None,
            drafts: below(rng, 6),
            keep: false,
        };
        let limits = Limits {
            unread_max: 1 + below(rng, 8) as usize,
            ..Limits::default()
        };
        let outcome = run(&toy, limits, &request);
        let want = alone(&toy, &request);
        assert_eq!(
            (outcome.ids, outcome.reason),
            want,
            "seed {seed}: {request:?}"
        );
        // A step draws one id, and one more for each draft that is accepted; but for its last, the
        // steps of a prompt draw none.
        let prefill = (request.prompt.len() as u64).div_ceil(u64::from(capacity.step_tokens));
        let drawn = u64::from(outcome.usage.generated);
        let accepted = prefill - 1 + drawn - outcome.steps;
        let usage = outcome.usage;
        assert_eq!(
            u64::from(usage.accepted),
            accepted,
            "seed {seed}: {usage:?}"
        );
        assert!(usage.accepted <= usage.drafted, "seed {seed}: {usage:?}");
    }
}

#[test]
fn right_drafts_save_steps() {
    let toy = Toy {
        drafts_right_percent: 100,
        ..Toy::default()
    };
    let plain = run(&toy, Limits::default(), &greedy(31, 0));
    assert_eq!((plain.steps, plain.usage.drafted), (31, 0));
    // The prompt's step draws one id, each later step five.
    let fast = run(&toy, Limits::default(), &greedy(31, 4));
    assert_eq!(fast.ids, plain.ids);
    assert_eq!(
        (fast.steps, fast.usage.drafted, fast.usage.accepted),
        (7, 24, 24)
    );
}

#[test]
fn wrong_drafts_cost_no_ids_and_save_no_steps() {
    let toy = Toy {
        drafts_right_percent: 0,
        ..Toy::default()
    };
    let plain = run(&toy, Limits::default(), &greedy(31, 0));
    let outcome = run(&toy, Limits::default(), &greedy(31, 4));
    assert_eq!((outcome.ids, outcome.steps), (plain.ids, 31));
    assert_eq!(outcome.usage.accepted, 0);
    assert!(outcome.usage.drafted > 0);
}

#[test]
fn nothing_is_drafted_that_could_not_be_taken_back_sent_or_used() {
    let toy = |rewind, drafts| {
        let capacity = Capacity {
            rewind,
            drafts,
            ..Toy::default().capacity
        };
        Toy {
            capacity,
            drafts_right_percent: 100,
            ..Toy::default()
        }
    };
    let drafted = |toy: &Toy, limits, request: &Request| run(toy, limits, request).usage.drafted;
    let wide = Limits::default();
    assert_eq!(drafted(&toy(0, 4), wide, &greedy(11, 4)), 0);
    assert_eq!(drafted(&toy(4, 0), wide, &greedy(11, 4)), 0);
    // Five steps of two ids: one rewindable.
    assert_eq!(drafted(&toy(1, 4), wide, &greedy(11, 4)), 5);
    assert_eq!(
        drafted(
            &toy(4, 4),
            Limits {
                unread_max: 1,
                ..wide
            },
            &greedy(11, 4)
        ),
        0
    );
    // After the first id there is room for one more, which needs no draft.
    assert_eq!(drafted(&toy(4, 4), wide, &greedy(2, 4)), 0);
    assert_eq!(drafted(&toy(4, 4), wide, &greedy(3, 4)), 1);
}
