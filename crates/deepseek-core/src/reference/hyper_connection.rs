//! Manifold-constrained hyper-connections (`docs/models/deepseek-v4.md` §3.2).

use super::project::round;
use crate::backend::{Backend, DeviceTensor, Unary};
use crate::error::Result;
use crate::format::Rounding;
use crate::operands::{HyperWeights, Mix, StreamShares};

/// See [`Kernels::hc_pre`](crate::Kernels::hc_pre).
pub fn hc_pre<B: Backend>(
    be: &B,
    streams: &B::Tensor,
    weights: &HyperWeights<B>,
    carried: Option<&B::Tensor>,
    rounding: Option<Rounding>,
) -> Result<(B::Tensor, Mix<B>)> {
    let n = weights.config.streams;
    let eps = weights.config.eps;
    let tokens = streams.shape()[0];
    let z = project(be, streams, weights)?;

    let pre = be.map(&be.narrow(&z, 1, 0, n)?, Unary::Sigmoid)?;
    let pre = be.map(&pre, Unary::Affine { mul: 1.0, add: eps })?;
    let post = be.map(&be.narrow(&z, 1, n, n)?, Unary::Sigmoid)?;
    let post = be.map(&post, Unary::scale(2.0))?;

    let comb = be.reshape(&be.narrow(&z, 1, 2 * n, n * n)?, &[tokens, n, n])?;
    let peak = be.map(&be.max(&comb, 2)?, Unary::scale(-1.0))?;
    let comb = be.map(&be.add(&comb, &peak)?, Unary::Exp)?;
    // The first row pass is the softmax, whose sums take no epsilon; the last pass is a column pass.
    let comb = divide_by_sums(be, &comb, 2, 0.0)?;
    let comb = be.map(&comb, Unary::Affine { mul: 1.0, add: eps })?;
    let mut comb = divide_by_sums(be, &comb, 1, eps)?;
    for _ in 1..weights.config.sinkhorn {
        comb = divide_by_sums(be, &comb, 2, eps)?;
        comb = divide_by_sums(be, &comb, 1, eps)?;
    }
    let y = collapse(be, streams, carried.unwrap_or(&pre))?;
    let y = round(be, y, rounding)?;
    let pre = Some(pre);
    Ok((y, Mix { pre, post, comb }))
}

/// See [`Kernels::hc_post`](crate::Kernels::hc_post).
pub fn hc_post<B: Backend>(
    be: &B,
    y: &B::Tensor,
    streams: &B::Tensor,
    mix: &Mix<B>,
    rounding: Option<Rounding>,
) -> Result<B::Tensor> {
    let [tokens, n, hidden] = dims(streams);
    let y = be.reshape(y, &[tokens, 1, hidden])?;
    let mut out = be.mul(&be.reshape(&mix.post, &[tokens, n, 1])?, &y)?;
    for j in 0..n {
        // comb[j, k] for all k, as a column beside stream j.
        let share = be.reshape(&be.narrow(&mix.comb, 1, j, 1)?, &[tokens, n, 1])?;
        out = be.add(&out, &be.mul(&share, &be.narrow(streams, 1, j, 1)?)?)?;
    }
    round(be, out, rounding)
}

/// See [`Kernels::hc_read`](crate::Kernels::hc_read).
pub fn hc_read<B: Backend>(
    be: &B,
    streams: &B::Tensor,
    shares: StreamShares<'_, B>,
    rounding: Option<Rounding>,
) -> Result<B::Tensor> {
    let y = match shares {
        StreamShares::Settled(shares) => collapse(be, streams, shares)?,
        StreamShares::Mixer(weights) => collapse(be, streams, &gates(be, streams, weights)?)?,
    };
    round(be, y, rounding)
}

/// `sigmoid(z) + eps`, `[t, n]`.
fn gates<B: Backend>(be: &B, streams: &B::Tensor, weights: &HyperWeights<B>) -> Result<B::Tensor> {
    let gates = be.map(&project(be, streams, weights)?, Unary::Sigmoid)?;
    let add = weights.config.eps;
    be.map(&gates, Unary::Affine { mul: 1.0, add })
}

/// `(projection · f) / rms(f) ⊙ scale + base` over the flattened streams `f`.
fn project<B: Backend>(
    be: &B,
    streams: &B::Tensor,
    weights: &HyperWeights<B>,
) -> Result<B::Tensor> {
    let [tokens, n, hidden] = dims(streams);
    let flat = be.reshape(streams, &[tokens, n * hidden])?;
    let flat = be.rms_norm(&flat, None, weights.config.norm_eps, None)?;
    let z = be.linear(&flat, &weights.projection)?;
    be.add(&be.mul(&z, &weights.scale)?, &weights.base)
}

/// `Σ_j shares_j · stream_j`, `[t, n, hidden]` to `[t, hidden]`; `shares: [t, n]`.
fn collapse<B: Backend>(be: &B, streams: &B::Tensor, shares: &B::Tensor) -> Result<B::Tensor> {
    let [tokens, n, hidden] = dims(streams);
    let shares = be.reshape(shares, &[tokens, n, 1])?;
    let y = be.sum(&be.mul(&shares, streams)?, 1)?;
    be.reshape(&y, &[tokens, hidden])
}

fn divide_by_sums<B: Backend>(be: &B, x: &B::Tensor, dim: usize, eps: f32) -> Result<B::Tensor> {
    let sums = be.map(&be.sum(x, dim)?, Unary::Affine { mul: 1.0, add: eps })?;
    be.mul(x, &be.map(&sums, Unary::Recip)?)
}

fn dims<T: DeviceTensor>(streams: &T) -> [usize; 3] {
    streams
        .shape()
        .try_into()
        .expect("streams are [tokens, streams, hidden]")
}
