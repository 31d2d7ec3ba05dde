//! An activation: a contiguous candle tensor of 32-bit floats.

use std::ops::Deref;

use candle_core::{CpuStorage, Storage};
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

    /// A tensor of host memory.
    pub(crate) fn host(shape: &[usize], values: Vec<f32>) -> Result<Self> {
        candle_core::Tensor::from_vec(values, shape, &candle_core::Device::Cpu)
            .map(Self)
            .map_err(fault)
    }

    /// Its numbers, where they lie in host memory.
    ///
    /// # Panics
    /// If they do not: only host kernels ask.
    pub(crate) fn values(&self) -> impl Deref<Target = [f32]> + '_ {
        let (storage, layout) = self.0.storage_and_layout();
        Values {
            storage,
            start: layout.start_offset(),
            length: self.0.elem_count(),
        }
    }
}

/// The numbers of a tensor in host memory, for as long as they are borrowed.
struct Values<G> {
    storage: G,
    start: usize,
    length: usize,
}

impl<G: Deref<Target = Storage>> Deref for Values<G> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => &values[self.start..][..self.length],
            _ => unreachable!("host kernels meet only 32-bit floats in host memory"),
        }
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
