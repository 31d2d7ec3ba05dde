//! Calls for libraries whose operators take operands without gaps.
//!
//! Only copies step over numbers there. So what lies between gaps is copied out before an operator and in behind it, and what is
//! repeated is written out.

use super::call::{Call, Program};
use super::operand::Operand;

/// The same calls, with operands without gaps. What would give no numbers is left out.
///
/// A copy steps over numbers on either side, or repeats dimensions of length 1 without a gap on either, and is of one type. The right
/// side of a product may be the transpose of what has no gaps. A vendor's own operators are left as they are.
#[must_use]
pub fn without_gaps<E>(program: Program<E>) -> Program<E> {
    program.replaced(|to, call| {
        if call.count() != Some(0) {
            filled(to, call);
        }
    })
}

/// The numbers without gaps: themselves, if they are.
fn dense<E>(to: &mut Program<E>, x: Operand) -> Operand {
    if x.is_dense() {
        return x;
    }
    let out = to.scratch(x.dtype, &x.dims);
    copied(to, x, out);
    out
}

/// Makes something without gaps, and copies it to where it belongs.
fn into<E>(to: &mut Program<E>, out: Operand, make: impl FnOnce(&mut Program<E>, Operand)) {
    if out.is_dense() {
        make(to, out);
        return;
    }
    let whole = to.scratch(out.dtype, &out.dims);
    make(to, whole);
    to.copy(whole, out);
}

/// A copy that steps or repeats, but not both.
fn copied<E>(to: &mut Program<E>, x: Operand, out: Operand) {
    let once = x.once();
    if once.dims == out.dims {
        to.copy(once, out);
        return;
    }
    let from = dense(to, once);
    into(to, out, |to, out| to.copy(from, out));
}

fn filled<E>(to: &mut Program<E>, call: Call<E>) {
    match call {
        Call::Cast { x, out } | Call::Copy { from: x, out } if x.dtype == out.dtype => {
            copied(to, x, out);
        }
        Call::Cast { x, out } | Call::Copy { from: x, out } => {
            let x = dense(to, x);
            into(to, out, |to, out| to.cast(x, out));
        }
        Call::Binary { f, a, b, out } => {
            let (a, b) = (dense(to, a), dense(to, b));
            into(to, out, |to, out| to.binary(f, a, b, out));
        }
        Call::Function { f, x, out } => {
            let x = dense(to, x);
            into(to, out, |to, out| to.function(f, x, out));
        }
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
        Call::MaskedFill { x, mask, value } => {
            let mask = dense(to, mask);
            to.call(Call::MaskedFill { x, mask, value });
        }
        Call::Fill { out, value } => into(to, out, |to, out| to.call(Call::Fill { out, value })),
        Call::Gather { from, at, out } => {
            let at = dense(to, at);
            to.call(Call::Gather { from, at, out });
        }
        Call::Matmul { a, b, out } => {
            let a = dense(to, a);
            let is_turned = !b.is_dense() && b.transposed().is_dense();
            let b = if is_turned { b } else { dense(to, b) };
            to.call(Call::Matmul { a, b, out });
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Address;
    use crate::compose::{Function, Place, Type};

    fn x(dtype: Type, dims: &[usize]) -> Operand {
        Operand::new(Place::Device(Address(512)), dtype, dims)
    }

    fn calls(call: Call<()>) -> Vec<Call<()>> {
        let mut program = Program::default();
        program.call(call);
        without_gaps(program).calls
    }

    fn exp(x: Operand, out: Operand) -> Call<()> {
        let f = Function::Exp;
        Call::Function { f, x, out }
    }

    #[test]
    fn what_gives_no_numbers_is_not_called() {
        let (from, out) = (x(Type::F32, &[3, 4]), x(Type::F32, &[0, 4]));
        let at = x(Type::I32, &[0]);
        assert_eq!(calls(Call::Rows { from, at, out }), []);
        assert_eq!(calls(Call::Copy { from: out, out }), []);
    }

    #[test]
    fn what_lies_between_gaps_is_copied_out_and_in() {
        let whole = x(Type::F32, &[2, 6]);
        let (every_other, dense) = (whole.strided([2, 3], [6, 2], 1), x(Type::F32, &[2, 3]));
        let made = calls(exp(every_other, dense));
        let [Call::Copy { from, out: copy }, last] = &made[..] else {
            panic!("{made:?}");
        };
        assert_eq!((*from, copy.is_dense()), (every_other, true));
        assert_eq!(*last, exp(*copy, dense));
        let made = calls(exp(dense, every_other));
        let [first, Call::Copy { from: copy, out }] = &made[..] else {
            panic!("{made:?}");
        };
        assert_eq!((copy.is_dense(), *out), (true, every_other));
        assert_eq!(*first, exp(dense, *copy));
    }

    #[test]
    fn what_is_repeated_is_written_out() {
        let (row, out) = (x(Type::F32, &[2, 3]), x(Type::F32, &[2, 3, 4]));
        let made = calls(exp(row.strided([2, 3, 4], [3, 1, 0], 0), out));
        let [Call::Copy { from, out: copy }, last] = &made[..] else {
            panic!("{made:?}");
        };
        assert_eq!((&*from.dims, &*copy.dims), (&[2, 3, 1][..], &[2, 3, 4][..]));
        assert!(from.is_dense() && copy.is_dense());
        assert_eq!(*last, exp(*copy, out));
        // What has gaps and is repeated is two copies.
        let every_other = x(Type::F32, &[2, 6]).strided([2, 3, 4], [6, 2, 0], 0);
        let made = calls(Call::Copy {
            from: every_other,
            out,
        });
        assert!(
            matches!(made[..], [Call::Copy { .. }, Call::Copy { .. }]),
            "{made:?}"
        );
    }

    #[test]
    fn a_copy_to_another_type_is_a_cast_and_a_cast_to_the_same_is_a_copy() {
        let (from, out) = (x(Type::Bf16, &[2, 3]), x(Type::F32, &[2, 3]));
        let cast = Call::Cast { x: from, out };
        assert_eq!(calls(Call::Copy { from, out }), [cast]);
        let copy = Call::Copy { from, out: from };
        assert_eq!(calls(Call::Cast { x: from, out: from }), [copy]);
    }

    #[test]
    fn a_transposed_matrix_is_not_copied() {
        let (a, b) = (x(Type::Bf16, &[2, 4]), x(Type::Bf16, &[3, 4]).transposed());
        let out = x(Type::F32, &[2, 3]);
        let product = Call::Matmul { a, b, out };
        assert_eq!(calls(product.clone()), [product]);
    }
}
