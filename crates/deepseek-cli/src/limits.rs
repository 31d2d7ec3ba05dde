//! The bounds of what the command line reads beside a model; those of its files stand in their crates.

/// Bytes of a list of ids: a million ids of seven digits, and six times that.
pub(crate) const IDS_BYTES_MAX: u64 = 64 << 20;

/// Devices that a model is divided among.
pub(crate) const RANKS_MAX: u16 = 64;

/// Bytes of a reference in the hub's cache: the name of a snapshot.
pub(crate) const REF_BYTES_MAX: u64 = 4 << 10;

/// Bytes of the file of settings.
pub(crate) const SETTINGS_BYTES_MAX: u64 = 64 << 10;

/// Bytes of a conversation that is kept under a name, and characters of that name.
pub(crate) const SESSION_BYTES_MAX: u64 = 64 << 20;
pub(crate) const SESSION_NAME_CHARS_MAX: usize = 100;

/// Tensors of a model that its name is made of, and bytes of each at most.
pub(crate) const NAMED_TENSORS: usize = 16;
pub(crate) const NAMED_TENSOR_BYTES_MAX: usize = 64 << 10;
