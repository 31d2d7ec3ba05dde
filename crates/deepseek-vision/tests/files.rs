//! Files that are images: what each format and kind of sample becomes.

#[path = "bytes/tiff.rs"]
mod tiff;

use std::io::Cursor;

use deepseek_vision::formats::IMAGES;
use deepseek_vision::{Image, ImageError};
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
    let image = Image::decode(bytes).expect("an image");
    assert_eq!([image.width(), image.height()], size);
    assert_eq!(image.rgb(), rgb);
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
fn a_jpeg_is_near() -> Result<(), ImageError> {
    let stored = gradient(40, 24);
    let bytes = encode(&DynamicImage::ImageRgb8(stored.clone()), ImageFormat::Jpeg);
    let image = Image::decode(&bytes)?;
    assert_eq!([image.width(), image.height()], [40, 24]);
    let apart = |(a, b): (&u8, &u8)| u32::from(a.abs_diff(*b));
    let total: u32 = image.rgb().iter().zip(stored.as_raw()).map(apart).sum();
    assert!(total < 8 * image.rgb().len() as u32, "{total}");
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
fn the_first_frame_of_a_moving_image_is_taken() {
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
        let image = Image::decode(&bytes).expect("an image");
        let size = [width as usize, height as usize];
        assert_eq!([image.width(), image.height()], size);
    }
}

