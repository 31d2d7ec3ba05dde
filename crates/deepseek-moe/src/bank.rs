//! The experts of a layer, from its files to the device.

use deepseek_core::operands::{ExpertViews, FeedForward, Residency};
use deepseek_core::{Kernels, Loader, Result, Rounding};

/// Takes experts `0..count` below `at` to the device, and tells how the inputs of their products are
/// rounded.
pub(crate) fn bank<B: Kernels>(
    load: &Loader<'_, B>,
    count: usize,
    shape: [usize; 2],
    residency: Residency,
) -> Result<(B::Experts, Option<Rounding>)> {
    let views = (0..count)
        .map(|id| network_views(&load.at(&id.to_string()), shape))
        .collect::<Result<Vec<_>>>()?;
    let input = views
        .last()
        .and_then(|expert| load.input_rounding(expert.gate.format));
    Ok((load.be.load_experts(&views, residency)?, input))
}

/// The same for one network.
pub(crate) fn network<B: Kernels>(
    load: &Loader<'_, B>,
    shape: [usize; 2],
) -> Result<(FeedForward<B>, Option<Rounding>)> {
    let views = network_views(load, shape)?;
    let input = load.input_rounding(views.gate.format);
    Ok((views.load(load.be)?, input))
}

/// Reads `w1`, `w3` and `w2`.
fn network_views<B: Kernels>(
    load: &Loader<'_, B>,
    [hidden, inner]: [usize; 2],
) -> Result<ExpertViews> {
    Ok(ExpertViews {
        gate: load.tensors.matrix("w1.weight", [inner, hidden])?,
        up: load.tensors.matrix("w3.weight", [inner, hidden])?,
        down: load.tensors.matrix("w2.weight", [hidden, inner])?,
    })
}
