//! A plain array on the host: what goes up to a device and comes back.

/// Numbers and their shape, row-major. A shape of `[]` is a scalar.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    shape: Vec<usize>,
    data: Vec<f32>,
}

impl HostTensor {
    /// Wraps `data`.
    ///
    /// # Panics
    /// If the shape does not hold exactly as many numbers as there are.
    #[must_use]
    pub fn new(shape: &[usize], data: Vec<f32>) -> Self {
        assert_eq!(
            shape.iter().product::<usize>(),
            data.len(),
            "shape {shape:?} and its numbers"
        );
        Self {
            shape: shape.to_vec(),
            data,
        }
    }

    /// The shape.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The numbers, row-major.
    #[must_use]
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The numbers, row-major.
    #[must_use]
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// The length of the last dimension; 1 for a scalar.
    #[must_use]
    pub fn width(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Row `index`, where all dimensions but the last are taken as one.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn row(&self, index: usize) -> &[f32] {
        let width = self.width();
        &self.data[index * width..][..width]
    }
}
