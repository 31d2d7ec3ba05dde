//! What moves, chooses and sorts.

use crate::call::{Binary, Call, Function, Number, Order, Program};
use crate::operand::{Operand, Type};

/// `x + by`.
pub(super) fn shift(to: &mut Program, x: Operand, by: i32, out: Operand) {
    let by = to.constant(Number::I32(by));
    to.binary(Binary::Add, x, by, out);
}

/// `[t, n, block]` at `[t, k]`: each number of the list is that of a whole block.
pub(super) fn take(to: &mut Program, from: Operand, at: Operand, out: Operand) {
    let [tables, k, block] = [out.dims[0], out.dims[1], out.dims[2]];
    let at = at.strided([tables, k, block], [k, 1, 0], 0);
    to.call(Call::Gather { from, at, out });
}

/// Rows of `[n, width]` at `[m]`.
pub(super) fn scatter(to: &mut Program, into: Operand, at: Operand, from: Operand) {
    let at = at.shaped([at.room, 1]);
    to.call(Call::ScatterNdUpdate { into, at, from });
}

/// 0 for each number that is not 0, `-∞` for each that is.
pub(super) fn mask(to: &mut Program, at: Operand, out: Operand) {
    let mask = to.is_set(at);
    let value = Number::F32(f32::NEG_INFINITY);
    to.call(Call::FillScalar { out, value });
    let (x, value) = (out, 0.0);
    to.call(Call::MaskedFillScalar { x, mask, value });
}

/// The places of the `k` largest of each row of `[t, n]`, ascending.
///
/// The operator takes what is no number for the largest, so that is replaced first. Of numbers alike it
/// promises no order; the emulator gives the first ones.
pub(super) fn top_k(to: &mut Program, x: Operand, out: Operand) {
    let (finite, scores) = (
        to.scratch(Type::F32, &x.dims),
        to.scratch(Type::F32, &x.dims),
    );
    to.function(Function::Clamp(-f32::MAX, f32::MAX), x, finite);
    to.binary(Binary::Sub, finite, finite, scores);
    let mask = to.is_set(scores);
    to.copy(x, finite);
    to.call(Call::MaskedFillScalar {
        x: finite,
        mask,
        value: f32::NEG_INFINITY,
    });
    let [best, chosen] = [Type::F32, Type::I64].map(|dtype| to.scratch(dtype, &out.dims));
    to.call(Call::Topk {
        x: finite,
        order: Order::LargestFirst,
        out: best,
        places: chosen,
    });
    let [sorted, places] = [Type::I64; 2].map(|dtype| to.scratch(dtype, &out.dims));
    to.call(Call::Topk {
        x: chosen,
        order: Order::SmallestFirst,
        out: sorted,
        places,
    });
    to.cast(sorted, out);
}

/// Visits `[t, k]` of rows to experts, sorted by expert.
pub(super) fn dispatch(
    to: &mut Program,
    experts: Operand,
    [rows, visits, places]: [Operand; 3],
    ends: Operand,
) {
    let (tokens, count) = (experts.dims[0], experts.room);
    if count == 0 {
        to.fill = Some((ends, 0));
        return;
    }
    // The operator moves rows of floats: here the number of each, which they hold up to 2^24.
    let numbers = to.scratch(Type::F32, &[tokens]);
    to.call(Call::Arange { out: numbers });
    let moved = to.scratch(Type::F32, &[count]);
    let ends_wide = to.scratch(Type::I64, &ends.dims);
    to.call(Call::MoeInitRoutingV3 {
        x: numbers.shaped([tokens, 1]),
        experts,
        rows: moved.shaped([count, 1]),
        visits,
        ends: ends_wide,
    });
    to.cast(moved, rows);
    to.cast(ends_wide, ends);
    let order = to.scratch(Type::I32, &[count]);
    to.call(Call::Arange { out: order });
    to.call(Call::ScatterNdUpdate {
        into: places,
        at: visits.shaped([count, 1]),
        from: order,
    });
}
