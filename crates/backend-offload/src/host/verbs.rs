//! The verbs on plain memory, a row at a time as the papers write them.

use deepseek_core::operands::{MixerConfig, ScoreRounding, Softmax, SwiGlu, TopK, WeightRounding};
use deepseek_core::quant::{bf16, round_row};
use deepseek_core::{Result, Rounding, Unary};

use super::memory::HostMemory;
use super::ops::{by_runs, dot, rms_norm, top_k, total, unary};
use crate::verb::{Listed, RouteBy, Verb};
use crate::view::View;

pub(super) fn run(memory: &mut HostMemory, verb: &Verb<()>, results: &[View]) -> Result<()> {
    match verb {
        Verb::HcPre { .. } => hc_pre(memory, verb, results),
        Verb::HcPost {
            y,
            streams,
            post,
            comb,
            ..
        } => hc_post(memory, [y, streams, post, comb], &results[0]),
        Verb::IndexTopk {
            q,
            weights,
            keys,
            seen,
            top,
        } => index_topk(memory, [q, weights, keys, seen], top, &results[0]),
        Verb::Attend {
            q,
            from,
            sink,
            softmax,
        } => attend(memory, [q, sink], from, *softmax, &results[0]),
        Verb::Route { .. } => route(memory, verb, results),
        Verb::Project { x, products } => {
            let mut products = products.iter().zip(results);
            products.try_for_each(|((weight, _), out)| project(memory, x, &weight.parts[0], out))
        }
        Verb::Grouped {
            x, weight, ends, ..
        } => {
            by_runs(memory, [x, ends], &weight.parts[0], &results[0], project)?;
            Ok(())
        }
        Verb::Experts { .. } => experts(memory, verb, &results[0]),
    }
}

fn hc_pre(memory: &mut HostMemory, verb: &Verb<()>, results: &[View]) -> Result<()> {
    let Verb::HcPre {
        streams,
        projection,
        scale,
        base,
        config,
        carried,
        ..
    } = verb
    else {
        return Ok(());
    };
    let (n, hidden) = (config.streams, streams.dims[2]);
    let [streams, projection, scale, base] =
        [streams, &projection.parts[0], scale, base].map(|view| memory.floats(view));
    let (streams, projection, scale, base) = (streams?, projection?, scale?, base?);
    let carried = carried.map(|view| memory.floats(&view)).transpose()?;
    let mut outs: [Vec<f32>; 4] = Default::default();
    for (token, streams) in streams.chunks_exact(n * hidden).enumerate() {
        let mut flat = streams.to_vec();
        rms_norm(&mut flat, None, config.norm_eps);
        let rows = projection.chunks_exact(n * hidden);
        let z = rows.zip(scale.iter().zip(&base));
        let z: Vec<f32> = z.map(|(w, (s, b))| dot(&flat, w) * s + b).collect();
        let sigmoid = |x: &f32| unary(Unary::Sigmoid, *x);
        let pre: Vec<f32> = z[..n].iter().map(|z| sigmoid(z) + config.eps).collect();
        let post = z[n..2 * n].iter().map(|z| 2.0 * sigmoid(z));
        let shares = match &carried {
            Some(carried) => &carried[token * n..][..n],
            None => &pre,
        };
        let read =
            (0..hidden).map(|at| total((0..n).map(|j| shares[j] * streams[j * hidden + at])));
        outs[0].extend(read.collect::<Vec<f32>>());
        outs[1].extend(post);
        outs[2].extend(sinkhorn(&z[2 * n..], config));
        outs[3].extend(&pre);
    }
    for (view, values) in results.iter().zip(&outs) {
        memory.put(view, values)?;
    }
    Ok(())
}

/// A matrix whose columns, and nearly its rows, sum to one.
fn sinkhorn(z: &[f32], config: &MixerConfig) -> Vec<f32> {
    let (n, eps) = (config.streams, config.eps);
    let mut comb: Vec<f32> = Vec::with_capacity(n * n);
    for row in z.chunks_exact(n) {
        let peak = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let row: Vec<f32> = row.iter().map(|x| (x - peak).exp()).collect();
        let sum = total(row.iter().copied());
        comb.extend(row.iter().map(|x| x / sum + eps));
    }
    let columns = |comb: &mut [f32]| {
        for k in 0..n {
            let sum = total((0..n).map(|j| comb[j * n + k])) + eps;
            (0..n).for_each(|j| comb[j * n + k] /= sum);
        }
    };
    columns(&mut comb);
    for _ in 1..config.sinkhorn {
        for row in comb.chunks_exact_mut(n) {
            let sum = total(row.iter().copied()) + eps;
            row.iter_mut().for_each(|x| *x /= sum);
        }
        columns(&mut comb);
    }
    comb
}

