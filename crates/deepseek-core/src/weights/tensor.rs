//! A tensor as a file describes it.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use std::ops::Range;

use crate::error::{Error, Result};
use crate::weights::{Bytes, Dtype};

/// A name, a type, a shape and the bytes, borrowed from a mapped file.
///
/// The bytes are exactly those of the shape, little-endian, row-major, at any alignment.
#[derive(Debug, Clone)]
pub struct RawTensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Bytes,
}

impl RawTensor {
    /// Puts the parts together.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the shape overflows or needs another number of bytes.
    pub fn new(name: String, dtype: Dtype, shape: Vec<usize>, bytes: Bytes) -> Result<Self> {
        match byte_count(dtype, &shape) {
            Some(count) if count == bytes.len() => Ok(Self {
                name,
                dtype,
                shape,
                bytes,
            }),
            Some(count) => {
                let stored = bytes.len();
                let why = format!("{dtype} {shape:?} is {count} bytes, {stored} are stored");
                Err(Error::Tensor { name, why })
            }
            None => {
                let why = format!("{dtype} {shape:?} is more than can be addressed");
                Err(Error::Tensor { name, why })
            }
        }
    }

    /// The name in the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type of the elements.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The dimensions, outermost first. `[]` is a scalar.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Entries `rows` of the first dimension, borrowed from the same bytes.
    ///
    /// # Errors
    /// [`Error::Tensor`] if there are not as many.
    pub fn narrow_rows(&self, rows: Range<usize>) -> Result<Self> {
        self.cut(&rows).ok_or_else(|| Error::Tensor {
            name: self.name.clone(),
            why: format!("rows {rows:?} asked of shape {:?}", self.shape),
        })
    }

    fn cut(&self, rows: &Range<usize>) -> Option<Self> {
        let (count, inner) = self.shape.split_first()?;
        if rows.start > rows.end || rows.end > *count {
            return None;
        }
        let row = self.bytes.len().checked_div(*count).unwrap_or(0);
        let range = rows.start.checked_mul(row)?..rows.end.checked_mul(row)?;
        let shape = [&[rows.len()], inner].concat();
        let bytes = self.bytes.slice(range)?;
        Some(Self {
            name: self.name.clone(),
            dtype: self.dtype,
            shape,
            bytes,
        })
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// [`Error::Shape`] if it holds another number of elements.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self> {
        if byte_count(self.dtype, shape) != Some(self.bytes.len()) {
            return Err(self.misfit(shape));
        }
        Ok(Self {
            shape: shape.to_vec(),
            ..self.clone()
        })
    }

    /// That the shape is not the one wanted.
    pub(super) fn misfit(&self, config: &[usize]) -> Error {
        let (name, file) = (self.name.clone(), self.shape.clone());
        Error::Shape {
            name,
            file,
            config: config.to_vec(),
        }
    }

    /// That the element type is none of those wanted.
    pub(super) fn unusable(&self, want: &str) -> Error {
        let (name, file) = (self.name.clone(), self.dtype.to_string());
        Error::Format {
            name,
            file,
            want: want.to_owned(),
        }
    }
}

/// Bytes of a tensor. Zeros are left out of the overflow check, so that the product of any of the
/// dimensions is safe later.
fn byte_count(dtype: Dtype, shape: &[usize]) -> Option<usize> {
    let nonzero = shape.iter().filter(|count| **count > 0);
    let bytes = nonzero
        .copied()
        .try_fold(dtype.bytes(), usize::checked_mul)?;
    Some(if shape.contains(&0) { 0 } else { bytes })
}
