//! Bounds on what is read beside the libraries.

/// Bytes of a file that names a version or an order of packages. The vendor's have a few dozen.
pub(crate) const FILE_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a version.
pub(crate) const VERSION_BYTES_MAX: usize = 64;
/// Bytes of the name of a package: those of a name in a folder.
pub(crate) const NAME_BYTES_MAX: usize = 255;
/// Packages in the order of priority.
pub(crate) const PACKAGES_MAX: usize = 64;
