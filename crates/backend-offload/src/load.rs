//! Weights on their way from a file to the device.

use std::sync::Arc;

use deepseek_core::Result;
use deepseek_core::weights::WeightView;

use crate::driver::{Chip, Driver, Form};
use crate::limits::WIDENED_BYTES_MAX;
use crate::matrix::{Matrix, widened_dtype, widened_rows};
use crate::offload::Offload;
use crate::tensor::{Rows, Stored, Tensor};

impl<D: Driver> Offload<D> {
    /// The rows of a matrix as plain numbers.
    pub(crate) fn load_table(&self, weight: &WeightView) -> Result<Rows> {
        let [count, width] = weight.shape;
        let dtype = widened_dtype(weight.format);
        let rows = Rows::new(self.make([1 + count, width], dtype)?);
        self.fill_zeros(rows.zeros())?;
        let some = (WIDENED_BYTES_MAX / (width * dtype.bytes()).max(1)).max(1);
        for first in (0..count).step_by(some) {
            let run = first..count.min(first + some);
            let to = rows.run(first, run.len());
            self.load_in(to, widened_rows(weight, run))?;
        }
        Ok(rows)
    }

    /// Matrices, each of which stands in a file as some that are one above the other, packed one behind the
    /// other. `stacked` is how many there are, unless there is one alone.
    ///
    /// # Panics
    /// If they are not packed alike.
    pub(crate) fn load_stack(
        &self,
        matrices: &[&[&WeightView]],
        stacked: Option<usize>,
    ) -> Result<Stored<Form<D>>> {
        let mut stack: Option<(Form<D>, Vec<Tensor>)> = None;
        for (place, above) in matrices.iter().enumerate() {
            let packed = self.chip().pack(above)?;
            if stack.is_none() {
                let parts = packed.parts.iter().map(|part| {
                    let mut dims = stacked.into_iter().collect::<Vec<_>>();
                    dims.extend_from_slice(&part.dims);
                    self.make(&dims[..], part.dtype)
                });
                let parts = parts.collect::<Result<_>>()?;
                stack = Some((packed.form.clone(), parts));
            }
            let (form, parts) = stack.as_ref().expect("made with the first");
            assert_eq!(*form, packed.form, "matrices of one format in one form");
            for (part, packed) in parts.iter().zip(packed.parts) {
                let count = packed.dims.count();
                assert_eq!(part.view().dtype, packed.dtype, "parts of one type");
                let to = part.view().part(place * count, packed.dims);
                self.load_in(to, packed.bytes)?;
            }
        }
        let (form, parts) = stack.expect("at least one matrix");
        let rows = matrices[0].iter().map(|view| view.shape[0]).sum();
        let matrix = Matrix {
            form,
            shape: [rows, matrices[0][0].shape[1]],
            stacked,
            parts: parts.iter().map(Tensor::view).collect(),
        };
        Ok(Stored {
            matrix: Arc::new(matrix),
            _parts: parts,
        })
    }
}
