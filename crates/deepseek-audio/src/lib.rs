#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod audio;
mod block;
pub mod chunks;
pub mod config;
mod decode;
pub mod embed;
pub mod error;
pub mod limits;
pub mod mel;
pub mod names;
mod projector;
pub mod resample;
mod stem;
pub mod tower;

pub use audio::Audio;
pub use chunks::{Chunk, Chunks, Place};
pub use config::{AudioConfig, Level, Pool};
pub use deepseek_core::Note;
pub use embed::{Delimiters, embed, embed_features};
pub use error::{AudioError, FORMATS};
pub use limits::Limits;
pub use names::AudioTensors;
pub use tower::Tower;
