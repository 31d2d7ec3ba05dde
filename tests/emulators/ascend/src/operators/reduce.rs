//! Operators along an axis.

use crate::array::{Array, Data, around};
use crate::exports::operators::{ArgMax, MaxDim, ReduceSum, Softmax, Topk};
use crate::failure::Outcome;
use crate::planner::{FLOATS, I32, I64, Kernel, NUMBERS, Planner, Spec, kernel};

/// The places of each row along an axis.
fn rows(dims: &[usize], axis: usize) -> Vec<Vec<usize>> {
    let [outer, length, inner] = around(dims, axis);
    let row = |outer: usize, inner_at: usize| {
        (0..length)
            .map(move |step| (outer * length + step) * inner + inner_at)
            .collect()
    };
    (0..outer)
        .flat_map(|at| (0..inner).map(move |inner_at| row(at, inner_at)))
        .collect()
}

pub(crate) fn softmax(op: &mut Planner<'_>, args: &Softmax) -> Outcome<Kernel> {
    let x = op.input("self", args.self_)?.of(FLOATS)?.rank(1..=8)?;
    let axis = op.axis(args.dim, x.dims.len())?;
    op.output("out", args.out)?.of(&[x.dtype])?.shape(&x.dims)?;
    op.workspace = 64 * (1 + x.len() % 7);
    Ok(kernel(move |inputs| {
        let x = &inputs[x.slot];
        let mut out = x.f().to_vec();
        for row in rows(&x.dims, axis) {
            let top = row
                .iter()
                .map(|at| x.f()[*at])
                .fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = row.iter().map(|at| (x.f()[*at] - top).exp()).sum();
            for at in row {
                out[at] = (x.f()[at] - top).exp() / sum;
            }
        }
        Ok(vec![Array::floats(&x.dims, out)])
    }))
}

pub(crate) fn reduce_sum(op: &mut Planner<'_>, args: &ReduceSum) -> Outcome<Kernel> {
    let x = op.input("self", args.self_)?.of(NUMBERS)?;
    let rank = x.dims.len();
    let axes = op.ints("dims", args.dims)?;
    let mut axes = axes
        .iter()
        .map(|axis| op.axis(*axis, rank))
        .collect::<Outcome<Vec<_>>>()?;
    if axes.is_empty() {
        axes = (0..rank).collect();
    }
    let kept = |at: usize| !axes.contains(&at);
    let ones = (0..rank).map(|at| if kept(at) { x.dims[at] } else { 1 });
    let ones: Vec<_> = ones.collect();
    let dims: Vec<_> = if args.keepDims {
        ones.clone()
    } else {
        (0..rank)
            .filter(|at| kept(*at))
            .map(|at| x.dims[at])
            .collect()
    };
    op.output("out", args.out)?
        .of(&[x.dtype])?
        .of(&[args.dtype])?
        .shape(&dims)?;
    op.workspace = 64 * (1 + x.len() % 7);
    let mut strides = crate::array::row_strides(&ones);
    for axis in axes {
        strides[axis] = 0;
    }
    Ok(kernel(move |inputs| {
        let x = &inputs[x.slot];
        let places = crate::array::enumerate(&x.dims, &strides, 0);
        let count = dims.iter().product();
        let data = match &x.data {
            Data::Float(floats) => {
                let mut sums = vec![0.0; count];
                places
                    .iter()
                    .zip(floats)
                    .for_each(|(place, x)| sums[*place as usize] += x);
                Data::Float(sums)
            }
            Data::Int(ints) => {
                let mut sums = vec![0; count];
                places
                    .iter()
                    .zip(ints)
                    .for_each(|(place, x)| sums[*place as usize] += x);
                Data::Int(sums)
            }
        };
        Ok(vec![Array::new(&dims, data)])
    }))
}

/// The shape without an axis, or with 1 in its place.
fn without(dims: &[usize], axis: usize, keeps: bool) -> Vec<usize> {
    let mut dims = dims.to_vec();
    if keeps {
        dims[axis] = 1;
    } else {
        dims.remove(axis);
    }
    dims
}

