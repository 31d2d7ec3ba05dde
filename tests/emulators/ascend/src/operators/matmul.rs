//! Products of matrices.

use std::borrow::Cow;

use emulator_support::matrix_product;
use half::f16;

use crate::array::{Array, joint};
use crate::exports::operators::{BatchMatMul, Matmul};
use crate::failure::Outcome;
use crate::handles::Handle;
use crate::planner::{F32, FLOATS, Kernel, Planner, kernel};

/// Inputs are rounded to 16 bits before they are multiplied.
const FORCE_F16: i8 = 2;

pub(crate) fn matmul(op: &mut Planner<'_>, args: &Matmul) -> Outcome<Kernel> {
    product(
        op,
        [args.self_, args.mat2, args.out],
        args.cubeMathType,
        2..=6,
    )
}

pub(crate) fn batch_matmul(op: &mut Planner<'_>, args: &BatchMatMul) -> Outcome<Kernel> {
    product(
        op,
        [args.self_, args.mat2, args.out],
        args.cubeMathType,
        3..=3,
    )
}

/// `[…, m, k]` times `[…, k, n]`; what stands before is repeated to the joint shape.
fn product(
    op: &mut Planner<'_>,
    [self_, mat2, out]: [Handle; 3],
    math: i8,
    ranks: std::ops::RangeInclusive<usize>,
) -> Outcome<Kernel> {
    let a = op.input("self", self_)?.of(FLOATS)?.rank(ranks.clone())?;
    let b = op.input("mat2", mat2)?.of(&[a.dtype])?.rank(ranks)?;
    if !(0..=3).contains(&math) {
        return Err(op.refuse(format!("cubeMathType {math}, takes 0 to 3")));
    }
    let ([m, k], [inner, n]) = (last(&a.dims), last(&b.dims));
    let outer = joint(&a.dims[..a.dims.len() - 2], &b.dims[..b.dims.len() - 2]);
    let outer = outer.filter(|_| k == inner);
    let outer = outer.ok_or_else(|| op.refuse(format!("{:?} times {:?}", a.dims, b.dims)))?;
    let with = |matrix: [usize; 2]| [&outer[..], &matrix].concat();
    let (a_dims, b_dims, dims) = (with([m, k]), with([k, n]), with([m, n]));
    op.output("out", out)?.of(&[a.dtype, F32])?.shape(&dims)?;
    op.workspace = 64 * (1 + (m + n + k) % 7);
    let rounds = math == FORCE_F16 && a.dtype == F32;
    Ok(kernel(move |inputs| {
        let [a, b] = [(&inputs[a.slot], &a_dims), (&inputs[b.slot], &b_dims)].map(|(x, dims)| {
            let x = x.spread(dims);
            if !rounds {
                return x;
            }
            let half = |x: &f32| f16::from_f32(*x).to_f32();
            Cow::Owned(Array::floats(dims, x.f().iter().map(half).collect()))
        });
        let (a, b) = (a.f(), b.f());
        let mut out = vec![0.0; dims.iter().product()];
        if m * n * k > 0 {
            let matrices = a
                .chunks(m * k)
                .zip(b.chunks(k * n))
                .zip(out.chunks_mut(m * n));
            matrices.for_each(|((a, b), out)| matrix_product(a, (b, [n, 1]), out, [k, n]));
        }
        Ok(vec![Array::floats(&dims, out)])
    }))
}

fn last(dims: &[usize]) -> [usize; 2] {
    *dims.last_chunk().expect("rank 2 or more")
}
