//! Files that are pictures: what each format and kind of sample becomes.

use std::io::Cursor;

use deepseek_vision::{Picture, PictureError};
use image::codecs::gif::GifEncoder;
use image::{DynamicImage, Frame, ImageFormat, RgbImage, RgbaImage};

const LOSSLESS: [ImageFormat; 4] = [
    ImageFormat::Png,
    ImageFormat::WebP,
    ImageFormat::Bmp,
    ImageFormat::Tiff,
];

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image
        .write_to(&mut bytes, format)
        .expect("the format has such samples");
    bytes.into_inner()
}

fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x * 5) as u8, (y * 7) as u8, (x + y) as u8])
    })
}

#[track_caller]
fn check(bytes: &[u8], size: [usize; 2], rgb: &[u8]) {
    let picture = Picture::decode(bytes).expect("a picture");
    assert_eq!([picture.width(), picture.height()], size);
    assert_eq!(picture.rgb(), rgb);
}

#[test]
fn lossless_formats_keep_every_sample() {
    let image = gradient(31, 17);
    for format in LOSSLESS {
        let bytes = encode(&DynamicImage::ImageRgb8(image.clone()), format);
        check(&bytes, [31, 17], image.as_raw());
    }
}

#[test]
fn a_jpeg_is_near() -> Result<(), PictureError> {
    let image = gradient(40, 24);
    let bytes = encode(&DynamicImage::ImageRgb8(image.clone()), ImageFormat::Jpeg);
    let picture = Picture::decode(&bytes)?;
    assert_eq!([picture.width(), picture.height()], [40, 24]);
    let apart = |(a, b): (&u8, &u8)| u32::from(a.abs_diff(*b));
    let total: u32 = picture.rgb().iter().zip(image.as_raw()).map(apart).sum();
    assert!(total < 8 * picture.rgb().len() as u32, "{total}");
    Ok(())
}

#[test]
fn grey_becomes_three_equal_channels() {
    let grey = image::GrayImage::from_raw(3, 1, vec![0, 100, 255]).expect("three samples");
    let rgb = [0, 0, 0, 100, 100, 100, 255, 255, 255];
    for format in [ImageFormat::Png, ImageFormat::Tiff, ImageFormat::Bmp] {
        check(&encode(&grey.clone().into(), format), [3, 1], &rgb);
    }
}

#[test]
fn alpha_is_dropped_and_not_blended() {
    let samples = vec![10, 20, 30, 0, 40, 50, 60, 128, 70, 80, 90, 255];
    let image = RgbaImage::from_raw(3, 1, samples).expect("three pixels");
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Tiff] {
        let bytes = encode(&image.clone().into(), format);
        check(&bytes, [3, 1], &[10, 20, 30, 40, 50, 60, 70, 80, 90]);
    }
    let grey = image::GrayAlphaImage::from_raw(1, 1, vec![77, 3]).expect("a pixel");
    check(&encode(&grey.into(), ImageFormat::Png), [1, 1], &[77; 3]);
}

#[test]
fn sixteen_bits_are_divided_by_257_and_rounded() {
    let samples: Vec<u16> = vec![
        0, 128, 129, 256, 257, 385, 386, 32_767, 32_896, 65_406, 65_407, 65_535,
    ];
    let want: Vec<u8> = samples
        .iter()
        .map(|sample| (f64::from(*sample) / 257.0).round() as u8)
        .collect();
    let image = image::ImageBuffer::<image::Rgb<u16>, _>::from_raw(4, 1, samples);
    let image = DynamicImage::ImageRgb16(image.expect("four pixels"));
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        check(&encode(&image, format), [4, 1], &want);
    }
}

#[test]
fn the_first_frame_of_a_moving_picture_is_taken() {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for shade in [0, 255] {
        let image = RgbaImage::from_pixel(4, 2, image::Rgba([shade, shade, shade, 255]));
        encoder.encode_frame(Frame::new(image)).expect("a frame");
    }
    drop(encoder);
    check(&bytes, [4, 2], &[0; 4 * 2 * 3]);
}

#[test]
fn the_longest_sides_of_the_specification_are_read() {
    for (width, height) in [(60_000, 20), (20, 60_000), (8192, 8192)] {
        let grey = image::GrayImage::new(width, height);
        let bytes = encode(&grey.into(), ImageFormat::Png);
        let picture = Picture::decode(&bytes).expect("a picture");
        let size = [width as usize, height as usize];
        assert_eq!([picture.width(), picture.height()], size);
    }
}

#[test]
fn bytes_behind_the_picture_are_of_no_account() {
    let image = gradient(8, 8);
    for format in LOSSLESS {
        if format == ImageFormat::WebP {
            continue; // Its size stands in its head.
        }
        let mut bytes = encode(&DynamicImage::ImageRgb8(image.clone()), format);
        bytes.extend([0xFF; 100]);
        check(&bytes, [8, 8], image.as_raw());
    }
}
