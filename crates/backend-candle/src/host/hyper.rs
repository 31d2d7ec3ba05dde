//! Residual streams and gated pooling, each in one pass over a token.

use std::ops::Range;

use deepseek_core::operands::{Fold, HyperShape};
use deepseek_core::weights::WeightView;

use super::dense::{linear, rms_norm};
use super::pool::Pool;

/// What [`hc_pre`] yields for all tokens: the input of the sub-layer and the three parts of a mix.
pub(crate) struct Read {
    pub(crate) y: Vec<f32>,
    pub(crate) pre: Vec<f32>,
    pub(crate) post: Vec<f32>,
    pub(crate) comb: Vec<f32>,
}

/// See [`deepseek_core::Kernels::hc_pre`]. `streams: [t, n, hidden]`.
pub(crate) fn hc_pre(
    pool: &Pool,
    streams: &[f32],
    tokens: usize,
    (projection, scale, base): (&WeightView, &[f32], &[f32]),
    shape: HyperShape,
    carried: Option<&[f32]>,
) -> Read {
    let n = shape.streams;
    let wide = streams.len() / tokens;
    let rows = projection.shape[0];
    let mut flat = streams.to_vec();
    rms_norm(pool, &mut flat, wide, None, shape.norm_eps);
    let mut z = vec![0.0; tokens * rows];
    linear(pool, &flat, projection, &mut z);

    let mut read = Read {
        y: vec![0.0; streams.len() / n],
        pre: Vec::with_capacity(tokens * n),
        post: Vec::with_capacity(tokens * n),
        comb: Vec::with_capacity(tokens * n * n),
    };
    for z in z.chunks_exact_mut(rows) {
        for ((z, scale), base) in z.iter_mut().zip(scale).zip(base) {
            *z = *z * scale + base;
        }
        read.pre
            .extend(z[..n].iter().map(|z| sigmoid(*z) + shape.eps));
        read.post
            .extend(z[n..2 * n].iter().map(|z| 2.0 * sigmoid(*z)));
        sinkhorn(&mut z[2 * n..], shape);
        read.comb.extend_from_slice(&z[2 * n..]);
    }
    let shares = carried.unwrap_or(&read.pre);
    let hidden = wide / n;
    pool.pieces(&mut read.y, hidden, streams.len(), |token, y| {
        let streams = streams[token * wide..][..wide].chunks_exact(hidden);
        for (stream, share) in streams.zip(&shares[token * n..]) {
            y.iter_mut().zip(stream).for_each(|(y, x)| *y += share * x);
        }
    });
    read
}

/// Makes `m: [n, n]` doubly stochastic: a softmax over rows, then columns and rows in turn, ending
/// with columns.
fn sinkhorn(m: &mut [f32], shape: HyperShape) {
    let (n, eps) = (shape.streams, shape.eps);
    for row in m.chunks_exact_mut(n) {
        let peak = row.iter().fold(f32::NEG_INFINITY, |peak, x| peak.max(*x));
        row.iter_mut().for_each(|x| *x = (*x - peak).exp());
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|x| *x = *x / sum + eps);
    }
    columns(m, n, eps);
    for _ in 1..shape.sinkhorn {
        for row in m.chunks_exact_mut(n) {
            let sum = row.iter().sum::<f32>() + eps;
            row.iter_mut().for_each(|x| *x /= sum);
        }
        columns(m, n, eps);
    }
}

fn columns(m: &mut [f32], n: usize, eps: f32) {
    for column in 0..n {
        let sum = m.iter().skip(column).step_by(n).sum::<f32>() + eps;
        m.iter_mut().skip(column).step_by(n).for_each(|x| *x /= sum);
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// See [`deepseek_core::Kernels::hc_post`].
pub(crate) fn hc_post(
    pool: &Pool,
    (y, streams): (&[f32], &[f32]),
    (post, comb): (&[f32], &[f32]),
    n: usize,
) -> Vec<f32> {
    let hidden = y.len() * n / post.len();
    let mut out = vec![0.0; streams.len()];
    pool.pieces(&mut out, hidden, streams.len() * n, |place, out| {
        let (token, k) = (place / n, place % n);
        let share = post[place];
        let y = &y[token * hidden..][..hidden];
        out.iter_mut().zip(y).for_each(|(out, y)| *out = share * y);
        for (j, stream) in streams[token * n * hidden..]
            .chunks_exact(hidden)
            .take(n)
            .enumerate()
        {
            let share = comb[(token * n + j) * n + k];
            out.iter_mut()
                .zip(stream)
                .for_each(|(out, x)| *out += share * x);
        }
    });
    out
}

/// See [`deepseek_core::Kernels::compress`]. Rows of `kv` and `scores` have `wide` channels.
pub(crate) fn compress(
    pool: &Pool,
    (kv, scores): (&[f32], &[f32]),
    wide: usize,
    groups: &[Range<usize>],
    fold: Fold,
) -> Vec<f32> {
    let width = if fold == Fold::Plain { wide } else { wide / 2 };
    let mut out = vec![0.0; groups.len() * width];
    let rows: usize = groups.iter().map(ExactSizeIterator::len).sum();
    pool.pieces(&mut out, width, rows * width * 16, |group, out| {
        let group = groups[group].clone();
        // Where the channels of a row begin that take part.
        let first = |row: usize| match fold {
            Fold::Overlap { ratio } if row + ratio >= group.end => row * wide + width,
            Fold::Overlap { .. } | Fold::Plain => row * wide,
        };
        let mut peak = vec![f32::NEG_INFINITY; width];
        for row in group.clone() {
            let scores = &scores[first(row)..][..width];
            peak.iter_mut()
                .zip(scores)
                .for_each(|(peak, score)| *peak = peak.max(*score));
        }
        let mut total = vec![0.0_f32; width];
        for row in group.clone() {
            let (kv, scores) = (&kv[first(row)..][..width], &scores[first(row)..][..width]);
            for channel in 0..width {
                let share = (scores[channel] - peak[channel]).exp();
                total[channel] += share;
                out[channel] += share * kv[channel];
            }
        }
        out.iter_mut()
            .zip(&total)
            .for_each(|(out, total)| *out *= 1.0 / total);
    });
    out
}
