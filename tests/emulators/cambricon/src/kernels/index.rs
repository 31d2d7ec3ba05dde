//! What moves numbers: by index, by stride, one behind the other.

use backend_cambricon_sys::types::cnnlScatterNdMode_t;
use emulator_support::failure::{Failure, Fault, Outcome};

use super::numbers::Room;
use crate::array::{Array, around, joint, unwritten};
use crate::call::Call;
use crate::codes::CNNL_NOT_SUPPORTED;
use crate::handles::Handle;
use crate::launch::operate;
use crate::planner::{At, Role, kernel, refuse, workspace_bytes};
use crate::tensor::{ALL, INDICES};

/// An index within its bound.
fn within(index: i64, bound: usize) -> Result<usize, Fault> {
    let found = usize::try_from(index).ok().filter(|index| *index < bound);
    found.ok_or_else(|| Fault::new("E-INDEX", format!("index {index} of {bound}")))
}

fn axis(dim: i32, rank: usize) -> Outcome<usize> {
    let found = usize::try_from(dim).ok().filter(|axis| *axis < rank);
    found.ok_or_else(|| refuse("E-SHAPE", format!("axis {dim} of {rank}")))
}

/// The same numbers between any strides, of one type.
pub(crate) fn copy(call: &mut Call, handle: Handle, [from, out]: [At; 2], room: Room) -> Outcome {
    operate(call, handle, |op| {
        let from = op.strided("input", from, Role::Input)?.of(ALL)?;
        let out = op
            .strided("output", out, Role::Output)?
            .of(&[from.dtype()])?
            .shape(from.dims())?;
        let overlaps = |strides: &[usize], dims: &[usize]| {
            let mut axes = dims.iter().zip(strides);
            axes.any(|(length, stride)| *length > 1 && *stride == 0)
        };
        if overlaps(&out.tensor.strides, out.dims()) {
            return Err(refuse(
                "E-ALIAS",
                "an output whose numbers lie on each other",
            ));
        }
        let want = workspace_bytes("Copy", &[from.dims(), out.dims(), &[]]);
        op.workspace(room, want)?;
        Ok(kernel(|inputs| Ok(vec![inputs[0].clone()])))
    })
}

/// Dimensions of length 1 repeated.
pub(crate) fn expand(call: &mut Call, handle: Handle, [from, out]: [At; 2]) -> Outcome {
    operate(call, handle, |op| {
        let from = op.input("input", from)?.of(ALL)?;
        let out = op.output("output", out)?.of(&[from.dtype()])?;
        if joint(from.dims(), out.dims()).as_deref() != Some(out.dims()) {
            let text = format!("{:?} to {:?}", from.dims(), out.dims());
            return Err(refuse("E-SHAPE", text));
        }
        let dims = out.dims().to_vec();
        Ok(kernel(move |inputs| {
            Ok(vec![inputs[0].spread(&dims).into_owned()])
        }))
    })
}

/// One behind the other along an axis.
pub(crate) fn concat(
    call: &mut Call,
    handle: Handle,
    dim: i32,
    (parts, out): (Vec<At>, At),
    room: Room,
) -> Outcome {
    operate(call, handle, |op| {
        let parts = parts.into_iter().map(|part| op.input("input", part));
        let parts = parts.collect::<Outcome<Vec<_>>>()?;
        let Some(first) = parts.first() else {
            return Err(refuse("E-SHAPE", "no parts"));
        };
        let at = axis(dim, first.dims().len())?;
        let mut dims = first.dims().to_vec();
        dims[at] = 0;
        for part in &parts {
            let part = part
                .clone()
                .of(ALL)?
                .of(&[first.dtype()])?
                .rank(dims.len())?;
            dims[at] += part.dims()[at];
        }
        for part in &parts {
            let mut want = dims.clone();
            want[at] = part.dims()[at];
            part.clone().shape(&want)?;
        }
        op.output("output", out)?
            .of(&[first.dtype()])?
            .shape(&dims)?;
        op.workspace(room, workspace_bytes("Concat", &[&[parts.len()]]))?;
        let count = parts.len();
        Ok(kernel(move |inputs| {
            let [outer, ..] = around(&dims, at);
            let mut all = inputs[0].data.runs(&[], 0);
            for row in 0..outer {
                for part in &inputs[..count] {
                    let width = part.data.len() / outer;
                    all.extend(&part.data, row * width..(row + 1) * width);
                }
            }
            Ok(vec![Array::new(&dims, all)])
        }))
    })
}

