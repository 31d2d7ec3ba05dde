//! Operators that move numbers and compute nothing.

use crate::array::{Array, around, enumerate, joint, row_strides, unwritten};
use crate::exports::operators::{Cat, InplaceCopy, NpuFormatCast, Permute};
use crate::failure::Outcome;
use crate::operators::elementwise::converted;
use crate::planner::{ALL, Kernel, Planner, kernel};

/// Copies into a view, repeated to its shape and in its type.
pub(crate) fn copy(op: &mut Planner<'_>, args: &InplaceCopy) -> Outcome<Kernel> {
    let to = op.output("selfRef", args.selfRef)?.of(ALL)?;
    let from = op.input("src", args.src)?.of(ALL)?;
    if joint(&to.dims, &from.dims).as_ref() != Some(&to.dims) {
        return Err(op.refuse(format!("{:?} into {:?}", from.dims, to.dims)));
    }
    Ok(kernel(move |inputs| {
        let from = inputs[from.slot].spread(&to.dims);
        Ok(vec![Array::new(&to.dims, converted(&from.data, to.dtype))])
    }))
}

pub(crate) fn permute(op: &mut Planner<'_>, args: &Permute) -> Outcome<Kernel> {
    let x = op.input("self", args.self_)?.of(ALL)?;
    let axes = op.ints("dims", args.dims)?;
    let rank = x.dims.len();
    let axes = axes
        .iter()
        .map(|axis| op.axis(*axis, rank))
        .collect::<Outcome<Vec<_>>>()?;
    let mut sorted = axes.clone();
    sorted.sort_unstable();
    if sorted != (0..rank).collect::<Vec<_>>() {
        return Err(op.refuse(format!("axes {axes:?} of rank {rank}")));
    }
    let dims: Vec<_> = axes.iter().map(|axis| x.dims[*axis]).collect();
    op.output("out", args.out)?.of(&[x.dtype])?.shape(&dims)?;
    let strides = row_strides(&x.dims);
    let strides: Vec<_> = axes.iter().map(|axis| strides[*axis]).collect();
    Ok(kernel(move |inputs| {
        let places = enumerate(&dims, &strides, 0).into_iter();
        let places: Vec<_> = places.map(|place| place as usize).collect();
        Ok(vec![
            inputs[x.slot].pick(&dims, &places).map_err(unwritten)?,
        ])
    }))
}

/// Tensors one behind the other along an axis.
pub(crate) fn cat(op: &mut Planner<'_>, args: &Cat) -> Outcome<Kernel> {
    let tensors = op.list("tensors", args.tensors)?;
    let first = tensors
        .first()
        .ok_or_else(|| op.refuse("tensors: none"))?
        .clone()
        .of(ALL)?;
    let axis = op.axis(args.dim, first.dims.len())?;
    let mut dims = first.dims.clone();
    dims[axis] = 0;
    for tensor in &tensors {
        let mut want = dims.clone();
        want[axis] = tensor.dims.get(axis).copied().unwrap_or(0);
        tensor.clone().of(&[first.dtype])?.shape(&want)?;
        dims[axis] += want[axis];
    }
    op.output("out", args.out)?
        .of(&[first.dtype])?
        .shape(&dims)?;
    Ok(kernel(move |inputs| {
        let mut joined = inputs[first.slot].pick(&[0], &[]).map_err(unwritten)?;
        let total = dims.iter().product();
        joined = Array::new(
            &dims,
            match joined.data {
                crate::array::Data::Float(_) => crate::array::Data::Float(vec![0.0; total]),
                crate::array::Data::Int(_) => crate::array::Data::Int(vec![0; total]),
            },
        );
        let [outer, whole, inner] = around(&dims, axis);
        let mut at = 0;
        for tensor in &tensors {
            let length = tensor.dims[axis];
            let block = length * inner;
            let places: Vec<_> = (0..outer)
                .flat_map(|row| {
                    let start = (row * whole + at) * inner;
                    start..start + block
                })
                .collect();
            joined.put(&places, &inputs[tensor.slot]);
            at += length;
        }
        Ok(vec![joined])
    }))
}

/// The same numbers in the format of the destination.
pub(crate) fn format_cast(op: &mut Planner<'_>, args: &NpuFormatCast) -> Outcome<Kernel> {
    let from = op.input("srcTensor", args.srcTensor)?.of(ALL)?;
    op.output("dstTensor", args.dstTensor)?
        .of(&[from.dtype])?
        .shape(&from.dims)?;
    Ok(kernel(move |inputs| Ok(vec![inputs[from.slot].clone()])))
}
