//! Visits of rows to experts: sorted by expert, and where those of each end.

use backend_offload::compose::{Call, Operand, Order, Program, Type};

use crate::lower::{Comparison, Own};

/// Sorts visits `[t, k]`: the row, the number and the place of each, and where those of each expert end.
pub(crate) fn dispatch(
    experts: Operand,
    [rows, visits, places]: [Operand; 3],
    ends: Operand,
) -> Program<Own> {
    let mut program = Program::default();
    let to = &mut program;
    let ([tokens, k], count) = ([experts.dims[0], experts.dims[1]], experts.room);
    if count == 0 {
        to.fill = Some((ends, 0));
        return program;
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
    let (row, row_of) = (
        to.scratch(Type::I32, &[tokens]),
        to.scratch(Type::I32, &[tokens, k]),
    );
    to.call(Call::Arange { out: row });
    let from = row.shaped([tokens, 1]);
    to.call(Call::Own(Own::Expand { from, out: row_of }));
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
    program
}

/// How many visits are to an expert or to one before it: floats hold that up to 2^24.
fn ends_of(to: &mut Program<Own>, experts: Operand, ends: Operand) {
    let (count, all) = (experts.room, ends.room);
    let numbers = to.scratch(Type::I32, &[all]);
    to.call(Call::Arange { out: numbers });
    let [is_before, ones] = [Type::Bool, Type::F32].map(|dtype| to.scratch(dtype, &[count, all]));
    to.call(Call::Own(Own::Compare {
        f: Comparison::AtMost,
        a: experts.shaped([count, 1]),
        b: numbers.shaped([1, all]),
        out: is_before,
    }));
    to.cast(is_before, ones);
    let sums = to.scratch(Type::F32, &[1, 1, all]);
    to.call(Call::Sum {
        x: ones.shaped([1, count, all]),
        out: sums,
    });
    to.cast(sums.shaped([all]), ends);
}
