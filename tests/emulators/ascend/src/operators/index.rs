//! Rows and numbers by index. An index that is out of range is found when it is used.

use crate::array::{Array, around, unwritten};
use crate::exports::operators::{
    Embedding, Gather, GatherV2, IndexPutImpl, IndexSelect, ScatterNdUpdate,
};
use crate::failure::{Fault, Outcome};
use crate::handles::Handle;
use crate::planner::{ALL, FLOATS, INDICES, Kernel, NUMBERS, Planner, kernel};

/// An index within its bound.
fn within(index: i64, bound: usize) -> Result<usize, Fault> {
    let found = usize::try_from(index).ok().filter(|index| *index < bound);
    found.ok_or_else(|| Fault::new("index", format!("index {index} of {bound}")))
}

/// Slices along an axis, one for each index: the axis becomes the shape of the indices.
fn slices(
    op: &mut Planner<'_>,
    [self_, index, out]: [Handle; 3],
    axis: i64,
    index_ranks: std::ops::RangeInclusive<usize>,
) -> Outcome<Kernel> {
    let x = op.source("self", self_)?.of(ALL)?.rank(1..=8)?;
    let index = op.input("index", index)?.of(INDICES)?.rank(index_ranks)?;
    let axis = op.axis(axis, x.dims.len())?;
    let dims = [&x.dims[..axis], &index.dims, &x.dims[axis + 1..]].concat();
    op.output("out", out)?.of(&[x.dtype])?.shape(&dims)?;
    Ok(kernel(move |inputs| {
        let [outer, length, inner] = around(&x.dims, axis);
        let mut starts = Vec::with_capacity(outer * inputs[index.slot].len());
        for row in 0..outer {
            for index in inputs[index.slot].i() {
                starts.push((row * length + within(*index, length)?) * inner);
            }
        }
        let picked = inputs[x.slot].pick_runs(&dims, &starts, inner);
        Ok(vec![picked.map_err(unwritten)?])
    }))
}

pub(crate) fn embedding(op: &mut Planner<'_>, args: &Embedding) -> Outcome<Kernel> {
    let operands = [args.weight, args.indices, args.out];
    let kernel = slices(op, operands, 0, 0..=7)?;
    if op.operands[0].tensor.dims.len() != 2 || !FLOATS.contains(&op.operands[0].tensor.dtype) {
        return Err(op.refuse("weight: floats of rank 2"));
    }
    Ok(kernel)
}

pub(crate) fn index_select(op: &mut Planner<'_>, args: &IndexSelect) -> Outcome<Kernel> {
    slices(op, [args.self_, args.index, args.out], args.dim, 1..=1)
}

pub(crate) fn gather_v2(op: &mut Planner<'_>, args: &GatherV2) -> Outcome<Kernel> {
    slices(op, [args.self_, args.index, args.out], args.dim, 0..=8)
}

/// One number for each index: the index stands for the number's place along the axis.
pub(crate) fn gather(op: &mut Planner<'_>, args: &Gather) -> Outcome<Kernel> {
    let x = op.source("self", args.self_)?.of(ALL)?.rank(1..=8)?;
    let rank = x.dims.len();
    let index = op
        .input("index", args.index)?
        .of(INDICES)?
        .rank(rank..=rank)?;
    let axis = op.axis(args.dim, rank)?;
    let mut axes = index.dims.iter().zip(&x.dims).enumerate();
    if axes.any(|(at, (index, x))| at != axis && index > x) {
        return Err(op.refuse(format!("indices {:?} of {:?}", index.dims, x.dims)));
    }
    op.output("out", args.out)?
        .of(&[x.dtype])?
        .shape(&index.dims)?;
    Ok(kernel(move |inputs| {
        let strides = crate::array::row_strides(&x.dims);
        let mut others = strides.clone();
        others[axis] = 0;
        let bases = crate::array::enumerate(&index.dims, &others, 0);
        let indices = bases.iter().zip(inputs[index.slot].i());
        let places = indices.map(|(base, index)| {
            let step = within(*index, x.dims[axis])?;
            Ok(*base as usize + step * strides[axis] as usize)
        });
        let places = places.collect::<Result<Vec<_>, Fault>>()?;
        Ok(vec![
            inputs[x.slot]
                .pick(&index.dims, &places)
                .map_err(unwritten)?,
        ])
    }))
}

