//! Videos: frames at their times, and their audio (`docs/models/audio-video.md` §6).
//!
//! [`Video`] opens a file, [`Clip`] is what the model sees of it: the sampled frames with their
//! [`Label`]s, all of one size. [`deal()`] puts the tokens of the audio among them.

pub mod clip;
pub mod config;
pub mod deal;
#[cfg(feature = "video")]
pub mod ffmpeg;
pub mod file;
pub mod label;
mod reader;
pub mod sample;
pub mod track;
mod yuv;

pub use clip::{Clip, Shot};
pub use config::{ConfigError, Number, VideoConfig};
pub use deal::{AudioTokens, Part, deal};
pub use file::{Video, VideoError};
pub use label::Label;
pub(crate) use reader::webp;
pub use sample::sample;
pub use track::Track;