/// The first places of a row, best first. Ties go to the smaller index; not a number counts as the largest.
fn ranked(x: &Array, row: &[usize], count: usize, largest: bool) -> Vec<usize> {
    let order = |a: &usize, b: &usize| {
        let [a, b] = [a, b].map(|step| row[*step]);
        let order = match &x.data {
            Data::Float(floats) => total(floats[a], floats[b]),
            Data::Int(ints) => ints[a].cmp(&ints[b]),
        };
        if largest { order.reverse() } else { order }
    };
    if count == 1 {
        return (0..row.len()).min_by(order).into_iter().collect();
    }
    let mut steps: Vec<_> = (0..row.len()).collect();
    steps.sort_by(order);
    steps.truncate(count);
    steps
}

fn total(a: f32, b: f32) -> std::cmp::Ordering {
    a.partial_cmp(&b)
        .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// The best of each row along an axis: the numbers, and their indices.
fn best(x: &Array, axis: usize, count: usize, largest: bool, dims: &[usize]) -> (Array, Array) {
    let [_, length, inner] = around(&x.dims, axis);
    let total = dims.iter().product();
    let (mut places, mut indices) = (vec![0; total], vec![0; total]);
    for (at, row) in rows(&x.dims, axis).into_iter().enumerate() {
        debug_assert_eq!(row.len(), length, "a whole row");
        let (outer, inner_at) = (at / inner, at % inner);
        for (nth, step) in ranked(x, &row, count, largest).into_iter().enumerate() {
            let to = (outer * count + nth) * inner + inner_at;
            (places[to], indices[to]) = (row[step], step as i64);
        }
    }
    let values = x
        .pick(dims, &places)
        .expect("an input was looked at as a whole");
    (values, Array::ints(dims, indices))
}

fn row_of(op: &mut Planner<'_>, self_: crate::handles::Handle, dim: i64) -> Outcome<(Spec, usize)> {
    let x = op.input("self", self_)?.of(NUMBERS)?.rank(1..=8)?;
    let axis = op.axis(dim, x.dims.len())?;
    op.workspace = 64 * (1 + x.len() % 7);
    Ok((x, axis))
}

pub(crate) fn max_dim(op: &mut Planner<'_>, args: &MaxDim) -> Outcome<Kernel> {
    let (x, axis) = row_of(op, args.self_, args.dim)?;
    if x.dims[axis] == 0 {
        return Err(op.refuse("the largest of nothing"));
    }
    let dims = without(&x.dims, axis, args.keepdim);
    op.output("out", args.out)?.of(&[x.dtype])?.shape(&dims)?;
    op.output("indices", args.indices)?
        .of(&[I64])?
        .shape(&dims)?;
    Ok(kernel(move |inputs| {
        let (values, indices) = best(&inputs[x.slot], axis, 1, true, &dims);
        Ok(vec![values, indices])
    }))
}

pub(crate) fn arg_max(op: &mut Planner<'_>, args: &ArgMax) -> Outcome<Kernel> {
    let (x, axis) = row_of(op, args.self_, args.dim)?;
    if x.dims[axis] == 0 {
        return Err(op.refuse("the largest of nothing"));
    }
    let dims = without(&x.dims, axis, args.keepdim);
    op.output("out", args.out)?.of(&[I32, I64])?.shape(&dims)?;
    Ok(kernel(move |inputs| {
        Ok(vec![best(&inputs[x.slot], axis, 1, true, &dims).1])
    }))
}

/// Sorted, too, where that was not asked for: any order is right then.
pub(crate) fn topk(op: &mut Planner<'_>, args: &Topk) -> Outcome<Kernel> {
    let (x, axis) = row_of(op, args.self_, args.dim)?;
    let k = usize::try_from(args.k).ok().filter(|k| *k <= x.dims[axis]);
    let k = k.ok_or_else(|| op.refuse(format!("the first {} of {}", args.k, x.dims[axis])))?;
    let mut dims = x.dims.clone();
    dims[axis] = k;
    op.output("valuesOut", args.valuesOut)?
        .of(&[x.dtype])?
        .shape(&dims)?;
    op.output("indicesOut", args.indicesOut)?
        .of(&[I64])?
        .shape(&dims)?;
    let largest = args.largest;
    Ok(kernel(move |inputs| {
        let (values, indices) = best(&inputs[x.slot], axis, k, largest, &dims);
        Ok(vec![values, indices])
    }))
}
