//! Every bound of the engine, by name.

/// Chunks of sound that wait to be run, beside one that is being made and one that is next.
pub(crate) const CHUNKS_AHEAD: usize = 2;

/// Bounds on what the engine holds for its callers. What it can hold on the device is the
/// decoder's [`Capacity`](deepseek_model::Capacity).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests that wait for a place. At least 1; one more is refused as
    /// [`Busy`](crate::Refusal::Busy).
    pub queue_max: usize,
    /// Tokens that wait for one request's reader. At least 1; a full buffer pauses the request.
    pub unread_max: usize,
    /// Pictures, sounds and films in one prompt, the sound of a film beside it.
    pub media_max: usize,
    /// Ids at which one request may ask to stop.
    pub stop_ids_max: usize,
    /// Strings at which one turn may ask to stop.
    pub stop_strings_max: usize,
    /// Bytes of one stop string, which is also what a turn may hold back because of it.
    pub stop_string_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_max: 64,
            unread_max: 64,
            media_max: 600,
            stop_ids_max: 16,
            stop_strings_max: 16,
            stop_string_bytes_max: 256,
        }
    }
}
