//! What media are, in short, to find a medium again in a later prompt.

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::sync::LazyLock;

use deepseek_engine::MediaKey;
use deepseek_model::Media;
use deepseek_vision::Canvas;

use crate::audio_source::AudioSource;

/// Drawn anew for every process: nobody can make two media that have one key.
static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// What makes keys.
pub(crate) fn hasher() -> DefaultHasher {
    SECRET.build_hasher()
}

/// Adds numbers, which say nothing of where they end.
pub(crate) fn add(hasher: &mut impl Hasher, numbers: &[f32]) {
    for number in numbers {
        hasher.write_u32(number.to_bits());
    }
}

/// The key of a medium, if it is of a kind that is known here.
pub(crate) fn of(media: &Media) -> Option<MediaKey> {
    let mut hasher = hasher();
    match media {
        Media::Image(canvas) => {
            0_u8.hash(&mut hasher);
            look(canvas, &mut hasher);
        }
        Media::Shot(shot) => {
            1_u8.hash(&mut hasher);
            for frame in &shot.frames {
                look(frame, &mut hasher);
            }
        }
        Media::Audio(chunk) => {
            2_u8.hash(&mut hasher);
            chunk.tokens.hash(&mut hasher);
            add(&mut hasher, chunk.features.data());
        }
        _ => return None,
    }
    Some(MediaKey(hasher.finish()))
}

/// The key of a chunk of audio.
pub(crate) fn of_chunk(audio: &AudioSource, number: usize) -> MediaKey {
    let mut hasher = hasher();
    (3_u8, audio.key(), number).hash(&mut hasher);
    MediaKey(hasher.finish())
}

fn look(canvas: &Canvas, hasher: &mut impl Hasher) {
    canvas.grid().patches.hash(hasher);
    canvas.rgb().hash(hasher);
}
