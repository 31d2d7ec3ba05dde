//! Rows to experts, through them, and back.

use std::ops::Range;

use crate::array::{Array, unwritten};
use crate::codes;
use crate::config::Family;
use crate::exports::operators::{
    GroupedMatmulV5, GroupedMatmulWeightNz, MoeFinalizeRoutingV2, MoeInitRoutingV3,
};
use crate::failure::{Failure, Fault, Outcome};
use crate::handles::Handle;
use crate::planner::{
    BF16, F16, F32, FLOATS, I4, I8, I32, I64, Kernel, Planner, Spec, U64, kernel,
};

fn not_emulated(text: &str) -> Failure {
    Failure::new(codes::FIND_KERNEL, format!("{text} is not emulated"))
}

/// Where a list of groups puts the end of each: the ends themselves, or the lengths.
const ENDS: i64 = 0;
const LENGTHS: i64 = 1;

/// The rows of each group. Those behind the last are in none: a device leaves their results as they are, here they are zeros.
fn groups(list: &[i64], kind: i64, rows: usize) -> Result<Vec<Range<usize>>, Fault> {
    let broken = || {
        Fault::new(
            "group_list",
            format!("{list:?} does not cut {rows} rows into groups"),
        )
    };
    let mut start = 0;
    let mut groups = Vec::with_capacity(list.len());
    for number in list {
        let end = if kind == LENGTHS {
            start + *number
        } else {
            *number
        };
        if end < start || end > rows as i64 {
            return Err(broken());
        }
        groups.push(start as usize..end as usize);
        start = end;
    }
    Ok(groups)
}

/// Each group of rows times a matrix of its own: one `x`, one `out`, one weight of `[groups, k, n]`.
pub(crate) fn grouped_matmul(op: &mut Planner<'_>, args: &GroupedMatmulV5) -> Outcome<Kernel> {
    let rest: [Handle; 12] = [
        args.biasOptional,
        args.scaleOptional,
        args.offsetOptional,
        args.antiquantScaleOptional,
        args.antiquantOffsetOptional,
        args.perTokenScaleOptional,
        args.activationInputOptional,
        args.activationQuantScaleOptional,
        args.activationQuantOffsetOptional,
        args.tuningConfigOptional,
        args.activationFeatureOutOptional,
        args.dynQuantScaleOutOptional,
    ];
    if rest.iter().any(|handle| !handle.is_null()) || args.actType != 0 || args.groupType != 0 {
        return Err(not_emulated(
            "GroupedMatmulV5 with more than floats, grouped by rows,",
        ));
    }
    if !(2..=3).contains(&args.splitItem) || ![ENDS, LENGTHS].contains(&args.groupListType) {
        return Err(op.refuse("splitItem 2 or 3, groupListType 0 or 1"));
    }
    let [x] = &op.list("x", args.x)?[..] else {
        return Err(op.refuse("x: one tensor"));
    };
    let x = x.clone().of(FLOATS)?.rank(2..=2)?;
    let [weight] = &op.list("weight", args.weight)?[..] else {
        return Err(op.refuse("weight: one tensor"));
    };
    let weight = weight.clone().of(&[x.dtype])?.rank(3..=3)?;
    let [experts, k, n] = [weight.dims[0], weight.dims[1], weight.dims[2]];
    let rows = x.dims[0];
    let x = x.shape(&[rows, k])?;
    let list = op
        .input("groupListOptional", args.groupListOptional)?
        .of(&[I64])?
        .shape(&[experts])?;
    let [out] = &op.output_list("out", args.out)?[..] else {
        return Err(op.refuse("out: one tensor"));
    };
    out.clone().of(&[x.dtype])?.shape(&[rows, n])?;
    op.workspace = 64 * (1 + (rows + n) % 7);
    let kind = args.groupListType;
    Ok(kernel(move |inputs| {
        let (x, weight) = (inputs[x.slot].f(), inputs[weight.slot].f());
        let mut out = vec![0.0; rows * n];
        for (expert, group) in groups(inputs[list.slot].i(), kind, rows)?
            .into_iter()
            .enumerate()
        {
            for row in group {
                for column in 0..n {
                    let products =
                        (0..k).map(|at| x[row * k + at] * weight[(expert * k + at) * n + column]);
                    out[row * n + column] = products.sum();
                }
            }
        }
        Ok(vec![Array::floats(&[rows, n], out)])
    }))
}

