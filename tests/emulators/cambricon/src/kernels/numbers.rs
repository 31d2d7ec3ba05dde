//! Operators of one number at a time.

use backend_cambricon_sys::types::{
    cnnlActivationMode_t, cnnlCastDataType_t, cnnlLogicOp_t, cnnlOpTensorDesc_t,
};
use emulator_support::argument::Pointer;
use emulator_support::failure::{Failure, Outcome};

use crate::array::{Array, Data, joint};
use crate::call::Call;
use crate::codes::CNNL_NOT_SUPPORTED;
use crate::handles::{Handle, Kind};
use crate::launch::operate;
use crate::objects::{Object, desc};
use crate::planner::{At, Kernel, Planner, Spec, kernel, refuse, workspace_bytes};
use crate::tensor::{ALL, BF16, BOOL, F16, F32, FLOATS, I32, I64, NUMBERS};

/// A workspace: where, and how many bytes.
pub(crate) type Room = (Pointer, usize);

/// A function of one float.
pub(crate) fn map(call: &mut Call, handle: Handle, [x, y]: [At; 2], f: fn(f32) -> f32) -> Outcome {
    operate(call, handle, |op| mapped(op, [x, y], f))
}

fn mapped(
    op: &mut Planner<'_>,
    [x, y]: [At; 2],
    f: impl Fn(f32) -> f32 + Send + Sync + 'static,
) -> Outcome<Kernel> {
    let x = op.input("x", x)?.of(FLOATS)?;
    op.output("y", y)?.of(&[x.dtype()])?.shape(x.dims())?;
    Ok(kernel(move |inputs| {
        let x = &inputs[0];
        Ok(vec![Array::floats(
            &x.dims,
            x.f().iter().map(|x| f(*x)).collect(),
        )])
    }))
}

/// `alpha x + beta`, the two of the host.
pub(crate) fn transform(
    call: &mut Call,
    handle: Handle,
    (mode, alpha, beta): (u32, Pointer, Pointer),
    [x, y]: [At; 2],
    room: Room,
) -> Outcome {
    operate(call, handle, |op| {
        if mode != 0 {
            return Err(Failure::new(
                CNNL_NOT_SUPPORTED,
                "factors that lie on the device",
            ));
        }
        let (alpha, beta) = (op.float(alpha)?, op.float(beta)?);
        let kernel = mapped(op, [x, y], move |x| x * alpha + beta)?;
        let dims = op.operands[0].tensor.dims.clone();
        op.workspace(room, workspace_bytes("Transform", &[&dims, &dims, &[]]))?;
        Ok(kernel)
    })
}

pub(crate) fn activation(
    call: &mut Call,
    handle: Handle,
    desc_of: Handle,
    factors: [Pointer; 2],
    operands: [At; 2],
) -> Outcome {
    operate(call, handle, |op| {
        let Object::Activation(Some(mode)) = op.object(desc_of, Kind::Activation)? else {
            return Err(desc("an activation that was not set"));
        };
        if factors.iter().any(|factor| factor.address() != 0) {
            return Err(Failure::new(CNNL_NOT_SUPPORTED, "factors of an activation"));
        }
        let f: fn(f32) -> f32 = match *mode {
            cnnlActivationMode_t::CNNL_ACTIVATION_SIGMOID => |x| 1.0 / (1.0 + (-x).exp()),
            cnnlActivationMode_t::CNNL_ACTIVATION_SILU => |x| x / (1.0 + (-x).exp()),
            _ => return Err(Failure::new(CNNL_NOT_SUPPORTED, format!("mode {}", mode.0))),
        };
        mapped(op, operands, f)
    })
}

