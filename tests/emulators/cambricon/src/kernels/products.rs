//! Products of matrices, by an algorithm that was found for exactly these.

use std::borrow::Cow;

use backend_cambricon_sys::types::{cnnlDataType_t, cnnlMatMulHeuristicResult_t};
use emulator_support::argument::{Place, Pointer};
use emulator_support::failure::{Failure, Outcome};
use emulator_support::matrix_product;

use super::numbers::Room;
use crate::array::Array;
use crate::call::Call;
use crate::codes::{CNNL_BAD_PARAM, CNNL_NOT_SUPPORTED};
use crate::handles::{Handle, Kind};
use crate::launch::operate;
use crate::objects::{Object, Plan, Product, dead, desc};
use crate::planner::{At, Planner, kernel, refuse, workspace_bytes};
use crate::tensor::{BF16, F16, F32, Tensor};

/// Which of the two functions multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Batch {
    /// Matrices.
    One,
    /// Batches of them: the results are of the operands' type.
    Many,
}

/// What an algorithm is found for: the product, the operands, all of it.
fn key(batch: Batch, product: Product, tensors: &[Tensor]) -> String {
    format!("{batch:?} {product:?} {tensors:?}")
}

/// Finds an algorithm: one, because no more are to be had.
pub(crate) fn heuristic(
    call: &mut Call,
    batch: Batch,
    desc_of: Handle,
    operands: &[Handle],
    (requested, results, count): (i32, Place<cnnlMatMulHeuristicResult_t>, Place<i32>),
) -> Outcome {
    if requested != 1 {
        let text = format!("{requested} algorithms: one is to be had");
        return Err(Failure::new(CNNL_NOT_SUPPORTED, text));
    }
    let planner = Planner {
        call,
        device: 0,
        operands: Vec::new(),
        workspace: None,
    };
    let Object::MatMul(product) = planner.object(desc_of, Kind::MatMul)? else {
        return Err(dead(desc_of, Kind::MatMul));
    };
    let tensors = operands
        .iter()
        .map(|operand| planner.tensor("operand", *operand));
    let tensors = tensors.collect::<Outcome<Vec<_>>>()?;
    let of = key(batch, *product, &tensors);
    let workspace = workspace_bytes(&of, &[]);
    let result = results.list(1).unwrap_or_default();
    let result = result.first().map(|result| Handle(result.0.addr() as u64));
    let result = result.ok_or_else(|| Failure::new(CNNL_BAD_PARAM, "no place for a result"))?;
    match call.objects.get_mut(&result) {
        Some(Object::Heuristic(plan)) => *plan = Some(Plan { of, workspace }),
        _ => return Err(dead(result, Kind::Heuristic)),
    }
    count.some(CNNL_BAD_PARAM)?.put(1);
    Ok(())
}

/// Takes what was found into an algorithm.
pub(crate) fn result(
    call: &mut Call,
    result: Handle,
    algorithm: Handle,
    size: Place<usize>,
) -> Outcome {
    let plan = match call.objects.get(&result) {
        Some(Object::Heuristic(Some(plan))) => plan.clone(),
        Some(Object::Heuristic(None)) => return Err(desc("nothing was found yet")),
        _ => return Err(dead(result, Kind::Heuristic)),
    };
    size.some(CNNL_BAD_PARAM)?.put(plan.workspace);
    match call.objects.get_mut(&algorithm) {
        Some(Object::Algorithm(of)) => *of = Some(plan),
        _ => return Err(dead(algorithm, Kind::Algorithm)),
    }
    Ok(())
}

/// What multiplies, and how.
#[derive(Debug)]
pub(crate) struct How {
    pub(crate) batch: Batch,
    pub(crate) product: Handle,
    pub(crate) algorithm: Handle,
    pub(crate) alpha: Pointer,
    pub(crate) beta: Pointer,
}

/// The types of operands that make results of a type.
fn is_legal(batch: Batch, operands: cnnlDataType_t, out: cnnlDataType_t) -> bool {
    let narrow = [F16, BF16].contains(&operands);
    operands == out && (narrow || operands == F32) || batch == Batch::One && narrow && out == F32
}

