//! Products with weight matrices, with their roundings.

use crate::backend::{Backend, DeviceTensor};
use crate::error::Result;
use crate::few::Few;
use crate::format::Rounding;
use crate::kernels::Kernels;
use crate::operands::Linear;

/// See [`Kernels::project`].
pub fn project<B: Backend>(
    be: &B,
    x: &B::Tensor,
    products: &[&Linear<B>],
) -> Result<Few<B::Tensor>> {
    // The input under each rounding that was asked for so far.
    let mut rounded: Few<(Rounding, B::Tensor)> = Few::new();
    let mut results = Few::new();
    for product in products {
        let y = match product.input {
            None => be.linear(x, &product.weight)?,
            Some(rounding) => {
                let known = rounded.iter().position(|(known, _)| *known == rounding);
                let place = match known {
                    Some(place) => place,
                    None => {
                        rounded.push((rounding, be.round(x, rounding)?));
                        rounded.len() - 1
                    }
                };
                be.linear(&rounded[place].1, &product.weight)?
            }
        };
        results.push(round(be, y, product.output)?);
    }
    Ok(results)
}

/// See [`Kernels::project_grouped`].
pub fn project_grouped<B: Kernels>(
    be: &B,
    x: &B::Tensor,
    groups: &[Linear<B>],
) -> Result<B::Tensor> {
    let width = x.width() / groups.len();
    let parts = groups
        .iter()
        .enumerate()
        .map(|(group, product)| {
            let part = be.narrow(x, 1, group * width, width)?;
            be.project_one(&part, product)
        })
        .collect::<Result<Vec<_>>>()?;
    be.concat(&parts.iter().collect::<Vec<_>>(), 1)
}

/// `x`, rounded where a rounding is given.
pub(super) fn round<B: Backend>(
    be: &B,
    x: B::Tensor,
    rounding: Option<Rounding>,
) -> Result<B::Tensor> {
    match rounding {
        Some(rounding) => be.round(&x, rounding),
        None => Ok(x),
    }
}
