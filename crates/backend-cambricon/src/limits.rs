//! Bounds.

/// Bytes of the name of a chip, the zero at its end among them.
pub(crate) const CHIP_NAME_BYTES: usize = 64;

/// The oldest releases that the declarations are said to fit: CNRT and CNNL, major and minor.
pub(crate) const CNRT_OLDEST: [i32; 2] = [6, 0];
pub(crate) const CNNL_OLDEST: [i32; 2] = [1, 23];