/// Slices along an axis, one for each index.
pub(crate) fn index_select(
    call: &mut Call,
    handle: Handle,
    dim: i32,
    [from, at, out]: [At; 3],
) -> Outcome {
    operate(call, handle, |op| {
        let from = op.source("input", from)?.of(ALL)?;
        let index = op.input("index", at)?.of(INDICES)?.rank(1)?;
        let at = axis(dim, from.dims().len())?;
        let mut dims = from.dims().to_vec();
        dims[at] = index.dims()[0];
        op.output("output", out)?
            .of(&[from.dtype()])?
            .shape(&dims)?;
        Ok(kernel(move |inputs| {
            let [outer, length, inner] = around(&inputs[0].dims, at);
            let mut starts = Vec::with_capacity(outer * inputs[1].len());
            for row in 0..outer {
                for index in inputs[1].i() {
                    starts.push((row * length + within(*index, length)?) * inner);
                }
            }
            let picked = inputs[0].pick_runs(&dims, &starts, inner);
            Ok(vec![picked.map_err(unwritten)?])
        }))
    })
}

/// Rows of a table by number. A row of padding would be zeroed in the table itself.
pub(crate) fn embedding(
    call: &mut Call,
    handle: Handle,
    (padding, is_bounded): (i32, bool),
    operands: [At; 3],
) -> Outcome {
    if padding >= 0 {
        let text = format!("row {padding} of the table would be zeroed");
        return Err(refuse("E-PADIDX", text));
    }
    if is_bounded {
        return Err(Failure::new(CNNL_NOT_SUPPORTED, "a bound on norms"));
    }
    index_select(call, handle, 0, operands)
}

/// One number for each index, which stands for the number's place along the axis.
pub(crate) fn gather(
    call: &mut Call,
    handle: Handle,
    dim: i32,
    [from, at, out]: [At; 3],
    room: Room,
) -> Outcome {
    operate(call, handle, |op| {
        let from = op.source("input", from)?.of(ALL)?;
        let rank = from.dims().len();
        let index = op.input("index", at)?.of(INDICES)?.rank(rank)?;
        let at = axis(dim, rank)?;
        let mut axes = index.dims().iter().zip(from.dims()).enumerate();
        if axes.any(|(axis, (index, from))| axis != at && index != from) {
            let text = format!("{:?} of {:?}", index.dims(), from.dims());
            return Err(refuse("E-SHAPE", text));
        }
        let out = op
            .output("output", out)?
            .of(&[from.dtype()])?
            .shape(index.dims())?;
        let want = workspace_bytes("Gather", &[from.dims(), index.dims(), out.dims(), &[at]]);
        op.workspace(room, want)?;
        Ok(kernel(move |inputs| {
            let [_, length, inner] = around(&inputs[0].dims, at);
            let [_, steps, _] = around(&inputs[1].dims, at);
            let places = inputs[1].i().iter().enumerate().map(|(place, index)| {
                let (block, column) = (place / (steps * inner), place % inner);
                Ok((block * length + within(*index, length)?) * inner + column)
            });
            let places = places.collect::<Result<Vec<_>, Fault>>()?;
            Ok(vec![
                inputs[0]
                    .pick(&inputs[1].dims, &places)
                    .map_err(unwritten)?,
            ])
        }))
    })
}

/// Stores rows in place. An index that names no row is passed over; of a row that is named twice nobody knows what it is.
pub(crate) fn scatter_nd(
    call: &mut Call,
    handle: Handle,
    mode: cnnlScatterNdMode_t,
    [at, from, input, out]: [At; 4],
) -> Outcome {
    operate(call, handle, |op| {
        if mode != cnnlScatterNdMode_t::CNNL_SCATTERND_UPDATE {
            return Err(Failure::new(CNNL_NOT_SUPPORTED, format!("mode {}", mode.0)));
        }
        if input.1.address() != out.1.address() {
            return Err(Failure::new(
                CNNL_NOT_SUPPORTED,
                "rows that are not stored in place",
            ));
        }
        let index = op.input("indices", at)?.of(INDICES)?.rank(2)?;
        let index = {
            let rows = index.dims()[0];
            index.shape(&[rows, 1])?
        };
        let updates = op.input("updates", from)?.of(ALL)?;
        let into = op.reference("output", out)?.of(&[updates.dtype()])?;
        let (rows, row) = (index.dims()[0], &into.dims()[1..]);
        updates.shape(&[&[rows][..], row].concat())?;
        let width = row.iter().product::<usize>();
        Ok(kernel(move |inputs| {
            let mut table = inputs[2].clone();
            let bound = table.dims[0];
            let mut seen = vec![false; bound];
            for (from, index) in inputs[0].i().iter().enumerate() {
                let Some(to) = usize::try_from(*index).ok().filter(|to| *to < bound) else {
                    continue;
                };
                let is_sure = !std::mem::replace(&mut seen[to], true);
                let (to, from) = (to * width, from * width);
                table.data.write(to, &inputs[1].data, from..from + width);
                if !is_sure && table.known.is_none() {
                    table.known = Some(vec![true; table.data.len()]);
                }
                if let Some(known) = &mut table.known {
                    known[to..to + width].fill(is_sure);
                }
            }
            Ok(vec![table])
        }))
    })
}
