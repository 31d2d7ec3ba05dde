//! Any bytes as a picture file.

#![no_main]

use deepseek_vision::{Grid, Picture, VisionShape};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match Picture::decode(bytes) {
        Ok(picture) => {
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
            let grid = Grid::fit(picture.width(), picture.height(), &shape);
            assert!(grid.tokens() <= shape.max_tokens);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
