//! Every bound of this crate, by name.

/// Chunks of audio that wait to be run, beside one that is being made and one that is next.
pub(crate) const CHUNKS_AHEAD: usize = 2;

/// Images, audio and videos in one prompt, the audio of a video beside it.
pub const MEDIA_MAX: usize = 600;

/// Strings at which one turn may ask to stop.
pub const STOP_STRINGS_MAX: usize = 16;

/// Bytes of one stop string, which is also what a turn may hold back because of it.
pub const STOP_STRING_BYTES_MAX: usize = 256;

/// Positions of a sequence, unless asked otherwise or the model has fewer.
pub const CONTEXT: usize = 8192;

/// Tokens that are run at a time, unless asked otherwise: enough for every expert to be shared by
/// several, few enough to stop soon.
pub const STEP_TOKENS: usize = 512;

/// Bytes of weights that are all hashed when a model is told from others.
pub const DIGEST_BYTES_MAX: u64 = 64 << 20;

/// Tensors of a larger model that are looked at instead, and bytes of each.
pub(crate) const DIGEST_TENSORS: usize = 256;
/// As above.
pub(crate) const DIGEST_TENSOR_BYTES: usize = 4 << 10;