fn hc_post(memory: &mut HostMemory, operands: [&View; 4], out: &View) -> Result<()> {
    let [n, hidden] = [out.dims[1], out.dims[2]];
    let [y, streams, post, comb] = operands.map(|view| memory.floats(view));
    let (y, streams, post, comb) = (y?, streams?, post?, comb?);
    let mut mixed = Vec::with_capacity(out.count());
    for token in 0..out.dims[0] {
        let streams = &streams[token * n * hidden..][..n * hidden];
        let comb = &comb[token * n * n..][..n * n];
        for k in 0..n {
            for at in 0..hidden {
                let own = post[token * n + k] * y[token * hidden + at];
                let others = (0..n).map(|j| comb[j * n + k] * streams[j * hidden + at]);
                mixed.push(total(others.chain([own])));
            }
        }
    }
    memory.put(out, &mixed)
}

fn index_topk(memory: &mut HostMemory, operands: [&View; 4], top: &TopK, out: &View) -> Result<()> {
    let [q, weights, keys, seen] = operands;
    let [heads, width, n] = [q.dims[1], q.dims[2], seen.dims[1]];
    let seen = memory.places(seen, keys.dims[0])?;
    let [q, weights, keys] = [q, weights, keys].map(|view| memory.floats(view));
    let (q, weights, keys) = (q?, weights?, keys?);
    let product = |x: f32| if top.round.is_some() { bf16(x) } else { x };
    let score_of = |x: f32| match top.round {
        Some(ScoreRounding::ProductsAndSum) => bf16(x),
        Some(ScoreRounding::Products) | None => x,
    };
    let mut best = Vec::with_capacity(out.count());
    for (token, seen) in seen.chunks_exact(n).enumerate() {
        let q = &q[token * heads * width..][..heads * width];
        let weights = &weights[token * heads..][..heads];
        let score = |row: &usize| {
            if *row == 0 {
                return f32::NEG_INFINITY;
            }
            let key = &keys[row * width..][..width];
            let heads = q.chunks_exact(width).zip(weights);
            let shares = heads.map(|(q, weight)| {
                let similar = product(dot(q, key)).max(0.0);
                product(similar * weight)
            });
            score_of(total(shares))
        };
        let scores: Vec<f32> = seen.iter().map(score).collect();
        best.extend(top_k(&scores, top.k).into_iter().map(|place| seen[place]));
    }
    memory.put_places(out, &best)
}

fn attend(
    memory: &mut HostMemory,
    [q, sink]: [&View; 2],
    from: &[Listed],
    softmax: Softmax,
    out: &View,
) -> Result<()> {
    let [tokens, heads, width] = [q.dims[0], q.dims[1], q.dims[2]];
    let (q, sink) = (memory.floats(q)?, memory.floats(sink)?);
    let pools = from
        .iter()
        .map(|Listed { rows, at }| {
            let places = memory.places(at, rows.dims[0])?;
            Ok((memory.floats(rows)?, places, at.dims[1]))
        })
        .collect::<Result<Vec<_>>>()?;
    let mut attended = Vec::with_capacity(out.count());
    for token in 0..tokens {
        let rows = pools.iter().flat_map(|(rows, places, k)| {
            let real = places[token * k..][..*k].iter().filter(|row| **row != 0);
            real.map(|row| &rows[row * width..][..width])
        });
        let rows: Vec<&[f32]> = rows.collect();
        for head in 0..heads {
            let q = &q[(token * heads + head) * width..][..width];
            let logits = rows.iter().map(|row| dot(q, row) * softmax.scale);
            let logits: Vec<f32> = logits.collect();
            let peak = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut weights: Vec<f32> = logits.iter().map(|x| (x - peak).exp()).collect();
            let sunk = (sink[head] - peak).exp();
            let sum = total(weights.iter().copied().chain([sunk]));
            if softmax.round == Some(WeightRounding::OnePeak) {
                weights.iter_mut().for_each(|x| *x = bf16(*x));
            }
            attended.extend((0..width).map(|at| {
                let terms = weights
                    .iter()
                    .zip(&rows)
                    .map(|(weight, row)| weight * row[at]);
                total(terms) / sum
            }));
        }
    }
    memory.put(out, &attended)
}

