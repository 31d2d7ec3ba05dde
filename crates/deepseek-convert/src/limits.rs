//! The bounds of a conversion.

/// Longest journal that is read, in bytes: a record is a few hundred bytes, and the largest release has a
/// hundred thousand matrices.
pub(crate) const JOURNAL_BYTES_MAX: u64 = 256 << 20;
/// Numbers of a matrix that a thread holds at once; a row of tiles, where that has more.
pub(crate) const BAND_NUMBERS: usize = 1 << 20;
/// Bytes that are copied, or read to be summed up, at once.
pub(crate) const STRETCH_BYTES: usize = 1 << 20;
/// Bytes of each end of a tensor by which a checkpoint is known again.
pub(crate) const SAMPLE_BYTES: usize = 64;