/// Between two bounds of the host, either of which may be none. Not a number stays so.
pub(crate) fn clip(
    call: &mut Call,
    handle: Handle,
    [x, min, max, y]: [At; 4],
    room: Room,
) -> Outcome {
    operate(call, handle, |op| {
        let bound = |op: &Planner<'_>, name, at: At| -> Outcome<Option<f32>> {
            if at.1.address() == 0 {
                return Ok(None);
            }
            let (dtype, place) = op.scalar(name, at)?;
            if dtype != F32 {
                return Err(refuse("E-DTYPE", format!("{name}: {dtype:?}")));
            }
            op.float(place).map(Some)
        };
        let (low, high) = (bound(op, "min", min)?, bound(op, "max", max)?);
        if low.is_none() && high.is_none() {
            return Err(refuse("E-SHAPE", "neither a minimum nor a maximum"));
        }
        let kernel = mapped(op, [x, y], move |x| match (low, high) {
            (_, Some(high)) if x > high => high,
            (Some(low), _) if x < low => low,
            _ => x,
        })?;
        let dims = op.operands[0].tensor.dims.clone();
        op.workspace(room, workspace_bytes("Clip", &[&dims, &[]]))?;
        Ok(kernel)
    })
}

/// Two operands and a result of their joint shape.
fn joined(op: &mut Planner<'_>, [a, b, c]: [At; 3]) -> Outcome<([Spec; 3], Vec<usize>)> {
    let (a, b) = (op.input("a", a)?, op.input("b", b)?);
    let b = b.of(&[a.dtype()])?;
    let dims = joint(a.dims(), b.dims());
    let text = || format!("{:?} with {:?}", a.dims(), b.dims());
    let dims = dims.ok_or_else(|| refuse("E-SHAPE", text()))?;
    let c = op.output("c", c)?.shape(&dims)?;
    Ok(([a, b, c], dims))
}

fn shapes(specs: &[Spec; 3]) -> [Vec<usize>; 3] {
    specs.each_ref().map(|spec| spec.dims().to_vec())
}

fn want(operator: &str, specs: &[Spec; 3]) -> usize {
    let [a, b, c] = shapes(specs);
    workspace_bytes(operator, &[&a, &b, &c, &[]])
}

/// Floats by `float`, integers by `int`.
fn zipped(
    dims: Vec<usize>,
    float: impl Fn(f32, f32) -> f32 + Send + Sync + 'static,
    int: impl Fn(i64, i64) -> i64 + Send + Sync + 'static,
) -> Kernel {
    kernel(move |inputs| {
        let (a, b) = (inputs[0].spread(&dims), inputs[1].spread(&dims));
        let data = match (&a.data, &b.data) {
            (Data::Float(a), Data::Float(b)) => {
                Data::Float(a.iter().zip(b).map(|(a, b)| float(*a, *b)).collect())
            }
            (Data::Int(a), Data::Int(b)) => {
                Data::Int(a.iter().zip(b).map(|(a, b)| int(*a, *b)).collect())
            }
            _ => unreachable!("of one type"),
        };
        Ok(vec![Array::new(&dims, data)])
    })
}

/// `alpha1 a ∘ alpha2 b`. The factors are of the type that it computes in, and here they are 1; that of `c` is 0.
pub(crate) fn op_tensor(
    call: &mut Call,
    handle: Handle,
    desc_of: Handle,
    factors: [Pointer; 3],
    operands: [At; 3],
    room: Room,
) -> Outcome {
    operate(call, handle, |op| {
        let Object::OpTensor(Some((which, compute))) = op.object(desc_of, Kind::OpTensor)? else {
            return Err(desc("an operation on two tensors that was not set"));
        };
        let (which, compute) = (*which, *compute);
        let (specs, dims) = joined(op, operands)?;
        specs[0].clone().of(NUMBERS)?;
        specs[2].clone().of(&[specs[0].dtype()])?;
        let is_float = FLOATS.contains(&specs[0].dtype());
        let computes = if is_float { F32 } else { specs[0].dtype() };
        if compute != computes {
            return Err(refuse("E-DTYPE", format!("computed in {compute:?}")));
        }
        for (factor, wanted) in factors.into_iter().zip([1, 1, 0]) {
            let is_plain = if is_float {
                op.float(factor)? == wanted as f32
            } else {
                op.int(factor)? == wanted
            };
            if !is_plain {
                return Err(Failure::new(CNNL_NOT_SUPPORTED, "factors but 1, 1 and 0"));
            }
        }
        op.workspace(room, want("OpTensor", &specs))?;
        Ok(match which {
            cnnlOpTensorDesc_t::CNNL_OP_TENSOR_ADD => zipped(dims, |a, b| a + b, i64::wrapping_add),
            cnnlOpTensorDesc_t::CNNL_OP_TENSOR_SUB => zipped(dims, |a, b| a - b, i64::wrapping_sub),
            _ => zipped(dims, |a, b| a * b, i64::wrapping_mul),
        })
    })
}

