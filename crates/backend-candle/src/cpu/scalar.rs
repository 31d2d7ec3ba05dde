//! The plain twins of the kernels: one number after the other, on one thread.
//!
//! Sums run as the kernels define them, so that a product is the same bits; where a twin computes in
//! 64 bits instead, it is the exact answer to hold a kernel against.

use std::ops::Range;

use deepseek_core::kernels::{Fold, HyperShape, Softmax};
use deepseek_core::quant::{bf16, decode_row};
use deepseek_core::weights::WeightView;

/// The product of two rows over sixteen lanes, folded in halves.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        lanes[i % 16] = a.mul_add(*b, lanes[i % 16]);
    }
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    lanes[0]
}

/// `out = x · weightᵀ`.
pub(crate) fn linear(x: &[f32], weight: &WeightView, out: &mut [f32]) {
    let [rows, width] = weight.shape;
    let mut wide = vec![0.0; width];
    for row in 0..rows {
        decode_row(weight, row, &mut wide);
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(rows)) {
            out[row] = dot(&wide, x);
        }
    }
}

/// `out = a · bᵀ`.
pub(crate) fn matmul_t(a: &[f32], b: &[f32], k: usize, out: &mut [f32]) {
    for (a, out) in a.chunks_exact(k).zip(out.chunks_exact_mut(b.len() / k)) {
        for (b, out) in b.chunks_exact(k).zip(out) {
            *out = dot(a, b);
        }
    }
}

/// `out = a · b`, each sum in the order of `k`.
pub(crate) fn matmul(a: &[f32], b: &[f32], k: usize, out: &mut [f32]) {
    let n = b.len() / k;
    for (a, out) in a.chunks_exact(k).zip(out.chunks_exact_mut(n)) {
        out.fill(0.0);
        for (a, b) in a.iter().zip(b.chunks_exact(n)) {
            out.iter_mut()
                .zip(b)
                .for_each(|(out, b)| *out = a.mul_add(*b, *out));
        }
    }
}

/// The indices of the `k` largest, ties to the lower index, ascending.
pub(crate) fn top_k(row: &[f32], k: usize) -> Vec<u32> {
    let mut rows: Vec<u32> = (0..row.len() as u32).collect();
    rows.sort_by(|a, b| {
        row[*b as usize]
            .total_cmp(&(row[*a as usize]))
            .then(a.cmp(b))
    });
    rows.truncate(k);
    rows.sort_unstable();
    rows
}

/// The indexer's scores of one query: `q: [heads, width]`, `keys: [n, width]`.
pub(crate) fn scores(q: &[f32], weights: &[f32], keys: &[f32], brain: bool) -> Vec<f32> {
    let width = q.len() / weights.len();
    let round = |x: f32| if brain { bf16(x) } else { x };
    let score = |key: &[f32]| {
        let mut sum = 0.0;
        for (q, weight) in q.chunks_exact(width).zip(weights) {
            let product = q
                .iter()
                .zip(key)
                .fold(0.0, |sum: f32, (q, k)| q.mul_add(*k, sum));
            sum += round(round(product).max(0.0) * weight);
        }
        round(sum)
    };
    keys.chunks_exact(width).map(score).collect()
}

/// Attention of one query in 64 bits: `q: [heads, width]`, `keys: [n, width]`, `sink: [heads]`.
pub(crate) fn attend(q: &[f32], keys: &[f32], sink: &[f32], softmax: Softmax) -> Vec<f32> {
    let width = q.len() / sink.len();
    let mut out = Vec::with_capacity(q.len());
    for (q, sink) in q.chunks_exact(width).zip(sink) {
        let product = |key: &[f32]| -> f64 {
            q.iter()
                .zip(key)
                .map(|(q, k)| f64::from(*q) * f64::from(*k))
                .sum()
        };
        let logits: Vec<f64> = keys
            .chunks_exact(width)
            .map(|key| product(key) * f64::from(softmax.scale))
            .collect();
        let peak = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = logits.iter().map(|x| (x - peak).exp()).collect();
        let total = weights.iter().sum::<f64>() + (f64::from(*sink) - peak).exp();
        let round = |x: f64| {
            if softmax.bf16 {
                f64::from(bf16(x as f32))
            } else {
                x
            }
        };
        for channel in 0..width {
            let values = keys.chunks_exact(width).map(|key| f64::from(key[channel]));
            let sum: f64 = weights.iter().zip(values).map(|(w, v)| round(*w) * v).sum();
            out.push((sum / total) as f32);
        }
    }
    out
}

/// Pools one group of rows in 64 bits: `kv`, `scores: [rows, width]`.
pub(crate) fn compress(
    kv: &[f32],
    scores: &[f32],
    group: Range<usize>,
    fold: Fold,
    width: usize,
) -> Vec<f32> {
    let (out, shift): (usize, Box<dyn Fn(usize) -> usize>) = match fold {
        Fold::Plain => (width, Box::new(|_| 0)),
        Fold::Overlap { ratio } => {
            let current = group.end - ratio;
            (
                width / 2,
                Box::new(move |row| if row < current { 0 } else { width / 2 }),
            )
        }
    };
    let pooled = |channel: usize| {
        let at = |row: usize| row * width + shift(row) + channel;
        let peak = group
            .clone()
            .map(|row| scores[at(row)])
            .fold(f32::NEG_INFINITY, f32::max);
        let (mut sum, mut total) = (0.0, 0.0);
        for row in group.clone() {
            let share = f64::from(scores[at(row)] - peak).exp();
            sum += share * f64::from(kv[at(row)]);
            total += share;
        }
        (sum / total) as f32
    };
    (0..out).map(pooled).collect()
}

/// `pre`, `post` and `comb` of one token in 64 bits, joined; `z` are its scaled projections.
pub(crate) fn gates(z: &[f64], shape: HyperShape) -> Vec<f64> {
    let (n, eps) = (shape.streams, f64::from(shape.eps));
    let sigmoid = |x: &f64| 1.0 / (1.0 + (-x).exp());
    let mut out: Vec<f64> = z[..n].iter().map(|x| sigmoid(x) + eps).collect();
    out.extend(z[n..2 * n].iter().map(|x| sigmoid(x) * 2.0));
    let mut comb: Vec<f64> = z[2 * n..].iter().map(|x| x.exp()).collect();
    for pass in 0..2 * shape.sinkhorn {
        let eps_here = if pass == 0 { 0.0 } else { eps };
        let (line, step) = if pass % 2 == 0 { (n, 1) } else { (1, n) };
        for first in (0..n).map(|i| i * line) {
            let sum: f64 = (0..n).map(|i| comb[first + i * step]).sum();
            (0..n).for_each(|i| comb[first + i * step] /= sum + eps_here);
        }
        if pass == 0 {
            comb.iter_mut().for_each(|x| *x += eps);
        }
    }
    out.extend(comb);
    out
}
