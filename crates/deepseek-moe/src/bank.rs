//! The experts of a layer, from its files to the device.

use deepseek_core::operands::{ExpertShare, ExpertViews, FeedForward, Residency};
use deepseek_core::weights::WeightView;
use deepseek_core::{Kernels, Loader, Result, Rounding, Share};

/// Takes those of experts `0..count` below `at` that this rank has to the device, and tells how the inputs
/// of their products are rounded.
pub(crate) fn bank<B: Kernels>(
    load: &Loader<'_, B>,
    count: usize,
    shape: [usize; 2],
    residency: Residency,
) -> Result<(B::Experts, Option<Rounding>)> {
    let own = load.shares.experts.range(count);
    let views = own
        .clone()
        .map(|id| network_views(&load.at(&id.to_string()), shape, load.shares.inner))
        .collect::<Result<Vec<_>>>()?;
    let input = views
        .last()
        .and_then(|expert| load.input_rounding(expert.gate.format));
    let share = ExpertShare {
        views: &views,
        first: own.start,
        total: count,
    };
    Ok((load.be.load_experts(share, residency)?, input))
}

/// The same for one network, which all ranks divide.
pub(crate) fn network<B: Kernels>(
    load: &Loader<'_, B>,
    shape: [usize; 2],
) -> Result<(FeedForward<B>, Option<Rounding>)> {
    let views = network_views(load, shape, load.shares.all)?;
    let input = load.input_rounding(views.gate.format);
    Ok((views.load(load.be)?, input))
}

/// Reads `w1`, `w3` and `w2`, of the inner width a share.
fn network_views<B: Kernels>(
    load: &Loader<'_, B>,
    [hidden, inner]: [usize; 2],
    share: Share,
) -> Result<ExpertViews> {
    let own = share.blocks(inner, load.input_block);
    let rows = |name| -> Result<WeightView> {
        let whole = load.tensors.matrix(name, [inner, hidden])?;
        Ok(whole.narrow(own.clone()))
    };
    let down = load.tensors.matrix("w2.weight", [hidden, inner])?;
    Ok(ExpertViews {
        gate: rows("w1.weight")?,
        up: rows("w3.weight")?,
        down: load.columns(&down, own.clone())?,
    })
}
