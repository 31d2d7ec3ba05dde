//! What a token's n-grams recall, gated into the streams (`docs/models/deepseek-v41.md` §3.7).

use super::project::round;
use crate::backend::{Backend, DeviceTensor, Unary};
use crate::error::Result;
use crate::format::Rounding;
use crate::operands::{EngramGate, MediaRows};

/// The smallest agreement that the gate tells from none.
const AGREEMENT_MIN: f32 = 1e-6;

/// See [`Kernels::engram`](crate::Kernels::engram).
pub fn engram<B: Backend>(
    be: &B,
    streams: &B::Tensor,
    recalled: &B::Tensor,
    gate: &EngramGate<B>,
    media: Option<&MediaRows<B>>,
    rounding: Option<Rounding>,
) -> Result<B::Tensor> {
    let [tokens, n, hidden] = streams
        .shape()
        .try_into()
        .expect("streams are [tokens, streams, hidden]");
    let keys = be.reshape(
        &be.narrow(recalled, 1, 0, n * hidden)?,
        &[tokens, n, hidden],
    )?;
    let values = be.reshape(
        &be.narrow(recalled, 1, n * hidden, hidden)?,
        &[tokens, 1, hidden],
    )?;
    let x = be.rms_norm(streams, None, gate.eps, None)?;
    let keys = be.rms_norm(&keys, None, gate.eps, None)?;
    let products = be.mul(&be.mul(&x, &gate.weight)?, &keys)?;
    let mean = Unary::scale((hidden as f32).sqrt().recip());
    let agreement = be.map(&be.sum(&products, 2)?, mean)?;
    let root = Unary::SignedSqrt { min: AGREEMENT_MIN };
    let mut opening = be.map(&be.map(&agreement, root)?, Unary::Sigmoid)?;
    if let Some(media) = media {
        opening = be.mul(&opening, &media.text)?;
    }
    round(be, be.add(streams, &be.mul(&opening, &values)?)?, rounding)
}
