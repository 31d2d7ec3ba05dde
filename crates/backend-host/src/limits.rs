//! Bounds of what the host keeps for itself.

/// Bytes of the smallest buffer that is kept for the next tensor: for less, the system's allocator is
/// as quick.
pub(crate) const KEPT_BYTES_MIN: usize = 16 << 10;

/// Bytes of all buffers that are kept. What a step of the largest released model frees at once is
/// about as much; beyond that memory goes back to the system.
pub(crate) const KEPT_BYTES_MAX: usize = 256 << 20;
