//! Rows of stored formats, in loops that the compiler turns into vectors of each instruction set. What the
//! formats are, [`deepseek_core::quant`] says, in the same code.
#![allow(unsafe_code, reason = "compiled for each instruction set")]

use deepseek_core::quant;
use deepseek_core::weights::WeightView;
use deepseek_core::{Rounding, RowFormat};

use super::lanes::{Lanes, for_each_isa};

for_each_isa! {
    /// See [`quant::decode_row`].
    widen(weight: &WeightView, index: usize, out: &mut [f32]) = widen_on
}

/// The lanes only say what this is compiled for, here and below.
#[inline(always)]
unsafe fn widen_on<L: Lanes>(weight: &WeightView, index: usize, out: &mut [f32]) {
    quant::decode_row(weight, index, out);
}

for_each_isa! {
    /// See [`quant::round_row`].
    round_row(row: &mut [f32], to: Rounding) = round_row_on
}

#[inline(always)]
unsafe fn round_row_on<L: Lanes>(row: &mut [f32], to: Rounding) {
    quant::round_row(row, to);
}

for_each_isa! {
    /// See [`quant::pack_row`].
    pack_row(format: RowFormat, values: &[f32], bytes: &mut [u8]) = pack_row_on
}

#[inline(always)]
unsafe fn pack_row_on<L: Lanes>(format: RowFormat, values: &[f32], bytes: &mut [u8]) {
    quant::pack_row(format, values, bytes);
}

for_each_isa! {
    /// See [`quant::unpack_row`].
    unpack_row(format: RowFormat, bytes: &[u8], values: &mut [f32]) = unpack_row_on
}

#[inline(always)]
unsafe fn unpack_row_on<L: Lanes>(format: RowFormat, bytes: &[u8], values: &mut [f32]) {
    quant::unpack_row(format, bytes, values);
}