fn route(memory: &mut HostMemory, verb: &Verb<()>, results: &[View]) -> Result<()> {
    let Verb::Route {
        x,
        projection,
        by,
        top_k: k,
        scale,
    } = verb
    else {
        return Ok(());
    };
    let [count, hidden] = projection.shape;
    let projection = memory.floats(&projection.parts[0])?;
    let x = memory.floats(x)?;
    let row_scores = |x: &[f32]| -> Vec<f32> {
        let logits = projection.chunks_exact(hidden).map(|w| dot(x, w));
        logits.map(|x| unary(Unary::SqrtSoftplus, x)).collect()
    };
    let scores: Vec<f32> = x.chunks_exact(hidden).flat_map(row_scores).collect();
    let experts: Vec<usize> = match by {
        RouteBy::Given(experts) => memory.places(experts, count)?,
        RouteBy::Score(bias) => {
            let biases = memory.floats(bias)?;
            let biases = biases.chunks_exact(count).cycle();
            let rows = scores.chunks_exact(count).zip(biases);
            rows.flat_map(|(scores, bias)| {
                let biased: Vec<f32> = scores.iter().zip(bias).map(|(s, b)| s + b).collect();
                top_k(&biased, *k)
            })
            .collect()
        }
    };
    let rows = experts.chunks_exact(*k).zip(scores.chunks_exact(count));
    let weights: Vec<f32> = rows
        .flat_map(|(experts, scores)| {
            let sum = total(experts.iter().map(|expert| scores[*expert]));
            experts
                .iter()
                .map(move |expert| scores[*expert] / sum * scale)
        })
        .collect();
    let weighed = match results {
        [chosen, weighed @ ..] if weighed.len() == 2 => {
            memory.put_places(chosen, &experts)?;
            weighed
        }
        _ => results,
    };
    memory.put(&weighed[0], &weights)?;
    memory.put(&weighed[1], &scores)
}

/// Rows, each rounded to INT8, by a matrix.
fn project(memory: &mut HostMemory, x: &View, weight: &View, out: &View) -> Result<()> {
    let width = weight.dims[1];
    let (mut x, weight) = (memory.floats(x)?, memory.floats(weight)?);
    x.chunks_exact_mut(width)
        .for_each(|row| round_row(row, Rounding::Int8));
    let products = x
        .chunks_exact(width)
        .flat_map(|row| weight.chunks_exact(width).map(|matrix| dot(row, matrix)));
    memory.put(out, &products.collect::<Vec<_>>())
}

fn experts(memory: &mut HostMemory, verb: &Verb<()>, out: &View) -> Result<()> {
    let Verb::Experts {
        x,
        experts,
        weights,
        gate_up,
        down,
        form,
    } = verb
    else {
        return Ok(());
    };
    let (k, hidden, inner) = (experts.dims[1], out.dims[1], down.shape[1]);
    let experts = memory.places(experts, gate_up.stacked.unwrap_or(1))?;
    let (x, weights) = (memory.floats(x)?, memory.floats(weights)?);
    let mut sums = vec![0.0; out.count()];
    for (visit, (expert, weight)) in experts.iter().zip(weights).enumerate() {
        let token = visit / k;
        let matrix = |stack: &View| {
            let [rows, columns] = [stack.dims[1], stack.dims[2]];
            memory.floats(&stack.part(expert * rows * columns, [rows, columns]))
        };
        let (gate_up, down) = (matrix(&gate_up.parts[0])?, matrix(&down.parts[0])?);
        let (gate, up) = gate_up.split_at(inner * hidden);
        let y = feed_forward(
            &x[token * hidden..][..hidden],
            [gate, up, &down],
            weight,
            form,
        );
        let sum = &mut sums[token * hidden..][..hidden];
        sum.iter_mut().zip(y).for_each(|(sum, y)| *sum += y);
    }
    memory.put(out, &sums)
}

/// One expert on one row.
fn feed_forward(x: &[f32], [gate, up, down]: [&[f32]; 3], weight: f32, form: &SwiGlu) -> Vec<f32> {
    let activation = |x: f32| if form.bf16 { bf16(x) } else { x };
    let by = |x: &[f32], matrix: &[f32]| -> Vec<f32> {
        let mut x = x.to_vec();
        if let Some(rounding) = form.input {
            round_row(&mut x, rounding);
        }
        let rows = matrix.chunks_exact(x.len());
        rows.map(|row| activation(dot(&x, row))).collect()
    };
    let clamp = |x: f32, min| {
        let max = form.limit;
        unary(Unary::Clamp { min, max }, x)
    };
    let inner = by(x, gate).into_iter().zip(by(x, up)).map(|(gate, up)| {
        let gate = unary(Unary::Silu, clamp(gate, f32::NEG_INFINITY));
        activation(gate * clamp(up, -form.limit) * weight)
    });
    by(&inner.collect::<Vec<_>>(), down)
}
