//! Bounds of what the host keeps for itself.

/// Bytes of all buffers that are kept. What is in use at once while the largest released model reads 512
/// tokens is less; beyond that memory goes back to the system.
pub(crate) const KEPT_BYTES_MAX: usize = 1 << 30;

/// Dimensions of a tensor. No layer and no provided body makes more than four.
pub(crate) const RANK_MAX: usize = 6;
