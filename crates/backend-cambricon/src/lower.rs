//! Calls as CNNL takes them: operands without gaps, types that it casts, matrices that it turns by itself.

use backend_offload::compose::{
    Binary, Call, Function, Number, Operand, Program, Type, compose, without_gaps,
};
use backend_offload::{DType, Op, View};

use crate::limits::GROUPS_MAX;

/// Functions that other vendors have in another form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain {
    /// Without its sign.
    Abs,
    /// With the other sign, zero among them.
    Negate,
    /// `ln(1 + x)`.
    Log1p,
}

/// Operators of CNNL beside those that every vendor has.
#[derive(Debug, Clone, PartialEq)]
pub enum Own {
    /// `a != b`: what is no number differs from everything.
    Differs {
        /// Numbers.
        a: Operand,
        /// What they are compared with, repeated where it has length 1.
        b: Operand,
        /// Booleans.
        out: Operand,
    },
    /// Runs of rows, each by a matrix of its own, of BF16.
    Grouped {
        /// Rows.
        x: Operand,
        /// Matrices.
        weight: Operand,
        /// How many rows each run has.
        rows: Operand,
        /// The products.
        out: Operand,
    },
    /// Dimensions of length 1 repeated.
    Expand {
        /// Each number once.
        from: Operand,
        /// As often as there is room.
        out: Operand,
    },
    /// Of one number each.
    Plain {
        /// Which.
        f: Plain,
        /// Its arguments.
        x: Operand,
        /// Its values.
        out: Operand,
    },
}

/// The calls of an operation. Runs of rows of BF16 are multiplied by one call where there is one, without anybody knowing where they
/// end.
pub(crate) fn program(op: &Op<()>, has_groups: bool) -> Option<Program<Own>> {
    match op {
        Op::Grouped {
            x,
            weight,
            ends,
            out,
        } if has_groups && is_one_call([x, &weight.parts[0], out]) => {
            let mut program = Program::default();
            let [x, ends, out] = [x, ends, out].map(Operand::from);
            grouped(&mut program, x, (&weight.parts[0]).into(), ends, out);
            Some(lower(program))
        }
        op => compose(op).map(lower),
    }
}

/// Whether runs of rows, a stack of matrices and what comes of them are of BF16, and not more than one call takes.
fn is_one_call([x, weight, out]: [&View; 3]) -> bool {
    let are_narrow = [x, weight, out].iter().all(|of| of.dtype == DType::Bf16);
    are_narrow && out.count() > 0 && weight.dims[0] <= GROUPS_MAX
}

/// How many rows each run has is where it ends, less where the one before it does.
fn grouped(to: &mut Program<Own>, x: Operand, weight: Operand, ends: Operand, out: Operand) {
    let runs = ends.dims[0];
    let rows = to.scratch(Type::I32, &[runs]);
    to.copy(ends.part(0, 0, 1), rows.part(0, 0, 1));
    if runs > 1 {
        let [end, start, count] =
            [(ends, 1), (ends, 0), (rows, 1)].map(|(list, first)| list.part(0, first, runs - 1));
        to.binary(Binary::Sub, end, start, count);
    }
    to.call(Call::Own(Own::Grouped {
        x,
        weight,
        rows,
        out,
    }));
}

/// The same calls, each as CNNL takes it, which steps over numbers in copies alone.
fn lower(program: Program<Own>) -> Program<Own> {
    without_gaps(program).replaced(|to, call| match call {
        Call::Binary { f, a, b, out } => binary(to, f, [a, b, out]),
        Call::Function { f, x, out } => function(to, f, x, out),
        Call::Cast { x, out } if out.dtype == Type::Bool => is_set(to, x, out),
        Call::Copy { from, out } if from.dims != out.dims => {
            to.call(Call::Own(Own::Expand { from, out }));
        }
        Call::MaskedFill { x, mask, value } => masked(to, x, mask, value),
        Call::Matmul { a, b, out } if a.dims.len() == 3 && a.dtype != out.dtype => {
            batch(to, a, b, out);
        }
        call => to.call(call),
    })
}

/// Both operands of one rank, dimensions of length 1 in front.
fn binary(to: &mut Program<Own>, f: Binary, [a, b, out]: [Operand; 3]) {
    let rank = out.dims.len();
    let [a, b] = [a, b].map(|x| {
        if x.dims.len() == rank {
            return x;
        }
        let mut dims = vec![1; rank - x.dims.len()];
        dims.extend(x.dims.iter());
        x.shaped(&dims[..])
    });
    to.binary(f, a, b, out);
}

