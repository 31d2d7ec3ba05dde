//! What a request yields with nobody beside it, worked out one token at a time without an engine.

use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};

use deepseek_engine::toy::{Toy, ToyDecoder};
use deepseek_engine::{MediaSpan, Reason, Request, Sampler, Sampling, SamplingOptions};
use deepseek_model::{Capacity, Decoder, Insert, MediaId, SeqId, Span, Step, TokenId, Want};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;

/// The ids of the whole answer, and how it ends.
pub(crate) fn alone(toy: &Toy, request: &Request) -> (Vec<TokenId>, Reason) {
    let capacity = Capacity {
        sequences: 1,
        step_tokens: 1,
        ..toy.capacity
    };
    let mut decoder = ToyDecoder::new(Toy {
        capacity,
        faults: BTreeMap::new(),
        ..toy.clone()
    });
    let is_media = |at: usize| {
        let within = |span: &&MediaSpan| span.places().contains(&at);
        request.spans.iter().find(within)
    };
    let words: Vec<TokenId> = (0..request.prompt.len())
        .filter(|at| is_media(*at).is_none())
        .map(|at| request.prompt[at])
        .collect();
    let placeholders = toy.capacity.placeholders.iter();
    let asked = request.never.iter().cloned().flatten();
    let asked = asked.filter(|id| !request.stop_ids.contains(id));
    let never = placeholders.chain(asked).map(|id| id..id + 1).collect();
    let mut sampler = Sampler::new(request.sampling, &words).never(never);
    let seen = attach(&mut decoder, request);
    let mut ids = request.prompt.clone();
    let mut at = 0;
    loop {
        let span = Span {
            seq: SeqId(0),
            at,
            tokens: vec![ids[at as usize]],
            media: is_media(at as usize)
                .map(|span| Insert {
                    media: seen[span.media],
                    tokens: 0..1,
                    from: span.rows.start + at as usize - span.at,
                })
                .into_iter()
                .collect(),
            want: Want::Last,
        };
        let row = decoder
            .step(&Step { spans: vec![span] })
            .unwrap()
            .into_values();
        at += 1;
        if (at as usize) < ids.len() {
            continue;
        }
        let id = sampler.draw(&row, at).unwrap();
        let answer = |ids: &[TokenId]| ids[request.prompt.len()..].to_vec();
        if request.stop_ids.contains(&id) {
            return (answer(&ids), Reason::Stop);
        }
        ids.push(id);
        let drawn = ids.len() - request.prompt.len();
        if request.max_tokens.is_some_and(|max| drawn == max as usize) {
            return (answer(&ids), Reason::Length);
        }
        if ids.len() == capacity.context as usize {
            return (answer(&ids), Reason::Context);
        }
    }
}

/// Has the decoder take in all media of a request.
fn attach(decoder: &mut ToyDecoder, request: &Request) -> Vec<MediaId> {
    let Some(source) = &request.media else {
        return Vec::new();
    };
    let mut stream = source.open(0);
    let mut context = Context::from_waker(Waker::noop());
    let mut media = Vec::new();
    while media.len() < source.shapes().len() {
        match stream.as_mut().poll_next(&mut context) {
            Poll::Ready(Some(given)) => media.push(decoder.attach(&given.unwrap()).unwrap()),
            Poll::Ready(None) => panic!("media are missing"),
            Poll::Pending => std::thread::yield_now(),
        }
    }
    media
}

/// A number below `bound`.
pub(crate) fn below(rng: &mut ChaCha8Rng, bound: u32) -> u32 {
    rng.next_u32() % bound
}

/// Some way of sampling, greedy in one case of three.
pub(crate) fn some_sampling(rng: &mut ChaCha8Rng) -> Sampling {
    let options = SamplingOptions {
        temperature: [0.0, 0.7, 1.5][below(rng, 3) as usize],
        top_k: [0, 5][below(rng, 2) as usize],
        top_p: [1.0, 0.8][below(rng, 2) as usize],
        min_p: [0.0, 0.1][below(rng, 2) as usize],
        repetition_penalty: [1.0, 1.3][below(rng, 2) as usize],
        frequency_penalty: [0.0, 0.5][below(rng, 2) as usize],
        presence_penalty: [0.0, -0.5][below(rng, 2) as usize],
        seed: rng.next_u64(),
    };
    Sampling::new(options).unwrap()
}
