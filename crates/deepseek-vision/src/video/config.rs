//! What a video may cost: how many frames, how many tokens each.

use crate::config::VisionConfig;
use crate::limits::{WATCHED_FRAMES_MAX, WATCHED_TOKENS_MAX};

/// Fewest tokens that a frame can have: a start, one cell, a line break, an end.
const FRAME_TOKENS_MIN: usize = 4;

/// The numbers by which a video is sampled and its frames are sized (`docs/models/audio-video.md`
/// §6.2, 6.3).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VideoConfig {
    /// Frames sampled a second.
    pub fps: f64,
    /// Fewest frames, if the video has them.
    pub min_frames: usize,
    /// Most frames.
    pub max_frames: usize,
    /// Most tokens of a frame.
    pub frame_max_tokens: usize,
    /// Tokens that a frame may have however many there are.
    pub frame_min_tokens: usize,
    /// Pixels below which a frame is enlarged.
    pub frame_min_pixels: usize,
    /// Tokens that all frames share, as long as each has `frame_min_tokens`.
    pub max_tokens: usize,
    /// Frames that become one block, their features averaged.
    pub temporal_merge: usize,
    /// Seconds of frames that stand before the audio of the same seconds.
    pub segment_seconds: f64,
}

impl Default for VideoConfig {
    fn default() -> Self {
        Self {
            fps: 2.0,
            min_frames: 4,
            max_frames: 512,
            frame_max_tokens: 128,
            frame_min_tokens: 16,
            frame_min_pixels: 336 * 336,
            max_tokens: 32_768,
            temporal_merge: 1,
            segment_seconds: 2.0,
        }
    }
}

/// A number of a [`VideoConfig`] that makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("video: {name} is {value}, want {want}")]
pub struct ConfigError {
    /// The number.
    pub name: &'static str,
    /// What it is.
    pub value: f64,
    /// What it may be.
    pub want: String,
}

/// A number of a [`VideoConfig`], to be read or set.
#[derive(Debug)]
pub enum Number<'a> {
    /// A rate or a time.
    Real(&'a mut f64),
    /// A count, and the most that it may be.
    Count(&'a mut usize, usize),
}

impl Number<'_> {
    /// Sets it.
    ///
    /// # Errors
    /// What it may be, if it may not be this.
    pub fn set(self, value: f64) -> Result<(), String> {
        match self {
            Self::Real(real) => *real = value,
            Self::Count(count, most) => {
                // Every whole number up to the most is a float.
                if value.fract() != 0.0 || !(1.0..=most as f64).contains(&value) {
                    return Err(format!("want a whole number from 1 to {most}"));
                }
                *count = value as usize;
            }
        }
        Ok(())
    }
}

impl VideoConfig {
    /// The numbers by their names in a `video_config`.
    pub fn numbers(&mut self) -> [(&'static str, Number<'_>); 9] {
        let frames = |count| Number::Count(count, WATCHED_FRAMES_MAX);
        let tokens = |count| Number::Count(count, WATCHED_TOKENS_MAX);
        [
            ("fps", Number::Real(&mut self.fps)),
            ("min_frames", frames(&mut self.min_frames)),
            ("max_frames", frames(&mut self.max_frames)),
            ("frame_max_tokens", tokens(&mut self.frame_max_tokens)),
            ("frame_min_tokens", tokens(&mut self.frame_min_tokens)),
            ("frame_min_pixels", tokens(&mut self.frame_min_pixels)),
            ("max_tokens", tokens(&mut self.max_tokens)),
            ("temporal_merge", frames(&mut self.temporal_merge)),
            ("segment_seconds", Number::Real(&mut self.segment_seconds)),
        ]
    }

    /// The number of a name, if there is one.
    pub fn number(&mut self, name: &str) -> Option<Number<'_>> {
        let mut numbers = self.numbers().into_iter();
        numbers.find_map(|(own, number)| (own == name).then_some(number))
    }

    /// Whether the numbers fit together. Everything that takes a config relies on it.
    ///
    /// # Errors
    /// [`ConfigError`] for the first one that does not.
    pub fn check(&self) -> Result<(), ConfigError> {
        let count = |name, value: usize, least: usize| {
            let want = format!("at least {least}");
            require(value >= least, name, value as f64, want)
        };
        let positive = |name, value: f64| {
            let is_positive = value.is_finite() && value > 0.0;
            require(is_positive, name, value, "a number above 0".to_owned())
        };
        positive("fps", self.fps)?;
        positive("segment_seconds", self.segment_seconds)?;
        count("min_frames", self.min_frames, 1)?;
        count("max_frames", self.max_frames, self.min_frames)?;
        count("frame_min_tokens", self.frame_min_tokens, FRAME_TOKENS_MIN)?;
        count(
            "frame_max_tokens",
            self.frame_max_tokens,
            self.frame_min_tokens,
        )?;
        count("frame_min_pixels", self.frame_min_pixels, 1)?;
        count("temporal_merge", self.temporal_merge, 1)
    }

    /// Most tokens of one of `frames` frames.
    ///
    /// # Panics
    /// If there are none, or the config does not pass [`VideoConfig::check`].
    #[must_use]
    pub fn cap(&self, frames: usize) -> usize {
        (self.max_tokens / frames).clamp(self.frame_min_tokens, self.frame_max_tokens)
    }

    /// What sizes one of `frames` frames: `vision` with fewer tokens, and no more pixels asked for
    /// than the largest square has that these tokens can show.
    ///
    /// # Panics
    /// As [`VideoConfig::cap`].
    #[must_use]
    pub fn vision(&self, frames: usize, vision: &VisionConfig) -> VisionConfig {
        let max_tokens = self.cap(frames);
        let cells = (1..).take_while(|side| side * (side + 1) + 2 <= max_tokens);
        let side = cells.last().unwrap_or(1) * vision.downsample * vision.patch;
        VisionConfig {
            max_tokens,
            min_pixels: self.frame_min_pixels.min(side * side),
            ..*vision
        }
    }
}

fn require(holds: bool, name: &'static str, value: f64, want: String) -> Result<(), ConfigError> {
    if holds {
        Ok(())
    } else {
        Err(ConfigError { name, value, want })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_name_and_its_own_place() {
        let mut config = VideoConfig::default();
        let names = config.numbers().map(|(name, _)| name);
        for (value, name) in (50..).zip(names) {
            let number = config.number(name).expect("a number");
            number.set(f64::from(value)).expect("it may be this");
        }
        let want = VideoConfig {
            fps: 50.0,
            min_frames: 51,
            max_frames: 52,
            frame_max_tokens: 53,
            frame_min_tokens: 54,
            frame_min_pixels: 55,
            max_tokens: 56,
            temporal_merge: 57,
            segment_seconds: 58.0,
        };
        assert_eq!(config, want);
        assert!(config.number("frames").is_none());
    }

    #[test]
    fn counts_are_whole_and_bounded() {
        for (name, most) in [("max_frames", 65_536), ("max_tokens", 16_777_216)] {
            let want = format!("want a whole number from 1 to {most}");
            for value in [
                0.0,
                -1.0,
                1.5,
                f64::from(most) + 1.0,
                f64::NAN,
                f64::INFINITY,
            ] {
                let mut config = VideoConfig::default();
                let number = config.number(name).expect("a number");
                assert_eq!(number.set(value), Err(want.clone()), "{name}: {value}");
                assert_eq!(config, VideoConfig::default());
            }
            let mut config = VideoConfig::default();
            let number = config.number(name).expect("a number");
            assert_eq!(number.set(f64::from(most)), Ok(()));
        }
    }
}
