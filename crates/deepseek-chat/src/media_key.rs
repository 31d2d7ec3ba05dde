//! What media are, in short, to find a medium again in a later prompt, be it of a later process.
//!
//! Whoever could make two media that have one key would be shown the answer to another's: so a key is a
//! cryptographic hash of all that the encoder is given.

use deepseek_engine::MediaKey;
use deepseek_model::Media;
use deepseek_vision::Canvas;
use sha2::{Digest, Sha256};

use crate::audio_source::AudioSource;

/// Numbers that are hashed at a time.
const NUMBERS_AT_ONCE: usize = 1 << 10;

/// What makes keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    /// Adds numbers, which say nothing of where they end.
    pub(crate) fn numbers(&mut self, numbers: &[f32]) {
        let mut bytes = Vec::with_capacity(4 * NUMBERS_AT_ONCE.min(numbers.len()));
        for numbers in numbers.chunks(NUMBERS_AT_ONCE) {
            bytes.clear();
            bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            self.0.update(&bytes);
        }
    }

    /// Adds numbers of things.
    fn counts(&mut self, counts: &[usize]) {
        for count in counts {
            self.0.update((*count as u64).to_le_bytes());
        }
    }

    fn look(&mut self, canvas: &Canvas) {
        self.counts(&canvas.grid().patches);
        self.counts(&[canvas.rgb().len()]);
        self.0.update(canvas.rgb());
    }

    pub(crate) fn finish(self) -> MediaKey {
        MediaKey(self.0.finalize().into())
    }
}

/// The key of a medium, if it is of a kind that is known here.
pub(crate) fn of(media: &Media) -> Option<MediaKey> {
    let mut hasher = Hasher::default();
    match media {
        Media::Image(canvas) => {
            hasher.counts(&[0]);
            hasher.look(canvas);
        }
        Media::Shot(shot) => {
            hasher.counts(&[1, shot.frames.len()]);
            for frame in &shot.frames {
                hasher.look(frame);
            }
        }
        Media::Audio(chunk) => {
            hasher.counts(&[2, chunk.tokens]);
            hasher.numbers(chunk.features.data());
        }
        _ => return None,
    }
    Some(hasher.finish())
}

/// The key of a chunk of audio.
pub(crate) fn of_chunk(audio: &AudioSource, number: usize) -> MediaKey {
    let mut hasher = Hasher::default();
    hasher.counts(&[3, number]);
    hasher.0.update(audio.key().0);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use deepseek_vision::{Image, VisionConfig};

    use super::*;

    const VISION: VisionConfig = VisionConfig {
        layers: 1,
        hidden: 4,
        heads: 1,
        inner: 4,
        patch: 1,
        rope_theta: 1e4,
        downsample: 1,
        max_tokens: 64,
        min_pixels: 1,
        max_wh_ratio: None,
        out: 4,
    };

    fn image(width: usize, height: usize, pixels: &[u8]) -> MediaKey {
        let image = Image::from_rgb(width, height, pixels.to_vec());
        of(&Media::Image(Canvas::new(&image, &VISION))).expect("an image has a key")
    }

    /// How the key of two pixels begins: the SHA-256 of the kind, the columns and rows of patches, and the number
    /// of bytes, eight bytes each, and of the pixels.
    const KEY: [u8; 4] = [177, 150, 68, 196];

    #[test]
    fn a_key_outlives_the_process() {
        let MediaKey(key) = image(2, 1, &[1, 2, 3, 4, 5, 6]);
        assert_eq!(key[..4], KEY);
    }

    #[test]
    fn other_pixels_and_the_same_in_another_shape_have_other_keys() {
        let pixels = [1, 2, 3, 4, 5, 6];
        let own = image(2, 1, &pixels);
        assert_eq!(own, image(2, 1, &pixels));
        assert_ne!(own, image(1, 2, &pixels));
        assert_ne!(own, image(2, 1, &[1, 2, 3, 4, 5, 7]));
    }
}
