//! Activations and lists of row numbers: shapes over numbers in host memory.

use std::fmt;
use std::ops::Deref;

use deepseek_core::{DeviceTensor, Rounding};

use crate::buffer::Buffer;
use crate::shape::Shape;

/// Numbers in host memory, row-major without gaps. A clone is a handle.
#[derive(Clone)]
pub struct Tensor {
    shape: Shape,
    numbers: Buffer<f32>,
    /// Where they begin: views into one buffer differ in this.
    start: usize,
    /// Whether all of them are exact in BF16, as their last rounding promised.
    is_exact: bool,
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
    pub(crate) fn new(shape: &[usize], numbers: Buffer<f32>) -> Self {
        assert_eq!(
            shape.iter().product::<usize>(),
            numbers.len(),
            "shape {shape:?} and its numbers"
        );
        Self {
            shape: shape.into(),
            numbers,
            start: 0,
            is_exact: false,
        }
    }

    /// The same, whose numbers came out of a rounding last, if there was one.
    pub(crate) fn rounded(self, to: Option<Rounding>) -> Self {
        self.exact(to.is_some_and(Rounding::is_exact_in_bf16))
    }

    /// The same, whose numbers are exact in BF16 or perhaps not.
    pub(crate) fn exact(self, is_exact: bool) -> Self {
        Self { is_exact, ..self }
    }

    /// Whether its numbers are known to be exact in BF16.
    pub(crate) fn is_exact(&self) -> bool {
        self.is_exact
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
            numbers: self.numbers.clone(),
            start: self.start + start,
            is_exact: self.is_exact,
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

/// Row numbers in host memory. A clone is a handle.
#[derive(Clone)]
pub struct Ids(pub(crate) Buffer<u32>);

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ids").field(&&**self).finish()
    }
}

impl Deref for Ids {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        &self.0
    }
}
