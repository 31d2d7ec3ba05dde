//! Resizing, canvases and patches against Pillow's.

use std::path::Path;

use deepseek_vision::resize::bicubic;
use deepseek_vision::{Canvas, Grid, Image, VisionConfig};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn golden(part: &str) -> Vec<Value> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/vision/resize.json");
    let text = std::fs::read_to_string(path).expect("the golden images");
    let golden: Value = serde_json::from_str(&text).expect("JSON");
    golden[part].as_array().expect("a list").clone()
}

fn size(case: &Value, key: &str) -> [usize; 2] {
    serde_json::from_value(case[key].clone()).expect("a size")
}

/// The noise that the golden images were made from.
fn noise([width, height]: [usize; 2]) -> Vec<u8> {
    (0..(width * height * 3) as u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

#[test]
fn resized_images_are_pillows_bit_for_bit() {
    let cases = golden("resize");
    assert!(cases.len() >= 12);
    for case in cases {
        let (from, to) = (size(&case, "from"), size(&case, "to"));
        let source = noise(from);
        let got = bicubic(&source, from, to);
        assert_eq!(got.len(), to[0] * to[1] * 3);
        match case["rgb"].as_str() {
            Some(want) => assert_eq!(hex(&got), want, "{from:?} to {to:?}"),
            None => assert_eq!(sha256(&got), case["sha256"], "{from:?} to {to:?}"),
        }
    }
}

#[test]
fn the_order_of_the_passes_shows_in_tall_images() {
    let (from, to) = ([50, 500], [28, 282]);
    let source = noise(from);
    let got = bicubic(&source, from, to);
    let (narrow, short) = ([to[0], from[1]], [from[0], to[1]]);
    let rows_first = bicubic(&bicubic(&source, from, narrow), narrow, to).into_owned();
    let columns_first = bicubic(&bicubic(&source, from, short), short, to).into_owned();
    assert_eq!(*got, columns_first);
    let steps = got.iter().zip(&rows_first).map(|(a, b)| a.abs_diff(*b));
    let most = steps.max().expect("there are pixels");
    assert!((1..=16).contains(&most), "{most} steps of 255");
}

#[test]
fn canvases_are_pillows_bit_for_bit() {
    let cases = golden("canvas");
    assert!(cases.len() >= 10);
    for case in cases {
        let [width, height] = size(&case, "from");
        let image = Image::from_rgb(width, height, noise([width, height]));
        let canvas = Canvas::new(&image, &VisionConfig::RELEASED);
        assert_eq!(canvas.grid().canvas, size(&case, "to"), "{width}x{height}");
        assert_eq!(sha256(canvas.rgb()), case["sha256"], "{width}x{height}");
    }
}

#[test]
fn patches_are_by_channel_row_and_column() {
    let shape = VisionConfig {
        patch: 4,
        max_tokens: 32,
        min_pixels: 16 * 16,
        ..VisionConfig::RELEASED
    };
    let image = Image::from_rgb(24, 16, noise([24, 16]));
    let canvas = Canvas::new(&image, &shape);
    assert_eq!(*canvas.grid(), Grid::fit(24, 16, &shape));
    assert_eq!(canvas.grid().patches, [6, 4]);
    // Large enough and whole patches: the pixels are the image's own.
    assert_eq!(canvas.rgb(), image.rgb());
    let patches = canvas.patches(4);
    assert_eq!(patches.shape(), [24, 48]);
    for (index, value) in patches.data().iter().enumerate() {
        let (patch, within) = (index / 48, index % 48);
        let (channel, row, column) = (within / 16, within / 4 % 4, within % 4);
        let pixel = (patch / 6 * 4 + row) * 24 + patch % 6 * 4 + column;
        let sample = f64::from(image.rgb()[pixel * 3 + channel]);
        let want = sample / 127.5 - 1.0;
        assert!(
            (f64::from(*value) - want).abs() < 1e-6,
            "{index}: {value}, want {want}"
        );
    }
}

#[test]
fn a_side_that_rounds_to_nothing_keeps_one_pixel() {
    let image = Image::from_rgb(1, 60_000, vec![255; 60_000 * 3]);
    let canvas = Canvas::new(&image, &VisionConfig::RELEASED);
    assert_eq!(canvas.grid().canvas, [42, 21_462]);
    for row in canvas.rgb().chunks_exact(42 * 3) {
        let white = row.chunks_exact(3).filter(|pixel| **pixel == [255; 3]);
        assert_eq!(white.count(), 1);
    }
}
