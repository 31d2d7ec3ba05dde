//! What moves, chooses and sorts.

use super::call::{Binary, Call, Function, Number, Order, Program};
use super::operand::{Operand, Type};

/// `x + by`.
pub(super) fn shift<E>(to: &mut Program<E>, x: Operand, by: i32, out: Operand) {
    let by = to.constant(Number::I32(by));
    to.binary(Binary::Add, x, by, out);
}

/// `[t, n, block]` at `[t, k]`: each number of the list is that of a whole block.
pub(super) fn take<E>(to: &mut Program<E>, from: Operand, at: Operand, out: Operand) {
    let [tables, k, block] = [out.dims[0], out.dims[1], out.dims[2]];
    let at = at.strided([tables, k, block], [k, 1, 0], 0);
    to.call(Call::Gather { from, at, out });
}

/// Rows of `[n, width]` at `[m]`.
pub(super) fn scatter<E>(to: &mut Program<E>, into: Operand, at: Operand, from: Operand) {
    let at = at.shaped([at.room, 1]);
    to.call(Call::Scatter { into, at, from });
}

/// 0 for each number that is not 0, `-∞` for each that is.
pub(super) fn mask<E>(to: &mut Program<E>, at: Operand, out: Operand) {
    let mask = to.is_set(at);
    let value = Number::F32(f32::NEG_INFINITY);
    to.call(Call::Fill { out, value });
    let (x, value) = (out, 0.0);
    to.call(Call::MaskedFill { x, mask, value });
}

/// The places of the `k` largest of each row of `[t, n]`, ascending.
///
/// The operator takes what is no number for the largest, so that is replaced first. Of numbers alike it
/// promises no order; the emulator gives the first ones.
pub(super) fn top_k<E>(to: &mut Program<E>, x: Operand, out: Operand) {
    let (finite, scores) = (
        to.scratch(Type::F32, &x.dims),
        to.scratch(Type::F32, &x.dims),
    );
    to.function(Function::Clamp(-f32::MAX, f32::MAX), x, finite);
    to.binary(Binary::Sub, finite, finite, scores);
    let mask = to.is_set(scores);
    to.copy(x, finite);
    to.call(Call::MaskedFill {
        x: finite,
        mask,
        value: f32::NEG_INFINITY,
    });
    let [best, chosen] = [Type::F32, Type::I64].map(|dtype| to.scratch(dtype, &out.dims));
    to.call(Call::TopK {
        x: finite,
        order: Order::LargestFirst,
        out: best,
        places: chosen,
    });
    let [sorted, places] = [Type::I64; 2].map(|dtype| to.scratch(dtype, &out.dims));
    to.call(Call::TopK {
        x: chosen,
        order: Order::SmallestFirst,
        out: sorted,
        places,
    });
    to.cast(sorted, out);
}
