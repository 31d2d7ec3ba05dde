//! Operators along an axis, and norms.

use std::cmp::Ordering;

use backend_cambricon_sys::types::cnnlReduceOp_t;
use emulator_support::argument::Pointer;
use emulator_support::failure::{Failure, Outcome};

use super::numbers::Room;
use crate::array::{Array, Data, around};
use crate::call::Call;
use crate::codes::CNNL_NOT_SUPPORTED;
use crate::handles::{Handle, Kind};
use crate::launch::operate;
use crate::objects::{Object, desc};
use crate::planner::{At, kernel, refuse, workspace_bytes};
use crate::tensor::{FLOATS, INDICES, NUMBERS};

/// Sums or largest over one axis, which stays with length 1. What is no number is passed over by the largest.
pub(crate) fn reduce(
    call: &mut Call,
    handle: Handle,
    desc_of: Handle,
    (factors, [x, y]): ([Pointer; 2], [At; 2]),
    room: Room,
) -> Outcome {
    operate(call, handle, |op| {
        let Object::Reduce(Some(reduction)) = op.object(desc_of, Kind::Reduce)? else {
            return Err(desc("a reduction that was not set"));
        };
        let reduction = reduction.clone();
        if factors.iter().any(|factor| factor.address() != 0) {
            return Err(Failure::new(CNNL_NOT_SUPPORTED, "factors of a reduction"));
        }
        let x = op.input("input", x)?.of(FLOATS)?.of(&[reduction.dtype])?;
        let [axis] = reduction.axes[..] else {
            return Err(Failure::new(CNNL_NOT_SUPPORTED, "more than one axis"));
        };
        if axis >= x.dims().len() {
            return Err(refuse("E-SHAPE", format!("axis {axis} of {:?}", x.dims())));
        }
        let mut dims = x.dims().to_vec();
        dims[axis] = 1;
        let y = op.output("output", y)?.of(&[x.dtype()])?.shape(&dims)?;
        op.workspace(room, workspace_bytes("Reduce", &[x.dims(), y.dims(), &[]]))?;
        let (start, step): (f32, fn(f32, f32) -> f32) = match reduction.op {
            cnnlReduceOp_t::CNNL_REDUCE_ADD => (0.0, |sum, x| sum + x),
            cnnlReduceOp_t::CNNL_REDUCE_MAX => (f32::NEG_INFINITY, f32::max),
            other => {
                return Err(Failure::new(
                    CNNL_NOT_SUPPORTED,
                    format!("reduction {}", other.0),
                ));
            }
        };
        Ok(kernel(move |inputs| {
            let [outer, length, inner] = around(&inputs[0].dims, axis);
            let mut out = vec![start; outer * inner];
            for (at, x) in inputs[0].f().iter().enumerate() {
                let (row, column) = (at / (length * inner), at % inner);
                let out = &mut out[row * inner + column];
                *out = step(*out, *x);
            }
            Ok(vec![Array::floats(&dims, out)])
        }))
    })
}

/// The first of each row, of those alike the first ones; what is no number counts as the largest.
fn order(data: &Data, a: usize, b: usize) -> Ordering {
    match data {
        Data::Int(all) => all[a].cmp(&all[b]),
        Data::Float(all) => {
            let (a, b) = (all[a], all[b]);
            a.partial_cmp(&b)
                .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        }
    }
}

/// How the first of each row are asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice {
    pub(crate) k: i32,
    pub(crate) dim: i32,
    pub(crate) largest: bool,
    /// Without it nobody knows which of those alike are given.
    pub(crate) lower_index_first: bool,
}

/// The first of each row, and their places.
pub(crate) fn top_k(
    call: &mut Call,
    handle: Handle,
    choice: Choice,
    [x, values, places]: [At; 3],
    room: Room,
) -> Outcome {
    operate(call, handle, |op| {
        let x = op.input("input", x)?.of(NUMBERS)?.rank(2)?;
        let [rows, length] = [x.dims()[0], x.dims()[1]];
        if choice.dim != 1 || !choice.lower_index_first {
            return Err(Failure::new(
                CNNL_NOT_SUPPORTED,
                "another axis, or any order of those alike",
            ));
        }
        let k = usize::try_from(choice.k)
            .ok()
            .filter(|k| (1..=length).contains(k));
        let k = k.ok_or_else(|| refuse("E-TOPK", format!("the first {} of {length}", choice.k)))?;
        op.output("output", values)?
            .of(&[x.dtype()])?
            .shape(&[rows, k])?;
        op.output("index", places)?.of(INDICES)?.shape(&[rows, k])?;
        op.workspace(room, workspace_bytes("TopKTensor", &[x.dims(), &[k]]))?;
        Ok(kernel(move |inputs| {
            let data = &inputs[0].data;
            let (mut places, mut chosen) = (Vec::new(), Vec::new());
            for row in 0..rows {
                let mut steps: Vec<usize> = (0..length).collect();
                steps.sort_by(|a, b| {
                    let order = order(data, row * length + a, row * length + b);
                    if choice.largest {
                        order.reverse()
                    } else {
                        order
                    }
                });
                for step in &steps[..k] {
                    places.push(row * length + step);
                    chosen.push(*step as i64);
                }
            }
            let values = Array::new(&[rows, k], data.at(&places));
            Ok(vec![values, Array::ints(&[rows, k], chosen)])
        }))
    })
}

/// `scale ⊙ x / sqrt(mean(x²) + eps)` of each row.
pub(crate) fn rms_norm(
    call: &mut Call,
    handle: Handle,
    (axis, eps, desc_of): (i32, f32, Handle),
    [x, scale, y]: [At; 3],
    room: Room,
) -> Outcome {
    operate(call, handle, |op| {
        op.object(desc_of, Kind::Norm)?;
        let x = op.input("x", x)?.of(FLOATS)?.rank(2)?;
        if axis != 1 {
            return Err(refuse("E-SHAPE", format!("axis {axis} of rows")));
        }
        let width = x.dims()[1];
        let scale = op.input("scale", scale)?.of(FLOATS)?.shape(&[width])?;
        op.output("y", y)?
            .of(&[x.dtype(), scale.dtype()])?
            .shape(x.dims())?;
        op.workspace(room, workspace_bytes("RmsNorm", &[x.dims(), &[1]]))?;
        Ok(kernel(move |inputs| {
            let (x, scale) = (&inputs[0], inputs[1].f());
            let mut out = Vec::with_capacity(x.data.len());
            for row in x.f().chunks(width) {
                let squares: f32 = row.iter().map(|x| x * x).sum();
                // Times the reciprocal, as the reference has it: quotients differ in the last bit, enough for a value that is cached in
                // eight bits to be rounded the other way.
                let factor = 1.0 / (squares / width as f32 + eps).sqrt();
                out.extend(row.iter().zip(scale).map(|(x, scale)| x * factor * scale));
            }
            Ok(vec![Array::floats(&x.dims, out)])
        }))
    })
}
