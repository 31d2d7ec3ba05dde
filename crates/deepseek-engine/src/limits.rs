//! Every bound of the engine, by name.

/// Bounds on what the engine holds for its callers. What it can hold on the device is the
/// decoder's [`Capacity`](deepseek_model::Capacity).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests that wait for a place. At least 1; one more is refused as
    /// [`Busy`](crate::Refusal::Busy).
    pub queue_max: usize,
    /// Tokens that wait for one request's reader. At least 1; a full buffer pauses the request.
    pub unread_max: usize,
    /// Rows of media that are encoded between two steps while somebody decodes, who waits that long.
    /// One medium is, however many rows it has.
    pub encoder_rows_max: usize,
    /// Bytes of places that are saved or loaded between two steps while somebody has one, who waits that
    /// long. The rows of one pool are, however many there are.
    pub saved_bytes_max: usize,
    /// Ids at which one request may ask to stop.
    pub stop_ids_max: usize,
    /// Ids in the place of one that was drawn whose probabilities one request may ask for.
    pub logprobs_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_max: 64,
            unread_max: 64,
            encoder_rows_max: 256,
            saved_bytes_max: 32 << 20,
            stop_ids_max: 16,
            logprobs_max: 20,
        }
    }
}
