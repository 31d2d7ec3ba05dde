//! The bounds of audio.

/// What audio may be at most. The defaults are those of `docs/models/audio-video.md` §2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Seconds of audio.
    pub seconds: u32,
    /// Frames a second before resampling; at least [`RATE_MIN`].
    pub rate: u32,
    /// Channels.
    pub channels: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            seconds: 8 * 3600,
            rate: 192_000,
            channels: 32,
        }
    }
}

/// Fewest frames a second. No codec has fewer, and a packet must not grow without bound.
pub const RATE_MIN: u32 = 1000;
/// Most frames that a file may announce for a packet: no format in use has larger ones.
pub const PACKET_FRAMES_MAX: u64 = 1 << 16;
/// Chunks of a WAV, AIFF or CAF file that are looked at for its samples.
pub const CHUNKS_MAX: usize = 1 << 14;
/// How often the rate may change from one part of a file to the next.
pub const RATE_CHANGES_MAX: usize = 64;
/// Packets in a row that may fail to decode, or hold nothing, before audio is given up.
pub const FAILURES_MAX: usize = 100;
/// Most rows of filter taps that a resampler keeps: as many as 11,025 Hz needs, the most of all
/// common rates. Where the ratio of rates asks for more, neighbouring rows are interpolated.
pub const PHASES_MAX: usize = 640;
