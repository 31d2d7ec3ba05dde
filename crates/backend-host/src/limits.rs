//! Bounds of what the host keeps for itself.

/// Bytes of the smallest buffer that is kept for the next tensor: for less, the system's allocator is
/// as quick.
pub(crate) const KEPT_BYTES_MIN: usize = 16 << 10;

/// Bytes of all buffers that are kept. What is in use at once while the largest released model reads 512
/// tokens is less; beyond that memory goes back to the system.
pub(crate) const KEPT_BYTES_MAX: usize = 1 << 30;
