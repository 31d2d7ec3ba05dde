//! Products and norms. What goes into a BF16 result is computed in 32 bits and rounded once.

use crate::call::{Call, Number, Program};
use crate::operand::{Operand, Type};

/// `a · b`, of matrices or of batches of them.
pub(super) fn matmul(to: &mut Program, a: Operand, b: Operand, out: Operand) {
    to.call(Call::Matmul { a, b, out });
}

/// `x · wᵀ`: `[m, in]` by `[out, in]`.
pub(super) fn linear(to: &mut Program, x: Operand, weight: Operand, out: Operand) {
    let (x, weight) = alike(to, x, weight);
    let b = weight.transposed();
    finished(to, x, out, |to, out| to.call(Call::Matmul { a: x, b, out }));
}

/// The same by a matrix for each run of rows: `[m, in]` by `[matrices, out, in]`.
pub(super) fn grouped(to: &mut Program, x: Operand, weight: Operand, ends: Operand, out: Operand) {
    // The operator's results are of the type of its operands.
    let (x, weight) = match out.dtype {
        Type::F32 => (to.widened(x), to.widened(weight)),
        Type::Bf16 | Type::I32 | Type::I64 | Type::Bool => alike(to, x, weight),
    };
    let ends_wide = to.scratch(Type::I64, &ends.dims);
    to.cast(ends, ends_wide);
    finished(to, x, out, |to, out| {
        to.call(Call::GroupedMatmulV5 {
            x,
            weight: weight.transposed(),
            ends: ends_wide,
            out,
        });
    });
}

/// `weight ⊙ x / sqrt(mean(x²) + eps)` of each row.
pub(super) fn rms_norm(
    to: &mut Program,
    x: Operand,
    weight: Option<Operand>,
    eps: f32,
    out: Operand,
) {
    let [rows, width] = [x.dims[0], x.dims[1]];
    let x = to.widened(x);
    let gamma = weight.unwrap_or_else(|| {
        let (ones, value) = (to.scratch(Type::F32, &[width]), Number::F32(1.0));
        to.call(Call::FillScalar { out: ones, value });
        ones
    });
    let rstd = to.scratch(Type::F32, &[rows, 1]);
    finished(to, x, out, |to, out| {
        to.call(Call::RmsNorm {
            x,
            gamma,
            eps,
            out,
            rstd,
        });
    });
}

/// Operands of one type: as they are, or as 32-bit floats.
fn alike(to: &mut Program, a: Operand, b: Operand) -> (Operand, Operand) {
    if a.dtype == b.dtype {
        return (a, b);
    }
    (to.widened(a), to.widened(b))
}

/// What an operator makes of `x`: in `out`, or on the way there, if it computes in 32 bits and that keeps
/// fewer.
fn finished(to: &mut Program, x: Operand, out: Operand, make: impl FnOnce(&mut Program, Operand)) {
    if (x.dtype, out.dtype) != (Type::F32, Type::Bf16) {
        make(to, out);
        return;
    }
    let exact = to.scratch(Type::F32, &out.dims);
    make(to, exact);
    to.cast(exact, out);
}
