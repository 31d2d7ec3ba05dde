//! Every bound of a task file, by name.

/// Bytes of a task file.
pub(crate) const FILE_BYTES_MAX: u64 = 256 << 20;
/// Bytes of one line, which holds its media where they are not in files of their own.
pub(crate) const LINE_BYTES_MAX: usize = 64 << 20;
/// Items of one file.
pub(crate) const ITEMS_MAX: usize = 100_000;
/// Bytes of the name of a task or of an item, so that a message stays a line.
pub(crate) const NAME_BYTES_MAX: usize = 128;
/// Tokens of an answer, unless the item says otherwise.
pub(crate) const ANSWER_TOKENS: u32 = 64;
/// Items behind one's own among which media are looked for that can be swapped with it.
pub(crate) const SWAP_REACH: usize = 1_000;
