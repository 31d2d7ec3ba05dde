//! Reads bytes as an image, and finds its place in a prompt.

use deepseek_vision::{Grid, Image, VisionShape};

/// Whether the bytes were a good image.
pub(crate) fn read(bytes: &[u8]) -> bool {
    match Image::decode(bytes) {
        Ok(image) => {
            let shape = VisionShape {
                layers: 32,
                hidden: 1024,
                heads: 16,
                inner: 2816,
                patch: 14,
                rope_theta: 10_000.0,
                downsample: 3,
                max_tokens: 1024,
                min_pixels: 544 * 544,
                max_wh_ratio: None,
                out: 5120,
            };
            // Whatever its size, it has a place in a prompt.
            let grid = Grid::fit(image.width(), image.height(), &shape);
            assert!(grid.tokens() <= shape.max_tokens);
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}
