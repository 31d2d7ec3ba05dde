//! From an operation to the calls of operators that it is composed of: those that every vendor's library has in some form.
//!
//! A vendor says how each [`Call`] is made. [`without_gaps`] is for libraries whose operators do not step over numbers.

mod call;
mod functions;
mod gaps;
mod moves;
mod operand;
mod products;
mod rounding;
mod visits;

pub use call::{Binary, Call, Function, Number, Order, Program};
pub use gaps::without_gaps;
pub use operand::{Operand, Place, Type};
pub use products::linear;
pub use rounding::{integers, nibbles};
pub use visits::{by_own, fetched, runs};

use crate::limits::GATHERED_BYTES_MAX;
use crate::op::Op;

/// The calls of an operation; none of an [`Op::Grouped`] of many rows, because where runs end is cheaper asked for than done without,
/// and none of what ranks do together. Plain data: no device is asked.
#[must_use]
pub fn compose<F, E>(op: &Op<F>) -> Option<Program<E>> {
    let mut program = Program::default();
    let to = &mut program;
    match op {
        Op::Fill { out, byte } => to.fill = Some((out.into(), *byte)),
        Op::Widen { x, out } => to.cast(x.into(), out.into()),
        Op::Round {
            x,
            to: rounding,
            out,
        } => rounding::round(to, x.into(), *rounding, out.into()),
        Op::Shift { x, by, out } => moves::shift(to, x.into(), *by, out.into()),
        Op::Slice { from, start, out } => {
            let (from, out) = (Operand::from(from), Operand::from(out));
            to.copy(from.part(1, *start, out.dims[1]), out);
        }
        Op::Concat { parts, out } => to.call(Call::Concat {
            parts: parts.iter().map(Operand::from).collect(),
            out: out.into(),
        }),
        Op::Gather { from, at, out } => to.call(Call::Rows {
            from: from.into(),
            at: at.into(),
            out: out.into(),
        }),
        Op::Take { from, at, out } => moves::take(to, from.into(), at.into(), out.into()),
        Op::Scatter { into, at, from } => moves::scatter(to, into.into(), at.into(), from.into()),
        Op::Linear { x, weight, out } => {
            linear(to, x.into(), (&weight.parts[0]).into(), out.into());
        }
        Op::Matmul { a, b, out } => products::matmul(to, a.into(), b.into(), out.into()),
        Op::MatmulT { a, b, out } => {
            let b = Operand::from(b).transposed();
            products::matmul(to, a.into(), b, out.into());
        }
        Op::Add { a, b, out } => to.binary(Binary::Add, a.into(), b.into(), out.into()),
        Op::Mul { a, b, out } => to.binary(Binary::Mul, a.into(), b.into(), out.into()),
        Op::Map { f, x, out } => functions::map(to, *f, x.into(), out.into()),
        Op::Sum { x, out } => to.call(Call::Sum {
            x: x.into(),
            out: out.into(),
        }),
        Op::Max { x, out } => {
            let places = to.scratch(Type::I64, &out.dims);
            to.call(Call::Max {
                x: x.into(),
                out: out.into(),
                places,
            });
        }
        Op::RmsNorm {
            x,
            weight,
            eps,
            out,
        } => {
            let weight = weight.as_ref().map(Operand::from);
            products::rms_norm(to, x.into(), weight, *eps, out.into());
        }
        Op::Rope {
            x,
            angles,
            rotation,
            out,
        } => functions::rope(to, x.into(), angles.into(), *rotation, out.into()),
        Op::TopK { x, out } => moves::top_k(to, x.into(), out.into()),
        Op::Mask { at, out } => moves::mask(to, at.into(), out.into()),
        Op::Dispatch {
            experts,
            rows,
            visits,
            places,
            ends,
        } => {
            let lists = [rows, visits, places].map(Operand::from);
            visits::dispatch(to, experts.into(), lists, ends.into());
        }
        Op::Grouped {
            x,
            weight,
            ends,
            out,
        } => {
            let weight = &weight.parts[0];
            let fetched = weight.bytes() / weight.dims[0] * x.dims[0];
            if fetched > GATHERED_BYTES_MAX {
                return None;
            }
            visits::grouped(to, x.into(), weight.into(), ends.into(), out.into());
        }
        Op::AllReduce { .. } | Op::AllGather { .. } => return None,
    }
    Some(program)
}
