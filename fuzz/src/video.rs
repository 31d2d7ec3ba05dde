//! Reads bytes as a video, and looks at its first frames and all of its audio.

use deepseek_vision::VisionConfig;
use deepseek_vision::video::{Clip, Video, VideoConfig};

/// Blocks of frames that are looked at.
const SHOTS: usize = 8;

/// Whether the bytes were a good video, as far as its first frames go.
pub(crate) fn read(bytes: &[u8]) -> bool {
    let video = match Video::from_bytes(bytes) {
        Ok(video) => video,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    assert!(video.times().first() == Some(&0.0) && video.times().is_sorted());
    assert!(video.times().iter().all(|time| *time <= video.duration()));
    if let Some(track) = video.audio().expect("it is in memory") {
        assert!(track.rate() > 0);
        for block in track {
            let block = block.expect("it was walked through");
            assert!(!block.is_empty() && block.iter().all(|sample| sample.is_finite()));
        }
    }
    let config = VideoConfig::default();
    for shot in Clip::new(video, &VisionConfig::RELEASED, &config).take(SHOTS) {
        match shot {
            Ok(shot) => assert!(shot.grid().tokens() <= config.frame_max_tokens),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    true
}