/// The one tensor of a list.
fn single(op: &mut Planner<'_>, name: &'static str, list: Handle) -> Outcome<Spec> {
    match <[Spec; 1]>::try_from(op.list(name, list)?) {
        Ok([one]) => Ok(one),
        Err(_) => Err(op.refuse(format!("{name}: one tensor"))),
    }
}

/// What INT4 is multiplied by is taken as so much less, for which the bias makes up.
const ZERO_POINT: i64 = 8;

/// Groups of rows of INT8, each by a matrix of integers of its own in the fractal format: INT8, whose products stay
/// integers, or INT4 under scales for groups of `k`, which are the bits of floats in integers of 64 bits.
pub(crate) fn grouped_matmul_fractal(
    op: &mut Planner<'_>,
    args: &GroupedMatmulWeightNz,
) -> Outcome<Kernel> {
    if op.family() == Family::A5 {
        return Err(op.absent());
    }
    let rest: [Handle; 9] = [
        args.offsetOptional,
        args.antiquantScaleOptional,
        args.antiquantOffsetOptional,
        args.activationInputOptional,
        args.activationQuantScaleOptional,
        args.activationQuantOffsetOptional,
        args.tuningConfigOptional,
        args.activationFeatureOutOptional,
        args.dynQuantScaleOutOptional,
    ];
    if rest.iter().any(|handle| !handle.is_null()) || args.actType != 0 || args.groupType != 0 {
        return Err(not_emulated(
            "GroupedMatmulWeightNz with more than integers, grouped by rows,",
        ));
    }
    if !(2..=3).contains(&args.splitItem) || ![ENDS, LENGTHS].contains(&args.groupListType) {
        return Err(op.refuse("splitItem 2 or 3, groupListType 0 or 1"));
    }
    let x = single(op, "x", args.x)?
        .of(&[I8])?
        .rank(2..=2)?
        .contiguous()?;
    let weight = single(op, "weight", args.weight)?;
    let weight = weight.of(&[I8, I4])?.rank(3..=3)?.fractal()?;
    let [experts, k, n] = [weight.dims[0], weight.dims[1], weight.dims[2]];
    let rows = x.dims[0];
    let x = x.shape(&[rows, k])?;
    let scales = if weight.dtype == I4 {
        Some(scales_of_int4(op, args, [rows, experts, k, n])?)
    } else {
        let none = [
            args.biasOptional,
            args.scaleOptional,
            args.perTokenScaleOptional,
        ];
        if none.iter().any(|handle| !handle.is_null()) || args.quantGroupSize != 0 {
            return Err(not_emulated("GroupedMatmulWeightNz of INT8 with scales"));
        }
        None
    };
    let list = op
        .input("groupListOptional", args.groupListOptional)?
        .of(&[I64])?
        .shape(&[experts])?;
    let [out] = &op.output_list("out", args.out)?[..] else {
        return Err(op.refuse("out: one tensor"));
    };
    let kept: &[_] = if scales.is_some() {
        &[BF16, F16]
    } else {
        &[I32]
    };
    out.clone().of(kept)?.shape(&[rows, n])?;
    op.workspace = 64 * (1 + (rows + n) % 7);
    let kind = args.groupListType;
    Ok(kernel(move |inputs| {
        let (x, weight) = (inputs[x.slot].i(), inputs[weight.slot].i());
        let groups = groups(inputs[list.slot].i(), kind, rows)?;
        let places = groups.into_iter().enumerate().flat_map(|(expert, group)| {
            group.flat_map(move |row| (0..n).map(move |column| (expert, row, column)))
        });
        let sum = |(expert, row, column): (usize, usize, usize), range: Range<usize>, less: i64| {
            let product =
                |at: usize| (x[row * k + at] - less) * weight[(expert * k + at) * n + column];
            range.map(product).sum::<i64>()
        };
        let Some([bias, scale, per_token]) = scales else {
            let sums = places.map(|place| sum(place, 0..k, 0)).collect();
            return Ok(vec![Array::ints(&[rows, n], sums)]);
        };
        let (scale, bias, per_token) = (inputs[scale].i(), inputs[bias].f(), inputs[per_token].f());
        let count = scale.len() / (experts * n);
        let each = k / count;
        let scaled = places.map(|(expert, row, column)| {
            let of_group = |group: usize| {
                let sum = sum(
                    (expert, row, column),
                    group * each..(group + 1) * each,
                    ZERO_POINT,
                );
                let bits = scale[(expert * count + group) * n + column];
                f32::from_bits(bits as u32) * sum as f32
            };
            let sum: f32 = (0..count).map(of_group).sum();
            (sum + bias[expert * n + column]) * per_token[row]
        });
        Ok(vec![Array::floats(&[rows, n], scaled.collect())])
    }))
}