/// `op(a) · op(b)`. What is added lies where the results go, and is not.
pub(crate) fn multiply(
    call: &mut Call,
    handle: Handle,
    how: &How,
    (operands, added): ([At; 3], Option<At>),
    room: Room,
) -> Outcome {
    operate(call, handle, |op| {
        let Object::MatMul(product) = *op.object(how.product, Kind::MatMul)? else {
            return Err(dead(how.product, Kind::MatMul));
        };
        let Object::Algorithm(plan) = op.object(how.algorithm, Kind::Algorithm)? else {
            return Err(dead(how.algorithm, Kind::Algorithm));
        };
        let plan = plan
            .clone()
            .ok_or_else(|| refuse("E-ALGO", "an algorithm of nothing"))?;
        if op.float(how.alpha)? != 1.0 || op.float(how.beta)? != 0.0 {
            return Err(Failure::new(CNNL_NOT_SUPPORTED, "factors but 1 and 0"));
        }
        let [a_at, b_at, out_at] = operands;
        if added.is_some_and(|added| added.1.address() != out_at.1.address()) {
            return Err(refuse(
                "E-ALIAS",
                "what is added lies elsewhere than the results",
            ));
        }
        let rank = if how.batch == Batch::One { 2 } else { 3 };
        let a = op.input("a", a_at)?.rank(rank)?;
        let b = op.input("b", b_at)?.of(&[a.dtype()])?.rank(rank)?;
        let out = op.output("d", out_at)?.rank(rank)?;
        if !is_legal(how.batch, a.dtype(), out.dtype()) {
            let text = format!("{:?} to {:?}", a.dtype(), out.dtype());
            return Err(refuse("E-DTYPE", text));
        }
        let mut tensors = vec![a.tensor.clone(), b.tensor.clone(), out.tensor.clone()];
        if added.is_some() {
            tensors.push(out.tensor.clone());
        }
        if plan.of != key(how.batch, product, &tensors) {
            return Err(refuse(
                "E-ALGO",
                "an algorithm that was found for another product",
            ));
        }
        let sides = |dims: &[usize], turned: bool| {
            let [rows, columns] = *dims.last_chunk().expect("a matrix");
            if turned {
                [columns, rows]
            } else {
                [rows, columns]
            }
        };
        let [m, k] = sides(a.dims(), product.trans_a);
        let [inner, n] = sides(b.dims(), product.trans_b);
        let batches = &a.dims()[..rank - 2];
        if k != inner || batches != &b.dims()[..rank - 2] {
            let text = format!("{:?} by {:?}", a.dims(), b.dims());
            return Err(refuse("E-SHAPE", text));
        }
        let dims = [batches, &[m, n]].concat();
        out.shape(&dims)?;
        op.workspace(room, plan.workspace)?;
        let cuts = product.tf32 && a.dtype() == F32;
        Ok(kernel(move |inputs| {
            let [a, b] = [0, 1].map(|side| {
                let numbers = inputs[side].f();
                if cuts {
                    Cow::Owned(numbers.iter().copied().map(tf32).collect())
                } else {
                    Cow::Borrowed(numbers)
                }
            });
            let mut out = vec![0.0_f32; dims.iter().product()];
            let matrices = a
                .chunks(m * k)
                .zip(b.chunks(k * n))
                .zip(out.chunks_mut(m * n));
            let strides = if product.trans_b { [1, k] } else { [n, 1] };
            for ((a, b), out) in matrices {
                if product.trans_a {
                    let turned: Vec<f32> = (0..m * k).map(|at| a[at % k * m + at / k]).collect();
                    matrix_product(&turned, (b, strides), out, [k, n]);
                } else {
                    matrix_product(a, (b, strides), out, [k, n]);
                }
            }
            Ok(vec![Array::floats(&dims, out)])
        }))
    })
}

/// A float with ten bits behind the first, to nearest, ties to even.
fn tf32(x: f32) -> f32 {
    if !x.is_finite() {
        return x;
    }
    let bits = x.to_bits();
    let half = 0xFFF + (bits >> 13 & 1);
    f32::from_bits(bits.wrapping_add(half) & !0x1FFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tf32_keeps_ten_bits() {
        assert_eq!(tf32(1.0 + 1.0 / 1024.0), 1.0 + 1.0 / 1024.0);
        assert_eq!(tf32(1.0 + 1.0 / 4096.0), 1.0);
        assert_eq!(tf32(1.0 + 3.0 / 2048.0), 1.0 + 2.0 / 1024.0);
        assert!(tf32(f32::NAN).is_nan());
    }
}