/// Writes slices: the last axis of the indices counts the leading axes of the reference.
pub(crate) fn scatter_nd_update(op: &mut Planner<'_>, args: &ScatterNdUpdate) -> Outcome<Kernel> {
    let x = op.reference("varRef", args.varRef)?.of(ALL)?;
    let indices = op
        .input("indices", args.indices)?
        .of(INDICES)?
        .rank(1..=8)?;
    let updates = op.input("updates", args.updates)?.of(&[x.dtype])?;
    let (depth, outer) = indices.dims.split_last().expect("rank 1 or more");
    if *depth == 0 || *depth > x.dims.len() {
        return Err(op.refuse(format!("indices of {depth} axes of {:?}", x.dims)));
    }
    let (lead, slice) = x.dims.split_at(*depth);
    let (lead, slice, depth) = (lead.to_vec(), slice.iter().product::<usize>(), *depth);
    let updates = updates.shape(&[outer, &x.dims[depth..]].concat())?;
    Ok(kernel(move |inputs| {
        let mut written = inputs[x.slot].clone();
        let places = inputs[indices.slot].i().chunks(depth).map(|index| {
            let axes = index.iter().zip(&lead);
            axes.into_iter().try_fold(0, |place, (index, bound)| {
                Ok(place * bound + within(*index, *bound)?)
            })
        });
        let places = places.collect::<Result<Vec<usize>, Fault>>()?;
        let places = places
            .iter()
            .flat_map(|place| place * slice..(place + 1) * slice);
        written.put(&places.collect::<Vec<_>>(), &inputs[updates.slot]);
        Ok(vec![written])
    }))
}

/// Writes or adds slices: one list of indices for each leading axis, all of one length.
pub(crate) fn index_put(op: &mut Planner<'_>, args: &IndexPutImpl) -> Outcome<Kernel> {
    let x = op.reference("selfRef", args.selfRef)?.of(NUMBERS)?;
    let lists = op.list("indices", args.indices)?;
    let count = lists.first().map_or(0, |list| list.len());
    if lists.is_empty() || lists.len() > x.dims.len() {
        return Err(op.refuse(format!("{} lists of indices for {:?}", lists.len(), x.dims)));
    }
    for list in &lists {
        list.clone().of(INDICES)?.shape(&[count])?;
    }
    let (lead, rest) = x.dims.split_at(lists.len());
    let (lead, slice) = (lead.to_vec(), rest.iter().product::<usize>());
    let want = [&[count], rest].concat();
    let values = op
        .input("values", args.values)?
        .of(&[x.dtype])?
        .shape(&want)?;
    let accumulates = args.accumulate;
    Ok(kernel(move |inputs| {
        let mut written = inputs[x.slot].clone();
        let values = &inputs[values.slot];
        for row in 0..count {
            let axes = lists.iter().zip(&lead);
            let place = axes.into_iter().try_fold(0, |place, (list, bound)| {
                Ok::<_, Fault>(place * bound + within(inputs[list.slot].i()[row], *bound)?)
            })?;
            let places: Vec<_> = (place * slice..(place + 1) * slice).collect();
            let from: Vec<_> = (row * slice..(row + 1) * slice).collect();
            let mut values = values.pick(&[slice], &from).map_err(unwritten)?;
            if accumulates {
                values = sum(
                    &written.pick(&[slice], &places).map_err(unwritten)?,
                    &values,
                );
            }
            written.put(&places, &values);
        }
        Ok(vec![written])
    }))
}

fn sum(a: &Array, b: &Array) -> Array {
    use crate::array::Data::{Float, Int};
    match (&a.data, &b.data) {
        (Float(a), Float(b)) => {
            Array::floats(&[a.len()], a.iter().zip(b).map(|(a, b)| a + b).collect())
        }
        (Int(a), Int(b)) => Array::ints(&[a.len()], a.iter().zip(b).map(|(a, b)| a + b).collect()),
        _ => unreachable!("of one type"),
    }
}
