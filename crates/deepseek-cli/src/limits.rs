//! The bounds of what the command line reads beside a model; those of its files stand in their crates.

/// Bytes of a list of ids: a million ids of seven digits, and six times that.
pub(crate) const IDS_BYTES_MAX: u64 = 64 << 20;

/// Bytes of a reference in the hub's cache: the name of a snapshot.
pub(crate) const REF_BYTES_MAX: u64 = 4 << 10;

/// Bytes of the file of settings.
pub(crate) const SETTINGS_BYTES_MAX: u64 = 64 << 10;
