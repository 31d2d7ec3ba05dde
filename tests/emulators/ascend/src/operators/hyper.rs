//! Several residual streams: how one is read out of them, and how one is written to them.

use backend_ascend_sys::contracts::vllm_ascend_0_23_0::CONTRACTS;

use crate::array::Array;
use crate::exports::custom::{HcPost, HcPre};
use crate::failure::Outcome;
use crate::planner::{FLOATS, Kernel, Planner, Spec, kernel};

/// Streams that there are kernels for.
const STREAMS: usize = 4;

/// Rows `[t, streams, d]`, or `[b, s, streams, d]`: what stands before, how many rows that are, and their width.
fn streams(op: &Planner<'_>, x: &Spec) -> Outcome<(Vec<usize>, usize, usize)> {
    let [outer @ .., count, width] = &x.dims[..] else {
        return Err(op.refuse("streams of rank 3 or 4"));
    };
    let rows = outer.iter().product();
    if *count != STREAMS || rows == 0 || *width == 0 {
        return Err(op.refuse(format!(
            "{:?}, takes {STREAMS} streams, and some rows",
            x.dims
        )));
    }
    Ok((outer.to_vec(), rows, *width))
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// One row `y = sum over i of pre_i x_i`, and what the streams are written by: `post`, and the doubly stochastic `comb`.
pub(crate) fn hc_pre(op: &mut Planner<'_>, args: &HcPre) -> Outcome<Kernel> {
    if args.hcMult != STREAMS as i64 || args.hcSinkhornIters < 1 {
        return Err(op.refuse(format!(
            "hcMult {}, hcSinkhornIters {}: {STREAMS}, and one or more",
            args.hcMult, args.hcSinkhornIters
        )));
    }
    let x = op.input("x", args.x)?.rank(3..=4)?.contiguous()?;
    let (outer, rows, width) = streams(op, &x)?;
    let mixes = (2 + STREAMS) * STREAMS;
    let factors = op.input("hcFn", args.hcFn)?.contiguous()?;
    let factors = factors.shape(&[mixes, STREAMS * width])?;
    let scale = op
        .input("hcScale", args.hcScale)?
        .contiguous()?
        .shape(&[3])?;
    let base = op
        .input("hcBase", args.hcBase)?
        .contiguous()?
        .shape(&[mixes])?;
    let shape = |last: &[usize]| [&outer[..], last].concat();
    let y = op.output("yOut", args.yOut)?.shape(&shape(&[width]))?;
    let post = op
        .output("postOut", args.postOut)?
        .shape(&shape(&[STREAMS]))?;
    let comb = op.output("combFragOut", args.combFragOut)?;
    let comb = comb.shape(&shape(&[STREAMS, STREAMS]))?;
    let given = [&x, &factors, &scale, &base, &y, &post, &comb].map(Some);
    op.kernel_for(CONTRACTS, &given)?;
    op.workspace = 64 * (1 + (rows + width) % 7);
    let (eps, norm_eps) = (args.hcEps as f32, args.normEps as f32);
    let passes = args.hcSinkhornIters;
    Ok(kernel(move |inputs| {
        let [x, factors, scale, base] =
            [&x, &factors, &scale, &base].map(|one| inputs[one.slot].f());
        let [mut ys, mut posts, mut combs] = [Vec::new(), Vec::new(), Vec::new()];
        for x in x.chunks(STREAMS * width) {
            let square = x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32;
            let norm = 1.0 / (square + norm_eps).sqrt();
            let mix = |row: usize, part: usize| {
                let products = factors[row * x.len()..].iter().zip(x).map(|(w, x)| w * x);
                products.sum::<f32>() * norm * scale[part] + base[row]
            };
            let pre: Vec<f32> = (0..STREAMS).map(|i| sigmoid(mix(i, 0)) + eps).collect();
            posts.extend((0..STREAMS).map(|i| 2.0 * sigmoid(mix(STREAMS + i, 1))));
            let raw = (0..STREAMS * STREAMS).map(|at| mix(2 * STREAMS + at, 2));
            combs.extend(doubly_stochastic(raw.collect(), eps, passes));
            ys.extend((0..width).map(|at| {
                let terms = pre.iter().enumerate();
                terms.map(|(i, pre)| pre * x[i * width + at]).sum::<f32>()
            }));
        }
        Ok(vec![
            Array::floats(&y.dims, ys),
            Array::floats(&post.dims, posts),
            Array::floats(&comb.dims, combs),
        ])
    }))
}

/// A softmax of each row, then columns and rows divided by their sums in turn, columns last.
fn doubly_stochastic(mut c: Vec<f32>, eps: f32, passes: i64) -> Vec<f32> {
    for row in c.chunks_mut(STREAMS) {
        let top = row.iter().copied().fold(f32::MIN, f32::max);
        row.iter_mut().for_each(|x| *x = (*x - top).exp());
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|x| *x = *x / sum + eps);
    }
    let columns = |c: &mut [f32]| {
        for column in 0..STREAMS {
            let sum: f32 = c.iter().skip(column).step_by(STREAMS).sum::<f32>() + eps;
            let numbers = c.iter_mut().skip(column).step_by(STREAMS);
            numbers.for_each(|x| *x /= sum);
        }
    };
    columns(&mut c);
    for _ in 1..passes {
        for row in c.chunks_mut(STREAMS) {
            let sum = row.iter().sum::<f32>() + eps;
            row.iter_mut().for_each(|x| *x /= sum);
        }
        columns(&mut c);
    }
    c
}

