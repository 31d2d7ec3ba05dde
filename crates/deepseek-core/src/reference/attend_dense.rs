//! Full attention, as the towers of images and audio have it.

use super::project::round;
use crate::backend::{Backend, DeviceTensor, Unary};
use crate::error::Result;
use crate::format::Rounding;

/// Queries whose scores exist at a time: these decide the memory that a tower needs.
pub const QUERY_ROWS: usize = 256;

/// See [`Kernels::attend_dense`](crate::Kernels::attend_dense).
pub fn attend_dense<B: Backend>(
    be: &B,
    q: &B::Tensor,
    k: &B::Tensor,
    v: &B::Tensor,
    lengths: &[usize],
    rounding: Option<Rounding>,
) -> Result<B::Tensor> {
    let [_, heads, width] = q
        .shape()
        .try_into()
        .expect("queries are [rows, heads, width]");
    let mut first = 0;
    let mut runs = Vec::with_capacity(lengths.len());
    for length in lengths {
        let head = |x: &B::Tensor, head| {
            let x = be.narrow(&be.narrow(x, 0, first, *length)?, 1, head, 1)?;
            be.reshape(&x, &[*length, width])
        };
        let outputs = (0..heads)
            .map(|h| {
                let y = attend_all(be, &head(q, h)?, &head(k, h)?, &head(v, h)?)?;
                be.reshape(&y, &[*length, 1, width])
            })
            .collect::<Result<Vec<_>>>()?;
        runs.push(be.concat(&outputs.iter().collect::<Vec<_>>(), 1)?);
        first += length;
    }
    let y = be.concat(&runs.iter().collect::<Vec<_>>(), 0)?;
    round(be, y, rounding)
}

/// Attention of one head over one run: `softmax(q · kᵀ / √width) · v`, all of them `[rows, width]`.
fn attend_all<B: Backend>(
    be: &B,
    q: &B::Tensor,
    k: &B::Tensor,
    v: &B::Tensor,
) -> Result<B::Tensor> {
    let (rows, width) = (q.rows(), q.width());
    let q = be.map(q, Unary::scale((width as f32).powf(-0.5)))?;
    let outputs = (0..rows)
        .step_by(QUERY_ROWS)
        .map(|first| {
            let q = be.narrow(&q, 0, first, QUERY_ROWS.min(rows - first))?;
            let scores = be.matmul_t(&q, k)?;
            let peak = be.map(&be.max(&scores, 1)?, Unary::scale(-1.0))?;
            let weights = be.map(&be.add(&scores, &peak)?, Unary::Exp)?;
            let total = be.map(&be.sum(&weights, 1)?, Unary::Recip)?;
            be.mul(&be.matmul(&weights, v)?, &total)
        })
        .collect::<Result<Vec<_>>>()?;
    be.concat(&outputs.iter().collect::<Vec<_>>(), 0)
}
