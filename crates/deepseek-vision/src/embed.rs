//! An image's rows of the prompt: features and the delimiters around them.

use deepseek_core::{Backend, DeviceTensor, HostTensor, Kernels, Loader, Result};

use crate::canvas::Canvas;
use crate::grid::{Grid, Place};
use crate::tower::Tower;

/// The learned vectors that stand where an image begins, where a row of its cells ends, and where
/// it ends: `[1, out]` each. They replace the embedding of the image's token id.
#[derive(Debug)]
pub struct Delimiters<B: Backend> {
    /// Before the first cell.
    pub image_start: B::Tensor,
    /// After the last row.
    pub image_end: B::Tensor,
    /// After each row of cells.
    pub image_newline: B::Tensor,
}

impl<B: Backend> Delimiters<B> {
    /// Reads `image_start`, `image_end` and `image_newline`, of `out` channels each.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape or of an unusable format.
    pub fn load(at: &Loader<'_, B>, out: usize) -> Result<Self> {
        let row = |name| at.be.reshape(&at.vector(name, out)?, &[1, out]);
        Ok(Self {
            image_start: row("image_start")?,
            image_end: row("image_end")?,
            image_newline: row("image_newline")?,
        })
    }
}

/// The rows of an image in the order of [`Grid::layout`](crate::Grid::layout): `[tokens, out]`
/// (`docs/models/deepseek-v41.md` §4.4).
///
/// # Panics
/// If the canvas was made for patches of another size than the tower's.
pub fn embed<B: Kernels>(
    be: &B,
    tower: &Tower<B>,
    delimiters: &Delimiters<B>,
    canvas: &Canvas,
) -> Result<B::Tensor> {
    let patches = canvas.patches(tower.config().patch);
    embed_patches(be, tower, delimiters, (&patches, canvas.grid()))
}

/// The same for patches at hand, `[P, channels]` as [`Canvas::patches`] gives them, and their grid.
pub fn embed_patches<B: Kernels>(
    be: &B,
    tower: &Tower<B>,
    delimiters: &Delimiters<B>,
    (patches, grid): (&HostTensor, &Grid),
) -> Result<B::Tensor> {
    embed_features(be, delimiters, &tower.encode(be, patches, grid)?, grid)
}

/// The same for features at hand: `[cells, out]`, row by row.
///
/// # Panics
/// If there are not as many features as the grid has cells.
pub fn embed_features<B: Kernels>(
    be: &B,
    delimiters: &Delimiters<B>,
    features: &B::Tensor,
    grid: &Grid,
) -> Result<B::Tensor> {
    let Delimiters {
        image_start,
        image_end,
        image_newline,
    } = delimiters;
    let rows = be.concat(&[features, image_start, image_end, image_newline], 0)?;
    let count = features.rows() as u32;
    let mut next = 0..count;
    let at: Vec<u32> = grid
        .layout()
        .map(|place| match place {
            Place::Feature => next.next().expect("a feature for each cell"),
            Place::Start => count,
            Place::End => count + 1,
            Place::Newline => count + 2,
        })
        .collect();
    be.gather(&rows, &be.ids(&at)?)
}
