//! What keeps a file from being taken as audio.

use std::io;

/// The files that are read.
pub const FORMATS: &str = "WAV, AIFF, AU, CAF, RF64, Wave64, FLAC, MP1 to MP3, AAC, Ogg Vorbis, MP4 and \
                           Matroska";

/// Why a file is not taken as audio.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// There are no bytes.
    #[error("audio: an empty file")]
    Empty,
    /// The system refused to read on.
    #[error("audio: the file cannot be read")]
    Io(#[from] io::Error),
    /// The file begins like none of the formats that are read.
    #[error("audio: begins with {head}, which is none of {FORMATS}")]
    UnknownFormat {
        /// Its first bytes, in hexadecimal.
        head: String,
    },
    /// The file is of a known format that is not read.
    #[error("audio: of a format that is not read: {format}")]
    UnreadFormat {
        /// The format.
        format: &'static str,
    },
    /// There is nothing to be heard in the file.
    #[error("audio: {format} file without an audio track")]
    NoTrack {
        /// The format.
        format: &'static str,
    },
    /// The track is there and holds no samples.
    #[error("audio: no samples")]
    NoSamples,
    /// The codec that only the `video` feature can decode.
    #[error("audio: Opus needs a build with the video feature")]
    Opus,
    /// The rate is out of bounds.
    #[error("audio: {rate} samples a second, want {min} to {max}")]
    Rate {
        /// Samples a second, as the file says.
        rate: u32,
        /// The lower bound.
        min: u32,
        /// The upper bound.
        max: u32,
    },
    /// The rate changes from part to part, too often.
    #[error("audio: more than {max} changes of the rate")]
    RateChanges {
        /// The bound.
        max: usize,
    },
    /// There are no channels, or too many.
    #[error("audio: {channels} channels, want 1 to {max}")]
    Channels {
        /// Channels, as the file says.
        channels: usize,
        /// The bound.
        max: usize,
    },
    /// The audio is too long.
    #[error("audio: longer than {max} seconds")]
    Length {
        /// The bound.
        max: u32,
    },
    /// Too many packets in a row could not be decoded, or hold nothing.
    #[error("audio: more than {max} packets in a row without a sample")]
    Packets {
        /// The bound.
        max: usize,
    },
    /// Decoding would take too much memory.
    #[error("audio: {format} data that takes too much memory: {why}")]
    Memory {
        /// The format.
        format: &'static str,
        /// What the decoder said.
        why: String,
    },
    /// The file is of a kind within its format that is not read.
    #[error("audio: {format} of a kind that is not read: {why}")]
    Unsupported {
        /// The format.
        format: &'static str,
        /// What the decoder said.
        why: String,
    },
    /// The file contradicts itself or its format.
    #[error("audio: broken {format} data: {why}")]
    Corrupt {
        /// The format.
        format: &'static str,
        /// What the decoder said.
        why: String,
    },
}
