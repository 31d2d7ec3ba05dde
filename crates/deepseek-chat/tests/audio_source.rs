//! Audio that is read while its prompt is run.

#[expect(dead_code, reason = "the others need its images")]
mod senses;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use deepseek_audio::Audio;
use deepseek_chat::{AudioSource, AudioSourceError, MediaItem, Prompt};
use deepseek_engine::toy::{Toy, ToyDecoder};
use deepseek_engine::{Engine, Event, Fault, Limits, MediaSource, Request, Sampling};
use deepseek_model::{Capacity, Media, Placeholders};
use deepseek_text::Tokenizer;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use senses::AUDIO;

fn prompt(items: &[MediaItem]) -> Prompt {
    let tokenizer = Tokenizer::parse(Tokenizer::tiny_json(300).unwrap().as_bytes()).unwrap();
    let mut prompt = Prompt::default();
    for item in items {
        let placeholders = Placeholders::default();
        prompt.push(&tokenizer, item, placeholders, 1).unwrap();
    }
    prompt
}

fn spawn() -> Engine {
    let capacity = Capacity {
        vocabulary: 300,
        audio: Some(AUDIO),
        ..Toy::default().capacity
    };
    let decoder = ToyDecoder::new(Toy {
        capacity,
        ..Toy::default()
    });
    Engine::spawn(Box::new(decoder), Limits::default())
}

/// The fault of a prompt, if it has one.
fn run(engine: &Engine, prompt: Prompt) -> Option<Fault> {
    let request = Request {
        spans: prompt.spans,
        media: Some(Arc::new(prompt.media)),
        max_tokens: Some(1),
        sampling: Sampling::greedy(),
        ..Request::new(prompt.ids)
    };
    engine
        .submit(request)
        .unwrap()
        .find_map(|event| match event {
            Event::Failed(fault) => Some(fault),
            _ => None,
        })
}

/// What the reader of audio says is what a prompt is told, be it that the file was changed between.
#[test]
fn audio_that_is_another_one_when_it_is_run_fails_its_request_alone() {
    // What is opened first is counted, what is opened next is run: samples, or none for an error.
    for (then, says) in [
        (Some(40_000 - 640), "chunk 2 has 12 tokens, 13 when"),
        (Some(40_000 + 640), "chunk 2 has 14 tokens, 13 when"),
        (Some(48_000 + 1), "chunk 2 has 26 tokens, 13 when"),
        (Some(32_000), "chunk 2 has 0 tokens, 13 when"),
        (None, "the file cannot be read"),
    ] {
        let opened = AtomicUsize::new(0);
        let open = move || {
            let samples = match opened.fetch_add(1, Ordering::AcqRel) {
                0 => Some(40_000),
                _ => then,
            };
            let blocks = std::iter::once(match samples {
                Some(samples) => Ok(vec![0.25; samples]),
                None => Err(io::Error::other("gone")),
            });
            Ok(Audio::from_track(16_000, blocks))
        };
        let item = MediaItem::audio(AudioSource::new(AUDIO, open).unwrap());
        let engine = spawn();
        let Some(Fault::Media { source, .. }) = run(&engine, prompt(&[item])) else {
            panic!("{says}: no fault of a medium");
        };
        let error = source.downcast_ref::<AudioSourceError>();
        let error = error.expect("audio said it").to_string();
        assert!(error.contains(says), "{error}");
        let plain = Prompt {
            ids: vec![1],
            ..Prompt::default()
        };
        assert!(run(&engine, plain).is_none());
        engine.close(Duration::MAX).unwrap();
    }
}

/// All chunks from number `first` on, by the stream that the engine reads.
fn streamed(prompt: &Prompt, first: usize) -> Vec<Arc<Media>> {
    let mut stream = prompt.media.open(first);
    let mut context = Context::from_waker(Waker::noop());
    let mut media = Vec::new();
    loop {
        match stream.as_mut().poll_next(&mut context) {
            Poll::Ready(Some(given)) => media.push(given.unwrap()),
            Poll::Ready(None) => return media,
            Poll::Pending => std::thread::yield_now(),
        }
    }
}

#[test]
fn the_media_of_a_prompt_are_the_same_from_wherever_they_are_read() {
    let rng = &mut ChaCha8Rng::seed_from_u64(5);
    let items = [50_000, 20_000].map(|samples| MediaItem::audio(senses::audio(rng, samples)));
    let prompt = prompt(&items);
    let mut all = Vec::new();
    let shown = prompt.media.each(|media| {
        all.push(Arc::new(media.clone()));
        Ok::<_, AudioSourceError>(())
    });
    shown.unwrap();
    assert_eq!(all.len(), 6);
    for first in 0..=6 {
        assert_eq!(streamed(&prompt, first), all[first..], "from {first} on");
    }
}
