//! Residual streams and gated pooling, each in one pass over a token.

use deepseek_core::operands::{MixerConfig, Pooling, Runs};

use super::dense::{Norm, linear, rms_norm};
use super::form::Known;
use super::matrix::Matrix;
use super::pool::Pool;
use super::rows::RowPool;

/// Where [`hc_pre`] puts what it yields for all tokens: the input of the sub-layer and the three
/// parts of a mix.
pub(crate) struct Read<'a> {
    /// `[t, hidden]`.
    pub(crate) y: &'a mut [f32],
    /// `[t, n]`.
    pub(crate) pre: &'a mut [f32],
    /// `[t, n]`.
    pub(crate) post: &'a mut [f32],
    /// `[t, n, n]`.
    pub(crate) comb: &'a mut [f32],
}

/// See [`deepseek_core::Kernels::hc_pre`]. `streams: [t, n, hidden]`.
pub(crate) fn hc_pre(
    pool: &Pool,
    streams: &[f32],
    (projection, scale, base): (&Matrix, &[f32], &[f32]),
    shape: MixerConfig,
    carried: Option<&[f32]>,
    read: Read<'_>,
) {
    let Read { y, pre, post, comb } = read;
    let n = shape.streams;
    let [rows, wide] = projection.shape;
    let tokens = streams.len() / wide;
    let norm = Norm {
        weight: None,
        eps: shape.norm_eps,
        rounding: None,
    };
    pool.scratch([streams.len(), tokens * rows], |[flat, z]| {
        rms_norm(pool, streams, wide, norm, flat);
        linear(pool, flat, projection, Known::Nothing, None, z);

        let parts = pre.chunks_exact_mut(n).zip(post.chunks_exact_mut(n));
        let parts = parts.zip(comb.chunks_exact_mut(n * n));
        for (z, ((pre, post), comb)) in z.chunks_exact_mut(rows).zip(parts) {
            for ((z, scale), base) in z.iter_mut().zip(scale).zip(base) {
                *z = *z * scale + base;
            }
            for stream in 0..n {
                pre[stream] = sigmoid(z[stream]) + shape.eps;
                post[stream] = 2.0 * sigmoid(z[n + stream]);
            }
            comb.copy_from_slice(&z[2 * n..]);
            sinkhorn(comb, shape);
        }
    });
    let shares = carried.unwrap_or(pre);
    let hidden = wide / n;
    pool.pieces(y, hidden, streams.len(), |token, y| {
        y.fill(0.0);
        let streams = streams[token * wide..][..wide].chunks_exact(hidden);
        for (stream, share) in streams.zip(&shares[token * n..]) {
            y.iter_mut().zip(stream).for_each(|(y, x)| *y += share * x);
        }
    });
}

/// Makes `m: [n, n]` doubly stochastic: a softmax over rows, then columns and rows in turn, ending
/// with columns.
fn sinkhorn(m: &mut [f32], shape: MixerConfig) {
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
    out: &mut [f32],
) {
    let hidden = y.len() * n / post.len();
    pool.pieces(out, hidden, streams.len() * n, |place, out| {
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
}

/// The rows that are pooled: those of the state, and then those of the step.
#[derive(Clone, Copy)]
pub(crate) struct Pooled<'a> {
    pub(crate) old: &'a [u32],
    pub(crate) state: &'a RowPool,
    pub(crate) step: &'a [f32],
}

impl<'a> Pooled<'a> {
    fn row(&self, row: usize) -> &'a [f32] {
        match self.old.get(row) {
            Some(old) => self
                .state
                .floats(*old..*old + 1)
                .expect("a state is kept as floats"),
            None => {
                let wide = self.state.width();
                &self.step[(row - self.old.len()) * wide..][..wide]
            }
        }
    }
}

/// See [`deepseek_core::Kernels::compress`].
pub(crate) fn compress(
    pool: &Pool,
    (kv, scores): (Pooled<'_>, Pooled<'_>),
    groups: &Runs,
    pooling: Pooling,
    out: &mut [f32],
) {
    let width = out.len() / groups.queries();
    let rows: usize = (0..groups.queries()).map(|group| groups.count(group)).sum();
    pool.pieces(out, width, rows * width * 16, |group, out| {
        out.fill(0.0);
        let count = groups.count(group);
        let members = || {
            groups.rows(group).enumerate().map(|(place, row)| {
                // Where the channels of a row begin that take part.
                let first = match pooling {
                    Pooling::Overlap { ratio } if place + ratio >= count => width,
                    Pooling::Overlap { .. } | Pooling::Plain => 0,
                };
                (row as usize, first..first + width)
            })
        };
        pool.scratch([width, width], |[peak, total]| {
            peak.fill(f32::NEG_INFINITY);
            for (row, channels) in members() {
                let scores = &scores.row(row)[channels];
                peak.iter_mut()
                    .zip(scores)
                    .for_each(|(peak, score)| *peak = peak.max(*score));
            }
            total.fill(0.0);
            for (row, channels) in members() {
                let (kv, scores) = (&kv.row(row)[channels.clone()], &scores.row(row)[channels]);
                for channel in 0..width {
                    let share = (scores[channel] - peak[channel]).exp();
                    total[channel] += share;
                    out[channel] += share * kv[channel];
                }
            }
            out.iter_mut()
                .zip(&*total)
                .for_each(|(out, total)| *out *= 1.0 / total);
        });
    });
}
