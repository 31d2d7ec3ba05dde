//! Films: frames at their times, and their sound (`docs/models/audio-video.md` §6).
//!
//! [`Film`] opens a file, [`Clip`] is what the model sees of it: the sampled frames with their
//! [`Label`]s, all of one size. [`deal()`] puts the tokens of the sound among them.

pub mod clip;
pub mod config;
pub mod deal;
#[cfg(feature = "video")]
pub mod ffmpeg;
pub mod film;
pub mod label;
mod reel;
pub mod sample;
pub mod track;
mod yuv;

pub use clip::{Clip, Shot};
pub use config::{ConfigError, Number, VideoConfig};
pub use deal::{Part, SoundTokens, deal};
pub use film::{Film, FilmError};
pub use label::Label;
pub(crate) use reel::webp;
pub use sample::sample;
pub use track::Track;
