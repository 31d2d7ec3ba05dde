//! The bounds of this crate. Those on a config are far beyond any real model and small enough that
//! no product of the numbers it lets through overflows 64 bits.

/// Positions that a sequence can be taken back at once: drafts of one step, with room to spare.
pub const REWIND_MAX: u32 = 16;

/// Ids of a sequence's history of n-grams.
pub const HISTORY_MAX: usize = NGRAM_MAX + REWIND_MAX as usize;

/// Pools that the rows of a sequence lie in: of each layer a window, and at most two of rows with two of
/// contributions each; those of drafts and of cut prompts.
pub const POOLS_MAX: usize = (LAYERS_MAX + MODULES_MAX) * 8;

/// Names that a saved sequence is bound to, and bytes of each and of its value.
pub const BINDING_FIELDS_MAX: usize = 32;
/// As above.
pub const BINDING_BYTES_MAX: usize = 256;

/// Tokens that an MTP module proposes at once. Beyond the third, few are accepted.
pub const MTP_DRAFTS_MAX: u32 = 4;

/// Tokens that any drafter proposes at once: with the one before them they can be taken back.
pub const DRAFTS_MAX: usize = 15;

/// Bytes of a `config.json` that is read.
pub const CONFIG_BYTES_MAX: usize = 1 << 20;

/// Layers of the backbone.
pub const LAYERS_MAX: usize = 1 << 9;

/// Draft modules behind the backbone.
pub const MODULES_MAX: usize = 1 << 3;

/// Ids in the vocabulary.
pub const VOCABULARY_MAX: usize = 1 << 22;

/// Channels of a stream, of a latent and of an expert's inside.
pub const WIDTH_MAX: usize = 1 << 17;

/// Heads of attention and of the indexer, groups of the output projection.
pub const HEADS_MAX: usize = 1 << 12;

/// Channels of a head.
pub const HEAD_DIM_MAX: usize = 1 << 12;

/// Experts of a layer.
pub const EXPERTS_MAX: usize = 1 << 12;

/// Residual streams.
pub const STREAMS_MAX: usize = 1 << 6;

/// Column passes of the Sinkhorn iteration.
pub const SINKHORN_MAX: usize = 1 << 10;

/// Positions of a window, and tokens a compressed row may stand for.
pub const WINDOW_MAX: usize = 1 << 16;

/// Positions of a sequence: the last one still is a whole number as a 32-bit float, which rotary
/// angles rely on.
pub const POSITIONS_MAX: usize = 1 << 24;

/// Rows of an n-gram table.
pub const ENGRAM_ROWS_MAX: usize = u32::MAX as usize;

/// Tokens of an n-gram.
pub const NGRAM_MAX: usize = 8;

/// Hash heads of each order of n-gram.
pub const ENGRAM_HEADS_MAX: usize = 64;

/// Pixels on a side of a patch, and patches on a side of a cell.
pub const PATCH_MAX: usize = 64;

/// Positions that one image takes.
pub const IMAGE_TOKENS_MAX: usize = 1 << 16;

/// Bands of the audio's features.
pub const MELS_MAX: usize = 1 << 9;

/// Seconds of audio that are encoded on their own.
pub const CHUNK_SECONDS_MAX: usize = 1 << 10;

/// Ids that end an answer: half of what a request may name.
pub const STOPS_MAX: usize = 1 << 3;
