//! Norms, gates and quantisation of rows.

use crate::array::{Array, around};
use crate::codes;
use crate::exports::operators::{DynamicQuantV2, RmsNorm, SwiGlu};
use crate::failure::{Failure, Outcome};
use crate::planner::{BF16, F16, F32, FLOATS, I8, Kernel, Planner, kernel};

/// The largest magnitude of a quantised number.
const I8_MAX: f32 = 127.0;

/// `x / sqrt(mean(x²) + epsilon) * gamma` over the axes that gamma has, and the factor of each row.
pub(crate) fn rms_norm(op: &mut Planner<'_>, args: &RmsNorm) -> Outcome<Kernel> {
    let x = op
        .input("x", args.x)?
        .of(FLOATS)?
        .rank(1..=8)?
        .contiguous()?;
    let rank = x.dims.len();
    let gamma = op
        .input("gamma", args.gamma)?
        .of(&[x.dtype, F32])?
        .rank(1..=rank)?
        .contiguous()?;
    let outer = rank - gamma.dims.len();
    let gamma = gamma.shape(&x.dims[outer..])?;
    op.output("yOut", args.yOut)?
        .of(&[x.dtype])?
        .shape(&x.dims)?;
    let mut rows = x.dims.clone();
    rows[outer..].fill(1);
    op.output("rstdOut", args.rstdOut)?
        .of(&[F32])?
        .shape(&rows)?;
    op.workspace = 64 * (1 + x.len() % 7);
    let epsilon = args.epsilon as f32;
    Ok(kernel(move |inputs| {
        let (x, gamma) = (&inputs[x.slot], inputs[gamma.slot].f());
        let width = gamma.len().max(1);
        let (mut y, mut rstd) = (Vec::with_capacity(x.len()), Vec::new());
        for row in x.f().chunks(width) {
            let mean = row.iter().map(|x| x * x).sum::<f32>() / width as f32;
            let factor = 1.0 / (mean + epsilon).sqrt();
            rstd.push(factor);
            y.extend(row.iter().zip(gamma).map(|(x, gamma)| x * factor * gamma));
        }
        Ok(vec![Array::floats(&x.dims, y), Array::floats(&rows, rstd)])
    }))
}

/// `silu(a) * b` of the halves `a` and `b` along an axis.
pub(crate) fn swi_glu(op: &mut Planner<'_>, args: &SwiGlu) -> Outcome<Kernel> {
    let x = op
        .input("x", args.x)?
        .of(FLOATS)?
        .rank(1..=8)?
        .contiguous()?;
    let axis = op.axis(args.dim, x.dims.len())?;
    let [outer, length, inner] = around(&x.dims, axis);
    if length % 2 != 0 {
        return Err(op.refuse(format!("halves of {length}")));
    }
    let mut dims = x.dims.clone();
    dims[axis] /= 2;
    op.output("out", args.out)?.of(&[x.dtype])?.shape(&dims)?;
    Ok(kernel(move |inputs| {
        let (x, half) = (inputs[x.slot].f(), length / 2 * inner);
        let mut out = Vec::with_capacity(outer * half);
        for row in x.chunks((2 * half).max(1)) {
            let (a, b) = row.split_at(half);
            out.extend(a.iter().zip(b).map(|(a, b)| a / (1.0 + (-a).exp()) * b));
        }
        Ok(vec![Array::floats(&dims, out)])
    }))
}

/// Rows as 8 bits and one scale each, symmetrically: `scale = max |x| / 127`, ties to even.
pub(crate) fn dynamic_quant(op: &mut Planner<'_>, args: &DynamicQuantV2) -> Outcome<Kernel> {
    let x = op
        .input("x", args.x)?
        .of(&[F16, BF16])?
        .rank(2..=8)?
        .contiguous()?;
    let rest = [
        args.smoothScalesOptional,
        args.groupIndexOptional,
        args.offsetOut,
    ];
    if rest.iter().any(|handle| !handle.is_null()) || args.dstType != i64::from(I8.0) {
        let text =
            "DynamicQuantV2: other than symmetrical to ACL_INT8 without smoothing is not emulated";
        return Err(Failure::new(codes::FIND_KERNEL, text));
    }
    let (width, rows) = x.dims.split_last().expect("rank 2 or more");
    let (width, rows) = (*width, rows.to_vec());
    op.output("yOut", args.yOut)?.of(&[I8])?.shape(&x.dims)?;
    op.output("scaleOut", args.scaleOut)?
        .of(&[F32])?
        .shape(&rows)?;
    op.workspace = 64 * (1 + x.len() % 7);
    Ok(kernel(move |inputs| {
        let x = &inputs[x.slot];
        let (mut y, mut scales) = (Vec::with_capacity(x.len()), Vec::new());
        for row in x.f().chunks(width.max(1)) {
            let scale = row.iter().fold(0.0_f32, |top, x| top.max(x.abs())) / I8_MAX;
            scales.push(scale);
            // A row of zeros has a scale of zero, and codes of zero.
            let step = if scale == 0.0 { 1.0 } else { scale };
            y.extend(row.iter().map(|x| (x / step).round_ties_even() as i64));
        }
        Ok(vec![Array::ints(&x.dims, y), Array::floats(&rows, scales)])
    }))
}
