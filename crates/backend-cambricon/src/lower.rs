//! Calls as CNNL takes them: operands without gaps, types that it casts, matrices that it turns by itself.
//!
//! Only copies step over numbers (`cnnlCopy_v2`). So what lies between gaps is copied out before an operator and in behind it, and what is
//! repeated is written out.

use backend_offload::compose::{Binary, Call, Function, Number, Operand, Program, Type};

/// Comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// `a != b`: what is no number differs from everything.
    Differs,
    /// `a <= b`.
    AtMost,
}

/// Functions that other vendors have in another form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plain {
    Abs,
    /// With the other sign, zero among them.
    Negate,
    /// `ln(1 + x)`.
    Log1p,
}

/// Operators of CNNL beside those that every vendor has.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Own {
    Compare {
        f: Comparison,
        a: Operand,
        b: Operand,
        out: Operand,
    },
    /// Dimensions of length 1 repeated.
    Expand {
        from: Operand,
        out: Operand,
    },
    Plain {
        f: Plain,
        x: Operand,
        out: Operand,
    },
}

/// The same calls, each as CNNL takes it. What would give no numbers is left out: CNNL wants some.
pub(crate) fn lower(program: Program<Own>) -> Program<Own> {
    let mut to = Program {
        fill: program.fill,
        calls: Vec::with_capacity(program.calls.len()),
        scratch_bytes: program.scratch_bytes,
    };
    for call in program.calls {
        lower_call(&mut to, call);
    }
    to
}

/// Whether numbers lie one behind the other, wherever the first of them does.
pub(crate) fn is_dense(x: &Operand) -> bool {
    let mut want = 1;
    let axes = x.dims.iter().zip(x.strides()).rev();
    for (length, stride) in axes {
        if *length > 1 && *stride != want {
            return false;
        }
        want *= length;
    }
    true
}

/// The numbers without gaps: themselves, if they are.
fn dense(to: &mut Program<Own>, x: Operand) -> Operand {
    if is_dense(&x) {
        return x;
    }
    let repeated = |axis: &usize| x.dims[*axis] > 1 && x.strides()[*axis] == 0;
    let repeated: Vec<usize> = (0..x.dims.len()).filter(repeated).collect();
    let once = repeated.iter().fold(x, |x, axis| x.part(*axis, 0, 1));
    let out = to.scratch(x.dtype, &x.dims);
    if repeated.is_empty() {
        to.copy(x, out);
    } else {
        let from = dense(to, once);
        to.call(Call::Own(Own::Expand { from, out }));
    }
    out
}

/// Makes something without gaps, and copies it to where it belongs.
fn into(to: &mut Program<Own>, out: Operand, make: impl FnOnce(&mut Program<Own>, Operand)) {
    if is_dense(&out) {
        make(to, out);
        return;
    }
    let whole = to.scratch(out.dtype, &out.dims);
    make(to, whole);
    to.copy(whole, out);
}

/// How many numbers a call gives.
fn count(call: &Call<Own>) -> usize {
    let out = match call {
        Call::Binary { out, .. }
        | Call::Function { out, .. }
        | Call::Cast { out, .. }
        | Call::Copy { out, .. }
        | Call::Where { out, .. }
        | Call::Fill { out, .. }
        | Call::MaskedFill { x: out, .. }
        | Call::Arange { out }
        | Call::Concat { out, .. }
        | Call::Rows { out, .. }
        | Call::Gather { out, .. }
        | Call::Scatter { at: out, .. }
        | Call::Matmul { out, .. }
        | Call::RmsNorm { out, .. }
        | Call::Sum { out, .. }
        | Call::Max { out, .. }
        | Call::TopK { out, .. }
        | Call::Own(Own::Compare { out, .. } | Own::Expand { out, .. } | Own::Plain { out, .. }) => {
            out
        }
    };
    out.dims.count()
}

