#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod aligner;
mod block;
pub mod canvas;
pub mod config;
mod decode;
pub mod embed;
pub mod formats;
pub mod grid;
pub mod image;
pub mod limits;
pub mod resize;
mod screen;
pub mod tower;
pub mod video;

pub use canvas::Canvas;
pub use config::VisionConfig;
pub use deepseek_core::Note;
pub use embed::{Delimiters, embed, embed_features, embed_patches};
pub use grid::{Grid, Place};
pub use image::{Image, ImageError};
pub use tower::Tower;
