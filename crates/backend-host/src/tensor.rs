//! An activation: a shape over numbers in host memory.

use std::fmt;
use std::sync::Arc;

use deepseek_core::DeviceTensor;

use crate::buffer::Buffer;

/// Numbers in host memory, row-major without gaps. A clone is a handle.
#[derive(Clone)]
pub struct Tensor {
    shape: Arc<[usize]>,
    numbers: Arc<Buffer>,
    /// Where they begin: views into one buffer differ in this.
    start: usize,
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({:?})", self.shape)
    }
}

impl DeviceTensor for Tensor {
    fn shape(&self) -> &[usize] {
        &self.shape
    }
}

impl Tensor {
    /// All numbers of a buffer under a shape.
    pub(crate) fn new(shape: &[usize], numbers: Buffer) -> Self {
        assert_eq!(
            shape.iter().product::<usize>(),
            numbers.len(),
            "shape {shape:?} and its numbers"
        );
        Self {
            shape: shape.into(),
            numbers: Arc::new(numbers),
            start: 0,
        }
    }

    /// The same numbers from `start` on under another shape.
    pub(crate) fn view(&self, start: usize, shape: &[usize]) -> Self {
        let count = shape.iter().product::<usize>();
        assert!(
            start + count <= self.count(),
            "{shape:?} from {start} of {:?}",
            self.shape
        );
        Self {
            shape: shape.into(),
            numbers: Arc::clone(&self.numbers),
            start: self.start + start,
        }
    }

    /// How many numbers there are.
    pub(crate) fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Its numbers.
    pub(crate) fn values(&self) -> &[f32] {
        &self.numbers[self.start..][..self.count()]
    }
}
