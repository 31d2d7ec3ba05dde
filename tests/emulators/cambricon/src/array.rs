//! Numbers as operators compute with them.

use emulator_support::array::Unwritten;
pub(crate) use emulator_support::array::{Array, Data, around, joint, strides};
use emulator_support::failure::Fault;

/// The fault of an operator that gathers what was never written.
pub(crate) fn unwritten(number: Unwritten) -> Fault {
    number.fault("E-POISON")
}