/// Where bias, scales and the scales of rows stand.
fn scales_of_int4(
    op: &mut Planner<'_>,
    args: &GroupedMatmulWeightNz,
    [rows, experts, k, n]: [usize; 4],
) -> Outcome<[usize; 3]> {
    let scale = single(op, "scaleOptional", args.scaleOptional)?;
    let scale = scale.of(&[U64])?.rank(3..=3)?.contiguous()?;
    let count = scale.dims[1];
    let scale = scale.shape(&[experts, count, n])?;
    let group = args.quantGroupSize;
    if count == 0 || k % count != 0 || group != (k / count) as i64 {
        return Err(op.refuse(format!("{count} groups of {k}, quantGroupSize {group}")));
    }
    let bias = single(op, "biasOptional", args.biasOptional)?;
    let bias = bias.of(&[F32])?.shape(&[experts, n])?;
    let per_token = single(op, "perTokenScaleOptional", args.perTokenScaleOptional)?;
    let per_token = per_token.of(&[F32])?.shape(&[rows])?;
    Ok([bias.slot, scale.slot, per_token.slot])
}

/// Rows in the order of their experts, each once for every expert that it goes to.
pub(crate) fn init_routing(op: &mut Planner<'_>, args: &MoeInitRoutingV3) -> Outcome<Kernel> {
    let rest = [
        args.scaleOptional,
        args.offsetOptional,
        args.activeExpertRangeOptional,
        args.expandedScaleOut,
    ];
    let is_plain = args.dropPadMode == 0 && args.quantMode == -1 && args.expertTokensNumFlag;
    if rest.iter().any(|handle| !handle.is_null())
        || !is_plain
        || !(0..=1).contains(&args.rowIdxType)
    {
        return Err(not_emulated(
            "MoeInitRoutingV3 that drops, quantises, scales or serves a part",
        ));
    }
    if ![ENDS, LENGTHS].contains(&args.expertTokensNumType) {
        return Err(not_emulated("MoeInitRoutingV3 with counts as pairs"));
    }
    let x = op
        .input("x", args.x)?
        .of(FLOATS)?
        .rank(2..=2)?
        .contiguous()?;
    let experts = op
        .input("expertIdx", args.expertIdx)?
        .of(&[I32])?
        .rank(2..=2)?
        .contiguous()?;
    let ([rows, width], [tokens, k]) = ([x.dims[0], x.dims[1]], [experts.dims[0], experts.dims[1]]);
    let count = rows * k;
    if rows != tokens || args.activeNum != count as i64 || args.expertNum < 1 {
        return Err(op.refuse(format!(
            "{rows} rows, experts of {tokens}, activeNum {} of {count}, expertNum {}",
            args.activeNum, args.expertNum
        )));
    }
    let expert_count = args.expertNum as usize;
    op.output("expandedXOut", args.expandedXOut)?
        .of(&[x.dtype])?
        .shape(&[count, width])?;
    op.output("expandedRowIdxOut", args.expandedRowIdxOut)?
        .of(&[I32])?
        .shape(&[count])?;
    op.output(
        "expertTokensCountOrCumsumOut",
        args.expertTokensCountOrCumsumOut,
    )?
    .of(&[I64])?
    .shape(&[expert_count])?;
    op.workspace = 64 * (1 + count % 7);
    let (sums, scatters) = (args.expertTokensNumType == ENDS, args.rowIdxType == 1);
    Ok(kernel(move |inputs| {
        let experts = inputs[experts.slot].i();
        if let Some(expert) = experts
            .iter()
            .find(|expert| !(0..expert_count as i64).contains(expert))
        {
            return Err(Fault::new(
                "expert_index",
                format!("expert {expert} of {expert_count}"),
            ));
        }
        let mut order: Vec<_> = (0..count).collect();
        order.sort_by_key(|pair| experts[*pair]);
        let places: Vec<_> = order
            .iter()
            .flat_map(|pair| pair / k * width..(pair / k + 1) * width)
            .collect();
        let expanded = inputs[x.slot]
            .pick(&[count, width], &places)
            .map_err(unwritten)?;
        let mut index = vec![0; count];
        for (at, pair) in order.iter().enumerate() {
            let (to, from) = if scatters { (at, *pair) } else { (*pair, at) };
            index[to] = from as i64;
        }
        let mut counts = vec![0; expert_count];
        experts
            .iter()
            .for_each(|expert| counts[*expert as usize] += 1);
        if sums {
            (1..expert_count).for_each(|expert| counts[expert] += counts[expert - 1]);
        }
        let (index, counts) = (
            Array::ints(&[count], index),
            Array::ints(&[expert_count], counts),
        );
        Ok(vec![expanded, index, counts])
    }))
}

