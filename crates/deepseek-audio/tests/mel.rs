//! The features against the reference extractors'.

mod common;

use common::{SMALL, golden, near, noise, shard, tone};
use deepseek_audio::mel::LogMel;
use deepseek_audio::{Audio, AudioConfig, Chunk, Chunks, Level};

/// What the page asks for.
const TOLERANCE: f32 = 2e-5;

fn speech() -> Vec<f32> {
    golden(&shard("resample.safetensors"), "speech")
}

fn waves() -> [(&'static str, Vec<f32>); 4] {
    let mut speech = speech();
    speech.truncate(speech.len() / 1280 * 1280);
    [
        ("speech", speech),
        ("noise", noise(8000, 0.5)),
        ("tone", tone(1000.0, 16_000, 8000)),
        ("silence", vec![0.0; 8000]),
    ]
}

fn chunks(shape: &AudioConfig, samples: &[f32]) -> Vec<Chunk> {
    let open = || {
        Ok(Audio::from_blocks(
            16_000,
            std::iter::once(samples.to_vec()),
        ))
    };
    let chunks = Chunks::new(shape, open).expect("audio");
    chunks.map(|chunk| chunk.expect("a chunk")).collect()
}

fn joined(chunks: &[Chunk]) -> Vec<f32> {
    let data = chunks.iter().map(|chunk| chunk.features.data());
    data.collect::<Vec<_>>().concat()
}

#[test]
fn features_are_the_reference_extractors() {
    let golden_shard = shard("mel.safetensors");
    for (name, samples) in waves() {
        for mels in [80, 128] {
            let what = format!("{name}.{mels}");
            let got = LogMel::new(mels).features(&samples, None);
            assert_eq!(got.shape(), [samples.len() / 160, mels]);
            near(got.data(), &golden(&golden_shard, &what), TOLERANCE, &what);
        }
    }
}

#[test]
fn a_chunk_is_measured_against_itself() {
    let golden_shard = shard("mel.safetensors");
    let shape = AudioConfig {
        pad_to_chunk: false,
        ..SMALL
    };
    for (name, samples) in waves() {
        let samples = &samples[..samples.len() / 1280 * 1280];
        let want = LogMel::new(80).features(samples, None);
        let got = chunks(&shape, samples);
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].features, want, "{name}");
        if name == "speech" {
            let want = golden(&golden_shard, "speech.80");
            near(got[0].features.data(), &want, TOLERANCE, name);
        }
    }
}

#[test]
fn a_fixed_level_is_the_streaming_extractors() {
    let golden_shard = shard("mel.safetensors");
    let shape = AudioConfig {
        mels: 128,
        level: Level::Fixed(1.5),
        pad_to_chunk: false,
        ..SMALL
    };
    for (name, samples) in waves().into_iter().take(2) {
        let what = format!("fixed.{name}.128");
        let want = golden(&golden_shard, &what);
        let got = joined(&chunks(&shape, &samples));
        // The noise is no whole number of tokens: its last frames see the silence behind it.
        let whole = if name == "noise" {
            want.len() - 2 * 128
        } else {
            want.len()
        };
        near(&got[..whole], &want[..whole], TOLERANCE, &what);
    }
}

#[test]
fn the_features_of_a_clip_do_not_know_where_it_is_cut() {
    let shape = AudioConfig {
        level: Level::Clip,
        chunk_seconds: 2,
        ..SMALL
    };
    let got = chunks(&shape, &speech());
    assert_eq!(got.len(), 2);
    let want = golden(&shard("mel.safetensors"), "clip.80");
    near(&joined(&got), &want, TOLERANCE, "clip");
    // Chunk by chunk they would be others.
    let shape = AudioConfig {
        level: Level::Chunk,
        ..shape
    };
    let alone = joined(&chunks(&shape, &speech()));
    let apart = alone.iter().zip(&want).map(|(a, b)| (a - b).abs());
    assert!(apart.fold(0.0, f32::max) > 0.1);
}

#[test]
fn a_clip_whose_end_falls_into_a_margin_is_still_continuous() {
    // One chunk of two seconds, and a few samples more: all lie in the first chunk's margin.
    let shape = AudioConfig {
        level: Level::Clip,
        chunk_seconds: 2,
        pad_to_chunk: false,
        ..SMALL
    };
    for beyond in [1, 100, 199, 200, 201, 1280, 1281] {
        let mut samples = noise(32_000 + beyond, 0.5);
        let got = joined(&chunks(&shape, &samples));
        samples.resize(samples.len().next_multiple_of(1280), 0.0);
        let want = LogMel::new(80).features(&samples, None);
        near(&got, want.data(), 0.0, &format!("{beyond} beyond"));
    }
}

#[test]
fn silence_lies_at_its_floor() {
    let features = LogMel::new(128).features(&[0.0; 1600], None);
    assert!(features.data().iter().all(|x| *x == -1.5));
}
