//! An image as the tower wants it: resized, centred on grey, cut into patches.

use deepseek_core::HostTensor;

use crate::config::VisionConfig;
use crate::grid::Grid;
use crate::image::Image;
use crate::resize::bicubic;

/// Every channel of what the image does not cover.
const GREY: u8 = 127;

/// An image in the size that its [`Grid`] gives it (`docs/models/deepseek-v41.md` §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canvas {
    grid: Grid,
    rgb: Vec<u8>,
}

impl Canvas {
    /// Scales `image` to fit, keeping its aspect, and centres it on grey. One that is wider than
    /// the shape's ratio allows is stretched over the whole canvas instead.
    #[must_use]
    pub fn new(image: &Image, config: &VisionConfig) -> Self {
        let grid = Grid::fit(image.width(), image.height(), config);
        Self::on(grid, image, config)
    }

    /// The same on a grid that is settled, such as that of a video's first frame.
    #[must_use]
    pub fn on(grid: Grid, image: &Image, config: &VisionConfig) -> Self {
        let from = [image.width(), image.height()];
        let canvas = grid.canvas;
        let limit = config.max_wh_ratio.map_or(f64::INFINITY, f64::from);
        let size = if from[0] as f64 > from[1] as f64 * limit {
            canvas
        } else {
            contained(from, canvas)
        };
        let resized = bicubic(image.rgb(), from, size);
        let [left, top] = [0, 1].map(|side| margin(canvas[side] - size[side]));
        let mut rgb = vec![GREY; canvas[0] * canvas[1] * 3];
        let rows = rgb.chunks_exact_mut(canvas[0] * 3).skip(top);
        for (row, pixels) in rows.zip(resized.chunks_exact(size[0] * 3)) {
            row[left * 3..][..pixels.len()].copy_from_slice(pixels);
        }
        Self { grid, rgb }
    }

    /// The size in pixels, patches and cells.
    #[must_use]
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The pixels: `[rows, columns, 3]`.
    #[must_use]
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The patches, row by row: `[patches, 3 * patch * patch]`, each by channel, row and column, its
    /// samples brought from 0 … 255 to -1 … 1.
    ///
    /// # Panics
    /// If `patch` is not the side of the patches that the canvas was made for.
    #[must_use]
    pub fn patches(&self, patch: usize) -> HostTensor {
        let [columns, rows] = self.grid.patches;
        let width = columns * patch;
        assert_eq!(
            [width, rows * patch],
            self.grid.canvas,
            "patches of {patch}"
        );
        let mut values = Vec::with_capacity(self.rgb.len());
        for band in self.rgb.chunks_exact(width * patch * 3) {
            for column in 0..columns {
                for channel in 0..3 {
                    for row in band.chunks_exact(width * 3) {
                        let pixels = row[column * patch * 3..][..patch * 3].chunks_exact(3);
                        values.extend(pixels.map(|pixel| brightness(pixel[channel])));
                    }
                }
            }
        }
        HostTensor::new(&[columns * rows, 3 * patch * patch], values)
    }
}

fn brightness(sample: u8) -> f32 {
    (f32::from(sample) / 255.0 - 0.5) / 0.5
}

/// The largest size of the aspect of `from` within `canvas`. The free side is rounded, halves to
/// even, and is at least one pixel.
fn contained(from: [usize; 2], canvas: [usize; 2]) -> [usize; 2] {
    let [width, height] = from.map(|side| side as f64);
    let [columns, rows] = canvas.map(|side| side as f64);
    let free = |side: f64| (side.round_ties_even() as usize).max(1);
    if width / height > columns / rows {
        [canvas[0], free(height / width * columns)]
    } else if width / height < columns / rows {
        [free(width / height * rows), canvas[1]]
    } else {
        canvas
    }
}

/// Half of the slack, halves to even.
fn margin(slack: usize) -> usize {
    (slack as f64 * 0.5).round_ties_even() as usize
}