/// `out_j = post_j x + sum over i of comb[i, j] residual_i`.
pub(crate) fn hc_post(op: &mut Planner<'_>, args: &HcPost) -> Outcome<Kernel> {
    let x = op
        .input("x", args.x)?
        .of(FLOATS)?
        .rank(2..=3)?
        .contiguous()?;
    let residual = op
        .input("residual", args.residual)?
        .rank(3..=4)?
        .contiguous()?;
    let (outer, rows, width) = streams(op, &residual)?;
    let shape = |last: &[usize]| [&outer[..], last].concat();
    let x = x.shape(&shape(&[width]))?;
    let post = op
        .input("post", args.post)?
        .contiguous()?
        .shape(&shape(&[STREAMS]))?;
    let comb = op.input("comb", args.comb)?.contiguous()?;
    let comb = comb.shape(&shape(&[STREAMS, STREAMS]))?;
    let out = op.output("out", args.out)?.shape(&residual.dims)?;
    op.kernel_for(CONTRACTS, &[&x, &residual, &post, &comb, &out].map(Some))?;
    op.workspace = 64 * (1 + (rows + width) % 7);
    Ok(kernel(move |inputs| {
        let [x, residual, post, comb] =
            [&x, &residual, &post, &comb].map(|one| inputs[one.slot].f());
        let mut mixed = Vec::with_capacity(residual.len());
        for row in 0..rows {
            let streams = &residual[row * STREAMS * width..][..STREAMS * width];
            for (j, at) in (0..STREAMS).flat_map(|j| (0..width).map(move |at| (j, at))) {
                let kept = (0..STREAMS)
                    .map(|i| comb[(row * STREAMS + i) * STREAMS + j] * streams[i * width + at]);
                let kept: f32 = kept.sum();
                mixed.push(post[row * STREAMS + j] * x[row * width + at] + kept);
            }
        }
        Ok(vec![Array::floats(&out.dims, mixed)])
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_sum_to_one() {
        let c: Vec<f32> = (0..16_u8).map(|at| f32::from(at * 7 % 5)).collect();
        let c = doubly_stochastic(c, 1e-6, 20);
        for line in 0..STREAMS {
            let row: f32 = c[line * STREAMS..][..STREAMS].iter().sum();
            let column: f32 = c.iter().skip(line).step_by(STREAMS).sum();
            assert!(
                (row - 1.0).abs() < 1e-3 && (column - 1.0).abs() < 1e-5,
                "{line}"
            );
        }
    }
}
