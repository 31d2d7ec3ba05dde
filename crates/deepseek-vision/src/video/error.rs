//! What keeps a file from being taken as a video.

use std::io;

use deepseek_core::guard::Panicked;

use crate::formats::VIDEOS;
use crate::image::ImageError;

/// Why a file is not taken as a video.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VideoError {
    /// There are no bytes.
    #[error("video: an empty file")]
    Empty,
    /// The system refused to read on.
    #[error("video: the file cannot be read")]
    Io(#[from] io::Error),
    /// The file is too long to be looked at.
    #[error("video: {bytes} bytes, at most {max} are read")]
    FileBytes {
        /// Bytes of the file.
        bytes: u64,
        /// The bound.
        max: u64,
    },
    /// None of the formats that this crate reads itself, nor one that it knows by name.
    #[error("video: of no kind that is read: {videos}", videos = VIDEOS)]
    UnknownFormat,
    /// A kind that is known by name and not read by this crate itself.
    #[error("video: of a kind that is not read: {kind}")]
    Foreign {
        /// The kind.
        kind: &'static str,
    },
    /// A decoder panicked.
    #[error("video: of a kind that is not read: {0}")]
    Panicked(#[from] Panicked),
    /// An image that does not move.
    #[error("video: a {format} image that does not move")]
    Still {
        /// The format.
        format: &'static str,
    },
    /// There is nothing to be seen.
    #[error("video: {format} without a frame")]
    NoFrames {
        /// The format.
        format: &'static str,
    },
    /// There are too many frames.
    #[error("video: more than {max} frames")]
    Frames {
        /// The bound.
        max: usize,
    },
    /// It lasts too long.
    #[error("video: {seconds} seconds, at most {max} are taken")]
    Length {
        /// How long it lasts.
        seconds: f64,
        /// The bound.
        max: f64,
    },
    /// A frame is empty or too large.
    #[error("video: frames of {width}x{height} pixels, want one to {max} altogether")]
    Pixels {
        /// Pixels of a row, as the file says.
        width: u64,
        /// Rows, as the file says.
        height: u64,
        /// The bound.
        max: u64,
    },
    /// All frames together are too large, where each must be decoded.
    #[error("video: more than {max} pixels of {format} in all frames")]
    AllPixels {
        /// The format.
        format: &'static str,
        /// The bound.
        max: u64,
    },
    /// The rate makes no sense.
    #[error("video: {fps} frames a second")]
    Rate {
        /// Frames a second.
        fps: f64,
    },
    /// A frame cannot be decoded.
    #[error("video: frame {index}")]
    Frame {
        /// Which one.
        index: usize,
        /// Why not.
        source: ImageError,
    },
    /// An image of a folder cannot be decoded.
    #[error("video: image {name}")]
    Image {
        /// Its name.
        name: String,
        /// Why not.
        source: ImageError,
    },
    /// The process that decodes what only FFmpeg reads has failed.
    #[error("video: {why}")]
    Worker {
        /// What it said last.
        why: String,
    },
    /// An image of a folder whose place in it is not known.
    #[error("video: no number in the name {name}")]
    Unnumbered {
        /// The name.
        name: String,
    },
    /// The file is of a kind within its format that is not read.
    #[error("video: {format} of a kind that is not read: {why}")]
    Unsupported {
        /// The format.
        format: &'static str,
        /// What it has.
        why: String,
    },
    /// The file ends early or contradicts itself or its format.
    #[error("video: broken {format} data: {why}")]
    Corrupt {
        /// The format.
        format: &'static str,
        /// What is wrong.
        why: String,
    },
}

impl VideoError {
    /// Whether FFmpeg may read the file, of which this crate itself does not know enough.
    #[must_use]
    pub fn may_be_read_by_ffmpeg(&self) -> bool {
        match self {
            Self::UnknownFormat
            | Self::Foreign { .. }
            | Self::Unsupported { .. }
            | Self::Panicked(_) => true,
            Self::Empty
            | Self::Io(_)
            | Self::FileBytes { .. }
            | Self::Still { .. }
            | Self::NoFrames { .. }
            | Self::Frames { .. }
            | Self::Length { .. }
            | Self::Pixels { .. }
            | Self::AllPixels { .. }
            | Self::Rate { .. }
            | Self::Frame { .. }
            | Self::Image { .. }
            | Self::Worker { .. }
            | Self::Unnumbered { .. }
            | Self::Corrupt { .. } => false,
        }
    }
}
