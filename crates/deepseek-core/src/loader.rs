//! From a checkpoint's names to a device's weights: what every layer's `load` stands on.

use crate::backend::{Backend, Use};
use crate::error::Result;
use crate::format::{Format, Rounding};
use crate::host::HostTensor;
use crate::numerics::Numerics;
use crate::operands::Linear;
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

    /// A vector of floats.
    pub fn vector(&self, name: &str, length: usize) -> Result<B::Tensor> {
        self.be.upload(&HostTensor::new(
            &[length],
            self.tensors.vector(name, length)?,
        ))
    }

    /// How the input of a product with a weight of this format is rounded.
    #[must_use]
    pub fn input_rounding(&self, format: Format) -> Option<Rounding> {
        let rounding = format.input_rounding(self.input_block);
        rounding.filter(|_| self.numerics.inputs)
    }
}
