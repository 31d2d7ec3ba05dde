//! An activation: a contiguous candle tensor of 32-bit floats.

use deepseek_core::{DeviceTensor, Error, Result};

/// A contiguous candle tensor of 32-bit floats. A clone is a handle.
#[derive(Debug, Clone)]
pub struct Tensor(candle_core::Tensor);

impl DeviceTensor for Tensor {
    fn shape(&self) -> &[usize] {
        self.0.dims()
    }
}

impl Tensor {
    /// Takes a tensor, copying it into place when it is a view with gaps.
    pub(crate) fn new(inner: candle_core::Tensor) -> Result<Self> {
        if inner.is_contiguous() {
            return Ok(Self(inner));
        }
        inner.contiguous().map(Self).map_err(fault)
    }

    pub(crate) fn inner(&self) -> &candle_core::Tensor {
        &self.0
    }
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the shape that `map_err` wants"
)]
/// A failure inside candle, in the words of the core.
pub(crate) fn fault(error: candle_core::Error) -> Error {
    Error::Device {
        device: "candle".to_owned(),
        why: error.to_string(),
    }
}
