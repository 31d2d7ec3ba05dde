//! Visits of rows to experts: sorted by expert, where those of each end, and their products.

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
    // Those of an expert end where as many are to it or to one before it.
    no_larger(to, experts, None, ends);
}

/// Rows by a matrix for each run of them: `[m, in]` by `[matrices, out, in]`.
pub(super) fn grouped<E>(
    to: &mut Program<E>,
    x: Operand,
    weight: Operand,
    ends: Operand,
    out: Operand,
) {
    by_own(to, x, ends, out, |to, run| {
        let own = fetched(to, weight, run);
        let mut dims = weight.dims.to_vec();
        dims[0] = run.room;
        own.shaped(&dims[..])
    });
}

/// The run of each of so many rows, I32, where runs end at `ends`. Rows behind the last run are of it.
pub fn runs<E>(to: &mut Program<E>, ends: Operand, rows: usize) -> Operand {
    // A row is of the run before which so many end.
    let run = to.scratch(Type::I32, &[rows]);
    no_larger(to, ends, Some(ends.room - 1), run);
    run
}

/// Numbers of each run for its rows: of `[matrices, …]` those at the numbers of `run`, `[m, …]` as `[m, n]`.
pub fn fetched<E>(to: &mut Program<E>, from: Operand, run: Operand) -> Operand {
    let each = from.room / from.dims[0];
    let out = to.scratch(from.dtype, &[run.room, each]);
    to.call(Call::Rows {
        from: from.shaped([from.dims[0], each]),
        at: run,
        out,
    });
    out
}

/// Rows by a matrix for each run of them, where runs end at `ends`. Each row has its own matrix fetched for it by `fetch`,
/// `[m, out, in]` by the run of each row, so nobody has to know where runs end.
pub fn by_own<E>(
    to: &mut Program<E>,
    x: Operand,
    ends: Operand,
    out: Operand,
    fetch: impl FnOnce(&mut Program<E>, Operand) -> Operand,
) {
    let [rows, inputs, outputs] = [x.dims[0], x.dims[1], out.dims[1]];
    let run = runs(to, ends, rows);
    let own = fetch(to, run);
    let (x, own) = to.alike(x, own);
    let b = own.transposed();
    to.finished(x, out, |to, out| {
        to.call(Call::Matmul {
            a: x.shaped([rows, 1, inputs]),
            b,
            out: out.shaped([rows, 1, outputs]),
        });
    });
}

/// For 0, 1, 2, … how many numbers of a list are no larger, or as many as there may be at most; in floats, which hold that up to 2^24.
fn no_larger<E>(to: &mut Program<E>, list: Operand, most: Option<usize>, out: Operand) {
    let (count, all) = (list.room, out.room);
    let listed = to.scratch(Type::F32, &[count]);
    to.cast(list.shaped([count]), listed);
    let [numbers, next] = [(); 2].map(|()| to.scratch(Type::F32, &[all]));
    to.call(Call::Arange { out: numbers });
    to.function(Function::Adds(1.0), numbers, next);
    // One or more where the number is no larger, else none or fewer.
    let [ahead, ones] = [(); 2].map(|()| to.scratch(Type::F32, &[count, all]));
    let (next, listed) = (next.shaped([1, all]), listed.shaped([count, 1]));
    to.binary(Binary::Sub, next, listed, ahead);
    to.function(Function::Clamp(0.0, 1.0), ahead, ones);
    let sums = to.scratch(Type::F32, &[1, 1, all]);
    to.call(Call::Sum {
        x: ones.shaped([1, count, all]),
        out: sums,
    });
    let sums = match most {
        None => sums,
        Some(most) => {
            let bounded = to.scratch(Type::F32, &[1, 1, all]);
            to.function(Function::Clamp(0.0, most as f32), sums, bounded);
            bounded
        }
    };
    to.cast(sums.shaped([all]), out);
}
