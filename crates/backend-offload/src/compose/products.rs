//! Products and norms. What goes into a BF16 result is computed in 32 bits and rounded once.

use super::call::{Call, Number, Program};
use super::operand::{Operand, Type};

/// `a · b`, of matrices or of batches of them.
pub(super) fn matmul<E>(to: &mut Program<E>, a: Operand, b: Operand, out: Operand) {
    to.call(Call::Matmul { a, b, out });
}

/// `x · wᵀ`: `[m, in]` by `[out, in]`.
pub fn linear<E>(to: &mut Program<E>, x: Operand, weight: Operand, out: Operand) {
    let (x, weight) = to.alike(x, weight);
    let b = weight.transposed();
    to.finished(x, out, |to, out| to.call(Call::Matmul { a: x, b, out }));
}

/// `weight ⊙ x / sqrt(mean(x²) + eps)` of each row.
pub(super) fn rms_norm<E>(
    to: &mut Program<E>,
    x: Operand,
    weight: Option<Operand>,
    eps: f32,
    out: Operand,
) {
    let [rows, width] = [x.dims[0], x.dims[1]];
    let x = to.widened(x);
    let gamma = weight.unwrap_or_else(|| {
        let (ones, value) = (to.scratch(Type::F32, &[width]), Number::F32(1.0));
        to.call(Call::Fill { out: ones, value });
        ones
    });
    let rstd = to.scratch(Type::F32, &[rows, 1]);
    to.finished(x, out, |to, out| {
        to.call(Call::RmsNorm {
            x,
            gamma,
            eps,
            out,
            rstd,
        });
    });
}
