//! The bounds of images.

/// Longest file, in bytes: what the vendor's service takes.
pub const FILE_BYTES_MAX: usize = 32 << 20;
/// Longest side, in pixels: the most that GIF and JPEG can say.
pub const SIDE_MAX: u32 = 65_535;
/// Most pixels: the largest square of the vendor's service, 8192 by 8192.
pub const PIXELS_MAX: u64 = 1 << 26;
/// Most bytes of samples that a file may unpack to, and most that its decoder may hold beside them:
/// four channels of 16 bits for the most pixels.
pub const DECODE_BYTES_MAX: u64 = 8 * PIXELS_MAX;
/// Most passes of [`Grid::fit`](crate::Grid::fit), as in the vendor's service.
pub const PASSES_MAX: usize = 10;

/// Most frames that a config may ask for of a video.
pub const WATCHED_FRAMES_MAX: usize = 1 << 16;
/// Most tokens that a config may give a video or a frame, and most pixels below which it may have a
/// frame enlarged.
pub const WATCHED_TOKENS_MAX: usize = 1 << 24;

/// Longest video, in bytes: an hour of 4:2:0 frames in 1920 by 1080 pixels, 30 a second, is less.
pub const VIDEO_BYTES_MAX: u64 = 1 << 39;
/// Most frames of a video: ten hours, 30 a second, and some more.
pub const VIDEO_FRAMES_MAX: usize = 1 << 20;
/// Longest video, in seconds: twelve hours.
pub const VIDEO_SECONDS_MAX: f64 = 43_200.0;
/// Most pixels of a frame: 7680 by 4320.
pub const FRAME_PIXELS_MAX: u64 = 7680 * 4320;
/// Most pixels of all frames together where one can be had only by way of those before it, and no
/// index says when they are due (GIF, APNG and WebP): five hundred frames of 1920 by 1080.
pub const MOVING_PIXELS_MAX: u64 = 1 << 30;
/// Most chunks of an AVI file that are looked at: four for each frame.
pub const CHUNKS_MAX: usize = 4 * VIDEO_FRAMES_MAX;
/// Longest line of a Y4M file, in bytes.
pub const LINE_BYTES_MAX: u64 = 1024;
/// Most channels of a video's audio.
pub const AUDIO_CHANNELS_MAX: u16 = 32;
/// Most samples a second of a video's audio.
pub const AUDIO_RATE_MAX: u32 = 192_000;
/// Audio that is read at a time, in bytes.
pub const AUDIO_BLOCK_BYTES: usize = 1 << 16;
/// Bytes of memory that a decoding process may map: its threads' stacks, and a codec's reference
/// frames of the most pixels.
pub const WORKER_MEMORY_BYTES: u64 = 2 << 30;
/// Seconds of a processor that a decoding process may take: an hour.
pub const WORKER_CPU_SECONDS: u64 = 3600;
/// Files that a decoding process may have open.
pub const WORKER_FILES: u64 = 32;
/// Threads that decode.
pub const WORKER_THREADS: usize = 2;
/// Seconds between two wanted frames from which on those between are not decoded, but the key frame
/// before the second is looked for.
pub const SEEK_SECONDS: f64 = 2.0;
/// What silence before audio comes in, in samples.
pub const SILENCE_SAMPLES: usize = 1 << 14;
