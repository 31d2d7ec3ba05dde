//! Numbers as operators compute with them, and where those of a layout stand.

use emulator_support::array::Unwritten;
pub(crate) use emulator_support::array::{Array, Data, around, joint};

use crate::failure::Fault;

/// The fault of an operator that gathers what was never written.
pub(crate) fn unwritten(number: Unwritten) -> Fault {
    number.fault("uninitialised_read")
}

/// The sum of index times stride for every index of a shape, row by row.
pub(crate) fn enumerate(dims: &[usize], strides: &[i64], offset: i64) -> Vec<i64> {
    let mut places = vec![offset];
    for (dim, stride) in dims.iter().zip(strides) {
        let mut more = Vec::with_capacity(places.len() * dim);
        for base in places {
            more.extend((0..*dim as i64).map(|step| base + step * stride));
        }
        places = more;
    }
    places
}

/// The strides of rows without gaps.
pub(crate) fn row_strides(dims: &[usize]) -> Vec<i64> {
    let mut strides = vec![1; dims.len()];
    for index in (1..dims.len()).rev() {
        strides[index - 1] = strides[index] * dims[index] as i64;
    }
    strides
}
