//! From a checkpoint's names to a device's weights: what every layer's `load` stands on.

use std::ops::Range;

use crate::backend::{Backend, Use};
use crate::error::{Error, Result};
use crate::format::{Format, Rounding};
use crate::host::HostTensor;
use crate::numerics::Numerics;
use crate::operands::Linear;
use crate::ranks::Shares;
use crate::weights::{Tensors, WeightView};

/// A place in a checkpoint, the device that takes what is found there, and the roundings asked for.
#[derive(Debug)]
pub struct Loader<'a, B: Backend> {
    /// The device.
    pub be: &'a B,
    /// Where in the checkpoint.
    pub tensors: Tensors<'a>,
    /// What the layers round.
    pub numerics: Numerics,
    /// Channels that share a scale where the inputs of quantised products are rounded.
    pub input_block: usize,
    /// What the device has of the model as one of several ranks.
    pub shares: Shares,
}

impl<'a, B: Backend> Loader<'a, B> {
    /// The same below `prefix`.
    #[must_use]
    pub fn at(&self, prefix: &str) -> Self {
        Self {
            tensors: self.tensors.at(prefix),
            ..*self
        }
    }

    /// A matrix and the roundings around its product.
    pub fn linear(&self, name: &str, shape: [usize; 2]) -> Result<Linear<B>> {
        self.linear_of(&self.tensors.matrix(name, shape)?)
    }

    /// As [`Loader::linear`], for a matrix at hand.
    pub fn linear_of(&self, view: &WeightView) -> Result<Linear<B>> {
        Ok(Linear {
            weight: self.be.load(view, Use::Product)?,
            input: self.input_rounding(view.format),
            output: self.numerics.rounding(),
        })
    }

    /// Rows of a matrix, one for each output that this rank makes, with the roundings around its product.
    pub fn linear_outputs(
        &self,
        name: &str,
        shape: [usize; 2],
        own: Range<usize>,
    ) -> Result<Linear<B>> {
        self.linear_of(&self.tensors.matrix(name, shape)?.narrow(own))
    }

    /// Columns of a matrix, one for each input that this rank has.
    ///
    /// # Errors
    /// A cut within a block of inputs that are rounded together, where they are.
    pub fn columns(&self, view: &WeightView, own: Range<usize>) -> Result<WeightView> {
        let columns = view.shape[1];
        if let Some(Rounding::Fp8 { block, .. }) = self.input_rounding(view.format) {
            let is_within = |at: usize| at != columns && !at.is_multiple_of(block);
            if let Some(at) = [own.start, own.end].into_iter().find(|at| is_within(*at)) {
                return Err(Error::Tensor {
                    name: view.name.clone(),
                    why: format!(
                        "ranks would cut it at column {at} of {columns}, but its inputs are rounded in \
                         blocks of {block}; fewer ranks do not"
                    ),
                });
            }
        }
        view.narrow_columns(own)
    }

    /// A matrix alone, to multiply by.
    pub fn weight(&self, name: &str, shape: [usize; 2]) -> Result<B::Weight> {
        self.be
            .load(&self.tensors.matrix(name, shape)?, Use::Product)
    }

    /// A matrix whose rows are looked up.
    pub fn embedding(&self, name: &str, shape: [usize; 2]) -> Result<B::Weight> {
        self.be
            .load(&self.tensors.matrix(name, shape)?, Use::Lookup)
    }

    /// Rows of a matrix, without roundings, to multiply by.
    pub fn weight_outputs(
        &self,
        name: &str,
        shape: [usize; 2],
        own: Range<usize>,
    ) -> Result<B::Weight> {
        let rows = self.tensors.matrix(name, shape)?.narrow(own);
        self.be.load(&rows, Use::Product)
    }

    /// A vector of floats.
    pub fn vector(&self, name: &str, length: usize) -> Result<B::Tensor> {
        self.be.upload(&HostTensor::new(
            &[length],
            self.tensors.vector(name, length)?,
        ))
    }

    /// The same, of which this rank has some.
    pub fn vector_part(&self, name: &str, length: usize, own: Range<usize>) -> Result<B::Tensor> {
        let part = self.tensors.vector(name, length)?[own.clone()].to_vec();
        self.be.upload(&HostTensor::new(&[own.len()], part))
    }

    /// How the input of a product with a weight of this format is rounded.
    #[must_use]
    pub fn input_rounding(&self, format: Format) -> Option<Rounding> {
        let rounding = format.input_rounding(self.input_block);
        rounding.filter(|_| self.numerics.inputs)
    }
}
