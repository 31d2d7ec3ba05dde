//! Products of 8 bits: exact in integers, scaled in floats.

use crate::array::Array;
use crate::codes;
use crate::exports::operators::{QuantMatmulV5, QuantMatmulWeightNz};
use crate::failure::{Failure, Outcome};
use crate::handles::Handle;
use crate::planner::{BF16, F16, F32, I8, I32, Kernel, Planner, Spec, kernel};

/// The rows and columns of a matrix that may be given transposed.
fn matrix(spec: &Spec, is_transposed: bool) -> [usize; 2] {
    let [rows, columns] = [spec.dims[0], spec.dims[1]];
    if is_transposed {
        [columns, rows]
    } else {
        [rows, columns]
    }
}

/// `((x1 x2) + bias) * x2Scale * x1Scale`: a scale for each column, and one for each row if it is given.
pub(crate) fn quant_matmul(op: &mut Planner<'_>, args: &QuantMatmulV5) -> Outcome<Kernel> {
    let rest = [args.yScale, args.x1Offset, args.x2Offset, args.yOffset];
    if rest.iter().any(|handle| !handle.is_null()) || args.groupSize != 0 {
        return Err(not_emulated("QuantMatmulV5"));
    }
    let x1 = op.input("x1", args.x1)?.of(&[I8])?.rank(2..=2)?;
    let x2 = op.input("x2", args.x2)?.of(&[I8])?.rank(2..=2)?;
    let factors = [(x1, args.transposeX1), (x2, args.transposeX2)];
    scaled(
        op,
        factors,
        [args.x1Scale, args.x2Scale, args.bias, args.out],
    )
}

/// The same by a matrix in the fractal format.
pub(crate) fn quant_matmul_fractal(
    op: &mut Planner<'_>,
    args: &QuantMatmulWeightNz,
) -> Outcome<Kernel> {
    let rest = [args.yScale, args.x1Offset, args.x2Offset, args.yOffset];
    if rest.iter().any(|handle| !handle.is_null()) || args.groupSize != 0 {
        return Err(not_emulated("QuantMatmulWeightNz"));
    }
    let x1 = op.input("x1", args.x1)?.of(&[I8])?.rank(2..=2)?;
    let x2 = op.input("x2", args.x2)?.of(&[I8])?.rank(2..=2)?.fractal()?;
    let factors = [(x1, args.transposeX1), (x2, args.transposeX2)];
    scaled(
        op,
        factors,
        [args.x1Scale, args.x2Scale, args.bias, args.out],
    )
}

fn not_emulated(operator: &str) -> Failure {
    let text = format!("{operator}: offsets, scales of the output and groups are not emulated");
    Failure::new(codes::FIND_KERNEL, text)
}

/// The product of two matrices, each of which may be given transposed.
fn scaled(
    op: &mut Planner<'_>,
    [(x1, turned1), (x2, turned2)]: [(Spec, bool); 2],
    [row_scales, column_scales, bias, out]: [Handle; 4],
) -> Outcome<Kernel> {
    let ([m, k], [inner, n]) = (matrix(&x1, turned1), matrix(&x2, turned2));
    if k != inner {
        return Err(op.refuse(format!("{m} x {k} times {inner} x {n}")));
    }
    let columns = op
        .input("x2Scale", column_scales)?
        .of(&[F32, BF16])?
        .shape(&[n])?
        .slot;
    let rows = if row_scales.is_null() {
        None
    } else {
        Some(
            op.input("x1Scale", row_scales)?
                .of(&[F32])?
                .shape(&[m])?
                .slot,
        )
    };
    let bias = if bias.is_null() {
        None
    } else {
        Some(op.input("bias", bias)?.of(&[I32])?.shape(&[n])?.slot)
    };
    op.output("out", out)?.of(&[F16, BF16])?.shape(&[m, n])?;
    op.workspace = 64 * (1 + (m + n + k) % 7);
    let [step1, step2] =
        [(turned1, m, k), (turned2, k, n)].map(
            |(turned, rows, columns)| {
                if turned { [1, rows] } else { [columns, 1] }
            },
        );
    Ok(kernel(move |inputs| {
        let (a, b) = (inputs[x1.slot].i(), inputs[x2.slot].i());
        let mut out = Vec::with_capacity(m * n);
        for row in 0..m {
            for column in 0..n {
                let products = (0..k).map(|at| {
                    a[row * step1[0] + at * step1[1]] * b[at * step2[0] + column * step2[1]]
                });
                let sum = products.sum::<i64>() + bias.map_or(0, |bias| inputs[bias].i()[column]);
                let scale = rows.map_or(1.0, |rows| inputs[rows].f()[row]);
                out.push(sum as f32 * inputs[columns].f()[column] * scale);
            }
        }
        Ok(vec![Array::floats(&[m, n], out)])
    }))
}
