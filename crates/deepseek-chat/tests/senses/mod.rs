//! Images and audio for decoders that have no encoders.

use deepseek_audio::{Audio, AudioConfig, Level, Pool};
use deepseek_chat::AudioSource;
use deepseek_vision::{Canvas, Image, VisionConfig};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;

/// How the toys of these tests look at images: no more than a few tokens each.
pub(crate) const VISION: VisionConfig = VisionConfig {
    layers: 1,
    hidden: 4,
    heads: 1,
    inner: 4,
    patch: 1,
    rope_theta: 1e4,
    downsample: 1,
    max_tokens: 12,
    min_pixels: 1,
    max_wh_ratio: None,
    out: 4,
};

/// How they listen: 25 tokens to a chunk of a second.
pub(crate) const AUDIO: AudioConfig = AudioConfig {
    layers: 1,
    hidden: 4,
    heads: 1,
    inner: 4,
    mels: 8,
    positions: 50,
    chunk_seconds: 1,
    pad_to_chunk: false,
    keep_padding_tokens: false,
    level: Level::Fixed(1.5),
    pool: Pool::Avg2,
    projector_bias: false,
    out: 4,
};

/// Some audio of so many samples.
pub(crate) fn audio(rng: &mut ChaCha8Rng, samples: usize) -> AudioSource {
    let wave: Vec<f32> = (0..samples)
        .map(|_| rng.next_u32() as f32 / u32::MAX as f32 - 0.5)
        .collect();
    let open = move || {
        let blocks: Vec<Vec<f32>> = wave.chunks(1000).map(<[f32]>::to_vec).collect();
        Ok(Audio::from_blocks(16_000, blocks.into_iter()))
    };
    AudioSource::new(AUDIO, open).unwrap()
}

/// Some image of a few pixels.
pub(crate) fn canvas(rng: &mut ChaCha8Rng) -> Canvas {
    let mut side = || 1 + rng.next_u32() as usize % 3;
    let (width, height) = (side(), side());
    let pixels = (0..width * height * 3)
        .map(|_| rng.next_u32() as u8)
        .collect();
    let image = Image::from_rgb(width, height, pixels);
    Canvas::new(&image, &VISION)
}
