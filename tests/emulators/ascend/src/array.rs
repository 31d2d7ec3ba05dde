//! Numbers as operators compute with them, and where those of a layout stand.

use emulator_support::array::Unwritten;
pub(crate) use emulator_support::array::{Array, Data, around, joint};
pub(crate) use emulator_support::numbers::enumerate;

use crate::failure::Fault;

/// The fault of an operator that gathers what was never written.
pub(crate) fn unwritten(number: Unwritten) -> Fault {
    number.fault("uninitialised_read")
}

/// The strides of rows without gaps.
pub(crate) fn row_strides(dims: &[usize]) -> Vec<i64> {
    let mut strides = vec![1; dims.len()];
    for index in (1..dims.len()).rev() {
        strides[index - 1] = strides[index] * dims[index] as i64;
    }
    strides
}
