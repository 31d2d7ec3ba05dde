//! Functions of one number and the sums of exponentials, as loops that become vectors.

use deepseek_core::Unary;
use deepseek_core::kernels::Softmax;

use super::simd::{Chunk, LANES, Simd};

/// `e^x` to within two units in the last place, the same on every machine.
///
/// `x = n ln 2 + r` with `n` whole and `|r| <= ln 2 / 2`, then the series of `e^r` to `r^7 / 7!`.
/// The library's function is as exact, but a call a number: ten times the cost in a softmax.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0;
    // What the nearest float to ln 2 lacks.
    const LN2_REST: f32 = -1.904_654_3e-9;
    // Beyond these the result is infinite or zero.
    let x = x.clamp(-105.0, 90.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    let r = n.mul_add(-LN2_REST, n.mul_add(-std::f32::consts::LN_2, x));
    let mut sum = 1.0 / 5040.0;
    for term in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        sum = r.mul_add(sum, term);
    }
    // 2^n in two steps, because n reaches beyond the exponents of either end.
    let n = (shifted.to_bits() as i32).wrapping_sub(MAGIC.to_bits() as i32);
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) as u32) << 23);
    sum * power(n >> 1) * power(n.wrapping_sub(n >> 1))
}

#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// `f` of every number.
#[inline(always)]
pub(super) fn map<S: Simd>(_: S, x: &mut [f32], f: Unary) {
    match f {
        Unary::Affine { mul, add } => each(x, |x| x * mul + add),
        Unary::Clamp { min, max } => each(x, |x| x.min(max).max(min)),
        Unary::Exp => each(x, exp),
        Unary::Recip => each(x, |x| 1.0 / x),
        Unary::Relu => each(x, |x| x.max(0.0)),
        Unary::Rsqrt => each(x, |x| 1.0 / x.sqrt()),
        Unary::Sigmoid => each(x, sigmoid),
        Unary::Silu => each(x, silu),
        Unary::SqrtSoftplus => {
            each(x, |x| {
                if x > 20.0 {
                    x.sqrt()
                } else {
                    x.exp().ln_1p().sqrt()
                }
            });
        }
    }
}

#[inline(always)]
fn each(x: &mut [f32], f: impl Fn(f32) -> f32) {
    x.iter_mut().for_each(|x| *x = f(*x));
}

/// The largest, NaN left out, whatever the order.
#[inline(always)]
fn peak(x: &[f32]) -> f32 {
    let (chunks, tail) = x.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = if *x > *lane { *x } else { *lane };
        }
    }
    lanes
        .iter()
        .chain(tail)
        .fold(f32::NEG_INFINITY, |peak, x| peak.max(*x))
}

/// Turns `logits` into the weights of values, not yet divided by the sum of all weights and of the
/// sink, which is returned.
#[inline(always)]
pub(super) fn soften<S: Simd>(s: S, logits: &mut [f32], sink: f32, softmax: Softmax) -> f32 {
    each(logits, |x| x * softmax.scale);
    let peak = peak(logits);
    each(logits, |x| exp(x - peak));
    let (chunks, tail) = logits.as_chunks::<LANES>();
    let mut last = [0.0; LANES];
    last[..tail.len()].copy_from_slice(tail);
    let mut total = s.load(&last);
    for chunk in chunks {
        total = s.add(total, s.load(chunk));
    }
    let total = s.sum(total) + exp(sink - peak);
    if softmax.bf16 {
        each(logits, bf16);
    }
    total
}

/// [`deepseek_core::quant::bf16`] without a branch.
#[inline(always)]
pub(super) fn bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    let near = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    let bits = if x.is_nan() { bits | 0x0040_0000 } else { near };
    f32::from_bits(bits & 0xffff_0000)
}

/// The scores of one query: `scores_j = Σ_h weights_h · relu(products_hj)`, in the order of the
/// heads; `products: [heads, n]`. With `brain` every step is rounded to brain floats.
#[inline(always)]
pub(super) fn weigh<S: Simd>(
    _: S,
    products: &[f32],
    weights: &[f32],
    brain: bool,
    scores: &mut [f32],
) {
    scores.fill(0.0);
    for (products, weight) in products.chunks_exact(scores.len()).zip(weights) {
        if brain {
            for (score, x) in scores.iter_mut().zip(products) {
                *score += bf16(bf16(*x).max(0.0) * weight);
            }
        } else {
            for (score, x) in scores.iter_mut().zip(products) {
                *score += x.max(0.0) * weight;
            }
        }
    }
    if brain {
        each(scores, bf16);
    }
}

/// `gate = silu(min(gate, limit)) ⊙ clamp(up, ±limit) · weight`.
#[inline(always)]
pub(super) fn swiglu<S: Simd>(
    _: S,
    gate: &mut [f32],
    up: &[f32],
    limit: f32,
    weight: f32,
    brain: bool,
) {
    let form = |gate: f32, up: f32| silu(gate.min(limit)) * up.min(limit).max(-limit) * weight;
    if brain {
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = bf16(form(bf16(*gate), bf16(*up)));
        }
    } else {
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = form(*gate, *up);
        }
    }
}

/// Pools rows into one, each channel on its own: `out = Σ kv ⊙ softmax(scores)`, in the order of
/// the rows.
#[inline(always)]
pub(super) fn fold_rows<S: Simd>(_: S, kv: &[&[f32]], scores: &[&[f32]], out: &mut [f32]) {
    for (index, out) in out.chunks_mut(LANES).enumerate() {
        let mut peak = [f32::NEG_INFINITY; LANES];
        for row in scores {
            let row = lanes(row, index);
            for i in 0..LANES {
                peak[i] = peak[i].max(row[i]);
            }
        }
        let (mut sum, mut total) = ([0.0; LANES], [0.0; LANES]);
        for (kv, scores) in kv.iter().zip(scores) {
            let (kv, scores) = (lanes(kv, index), lanes(scores, index));
            for i in 0..LANES {
                let share = exp(scores[i] - peak[i]);
                sum[i] = share.mul_add(kv[i], sum[i]);
                total[i] += share;
            }
        }
        for (i, out) in out.iter_mut().enumerate() {
            *out = sum[i] / total[i];
        }
    }
}

/// Chunk `index` of a row, with zeros behind its end.
#[inline(always)]
fn lanes(row: &[f32], index: usize) -> Chunk {
    let from = &row[index * LANES..];
    if let Some(chunk) = from.first_chunk() {
        return *chunk;
    }
    let mut chunk = [0.0; LANES];
    chunk[..from.len()].copy_from_slice(from);
    chunk
}

/// Whether any of `x` is above `bar`.
#[inline(always)]
pub(super) fn any_above<S: Simd>(_: S, x: &[f32], bar: f32) -> bool {
    let (chunks, tail) = x.as_chunks::<LANES>();
    let mut above = [0; LANES];
    for chunk in chunks {
        for (above, x) in above.iter_mut().zip(chunk) {
            *above |= u32::from(*x > bar);
        }
    }
    above.iter().fold(0, |any, above| any | above) != 0 || tail.iter().any(|x| *x > bar)
}
