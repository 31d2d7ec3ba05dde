//! The bounds of pictures.

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
/// Query rows that attend together: what bounds the memory of attention, which is this times the
/// patches of a picture for one head.
pub const QUERY_ROWS: usize = 256;