pub(crate) fn div(
    call: &mut Call,
    handle: Handle,
    desc_of: Handle,
    operands: [At; 3],
    room: Room,
) -> Outcome {
    operate(call, handle, |op| {
        op.object(desc_of, Kind::Div)?;
        let (specs, dims) = joined(op, operands)?;
        specs[0].clone().of(FLOATS)?;
        specs[2].clone().of(&[specs[0].dtype()])?;
        op.workspace(room, want("Div", &specs))?;
        let no_integers = |_, _| unreachable!("floats alone");
        Ok(zipped(dims, |a, b| a / b, no_integers))
    })
}

/// How two numbers of either kind compare.
type Comparison = (fn(&f32, &f32) -> bool, fn(&i64, &i64) -> bool);

/// Booleans of two numbers.
pub(crate) fn logic(
    call: &mut Call,
    handle: Handle,
    which: cnnlLogicOp_t,
    operands: [At; 3],
    room: Room,
) -> Outcome {
    operate(call, handle, |op| {
        let (specs, dims) = joined(op, operands)?;
        specs[0].clone().of(NUMBERS)?;
        specs[2].clone().of(&[BOOL])?;
        op.workspace(room, want("LogicOp", &specs))?;
        let (float, int): Comparison = match which {
            cnnlLogicOp_t::CNNL_LOGIC_OP_EQ => (f32::eq, i64::eq),
            cnnlLogicOp_t::CNNL_LOGIC_OP_NE => (f32::ne, i64::ne),
            cnnlLogicOp_t::CNNL_LOGIC_OP_LE => (f32::le, i64::le),
            cnnlLogicOp_t::CNNL_LOGIC_OP_LT => (f32::lt, i64::lt),
            _ => {
                return Err(Failure::new(
                    CNNL_NOT_SUPPORTED,
                    format!("operation {}", which.0),
                ));
            }
        };
        Ok(kernel(move |inputs| {
            let (a, b) = (inputs[0].spread(&dims), inputs[1].spread(&dims));
            let truths: Vec<i64> = match (&a.data, &b.data) {
                (Data::Float(a), Data::Float(b)) => {
                    a.iter().zip(b).map(|(a, b)| float(a, b).into()).collect()
                }
                (Data::Int(a), Data::Int(b)) => {
                    a.iter().zip(b).map(|(a, b)| int(a, b).into()).collect()
                }
                _ => unreachable!("of one type"),
            };
            Ok(vec![Array::ints(&dims, truths)])
        }))
    })
}

/// `then` where the condition holds, `otherwise` elsewhere: all of one shape.
pub(crate) fn select(
    call: &mut Call,
    handle: Handle,
    [condition, then, otherwise, out]: [At; 4],
    room: Room,
) -> Outcome {
    operate(call, handle, |op| {
        let condition = op.input("condition", condition)?.of(&[BOOL])?;
        let then = op.input("then", then)?.of(ALL)?.shape(condition.dims())?;
        let otherwise = op
            .input("else", otherwise)?
            .of(&[then.dtype()])?
            .shape(condition.dims())?;
        let out = op
            .output("output", out)?
            .of(&[then.dtype()])?
            .shape(condition.dims())?;
        op.workspace(room, want("SelectV2", &[condition, then, otherwise]))?;
        let dims = out.dims().to_vec();
        Ok(kernel(move |inputs| {
            fn chosen<T: Copy>(holds: &[i64], then: &[T], other: &[T]) -> Vec<T> {
                let both = holds.iter().zip(then.iter().zip(other));
                both.map(|(holds, (then, other))| if *holds == 0 { *other } else { *then })
                    .collect()
            }
            let holds = inputs[0].i();
            let data = match (&inputs[1].data, &inputs[2].data) {
                (Data::Float(then), Data::Float(other)) => Data::Float(chosen(holds, then, other)),
                (Data::Int(then), Data::Int(other)) => Data::Int(chosen(holds, then, other)),
                _ => unreachable!("of one type"),
            };
            Ok(vec![Array::new(&dims, data)])
        }))
    })
}

