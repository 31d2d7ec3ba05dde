//! How large an image is for the model: its canvas, its patches, its tokens.

use std::iter;

use crate::config::VisionConfig;
use crate::limits::PASSES_MAX;

/// The size of an image on its way into the model. Each pair is columns, then rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Pixels of the canvas that the image is fitted into.
    pub canvas: [usize; 2],
    /// Patches of the canvas: what the tower sees.
    pub patches: [usize; 2],
    /// Cells of patches: what the text model sees. Those at the right and the bottom may be partial.
    pub cells: [usize; 2],
}

/// What a token of an image stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The beginning of the image.
    Start,
    /// The next cell of the grid, row by row.
    Feature,
    /// The end of a row of cells.
    Newline,
    /// The end of the image.
    End,
}

impl Grid {
    /// The grid of an image of `width` by `height` pixels, as the vendor's service has it: the
    /// published loader's pass, repeated on its own result until nothing changes, at most
    /// [`PASSES_MAX`] times (`docs/models/deepseek-v41.md` §4.1).
    ///
    /// # Panics
    /// If a side is zero.
    #[must_use]
    pub fn fit(width: usize, height: usize, config: &VisionConfig) -> Self {
        let mut grid = Self::one_pass(width, height, config);
        for _ in 1..PASSES_MAX {
            let [width, height] = grid.canvas;
            let next = Self::one_pass(width, height, config);
            if next == grid {
                break;
            }
            grid = next;
        }
        grid
    }

    /// The grid by the published loader's reading: a single pass. It differs from [`Grid::fit`] for
    /// some elongated images.
    ///
    /// # Panics
    /// If a side is zero.
    #[must_use]
    pub fn one_pass(width: usize, height: usize, config: &VisionConfig) -> Self {
        assert!(width > 0 && height > 0, "an image of {width}x{height}");
        let (mut width, mut height) = (width as f64, height as f64);
        if let Some(ratio) = config.max_wh_ratio {
            width = width.min(height * f64::from(ratio));
        }
        let least = config.min_pixels as f64;
        if width * height < least {
            let scale = (least / (width * height)).sqrt();
            (width, height) = ((width * scale).trunc(), (height * scale).trunc());
        }
        let patches = [width, height].map(|side| (side / config.patch as f64).ceil() as usize);
        let grid = Self::of_patches(patches, config);
        if grid.tokens() <= config.max_tokens {
            return grid;
        }
        Self::of_patches(within_budget([width, height], config), config)
    }

    fn of_patches(patches: [usize; 2], config: &VisionConfig) -> Self {
        Self {
            canvas: patches.map(|count| count * config.patch),
            patches,
            cells: patches.map(|count| count.div_ceil(config.downsample)),
        }
    }

    /// Tokens of the image: its cells, a line break for each row of them, a start and an end.
    #[must_use]
    pub fn tokens(&self) -> usize {
        let [columns, rows] = self.cells;
        rows * (columns + 1) + 2
    }

    /// What each token stands for, in order (`docs/models/deepseek-v41.md` §4.4).
    pub fn layout(&self) -> impl Iterator<Item = Place> + use<> {
        let [columns, rows] = self.cells;
        let row = iter::repeat_n(Place::Feature, columns).chain(iter::once(Place::Newline));
        iter::once(Place::Start)
            .chain(iter::repeat_n(row, rows).flatten())
            .chain(iter::once(Place::End))
    }
}

/// The most patches that keep the aspect of `size` and whose tokens are within the budget.
fn within_budget([width, height]: [f64; 2], config: &VisionConfig) -> [usize; 2] {
    let (budget, cell) = (config.max_tokens - 2, config.downsample);
    // Cells, as fractions: columns and rows solve `rows * (columns + 1) = budget`.
    let ratio = height / width;
    let columns = (budget as f64 / ratio + 0.25).sqrt() - 0.5;
    let rows = columns * ratio;
    if columns < 1.0 {
        return [cell, budget / 2 * cell];
    }
    if rows < 1.0 {
        return [(budget - 1) * cell, cell];
    }
    let pixels = (config.patch * cell) as f64;
    let scale = (columns.trunc() * pixels / width).min(rows.trunc() * pixels / height);
    [width, height].map(|side| (side * scale / config.patch as f64) as usize)
}
