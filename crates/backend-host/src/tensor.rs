//! Activations and lists of row numbers: shapes over numbers in host memory.

use std::fmt;
use std::ops::Deref;

use deepseek_core::{DeviceTensor, Rounding};

use crate::buffer::Buffer;
use crate::kernels::Known;
use crate::shape::Shape;

/// Numbers in host memory, row-major without gaps. A clone is a handle.
#[derive(Clone)]
pub struct Tensor {
    shape: Shape,
    numbers: Buffer<f32>,
    /// Where they begin: views into one buffer differ in this.
    start: usize,
    /// What their last rounding promised.
    known: Known,
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
            known: Known::Nothing,
        }
    }

    /// The same, whose numbers came out of a rounding last, if there was one.
    pub(crate) fn rounded(self, to: Option<Rounding>) -> Self {
        let known = Known::after(to);
        Self { known, ..self }
    }

    /// The same, made of numbers of another: of whole rows, or of parts.
    pub(crate) fn taken(self, from: &Self) -> Self {
        let is_whole = self.shape.len() > 1 && self.width() == from.width();
        let known = if is_whole {
            from.known
        } else {
            from.known.of_parts()
        };
        Self { known, ..self }
    }

    /// What is known of its numbers.
    pub(crate) fn known(&self) -> Known {
        self.known
    }

    /// The same numbers from `start` on under another shape.
    pub(crate) fn view(&self, start: usize, shape: &[usize]) -> Self {
        let count = shape.iter().product::<usize>();
        assert!(
            start + count <= self.count(),
            "{shape:?} from {start} of {:?}",
            self.shape
        );
        let view = Self {
            shape: shape.into(),
            numbers: self.numbers.clone(),
            start: self.start + start,
            known: self.known,
        };
        // Of one row, a part may be as wide as a view of it is.
        if start.is_multiple_of(self.width().max(1)) {
            view.taken(self)
        } else {
            let known = self.known.of_parts();
            Self { known, ..view }
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