fn function(to: &mut Program<Own>, f: Function, x: Operand, out: Operand) {
    let like = |to: &mut Program<Own>| to.scratch(Type::F32, &x.dims);
    match f {
        // An operator that adds nothing would still lose the sign of zero.
        Function::Muls(-1.0) => plain(to, Plain::Negate, x, out),
        Function::Muls(factor) => {
            let factor = to.constant(Number::F32(factor));
            binary(to, Binary::Mul, [x, factor, out]);
        }
        // `max(x, 0) + ln(1 + e^-|x|)`: the vendor's own is said for small arguments alone.
        Function::Softplus => {
            let [a, b] = [like(to), like(to)];
            plain(to, Plain::Abs, x, a);
            plain(to, Plain::Negate, a, b);
            to.function(Function::Exp, b, a);
            plain(to, Plain::Log1p, a, b);
            to.function(Function::Clamp(0.0, f32::INFINITY), x, a);
            to.binary(Binary::Add, a, b, out);
        }
        Function::Clamp(..)
        | Function::Exp
        | Function::Sigmoid
        | Function::Silu
        | Function::Sqrt
        | Function::Adds(_) => to.function(f, x, out),
    }
}

fn plain(to: &mut Program<Own>, f: Plain, x: Operand, out: Operand) {
    to.call(Call::Own(Own::Plain { f, x, out }));
}

/// Whether numbers are not 0: there is no cast to booleans.
fn is_set(to: &mut Program<Own>, a: Operand, out: Operand) {
    let zero = to.constant(match a.dtype {
        Type::F32 | Type::Bf16 => Number::F32(0.0),
        Type::I32 | Type::I64 | Type::I8 | Type::Bool => Number::I32(0),
    });
    let b = zero.shaped(&vec![1; a.dims.len()][..]);
    to.call(Call::Own(Own::Differs { a, b, out }));
}

/// One number where a mask holds: chosen beside the numbers, because nobody says that they may be chosen in place.
fn masked(to: &mut Program<Own>, x: Operand, mask: Operand, value: f32) {
    let [yes, out] = [(); 2].map(|()| to.scratch(Type::F32, &x.dims));
    let value = Number::F32(value);
    to.call(Call::Fill { out: yes, value });
    to.call(Call::Where {
        condition: mask,
        yes,
        no: x,
        out,
    });
    to.copy(out, x);
}

/// Products in batches are of the type of their operands. A right matrix may be another's transpose.
fn batch(to: &mut Program<Own>, a: Operand, b: Operand, out: Operand) {
    let a = to.widened(a);
    let b = if b.is_dense() {
        to.widened(b)
    } else {
        to.widened(b.transposed()).transposed()
    };
    to.call(Call::Matmul { a, b, out });
}

#[cfg(test)]
mod tests {
    use backend_offload::Address;
    use backend_offload::compose::Place;

    use super::*;

    fn x(dtype: Type, dims: &[usize]) -> Operand {
        Operand::new(Place::Device(Address(512)), dtype, dims)
    }

    fn lowered(call: Call<Own>) -> Vec<Call<Own>> {
        let mut program = Program::default();
        program.call(call);
        lower(program).calls
    }

    #[test]
    fn gaps_are_copied_out_and_repetition_is_written_out() {
        let whole = x(Type::F32, &[2, 6]);
        let (every_other, out) = (whole.strided([2, 3], [6, 2], 1), x(Type::F32, &[2, 3]));
        let f = Function::Exp;
        let calls = lowered(Call::Function {
            f,
            x: every_other,
            out,
        });
        assert!(
            matches!(calls[..], [Call::Copy { .. }, Call::Function { .. }]),
            "{calls:?}"
        );
        let calls = lowered(Call::Function {
            f,
            x: out,
            out: every_other,
        });
        assert!(
            matches!(calls[..], [Call::Function { .. }, Call::Copy { .. }]),
            "{calls:?}"
        );
        let repeated = out.strided([2, 3, 4], [3, 1, 0], 0);
        let calls = lowered(Call::Function {
            f,
            x: repeated,
            out: x(Type::F32, &[2, 3, 4]),
        });
        assert!(
            matches!(
                calls[..],
                [Call::Own(Own::Expand { .. }), Call::Function { .. }]
            ),
            "{calls:?}"
        );
    }

    #[test]
    fn a_transposed_matrix_is_not_copied_and_a_batch_is_widened() {
        let (a, b) = (x(Type::Bf16, &[2, 4]), x(Type::Bf16, &[3, 4]).transposed());
        let out = x(Type::F32, &[2, 3]);
        assert_eq!(
            lowered(Call::Matmul { a, b, out }),
            [Call::Matmul { a, b, out }]
        );
        let (a, b) = (
            x(Type::Bf16, &[5, 2, 4]),
            x(Type::Bf16, &[5, 3, 4]).transposed(),
        );
        let out = x(Type::F32, &[5, 2, 3]);
        let calls = lowered(Call::Matmul { a, b, out });
        assert!(
            matches!(
                calls[..],
                [Call::Cast { .. }, Call::Cast { .. }, Call::Matmul { .. }]
            ),
            "{calls:?}"
        );
    }

    #[test]
    fn the_sign_of_zero_is_kept_by_products_alone() {
        let (from, out) = (x(Type::F32, &[4]), x(Type::F32, &[4]));
        let calls = lowered(Call::Function {
            f: Function::Muls(0.0),
            x: from,
            out,
        });
        let is_product = matches!(
            calls[..],
            [Call::Fill { .. }, Call::Binary { f: Binary::Mul, .. }]
        );
        assert!(is_product, "{calls:?}");
    }
}
