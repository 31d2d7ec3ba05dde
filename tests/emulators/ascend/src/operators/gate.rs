//! Gates: which experts a row visits, and with what weights.

use backend_ascend_sys::contracts::vllm_ascend_0_23_0::CONTRACTS;

use crate::array::Array;
use crate::codes;
use crate::exports::custom::MoeGatingTopKHash;
use crate::failure::{Failure, Fault, Outcome};
use crate::planner::{FLOATS, INDICES, Kernel, Planner, kernel};

/// The kind of scores: `sqrt(softplus(logit))`.
const SQRT_SOFTPLUS: i64 = 2;

/// Scores of logits; the best `k` after adding a bias, the best first, or what a table has for the id of a row; and shares of their
/// sum, without the bias.
pub(crate) fn gating_top_k_hash(op: &mut Planner<'_>, args: &MoeGatingTopKHash) -> Outcome<Kernel> {
    let plain = [args.kGroup, args.groupCount] == [1, 1]
        && [args.groupSelectMode, args.renorm] == [0, 0]
        && args.normType == SQRT_SOFTPLUS
        && args.outFlag;
    if !plain {
        let text = "MoeGatingTopKHash: other than all experts as one group by sqrt(softplus), with the scores, is not emulated";
        return Err(Failure::new(codes::FIND_KERNEL, text));
    }
    let x = op
        .input("x", args.x)?
        .of(FLOATS)?
        .rank(2..=2)?
        .contiguous()?;
    let [rows, count] = [x.dims[0], x.dims[1]];
    let k = usize::try_from(args.k).unwrap_or(0);
    if !(1..=count).contains(&k) || rows == 0 {
        return Err(op.refuse(format!("the best {} of {count} for {rows} rows", args.k)));
    }
    let bias = (!args.biasOptional.is_null())
        .then(|| op.input("biasOptional", args.biasOptional)?.shape(&[count]))
        .transpose()?;
    let hash = (!args.inputIdsOptional.is_null() || !args.tid2eidOptional.is_null())
        .then(|| {
            let ids = op.input("inputIdsOptional", args.inputIdsOptional)?;
            let ids = ids.of(INDICES)?.shape(&[rows])?;
            let table = op.input("tid2eidOptional", args.tid2eidOptional)?;
            let table = table.of(INDICES)?.rank(2..=2)?.contiguous()?;
            let known = table.dims[0];
            Ok::<_, Failure>((ids, table.shape(&[known, k])?))
        })
        .transpose()?;
    let y = op.output("yOut", args.yOut)?.shape(&[rows, k])?;
    let chosen = op
        .output("expertIdxOut", args.expertIdxOut)?
        .shape(&[rows, k])?;
    let scores = op.output("outOut", args.outOut)?.shape(&[rows, count])?;
    let (ids, table) = (
        hash.as_ref().map(|both| &both.0),
        hash.as_ref().map(|both| &both.1),
    );
    let given = [
        Some(&x),
        bias.as_ref(),
        ids,
        table,
        Some(&y),
        Some(&chosen),
        Some(&scores),
    ];
    op.kernel_for(CONTRACTS, &given)?;
    op.workspace = 64 * (1 + (rows + count) % 7);
    let (factor, eps) = (args.routedScalingFactor as f32, args.eps as f32);
    let (bias, hash) = (
        bias.map(|bias| bias.slot),
        hash.map(|(ids, table)| (ids.slot, table.slot, table.dims[0])),
    );
    Ok(kernel(move |inputs| {
        let score = |x: &f32| (x.max(0.0) + (-x.abs()).exp().ln_1p()).sqrt();
        let scores: Vec<f32> = inputs[x.slot].f().iter().map(score).collect();
        let mut weights = Vec::with_capacity(rows * k);
        let mut chosen: Vec<i64> = Vec::with_capacity(rows * k);
        for (row, scores) in scores.chunks(count).enumerate() {
            let own = match hash {
                Some((ids, table, known)) => {
                    let id = inputs[ids].i()[row];
                    let at = usize::try_from(id).ok().filter(|at| *at < known);
                    let at =
                        at.ok_or_else(|| Fault::new("index", format!("id {id} of {known}")))?;
                    inputs[table].i()[at * k..][..k].to_vec()
                }
                None => {
                    let biased =
                        |at: usize| scores[at] + bias.map_or(0.0, |bias| inputs[bias].f()[at]);
                    let mut order: Vec<usize> = (0..count).collect();
                    order.sort_by(|a, b| biased(*b).total_cmp(&biased(*a)));
                    order[..k].iter().map(|at| *at as i64).collect()
                }
            };
            let of = |expert: &i64| {
                let at = usize::try_from(*expert).ok().filter(|at| *at < count);
                let text = format!("expert {expert} of {count}");
                at.map(|at| scores[at])
                    .ok_or_else(|| Fault::new("expert_index", text))
            };
            let own_scores = own.iter().map(of).collect::<Result<Vec<f32>, _>>()?;
            let sum = own_scores.iter().sum::<f32>() + eps;
            weights.extend(own_scores.iter().map(|score| score / sum * factor));
            chosen.extend(own);
        }
        Ok(vec![
            Array::floats(&[rows, k], weights),
            Array::ints(&[rows, k], chosen),
            Array::floats(&[rows, count], scores),
        ])
    }))
}
