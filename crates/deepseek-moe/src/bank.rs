//! The experts of a layer, from its files to the device.

use deepseek_core::operands::{ExpertViews, FeedForward, Residency};
use deepseek_core::{Kernels, Loader, Result, Rounding};

/// Takes experts `0..count` below `at` to the device, and tells how the inputs of their products are
/// rounded.
///
/// # Errors
/// A tensor that is missing, of another shape or of an unusable format.
pub(crate) fn bank<B: Kernels>(
    at: &Loader<'_, B>,
    count: usize,
    shape: [usize; 2],
    residency: Residency,
) -> Result<(B::Experts, Option<Rounding>)> {
    let views = (0..count)
        .map(|id| network_views(&at.at(&id.to_string()), shape))
        .collect::<Result<Vec<_>>>()?;
    let input = views
        .last()
        .and_then(|expert| at.input_rounding(expert.gate.format));
    Ok((at.be.load_experts(&views, residency)?, input))
}

/// The same for one network.
///
/// # Errors
/// A tensor that is missing, of another shape or of an unusable format.
pub(crate) fn network<B: Kernels>(
    at: &Loader<'_, B>,
    shape: [usize; 2],
) -> Result<(FeedForward<B>, Option<Rounding>)> {
    let views = network_views(at, shape)?;
    let input = at.input_rounding(views.gate.format);
    Ok((views.load(at.be)?, input))
}

/// Reads `w1`, `w3` and `w2`.
fn network_views<B: Kernels>(
    at: &Loader<'_, B>,
    [hidden, inner]: [usize; 2],
) -> Result<ExpertViews> {
    Ok(ExpertViews {
        gate: at.tensors.matrix("w1.weight", [inner, hidden])?,
        up: at.tensors.matrix("w3.weight", [inner, hidden])?,
        down: at.tensors.matrix("w2.weight", [hidden, inner])?,
    })
}
