//! Visits of rows to experts: sorted by expert, and where those of each end.

use super::call::{Binary, Call, Function, Order, Program};
use super::operand::{Operand, Type};

/// Sorts visits `[t, k]`: the row, the number and the place of each, and where those of each expert end.
pub(super) fn dispatch<E>(
    to: &mut Program<E>,
    experts: Operand,
    [rows, visits, places]: [Operand; 3],
    ends: Operand,
) {
    let ([tokens, k], count) = ([experts.dims[0], experts.dims[1]], experts.room);
    if count == 0 {
        to.fill = Some((ends, 0));
        return;
    }
    // The smallest first, of those alike the first ones: a sort that keeps the order of visits.
    let sorted = to.scratch(Type::I32, &[1, count]);
    to.call(Call::TopK {
        x: experts.shaped([1, count]),
        order: Order::SmallestFirst,
        out: sorted,
        places: visits.shaped([1, count]),
    });
    // Which row each visit is of, and which it is.
    let row = to.scratch(Type::I32, &[tokens]);
    let row_of = to.scratch(Type::I32, &[tokens, k]);
    to.call(Call::Arange { out: row });
    to.copy(row.shaped([tokens, 1]), row_of);
    to.call(Call::Rows {
        from: row_of.shaped([count, 1]),
        at: visits,
        out: rows.shaped([count, 1]),
    });
    let order = to.scratch(Type::I32, &[count]);
    to.call(Call::Arange { out: order });
    to.call(Call::Scatter {
        into: places,
        at: visits.shaped([count, 1]),
        from: order,
    });
    ends_of(to, experts, ends);
}

/// How many visits are to an expert or to one before it: floats hold that up to 2^24.
fn ends_of<E>(to: &mut Program<E>, experts: Operand, ends: Operand) {
    let (count, all) = (experts.room, ends.room);
    let visited = to.scratch(Type::F32, &[count]);
    to.cast(experts.shaped([count]), visited);
    let [numbers, next] = [(); 2].map(|()| to.scratch(Type::F32, &[all]));
    to.call(Call::Arange { out: numbers });
    to.function(Function::Adds(1.0), numbers, next);
    // One or more where the visit is to this expert or to one before it, else none or fewer.
    let [ahead, ones] = [(); 2].map(|()| to.scratch(Type::F32, &[count, all]));
    let (next, visited) = (next.shaped([1, all]), visited.shaped([count, 1]));
    to.binary(Binary::Sub, next, visited, ahead);
    to.function(Function::Clamp(0.0, 1.0), ahead, ones);
    let sums = to.scratch(Type::F32, &[1, 1, all]);
    to.call(Call::Sum {
        x: ones.shaped([1, count, all]),
        out: sums,
    });
    to.cast(sums.shaped([all]), ends);
}