/// How the list of rows is ordered: by the choice first, or by the token first.
const BY_CHOICE: i64 = 0;
const BY_TOKEN: i64 = 2;

/// `x1 + x2 + sum over k of scale * (expanded[row] + bias[expert])` for each token.
pub(crate) fn finalize_routing(
    op: &mut Planner<'_>,
    args: &MoeFinalizeRoutingV2,
) -> Outcome<Kernel> {
    if ![BY_CHOICE, BY_TOKEN].contains(&args.dropPadMode) {
        return Err(not_emulated(
            "MoeFinalizeRoutingV2 of rows that were dropped",
        ));
    }
    let expanded = op
        .input("expandedX", args.expandedX)?
        .of(FLOATS)?
        .rank(2..=2)?
        .contiguous()?;
    let (count, width, dtype) = (expanded.dims[0], expanded.dims[1], expanded.dtype);
    let index = op
        .input("expandedRowIdx", args.expandedRowIdx)?
        .of(&[I32])?
        .shape(&[count])?;
    let scales = op
        .input("scalesOptional", args.scalesOptional)?
        .of(&[dtype, F32])?
        .rank(2..=2)?;
    let (tokens, k) = (scales.dims[0], scales.dims[1]);
    let scales = scales.shape(&[tokens, k])?;
    if tokens * k != count {
        return Err(op.refuse(format!("{count} rows of {tokens} tokens with {k} choices")));
    }
    let mut added = Vec::new();
    for (name, handle) in [
        ("x1Optional", args.x1Optional),
        ("x2Optional", args.x2Optional),
    ] {
        if !handle.is_null() {
            added.push(
                op.input(name, handle)?
                    .of(&[dtype])?
                    .shape(&[tokens, width])?
                    .slot,
            );
        }
    }
    let bias = if args.biasOptional.is_null() {
        None
    } else {
        let bias = op
            .input("biasOptional", args.biasOptional)?
            .of(&[dtype])?
            .rank(2..=2)?;
        let bias = bias.clone().shape(&[bias.dims[0], width])?;
        let experts = op
            .input("expertIdxOptional", args.expertIdxOptional)?
            .of(&[I32])?;
        Some((bias.slot, bias.dims[0], experts.shape(&[tokens, k])?.slot))
    };
    op.output("out", args.out)?
        .of(&[dtype])?
        .shape(&[tokens, width])?;
    op.workspace = 64 * (1 + count % 7);
    let by_token = args.dropPadMode == BY_TOKEN;
    Ok(kernel(move |inputs| {
        let within = |index: i64, bound: usize| {
            let found = usize::try_from(index).ok().filter(|index| *index < bound);
            found.ok_or_else(|| Fault::new("index", format!("index {index} of {bound}")))
        };
        let (expanded, rows) = (inputs[expanded.slot].f(), inputs[index.slot].i());
        let mut out = vec![0.0; tokens * width];
        for token in 0..tokens {
            let sum = &mut out[token * width..(token + 1) * width];
            for slot in &added {
                let row = &inputs[*slot].f()[token * width..(token + 1) * width];
                sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            }
            for choice in 0..k {
                let at = if by_token {
                    token * k + choice
                } else {
                    choice * tokens + token
                };
                let row = within(rows[at], count)? * width;
                let scale = inputs[scales.slot].f()[token * k + choice];
                let bias = match bias {
                    None => None,
                    Some((bias, bound, experts)) => {
                        let expert =
                            within(inputs[experts].i()[token * k + choice], bound)? * width;
                        Some(&inputs[bias].f()[expert..expert + width])
                    }
                };
                for (column, sum) in sum.iter_mut().enumerate() {
                    let bias = bias.map_or(0.0, |bias| bias[column]);
                    *sum += scale * (expanded[row + column] + bias);
                }
            }
        }
        Ok(vec![Array::floats(&[tokens, width], out)])
    }))
}
