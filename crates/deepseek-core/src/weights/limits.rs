//! The bounds of reading a checkpoint.

/// Longest header of a file, in bytes: what the format's own library reads.
pub(super) const HEADER_BYTES_MAX: u64 = 100_000_000;
/// Longest index of a folder, in bytes. The largest release needs a tenth of it.
pub(super) const INDEX_BYTES_MAX: u64 = 100_000_000;
/// Most dimensions of a tensor. The released files have two, saved-again ones three.
pub(super) const RANK_MAX: usize = 8;
/// Longest name of a tensor, in bytes, so that a message stays a line.
pub(super) const NAME_BYTES_MAX: usize = 512;
/// Bytes that are read from disk between two reports of progress.
pub(super) const STRETCH_BYTES: usize = 16 << 20;
