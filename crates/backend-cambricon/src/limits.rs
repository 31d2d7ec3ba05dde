//! Bounds.

/// Bytes of the name of a chip, the zero at its end among them.
pub(crate) const CHIP_NAME_BYTES: usize = 64;

/// Bytes of what an instantiation of captured tasks may log.
pub(crate) const LOG_BYTES: usize = 1024;

/// Runs of rows that one call multiplies.
pub(crate) const GROUPS_MAX: usize = 255;

/// The oldest releases that the declarations are said to fit: CNRT and CNNL, major and minor.
pub(crate) const CNRT_OLDEST: [i32; 2] = [6, 0];
pub(crate) const CNNL_OLDEST: [i32; 2] = [1, 23];
