//! How many chunks and tokens audio has, and where they stand in time.

mod common;

use common::{SMALL, noise};
use deepseek_audio::{Audio, AudioConfig, AudioError, Chunk, Chunks, Level, Place, Pool};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn chunks(shape: &AudioConfig, samples: usize) -> Vec<Chunk> {
    // Silence in blocks of an odd size.
    let open = || {
        let blocks = (0..samples).step_by(977);
        let blocks = blocks.map(move |first| vec![0.0; 977.min(samples - first)]);
        Ok(Audio::from_blocks(16_000, blocks))
    };
    let chunks = Chunks::new(shape, open).expect("audio");
    chunks.map(|chunk| chunk.expect("a chunk")).collect()
}

#[test]
fn every_moment_has_one_token() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    for pool in [Pool::Stack4, Pool::Avg2, Pool::Stack8] {
        for pad_to_chunk in [true, false] {
            for level in [Level::Chunk, Level::Fixed(1.5)] {
                let shape = AudioConfig {
                    // 64,000 samples are a whole number of every kind of token.
                    chunk_seconds: 4,
                    pad_to_chunk,
                    pool,
                    level,
                    ..SMALL
                };
                let each = pool.samples();
                let edges = [1, each - 1, each, each + 1, 63_999, 64_000, 64_001, 128_000];
                let drawn: Vec<usize> = (0..3).map(|_| rng.random_range(1..200_000)).collect();
                for samples in edges.into_iter().chain(drawn) {
                    check(&shape, samples);
                }
            }
        }
    }
}

/// Tokens are as many as the grid of time asks for; chunks begin where the one before ended.
#[track_caller]
fn check(shape: &AudioConfig, samples: usize) {
    let each = shape.pool.samples();
    let got = chunks(shape, samples);
    let tokens: usize = got.iter().map(|chunk| chunk.tokens).sum();
    assert_eq!(
        tokens,
        samples.div_ceil(each),
        "{samples} samples, {shape:?}"
    );
    assert_eq!(tokens as u64, shape.tokens(samples as u64));
    assert_eq!(got.len(), samples.div_ceil(shape.chunk_samples()));
    let mut before = 0;
    for (index, chunk) in got.iter().enumerate() {
        assert_eq!(chunk.start * 16_000, before * each);
        before += chunk.tokens;
        let is_last = index + 1 == got.len();
        let frames = chunk.features.shape()[0];
        let whole = shape.chunk_samples() / 160;
        if is_last && !shape.pad_to_chunk {
            assert_eq!(frames * 160, chunk.tokens * each);
        } else {
            assert_eq!(frames, whole);
        }
        let layout: Vec<_> = chunk.layout().collect();
        assert_eq!(layout.len(), chunk.tokens + 2);
        assert_eq!(layout.first(), Some(&Place::Start));
        assert_eq!(layout.last(), Some(&Place::End));
    }
}

#[test]
fn labels_stand_before_the_chunks_of_a_longer_audio() {
    let shape = AudioConfig {
        pad_to_chunk: false,
        ..SMALL
    };
    let labels = |seconds: usize| -> Vec<_> {
        let chunks = chunks(&shape, seconds * 16_000);
        chunks.into_iter().map(|chunk| chunk.label).collect()
    };
    assert_eq!(labels(1), [None]);
    assert_eq!(labels(30), [None]);
    let want = ["<00:00>", "<00:30>", "<01:00>"].map(|label| Some(label.to_owned()));
    assert_eq!(labels(61), want);
    let last = labels(101 * 60).pop().flatten();
    assert_eq!(last.as_deref(), Some("<100:30>"));
}

#[test]
fn tokens_of_the_silence_are_kept_where_the_model_wants_them() {
    let shape = AudioConfig {
        keep_padding_tokens: true,
        chunk_seconds: 10,
        ..SMALL
    };
    let got = chunks(&shape, 11 * 16_000);
    assert_eq!(
        got.iter().map(|chunk| chunk.tokens).collect::<Vec<_>>(),
        [125, 125]
    );
    assert_eq!(shape.tokens(11 * 16_000), 250);
}

#[test]
fn a_stream_at_a_fixed_level_gives_what_its_chunks_give() {
    let shape = AudioConfig {
        level: Level::Fixed(1.5),
        chunk_seconds: 2,
        pad_to_chunk: false,
        ..SMALL
    };
    let samples = noise(80_000, 0.3);
    let of = |samples: &[f32]| -> Vec<Chunk> {
        let open = || {
            Ok(Audio::from_blocks(
                16_000,
                std::iter::once(samples.to_vec()),
            ))
        };
        let chunks = Chunks::new(&shape, open).expect("audio");
        chunks.map(|chunk| chunk.expect("a chunk")).collect()
    };
    let whole = of(&samples);
    for (chunk, piece) in whole.iter().zip(samples.chunks(32_000)) {
        assert_eq!(chunk.features, of(piece)[0].features);
    }
}

#[test]
fn audio_of_no_samples_is_an_error_once() {
    for level in [Level::Chunk, Level::Clip] {
        let shape = AudioConfig { level, ..SMALL };
        let open = || Ok(Audio::from_blocks(44_100, std::iter::empty()));
        let mut chunks = match Chunks::new(&shape, open) {
            Err(AudioError::NoSamples) => continue,
            chunks => chunks.expect("read when asked for"),
        };
        assert!(matches!(chunks.next(), Some(Err(AudioError::NoSamples))));
        assert!(chunks.next().is_none());
    }
}
