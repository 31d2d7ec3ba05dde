//! From the tower's features to the text model's channels, a cell of patches at a time.

use deepseek_core::{Backend, DeviceTensor, HostTensor, Loader, Numerics, Result, Unary};

use crate::block::Affine;
use crate::config::VisionConfig;
use crate::grid::Grid;

/// Two projections with GELU between them (`docs/models/deepseek-v41.md` §4.4).
#[derive(Debug)]
pub(crate) struct Aligner<B: Backend> {
    inner: Affine<B>,
    outer: Affine<B>,
    cell: usize,
    numerics: Numerics,
}

impl<B: Backend> Aligner<B> {
    /// Reads `w1` and `w2`.
    pub(crate) fn load(at: &Loader<'_, B>, config: &VisionConfig) -> Result<Self> {
        let cell = config.downsample;
        let inputs = config.hidden * cell * cell;
        Ok(Self {
            inner: Affine::load(&at.at("w1"), [config.out, inputs])?,
            outer: Affine::load(&at.at("w2"), [config.out, config.out])?,
            cell,
            numerics: at.numerics,
        })
    }

    /// `x: [patches, hidden]` to `[cells, out]`.
    pub(crate) fn forward(&self, be: &B, x: &B::Tensor, grid: &Grid) -> Result<B::Tensor> {
        let h = self.inner.forward(be, &self.cells(be, x, grid)?)?;
        let h = self.numerics.activation(be, be.map(&h, Unary::Gelu)?)?;
        self.outer.forward(be, &h)
    }

    /// The features of each cell as one vector, by channel, then row, then column: `[cells, hidden *
    /// cell * cell]`. Beyond the right and the bottom of the grid features are zeros.
    fn cells(&self, be: &B, x: &B::Tensor, grid: &Grid) -> Result<B::Tensor> {
        let [columns, rows] = grid.patches;
        let [across, down] = grid.cells;
        let (cell, hidden) = (self.cell, x.width());
        let zeros = be.upload(&HostTensor::new(&[1, hidden], vec![0.0; hidden]))?;
        let padded = be.concat(&[x, &zeros], 0)?;
        let place = |row, column| {
            if row < rows && column < columns {
                row * columns + column
            } else {
                rows * columns
            }
        };
        let places = (0..cell).flat_map(|top| (0..cell).map(move |left| (top, left)));
        let parts = places
            .map(|(top, left)| {
                let at: Vec<u32> = (0..down)
                    .flat_map(|row| (0..across).map(move |column| (row, column)))
                    .map(|(row, column)| place(row * cell + top, column * cell + left) as u32)
                    .collect();
                be.reshape(
                    &be.gather(&padded, &be.ids(&at)?)?,
                    &[across * down, hidden, 1],
                )
            })
            .collect::<Result<Vec<_>>>()?;
        let joined = be.concat(&parts.iter().collect::<Vec<_>>(), 2)?;
        be.reshape(&joined, &[across * down, hidden * cell * cell])
    }
}
