//! Hyper-connections: what a sub-layer reads of the residual streams, and how it writes them.

use deepseek_core::kernels::HyperShape;
use deepseek_core::weights::WeightView;

use super::dense::linear;
use super::math;
use super::par::{Pool, least_rows};

/// The projection `[(2 + n) * n, n * hidden]` of a mixer, and a factor and a term for each of its rows.
type Known<'a> = (&'a WeightView, &'a [f32], &'a [f32]);

/// What [`hc_pre`] gives.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HyperMix {
    /// `[t, hidden]`: what the sub-layer reads.
    pub(crate) y: Vec<f32>,
    /// `[t, n]`
    pub(crate) pre: Vec<f32>,
    /// `[t, n]`
    pub(crate) post: Vec<f32>,
    /// `[t, n, n]`
    pub(crate) comb: Vec<f32>,
}

/// Mixes `streams: [t, n, hidden]` into what a sub-layer reads, with the shares of `carried: [t, n]`
/// in place of its own where there are some.
pub(crate) fn hc_pre(
    pool: &Pool,
    streams: &[f32],
    tokens: usize,
    known: Known<'_>,
    shape: HyperShape,
    carried: Option<&[f32]>,
) -> HyperMix {
    let HyperShape {
        streams: n,
        norm_eps,
        ..
    } = shape;
    let [outputs, width] = known.0.shape;
    assert_eq!(outputs, (2 + n) * n, "a projection for {n} streams");
    assert_eq!(
        streams.len(),
        tokens * width,
        "{n} streams of {tokens} tokens"
    );
    // The product with the norm's factor commutes with the projection, which so needs no copy.
    let mut z = vec![0.0; tokens * outputs];
    linear(pool, streams, known.0, &mut z);
    pool.for_rows(&mut z, outputs, least_rows(width), |first, z| {
        for (index, z) in z.chunks_exact_mut(outputs).enumerate() {
            let flat = &streams[(first + index) * width..][..width];
            let factor = 1.0 / (pool.table.mean_square(flat) + norm_eps).sqrt();
            z.iter_mut().for_each(|z| *z *= factor);
            gates(z, known, shape);
        }
    });
    let part = |at: usize, length: usize| -> Vec<f32> {
        z.chunks_exact(outputs)
            .flat_map(|z| &z[at..at + length])
            .copied()
            .collect()
    };
    let (pre, post, comb) = (part(0, n), part(n, n), part(2 * n, n * n));
    let hidden = width / n;
    let mut y = vec![0.0; tokens * hidden];
    let shares = carried.unwrap_or(&pre);
    pool.for_rows(&mut y, hidden, least_rows(width), |first, y| {
        for (index, y) in y.chunks_exact_mut(hidden).enumerate() {
            let token = first + index;
            pool.table.mix_row(
                &shares[token * n..][..n],
                &streams[token * width..][..width],
                y,
            );
        }
    });
    HyperMix { y, pre, post, comb }
}

/// Turns the projections of one token into `pre`, `post` and `comb`, in place.
fn gates(z: &mut [f32], (_, scale, base): Known<'_>, shape: HyperShape) {
    let HyperShape {
        streams: n,
        sinkhorn,
        eps,
        ..
    } = shape;
    for ((z, scale), base) in z.iter_mut().zip(scale).zip(base) {
        *z = *z * scale + base;
    }
    let (pre, z) = z.split_at_mut(n);
    let (post, comb) = z.split_at_mut(n);
    pre.iter_mut().for_each(|x| *x = math::sigmoid(*x) + eps);
    post.iter_mut().for_each(|x| *x = math::sigmoid(*x) * 2.0);
    for row in comb.chunks_exact_mut(n) {
        let peak = row.iter().fold(f32::NEG_INFINITY, |peak, x| peak.max(*x));
        row.iter_mut().for_each(|x| *x = math::exp(*x - peak));
    }
    // The first row pass is the softmax, whose sums take no epsilon; the last pass is a column pass.
    divide_rows(comb, n, 0.0);
    comb.iter_mut().for_each(|x| *x += eps);
    divide_columns(comb, n, eps);
    for _ in 1..sinkhorn {
        divide_rows(comb, n, eps);
        divide_columns(comb, n, eps);
    }
}

fn divide_rows(comb: &mut [f32], n: usize, eps: f32) {
    for row in comb.chunks_exact_mut(n) {
        let factor = 1.0 / (row.iter().sum::<f32>() + eps);
        row.iter_mut().for_each(|x| *x *= factor);
    }
}

fn divide_columns(comb: &mut [f32], n: usize, eps: f32) {
    for column in 0..n {
        let factor = 1.0 / (comb[column..].iter().step_by(n).sum::<f32>() + eps);
        comb[column..]
            .iter_mut()
            .step_by(n)
            .for_each(|x| *x *= factor);
    }
}

/// Writes a sub-layer's result `y: [t, hidden]` into the streams:
/// `stream'_k = post_k · y + Σ_j comb[j, k] · stream_j`; `streams: [t, n, hidden]`, and so is the result.
pub(crate) fn hc_post(
    pool: &Pool,
    (y, streams): (&[f32], &[f32]),
    (post, comb): (&[f32], &[f32]),
    n: usize,
) -> Vec<f32> {
    let mut out = vec![0.0; streams.len()];
    let tokens = post.len() / n;
    assert_eq!(
        [streams.len(), comb.len()],
        [n * y.len(), tokens * n * n],
        "{n} streams"
    );
    if out.is_empty() {
        return out;
    }
    let hidden = y.len() / tokens;
    let width = n * hidden;
    pool.for_rows(&mut out, width, least_rows(width), |first, out| {
        for (index, out) in out.chunks_exact_mut(width).enumerate() {
            let token = first + index;
            let (y, post) = (&y[token * hidden..][..hidden], &post[token * n..][..n]);
            let comb = &comb[token * n * n..][..n * n];
            let streams = &streams[token * width..][..width];
            for (k, out) in out.chunks_exact_mut(hidden).enumerate() {
                let shares: Vec<f32> = comb[k..].iter().step_by(n).copied().collect();
                pool.table.mix_row(&shares, streams, out);
                out.iter_mut()
                    .zip(y)
                    .for_each(|(out, y)| *out += post[k] * y);
            }
        }
    });
    out
}