/// Numbers as those of another type; a fraction is cut off.
pub(crate) fn cast(
    call: &mut Call,
    handle: Handle,
    which: cnnlCastDataType_t,
    [x, y]: [At; 2],
) -> Outcome {
    let (from, to) = match which {
        cnnlCastDataType_t::CNNL_CAST_FLOAT_TO_BFLOAT16 => (F32, BF16),
        cnnlCastDataType_t::CNNL_CAST_BFLOAT16_TO_FLOAT => (BF16, F32),
        cnnlCastDataType_t::CNNL_CAST_FLOAT_TO_HALF => (F32, F16),
        cnnlCastDataType_t::CNNL_CAST_HALF_TO_FLOAT => (F16, F32),
        cnnlCastDataType_t::CNNL_CAST_FLOAT_TO_INT32 => (F32, I32),
        cnnlCastDataType_t::CNNL_CAST_INT32_TO_FLOAT => (I32, F32),
        cnnlCastDataType_t::CNNL_CAST_FLOAT_TO_INT64 => (F32, I64),
        cnnlCastDataType_t::CNNL_CAST_INT64_TO_FLOAT => (I64, F32),
        cnnlCastDataType_t::CNNL_CAST_INT32_TO_INT64 => (I32, I64),
        cnnlCastDataType_t::CNNL_CAST_INT64_TO_INT32 => (I64, I32),
        cnnlCastDataType_t::CNNL_CAST_BOOL_TO_FLOAT => (BOOL, F32),
        cnnlCastDataType_t::CNNL_CAST_BOOL_TO_INT32 => (BOOL, I32),
        _ => {
            let text = format!("cast {}", which.0);
            return Err(Failure::violation("E-DTYPE", CNNL_NOT_SUPPORTED, text));
        }
    };
    operate(call, handle, |op| {
        let x = op.input("input", x)?.of(&[from])?;
        op.output("output", y)?.of(&[to])?.shape(x.dims())?;
        let to_float = FLOATS.contains(&to);
        Ok(kernel(move |inputs| {
            let x = &inputs[0];
            let data = match &x.data {
                Data::Float(all) if to_float => Data::Float(all.clone()),
                Data::Float(all) => Data::Int(all.iter().map(|x| *x as i64).collect()),
                Data::Int(all) if to_float => Data::Float(all.iter().map(|x| *x as f32).collect()),
                Data::Int(all) => Data::Int(all.clone()),
            };
            Ok(vec![Array::new(&x.dims, data)])
        }))
    })
}

/// One number of the host everywhere.
pub(crate) fn fill(call: &mut Call, handle: Handle, value: At, out: At) -> Outcome {
    operate(call, handle, |op| {
        let (dtype, place) = op.scalar("value", value)?;
        let out = op.output("output", out)?.of(&[dtype])?.of(&[F32, I32])?;
        let (dims, count) = (out.dims().to_vec(), out.tensor.count());
        let data = if dtype == F32 {
            Data::Float(vec![op.float(place)?; count])
        } else {
            Data::Int(vec![op.int(place)?.into(); count])
        };
        Ok(kernel(move |_| Ok(vec![Array::new(&dims, data.clone())])))
    })
}

/// `start`, `start + step`, …
pub(crate) fn arange(call: &mut Call, handle: Handle, bounds: [Pointer; 2], out: At) -> Outcome {
    operate(call, handle, |op| {
        let out = op.output("output", out)?.of(&[F32, I32])?;
        let dims = out.dims().to_vec();
        let count = out.tensor.count();
        let data = if out.dtype() == F32 {
            let [start, step] = [op.float(bounds[0])?, op.float(bounds[1])?];
            Data::Float((0..count).map(|at| start + at as f32 * step).collect())
        } else {
            let [start, step] = [op.int(bounds[0])?, op.int(bounds[1])?].map(i64::from);
            Data::Int((0..count as i64).map(|at| start + at * step).collect())
        };
        Ok(kernel(move |_| Ok(vec![Array::new(&dims, data.clone())])))
    })
}
