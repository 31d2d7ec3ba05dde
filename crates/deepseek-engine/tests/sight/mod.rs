//! Pictures for decoders that have no eyes.

use deepseek_model::Media;
use deepseek_vision::{Canvas, Picture, VisionShape};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;

/// How the toys of these tests look at pictures: no more than a few tokens each.
pub(crate) const VISION: VisionShape = VisionShape {
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

/// Some picture of a few pixels.
pub(crate) fn picture(rng: &mut ChaCha8Rng) -> Media {
    let mut side = || 1 + rng.next_u32() as usize % 3;
    let (width, height) = (side(), side());
    let pixels = (0..width * height * 3)
        .map(|_| rng.next_u32() as u8)
        .collect();
    let picture = Picture::from_rgb(width, height, pixels);
    Media::Picture(Canvas::new(&picture, &VISION))
}