fn lower_call(to: &mut Program<Own>, call: Call<Own>) {
    if count(&call) == 0 {
        return;
    }
    match call {
        Call::Binary { f, a, b, out } => binary(to, f, a, b, out),
        Call::Function { f, x, out } => function(to, f, x, out),
        Call::Cast { x, out } | Call::Copy { from: x, out } => converted(to, x, out),
        Call::Where {
            condition,
            yes,
            no,
            out,
        } => {
            let [condition, yes, no] = [condition, yes, no].map(|x| dense(to, x));
            into(to, out, |to, out| {
                to.call(Call::Where {
                    condition,
                    yes,
                    no,
                    out,
                });
            });
        }
        Call::MaskedFill { x, mask, value } => masked(to, x, mask, value),
        Call::Fill { out, value } => into(to, out, |to, out| to.call(Call::Fill { out, value })),
        Call::Gather { from, at, out } => {
            let at = dense(to, at);
            to.call(Call::Gather { from, at, out });
        }
        Call::Matmul { a, b, out } => matmul(to, a, b, out),
        Call::Rows { .. }
        | Call::Scatter { .. }
        | Call::Arange { .. }
        | Call::Concat { .. }
        | Call::RmsNorm { .. }
        | Call::Sum { .. }
        | Call::Max { .. }
        | Call::TopK { .. }
        | Call::Own(_) => to.call(call),
    }
}

/// Both operands of one rank, dimensions of length 1 in front.
fn binary(to: &mut Program<Own>, f: Binary, a: Operand, b: Operand, out: Operand) {
    let rank = out.dims.len();
    let [a, b] = [a, b].map(|x| {
        let x = dense(to, x);
        if x.dims.len() == rank {
            return x;
        }
        let mut dims = vec![1; rank - x.dims.len()];
        dims.extend(x.dims.iter());
        x.shaped(&dims[..])
    });
    into(to, out, |to, out| to.binary(f, a, b, out));
}

fn function(to: &mut Program<Own>, f: Function, x: Operand, out: Operand) {
    let x = dense(to, x);
    let like = |to: &mut Program<Own>| to.scratch(Type::F32, &x.dims);
    into(to, out, |to, out| match f {
        // An operator that adds nothing would still lose the sign of zero.
        Function::Muls(-1.0) => plain(to, Plain::Negate, x, out),
        Function::Muls(factor) => {
            let factor = to.constant(Number::F32(factor));
            binary(to, Binary::Mul, x, factor, out);
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
    });
}

fn plain(to: &mut Program<Own>, f: Plain, x: Operand, out: Operand) {
    to.call(Call::Own(Own::Plain { f, x, out }));
}

/// Numbers of one type as those of another, between any strides.
fn converted(to: &mut Program<Own>, x: Operand, out: Operand) {
    if x.dtype == out.dtype {
        // Copies step over numbers, but do not repeat them.
        let is_repeated = x
            .dims
            .iter()
            .zip(x.strides())
            .any(|(n, by)| *n > 1 && *by == 0);
        let from = if is_repeated { dense(to, x) } else { x };
        to.copy(from, out);
        return;
    }
    let x = dense(to, x);
    into(to, out, |to, out| {
        if out.dtype != Type::Bool {
            to.cast(x, out);
            return;
        }
        let zero = match x.dtype {
            Type::F32 | Type::Bf16 => Number::F32(0.0),
            Type::I32 | Type::I64 | Type::Bool => Number::I32(0),
        };
        let zero = to.constant(zero);
        let b = zero.shaped(&vec![1; x.dims.len()][..]);
        let f = Comparison::Differs;
        to.call(Call::Own(Own::Compare { f, a: x, b, out }));
    });
}

/// One number where a mask holds: chosen beside the numbers, because nobody says that they may be chosen in place.
fn masked(to: &mut Program<Own>, x: Operand, mask: Operand, value: f32) {
    let [yes, out] = [(); 2].map(|()| to.scratch(Type::F32, &x.dims));
    let value = Number::F32(value);
    to.call(Call::Fill { out: yes, value });
    let condition = dense(to, mask);
    to.call(Call::Where {
        condition,
        yes,
        no: x,
        out,
    });
    to.copy(out, x);
}

/// A right matrix may be another's transpose. Products in batches are of the type of their operands.
fn matmul(to: &mut Program<Own>, a: Operand, b: Operand, out: Operand) {
    let widens = a.dims.len() == 3 && a.dtype != out.dtype;
    let wide = |to: &mut Program<Own>, x| if widens { to.widened(x) } else { x };
    let a = dense(to, a);
    let a = wide(to, a);
    let turned = b.transposed();
    let b = if !is_dense(&b) && is_dense(&turned) {
        wide(to, turned).transposed()
    } else {
        let b = dense(to, b);
        wide(to, b)
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
    fn what_gives_no_numbers_is_not_called() {
        let (from, out) = (x(Type::F32, &[3, 4]), x(Type::F32, &[0, 4]));
        let at = x(Type::I32, &[0]);
        assert_eq!(lowered(Call::Rows { from, at, out }), []);
        assert_eq!(lowered(Call::Copy { from: out, out }), []);
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
