//! Operators of one number at a time.

use backend_ascend_sys::types::aclDataType;

use crate::array::{Array, Data, joint, unwritten};
use crate::exports::operators::{
    Add, Adds, Arange, Cast, Clamp, Div, Exp, InplaceFillScalar, InplaceMaskedFillScalar, Mul,
    Muls, SWhere, Sigmoid, Silu, Softplus, Sqrt, Sub,
};
use crate::failure::Outcome;
use crate::handles::Handle;
use crate::objects::Scalar;
use crate::planner::{ALL, BOOL, F32, FLOATS, I32, I64, Kernel, NUMBERS, Planner, kernel};

/// A function of one number, of floats.
fn map(
    op: &mut Planner<'_>,
    (self_, out): (Handle, Handle),
    function: impl Fn(f32) -> f32 + Send + Sync + 'static,
) -> Outcome<Kernel> {
    let x = op.input("self", self_)?.of(FLOATS)?;
    op.output("out", out)?.of(&[x.dtype])?.shape(&x.dims)?;
    Ok(kernel(move |inputs| {
        let x = &inputs[x.slot];
        Ok(vec![Array::floats(
            &x.dims,
            x.f().iter().map(|x| function(*x)).collect(),
        )])
    }))
}

pub(crate) fn exp(op: &mut Planner<'_>, args: &Exp) -> Outcome<Kernel> {
    map(op, (args.self_, args.out), f32::exp)
}

pub(crate) fn sqrt(op: &mut Planner<'_>, args: &Sqrt) -> Outcome<Kernel> {
    map(op, (args.self_, args.out), f32::sqrt)
}

pub(crate) fn sigmoid(op: &mut Planner<'_>, args: &Sigmoid) -> Outcome<Kernel> {
    map(op, (args.self_, args.out), |x| 1.0 / (1.0 + (-x).exp()))
}

pub(crate) fn silu(op: &mut Planner<'_>, args: &Silu) -> Outcome<Kernel> {
    map(op, (args.self_, args.out), |x| x / (1.0 + (-x).exp()))
}

/// `ln(1 + exp(beta x)) / beta`, and `x` itself where `beta x` is above the threshold.
pub(crate) fn softplus(op: &mut Planner<'_>, args: &Softplus) -> Outcome<Kernel> {
    let beta = op.scalar("beta", args.beta)?.float as f32;
    let threshold = op.scalar("threshold", args.threshold)?.float as f32;
    map(op, (args.self_, args.out), move |x| {
        let scaled = x * beta;
        if scaled > threshold {
            x
        } else {
            scaled.exp().ln_1p() / beta
        }
    })
}

/// Not a number stays so.
pub(crate) fn clamp(op: &mut Planner<'_>, args: &Clamp) -> Outcome<Kernel> {
    let mut bounds = [None; 2];
    for (bound, (name, handle)) in bounds.iter_mut().zip([
        ("clipValueMin", args.clipValueMin),
        ("clipValueMax", args.clipValueMax),
    ]) {
        if !handle.is_null() {
            *bound = Some(op.scalar(name, handle)?.float as f32);
        }
    }
    let [low, high] = bounds;
    if low.is_none() && high.is_none() {
        return Err(op.refuse("neither a minimum nor a maximum"));
    }
    map(op, (args.self_, args.out), move |x| match (low, high) {
        (_, Some(high)) if x > high => high,
        (Some(low), _) if x < low => low,
        _ => x,
    })
}