#[test]
fn bytes_behind_the_image_are_of_no_account() {
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

#[test]
fn a_kind_that_is_not_read_is_called_by_its_name() {
    let head = |bytes: &[u8]| [bytes, &[0; 600]].concat();
    let mut stream = vec![0; 600];
    (stream[0], stream[188], stream[376]) = (0x47, 0x47, 0x47);
    let cases = [
        ("AVIF", head(b"\0\0\0\x1Cftypavif\0\0\0\0")),
        ("AVIF", head(b"\0\0\0\x1Cftypavis\0\0\0\0")),
        ("HEIC", head(b"\0\0\0\x18ftypheic\0\0\0\0")),
        ("HEIF", head(b"\0\0\0\x18ftypmif1\0\0\0\0")),
        ("JPEG XL", head(b"\xFF\x0A\x7F")),
        ("JPEG XL", head(b"\0\0\0\x0CJXL \r\n\x87\n")),
        ("JPEG 2000", head(b"\0\0\0\x0CjP  \r\n\x87\n")),
        ("JPEG 2000", head(b"\xFF\x4F\xFF\x51\0\x2F")),
        ("PSD", head(b"8BPS\0\x01")),
        ("ICO", head(b"\0\0\x01\0\x01\0")),
        ("QOI", head(b"qoif\0\0\0\x01")),
        ("OpenEXR", head(b"\x76\x2F\x31\x01\x02")),
        ("Radiance HDR", head(b"#?RADIANCE\n")),
        ("DDS", head(b"DDS \x7C\0\0\0")),
        ("PNM", b"P6 1 1 255\n\0\0\0".to_vec()),
        ("PNM", b"P7\nWIDTH 1\n".to_vec()),
        ("TGA", [&[0; 40][..], b"TRUEVISION-XFILE.\0"].concat()),
        ("PDF", head(b"%PDF-1.7\n")),
        ("SVG", b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec()),
        (
            "SVG",
            b"\xEF\xBB\xBF<?xml version='1.0'?>\n<!-- a drawing -->\n<SVG/>".to_vec(),
        ),
        ("HTML page", b"\n<!DOCTYPE html><title>404</title>".to_vec()),
        ("MP4", head(b"\0\0\0\x18ftypisom\0\0\x02\0")),
        ("QuickTime", head(b"\0\0\0\x14ftypqt  \0\0\0\0")),
        ("Matroska or WebM", head(b"\x1A\x45\xDF\xA3\x9F")),
        ("MPEG-TS", stream),
        ("FLV", head(b"FLV\x01\x05")),
        ("ASF (WMV, WMA)", head(b"\x30\x26\xB2\x75\x8E\x66\xCF\x11")),
        ("AVI video", b"RIFF\x24\0\0\0AVI LIST".to_vec()),
        ("Y4M video", b"YUV4MPEG2 W1 H1 F1:1\n".to_vec()),
    ];
    for (kind, bytes) in cases {
        let error = Image::decode(&bytes).expect_err(kind);
        let text = format!("image: of a kind that is not read: {kind}");
        assert_eq!(error.to_string(), text);
    }
    let text = Image::decode(b"no image").expect_err("words").to_string();
    assert!(text.ends_with(&format!("want one of {IMAGES}")), "{text}");
}

#[test]
fn kinds_of_jpeg_that_are_not_read_are_named() {
    let good = encode(&gradient(16, 16).into(), ImageFormat::Jpeg);
    let frame = good.windows(2).position(|pair| pair == [0xFF, 0xC0]);
    let frame = frame.expect("a frame header") + 1;
    for (at, byte, why) in [
        (frame, 0xC3, "lossless"),
        (frame, 0xC5, "hierarchical"),
        (frame, 0xC9, "arithmetic coding"),
        (frame, 0xCA, "arithmetic coding"),
        (frame, 0xCE, "hierarchical, arithmetic coding"),
        (frame + 3, 12, "12 bits a sample"),
    ] {
        let mut bytes = good.clone();
        bytes[at] = byte;
        let error = Image::decode(&bytes).expect_err(why);
        let text = format!("image: JPEG of a kind that is not read: {why}");
        assert_eq!(error.to_string(), text);
    }
}

/// Noise, so that no format packs it into a few bytes.
fn noise() -> RgbImage {
    RgbImage::from_fn(96, 96, |x, y| {
        let noise = (x * 96 + y).wrapping_mul(2_654_435_761);
        image::Rgb([(noise >> 24) as u8, (noise >> 16) as u8, (noise >> 8) as u8])
    })
}

#[test]
fn a_jpeg_that_lacks_a_part_is_refused_or_it_is_told() {
    let good = encode(&noise().into(), ImageFormat::Jpeg);
    let whole = Image::decode(&good).expect("an image");
    assert_eq!(whole.notes(), []);
    for part in 2..12 {
        let cut = &good[..good.len() * part / 12];
        assert!(Image::decode(cut).is_err(), "cut at {part}/12");
        // Some programs end what they have cut.
        let ended = [cut, &[0xFF, 0xD9]].concat();
        if let Ok(image) = Image::decode(&ended) {
            let notes = image.notes();
            assert_eq!(notes.len(), 1, "ended at {part}/12");
            assert!(
                notes[0].to_string().contains("damaged JPEG data"),
                "{notes:?}"
            );
            assert_ne!(image.rgb(), whole.rgb());
        }
    }
}

#[test]
fn a_lossy_webp_that_is_cut_is_refused() {
    let bytes = include_bytes!("../../../tests/fixtures/video/lossy.webp");
    // The first frame as an image of its own.
    let at = bytes
        .windows(4)
        .position(|name| name == b"VP8 ")
        .expect("a frame");
    let length = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().expect("four"));
    let chunk = &bytes[at..at + 8 + length as usize];
    let riff = (chunk.len() as u32 + 4).to_le_bytes();
    let good = [b"RIFF", &riff[..], b"WEBP", chunk].concat();
    assert!(Image::decode(&good).is_ok());
    for end in (20..good.len() - 1).step_by(3) {
        assert!(Image::decode(&good[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn a_decoder_that_panics_is_an_error() {
    match Image::decode(&tiff::tiled_planar()) {
        Ok(image) => assert!(image.rgb().iter().all(|sample| *sample == 7)),
        Err(ImageError::Unsupported { format: "TIFF", .. }) => {}
        Err(error) => unreachable!("{error}"),
    }
}
