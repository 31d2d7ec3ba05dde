//! Bounds of what is described, queued, staged and kept.

/// Dimensions of a view: as many as the descriptors of vendors have.
pub const RANK_MAX: usize = 8;

/// Commands that wait for the device's thread: as many as a step of a large model has, because whoever sends
/// one more waits for room, and is woken for each that is taken.
pub(crate) const COMMANDS_MAX: usize = 8192;

/// Bytes of the smallest staging buffer: a page.
pub(crate) const STAGING_PIECE_MIN: usize = 4 << 10;
/// Bytes of the largest. What is longer is copied in pieces.
pub(crate) const STAGING_PIECE_MAX: usize = 4 << 20;
/// Bytes of all staging buffers together.
pub(crate) const STAGING_BYTES_MAX: usize = 64 << 20;

/// Bytes of the smallest block, and what every block is a multiple of: vendors want operands aligned
/// to 32 to 512 bytes.
pub(crate) const BLOCK_BYTES_MIN: usize = 512;
/// Bytes of the largest block that is cut from a slab. Larger ones are allocations of their own.
pub(crate) const SHARED_BYTES_MAX: usize = 1 << 20;
/// Bytes of a slab.
pub(crate) const SLAB_BYTES: usize = 8 << 20;
/// What blocks with an allocation of their own are multiples of: a large page of the vendors.
pub(crate) const LARGE_STEP: usize = 2 << 20;

/// Different choices between fused and composed that are kept to be told.
pub(crate) const CHOICES_MAX: usize = 256;

/// Bytes of a table that are widened on the host at a time.
pub(crate) const WIDENED_BYTES_MAX: usize = 16 << 20;

/// Characters of a vendor's text that an error keeps: it may be a page of a log.
pub(crate) const VENDOR_TEXT_CHARS_MAX: usize = 600;

/// Bytes of matrices that are fetched for the rows of a grouped product, one for each. To fetch more takes longer than to wait for where
/// runs of rows end.
pub const GATHERED_BYTES_MAX: usize = 1 << 20;

/// Graphs that are kept: one for each number of tokens that is decoded at once, and for each length of lists. The
/// one that was not replayed for longest goes first.
pub(crate) const GRAPHS_MAX: usize = 32;
/// Steps that are remembered, to know one that comes again: those of a few sequences that take turns, and of their
/// drafts.
pub(crate) const STEPS_SEEN_MAX: usize = 8;
/// Operations of the shortest step that is captured: what is shorter is asked for as fast.
pub(crate) const STEP_OPERATIONS_MIN: usize = 8;
/// Operations and copies of the longest.
pub(crate) const STEP_TASKS_MAX: usize = 1 << 16;
/// Bytes that the largest brings to the device: no more than one copy.
pub(crate) const STEP_BYTES_MAX: usize = STAGING_PIECE_MAX;
/// Different reasons why a step is not captured that are kept to be told.
pub(crate) const REFUSALS_MAX: usize = 64;