/// A function of two numbers, each of which is repeated to the joint shape.
fn zip(
    op: &mut Planner<'_>,
    [self_, other, out]: [Handle; 3],
    types: &[aclDataType],
    float: impl Fn(f32, f32) -> f32 + Send + Sync + 'static,
    int: impl Fn(i64, i64) -> i64 + Send + Sync + 'static,
) -> Outcome<Kernel> {
    let a = op.input("self", self_)?.of(types)?;
    let b = op.input("other", other)?.of(&[a.dtype])?;
    let dims = joint(&a.dims, &b.dims);
    let dims = dims.ok_or_else(|| op.refuse(format!("{:?} with {:?}", a.dims, b.dims)))?;
    op.output("out", out)?.of(&[a.dtype])?.shape(&dims)?;
    Ok(kernel(move |inputs| {
        let (a, b) = (inputs[a.slot].spread(&dims), inputs[b.slot].spread(&dims));
        let data = match (&a.data, &b.data) {
            (Data::Float(a), Data::Float(b)) => {
                Data::Float(a.iter().zip(b).map(|(a, b)| float(*a, *b)).collect())
            }
            _ => Data::Int(a.i().iter().zip(b.i()).map(|(a, b)| int(*a, *b)).collect()),
        };
        Ok(vec![Array::new(&dims, data)])
    }))
}

pub(crate) fn add(op: &mut Planner<'_>, args: &Add) -> Outcome<Kernel> {
    let Scalar { float, int } = op.scalar("alpha", args.alpha)?;
    let float = float as f32;
    let operands = [args.self_, args.other, args.out];
    let sum = move |a: i64, b: i64| a.wrapping_add(b.wrapping_mul(int));
    zip(op, operands, NUMBERS, move |a, b| a + b * float, sum)
}

pub(crate) fn sub(op: &mut Planner<'_>, args: &Sub) -> Outcome<Kernel> {
    let Scalar { float, int } = op.scalar("alpha", args.alpha)?;
    let float = float as f32;
    let operands = [args.self_, args.other, args.out];
    let difference = move |a: i64, b: i64| a.wrapping_sub(b.wrapping_mul(int));
    zip(op, operands, NUMBERS, move |a, b| a - b * float, difference)
}

pub(crate) fn mul(op: &mut Planner<'_>, args: &Mul) -> Outcome<Kernel> {
    zip(
        op,
        [args.self_, args.other, args.out],
        NUMBERS,
        |a, b| a * b,
        i64::wrapping_mul,
    )
}

/// Of floats alone: what integers give depends on the release.
pub(crate) fn div(op: &mut Planner<'_>, args: &Div) -> Outcome<Kernel> {
    let no_integers = |_, _| unreachable!("floats alone");
    zip(
        op,
        [args.self_, args.other, args.out],
        FLOATS,
        |a, b| a / b,
        no_integers,
    )
}

pub(crate) fn muls(op: &mut Planner<'_>, args: &Muls) -> Outcome<Kernel> {
    let factor = op.scalar("other", args.other)?.float as f32;
    map(op, (args.self_, args.out), move |x| x * factor)
}

pub(crate) fn adds(op: &mut Planner<'_>, args: &Adds) -> Outcome<Kernel> {
    let other = op.scalar("other", args.other)?.float as f32;
    let alpha = op.scalar("alpha", args.alpha)?.float as f32;
    map(op, (args.self_, args.out), move |x| x + other * alpha)
}

/// Numbers as those of another type; a fraction is cut off.
pub(crate) fn converted(data: &Data, to: aclDataType) -> Data {
    match data {
        Data::Float(floats) if FLOATS.contains(&to) => Data::Float(floats.clone()),
        Data::Float(floats) if to == BOOL => Data::Int(
            floats
                .iter()
                .map(|float| i64::from(*float != 0.0))
                .collect(),
        ),
        Data::Float(floats) => Data::Int(floats.iter().map(|float| *float as i64).collect()),
        Data::Int(ints) if FLOATS.contains(&to) => {
            Data::Float(ints.iter().map(|int| *int as f32).collect())
        }
        Data::Int(ints) => Data::Int(ints.clone()),
    }
}

pub(crate) fn cast(op: &mut Planner<'_>, args: &Cast) -> Outcome<Kernel> {
    let x = op.input("self", args.self_)?.of(ALL)?;
    let to = op
        .output("out", args.out)?
        .of(ALL)?
        .of(&[args.dtype])?
        .shape(&x.dims)?
        .dtype;
    Ok(kernel(move |inputs| {
        let x = &inputs[x.slot];
        Ok(vec![Array::new(&x.dims, converted(&x.data, to))])
    }))
}

