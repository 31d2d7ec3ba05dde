//! Reads bytes as an image, and finds its place in a prompt.

use deepseek_vision::{Grid, Image, VisionConfig};

/// Whether the bytes were a good image.
pub(crate) fn read(bytes: &[u8]) -> bool {
    match Image::decode(bytes) {
        Ok(image) => {
            // Whatever its size, it has a place in a prompt.
            let grid = Grid::fit(image.width(), image.height(), &VisionConfig::RELEASED);
            assert!(grid.tokens() <= VisionConfig::RELEASED.max_tokens);
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}
