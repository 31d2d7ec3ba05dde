//! Products with weights, the shared expert, reading of streams and dense attention.

use anyhow::Result;
use deepseek_core::operands::{
    FeedForward, HyperWeights, Linear, MixerConfig, StreamShares, SwiGlu,
};
use deepseek_core::{DeviceTensor, Format, Kernels, Rounding, Use, reference};

use super::{Draw, INPUTS, TOLERANCE, tolerance};
use crate::compare::relative;

fn compare<B: Kernels>(
    be: &B,
    what: &str,
    got: &B::Tensor,
    want: &B::Tensor,
    tolerance: f32,
) -> Result<()> {
    let (got, want) = (be.download(got)?, be.download(want)?);
    assert_eq!(got.shape(), want.shape(), "{what}");
    relative(what, got.data(), want.data(), tolerance);
    Ok(())
}

fn linear<B: Kernels>(
    be: &B,
    format: Format,
    shape: [usize; 2],
    draw: &mut Draw<'_>,
) -> Result<Linear<B>> {
    Ok(Linear {
        weight: be.load(&draw.weight(format, shape), Use::Product)?,
        input: draw.pick(&[None, Some(INPUTS[0]), Some(INPUTS[1])]),
        output: draw.rounding(),
    })
}

/// Several products of one input, one of them, and one for each group of channels.
pub(super) fn project<B: Kernels>(be: &B, format: Format, draw: &mut Draw<'_>) -> Result<()> {
    let (tokens, inputs, count) = (draw.count(1..9), draw.pick(&[16, 30, 64]), draw.count(1..5));
    let products = (0..count)
        .map(|_| {
            let outputs = draw.count(1..40);
            linear(be, format, [outputs, inputs], draw)
        })
        .collect::<Result<Vec<_>>>()?;
    let x = be.upload(&draw.tensor(&[tokens, inputs]))?;
    let all: Vec<_> = products.iter().collect();
    let got = be.project(&x, &all)?;
    let want = reference::project(be, &x, &all)?;
    assert_eq!(got.len(), count);
    let what = draw.what(&format!("project by {format}"));
    for ((got, want), product) in got.iter().zip(&want).zip(&products) {
        compare(be, &what, got, want, tolerance(product.output))?;
    }
    let (one, within) = (
        be.project_one(&x, &products[0])?,
        tolerance(products[0].output),
    );
    compare(be, &what, &one, &want[0], within)?;

    let (groups, outputs) = (draw.pick(&[1, 2, 8]), draw.count(1..20));
    let products = (0..groups)
        .map(|_| linear(be, format, [outputs, inputs], draw))
        .collect::<Result<Vec<_>>>()?;
    let x = be.upload(&draw.tensor(&[tokens, groups * inputs]))?;
    let got = be.project_grouped(&x, &products)?;
    assert_eq!(got.shape(), [tokens, groups * outputs]);
    let want = reference::project_grouped(be, &x, &products)?;
    let what = draw.what(&format!("project_grouped by {format}"));
    compare(be, &what, &got, &want, tolerance(Some(Rounding::Bf16)))
}

pub(super) fn feed_forward<B: Kernels>(be: &B, format: Format, draw: &mut Draw<'_>) -> Result<()> {
    let (tokens, hidden, inner) = (
        draw.count(1..9),
        draw.pick(&[16, 30, 64]),
        draw.pick(&[8, 32]),
    );
    let mut matrix =
        |shape| -> Result<B::Weight> { Ok(be.load(&draw.weight(format, shape), Use::Product)?) };
    let network = FeedForward {
        gate: matrix([inner, hidden])?,
        up: matrix([inner, hidden])?,
        down: matrix([hidden, inner])?,
    };
    let x = be.upload(&draw.tensor(&[tokens, hidden]))?;
    for (input, bf16) in [
        (None, false),
        (Some(INPUTS[0]), true),
        (Some(INPUTS[1]), true),
    ] {
        let form = SwiGlu {
            limit: 1.0,
            input,
            bf16,
        };
        let got = be.feed_forward(&x, &network, form)?;
        let want = reference::feed_forward(be, &x, &network, None, form)?;
        let tolerance = if bf16 { 2.0_f32.powi(-6) } else { TOLERANCE };
        let what = draw.what(&format!("feed_forward in {format}"));
        compare(be, &what, &got, &want, tolerance)?;
    }
    Ok(())
}

pub(super) fn hc_read<B: Kernels>(be: &B, format: Format, draw: &mut Draw<'_>) -> Result<()> {
    let n = draw.pick(&[2, 4]);
    let (tokens, hidden) = (draw.count(1..7), draw.pick(&[1, 15, 16, 33, 64]));
    let mixer = HyperWeights {
        projection: be.load(&draw.weight(format, [n, n * hidden]), Use::Product)?,
        scale: be.upload(&draw.tensor(&[n]))?,
        base: be.upload(&draw.tensor(&[n]))?,
        config: MixerConfig {
            streams: n,
            sinkhorn: 0,
            eps: 1e-6,
            norm_eps: 1e-6,
        },
    };
    let streams = be.upload(&draw.tensor(&[tokens, n, hidden]))?;
    let settled = be.upload(&draw.tensor(&[tokens, n]))?;
    let rounding = draw.rounding();
    let what = draw.what(&format!("hc_read by {format}"));
    for shares in [StreamShares::Mixer(&mixer), StreamShares::Settled(&settled)] {
        let got = be.hc_read(&streams, shares, rounding)?;
        let want = reference::hc_read(be, &streams, shares, rounding)?;
        compare(be, &what, &got, &want, tolerance(rounding))?;
    }
    Ok(())
}

/// Runs of one row, of a few, and of more than attend together.
pub(super) fn attend_dense<B: Kernels>(be: &B, draw: &mut Draw<'_>) -> Result<()> {
    let (heads, width) = (draw.pick(&[1, 3]), draw.pick(&[4, 16, 20]));
    let long = draw.pick(&[5, reference::QUERY_ROWS + 3]);
    let lengths = [draw.count(1..9), long, 1];
    let shape = [lengths.iter().sum(), heads, width];
    let [q, k, v] = [(); 3].map(|()| be.upload(&draw.tensor(&shape)));
    let (q, k, v) = (q?, k?, v?);
    let rounding = draw.rounding();
    let got = be.attend_dense(&q, &k, &v, &lengths, rounding)?;
    let want = reference::attend_dense(be, &q, &k, &v, &lengths, rounding)?;
    assert_eq!(got.shape(), shape);
    let what = draw.what("attend_dense");
    compare(be, &what, &got, &want, tolerance(rounding))
}