/// `self` where the condition holds, `other` elsewhere.
pub(crate) fn s_where(op: &mut Planner<'_>, args: &SWhere) -> Outcome<Kernel> {
    let condition = op.input("condition", args.condition)?.of(&[BOOL])?;
    let a = op.input("self", args.self_)?.of(ALL)?;
    let b = op.input("other", args.other)?.of(&[a.dtype])?;
    let dims = joint(&a.dims, &b.dims).and_then(|dims| joint(&dims, &condition.dims));
    let dims = dims.ok_or_else(|| op.refuse("shapes that do not fit together"))?;
    op.output("out", args.out)?.of(&[a.dtype])?.shape(&dims)?;
    Ok(kernel(move |inputs| {
        let condition = inputs[condition.slot].spread(&dims);
        let mut chosen = inputs[b.slot].spread(&dims).into_owned();
        let places = truths(&condition);
        let a = inputs[a.slot]
            .spread(&dims)
            .pick(&[places.len()], &places)
            .map_err(unwritten)?;
        chosen.put(&places, &a);
        Ok(vec![chosen])
    }))
}

/// Where a condition holds.
fn truths(condition: &Array) -> Vec<usize> {
    let truths = condition
        .i()
        .iter()
        .enumerate()
        .filter(|(_, truth)| **truth != 0);
    truths.map(|(place, _)| place).collect()
}

/// So many of one number, of the type that an array has.
fn repeated(like: &Array, count: usize, scalar: Scalar) -> Array {
    match like.data {
        Data::Float(_) => Array::floats(&[count], vec![scalar.float as f32; count]),
        Data::Int(_) => Array::ints(&[count], vec![scalar.int; count]),
    }
}

pub(crate) fn masked_fill(op: &mut Planner<'_>, args: &InplaceMaskedFillScalar) -> Outcome<Kernel> {
    let x = op.reference("selfRef", args.selfRef)?.of(ALL)?;
    let mask = op.input("mask", args.mask)?.of(&[BOOL])?;
    let value = op.scalar("value", args.value)?;
    if joint(&x.dims, &mask.dims).as_ref() != Some(&x.dims) {
        return Err(op.refuse(format!("a mask {:?} on {:?}", mask.dims, x.dims)));
    }
    Ok(kernel(move |inputs| {
        let mut filled = inputs[x.slot].clone();
        let places = truths(&inputs[mask.slot].spread(&x.dims));
        let values = repeated(&filled, places.len(), value);
        filled.put(&places, &values);
        Ok(vec![filled])
    }))
}

pub(crate) fn fill(op: &mut Planner<'_>, args: &InplaceFillScalar) -> Outcome<Kernel> {
    let x = op.output("selfRef", args.selfRef)?.of(ALL)?;
    let value = op.scalar("value", args.value)?;
    let is_float = FLOATS.contains(&x.dtype);
    Ok(kernel(move |_| {
        let count = x.len();
        Ok(vec![if is_float {
            Array::floats(&x.dims, vec![value.float as f32; count])
        } else {
            Array::ints(&x.dims, vec![value.int; count])
        }])
    }))
}

/// `start`, `start + step`, …, as long as they are before `end`.
pub(crate) fn arange(op: &mut Planner<'_>, args: &Arange) -> Outcome<Kernel> {
    let start = op.scalar("start", args.start)?;
    let end = op.scalar("end", args.end)?;
    let step = op.scalar("step", args.step)?;
    let count = ((end.float - start.float) / step.float).ceil();
    if !(0.0..=f64::from(u32::MAX)).contains(&count) {
        return Err(op.refuse(format!("{count} numbers")));
    }
    let count = count as usize;
    let out = op
        .output("out", args.out)?
        .of(&[F32, I32, I64])?
        .shape(&[count])?;
    Ok(kernel(move |_| {
        let at = |index: usize| start.float + index as f64 * step.float;
        Ok(vec![if out.dtype == F32 {
            Array::floats(&[count], (0..count).map(|index| at(index) as f32).collect())
        } else {
            Array::ints(&[count], (0..count).map(|index| at(index) as i64).collect())
        }])
    }))
}
