//! Images that are to be rotated or mirrored: all eight ways, in every format that can say so.

#[allow(dead_code, reason = "it is shared")]
mod bytes;

use std::fs;
use std::io::Cursor;

use deepseek_vision::Image;
use deepseek_vision::video::Video;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

use bytes::png_chunk;

const RED: [u8; 3] = [230, 30, 30];
const GREEN: [u8; 3] = [30, 230, 30];
const BLUE: [u8; 3] = [30, 30, 230];
const WHITE: [u8; 3] = [230, 230, 230];

/// The corners of what is seen, row by row, of an image that is stored with red, green, blue and white
/// in its corners: what EXIF says of the tag's values from 1 on.
const SEEN: [[[u8; 3]; 4]; 8] = [
    [RED, GREEN, BLUE, WHITE],
    [GREEN, RED, WHITE, BLUE],
    [WHITE, BLUE, GREEN, RED],
    [BLUE, WHITE, RED, GREEN],
    [RED, BLUE, GREEN, WHITE],
    [BLUE, RED, WHITE, GREEN],
    [WHITE, GREEN, BLUE, RED],
    [GREEN, WHITE, RED, BLUE],
];

const WIDTH: u32 = 48;
const HEIGHT: u32 = 32;

fn stored() -> RgbImage {
    RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        let corner = usize::from(x >= WIDTH / 2) + 2 * usize::from(y >= HEIGHT / 2);
        Rgb(SEEN[0][corner])
    })
}

fn encode(format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let image = DynamicImage::ImageRgb8(stored());
    image
        .write_to(&mut bytes, format)
        .expect("it can be written");
    bytes.into_inner()
}

/// EXIF data of one tag: the orientation.
fn exif(value: u16) -> Vec<u8> {
    let entry = [
        &[0x12, 1, 3, 0, 1, 0, 0, 0][..],
        &value.to_le_bytes(),
        &[0, 0],
    ]
    .concat();
    [b"II*\0\x08\0\0\0\x01\0", &entry[..], &[0; 4]].concat()
}

fn jpeg(exif: &[u8]) -> Vec<u8> {
    let body = [b"Exif\0\0", exif].concat();
    let length = (body.len() as u16 + 2).to_be_bytes();
    let bytes = encode(ImageFormat::Jpeg);
    [&bytes[..2], &[0xFF, 0xE1], &length, &body, &bytes[2..]].concat()
}

fn png(exif: &[u8]) -> Vec<u8> {
    let bytes = encode(ImageFormat::Png);
    let head = 8 + 25;
    [&bytes[..head], &png_chunk(b"eXIf", exif), &bytes[head..]].concat()
}

fn webp(exif: &[u8]) -> Vec<u8> {
    let chunk = |name: &[u8; 4], data: &[u8]| {
        let length = (data.len() as u32).to_le_bytes();
        [&name[..], &length, data, &vec![0; data.len() % 2]].concat()
    };
    let sides = [WIDTH - 1, HEIGHT - 1].map(u32::to_le_bytes);
    let canvas = [&[8, 0, 0, 0][..], &sides[0][..3], &sides[1][..3]].concat();
    let image = &encode(ImageFormat::WebP)[12..];
    let all = [
        &b"WEBP"[..],
        &chunk(b"VP8X", &canvas),
        image,
        &chunk(b"EXIF", exif),
    ]
    .concat();
    chunk(b"RIFF", &all)
}

/// A TIFF of one strip, with the tag among those of its image.
fn tiff(value: u16) -> Vec<u8> {
    let rgb = stored().into_raw();
    let entries = [
        (256, 4, 1, WIDTH),
        (257, 4, 1, HEIGHT),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8 + 2 + 10 * 12 + 4),
        (274, 3, 1, u32::from(value)),
        (277, 3, 1, 3),
        (278, 4, 1, HEIGHT),
        (279, 4, 1, rgb.len() as u32),
    ];
    let mut bytes = b"II*\0\x08\0\0\0".to_vec();
    bytes.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        bytes.extend([u16::to_le_bytes(tag), u16::to_le_bytes(kind)].concat());
        bytes.extend([u32::to_le_bytes(count), value.to_le_bytes()].concat());
    }
    bytes.extend([0; 4]);
    bytes.extend(rgb);
    bytes
}

/// A file of each format with such a tag.
fn files(value: u16) -> [(&'static str, Vec<u8>); 6] {
    let named = [b"Exif\0\0", &exif(value)[..]].concat();
    [
        ("JPEG", jpeg(&exif(value))),
        ("PNG", png(&exif(value))),
        ("WebP", webp(&exif(value))),
        ("PNG with a name before it", png(&named)),
        ("WebP with a name before it", webp(&named)),
        ("TIFF", tiff(value)),
    ]
}

/// Holds the size and the corners against those that are seen with such a tag.
#[track_caller]
fn check(name: &str, image: &Image, value: usize) {
    let sides = [WIDTH, HEIGHT].map(|side| side as usize);
    let [width, height] = if value > 4 {
        [sides[1], sides[0]]
    } else {
        sides
    };
    let found = [image.width(), image.height()];
    assert_eq!(found, [width, height], "{name} of {value}");
    let (pixels, _) = image.rgb().as_chunks::<3>();
    for (corner, want) in SEEN[value - 1].iter().enumerate() {
        let [x, y] = [
            (corner % 2) * (width - 5) + 2,
            (corner / 2) * (height - 5) + 2,
        ];
        let found = pixels[y * width + x];
        let is_near = found.iter().zip(want).all(|(a, b)| a.abs_diff(*b) < 20);
        assert!(
            is_near,
            "{name} of {value}: {found:?} at {x}, {y}, want {want:?}"
        );
    }
}

#[test]
fn an_image_is_rotated_as_its_tag_says() {
    for value in 1..=8 {
        for (name, bytes) in files(value) {
            let image = Image::decode(&bytes).expect(name);
            check(name, &image, value.into());
        }
    }
}

#[test]
fn the_published_loader_rotates_tiff_alone() {
    for value in 1..=8 {
        for (name, bytes) in files(value) {
            let image = Image::decode_as_published(&bytes).expect(name);
            let rotates = name == "TIFF";
            check(name, &image, if rotates { value.into() } else { 1 });
        }
    }
}

#[test]
fn a_tag_that_does_not_hold_is_none() {
    let long = [&exif(6)[..8], &[0xFF; 2], &exif(6)[10..]].concat();
    let far = [&exif(6)[..4], &[0xFF; 4], &exif(6)[8..]].concat();
    let broken = [
        vec![],
        exif(6)[..12].to_vec(),
        b"no EXIF".to_vec(),
        far,
        exif(0),
        exif(9),
    ];
    for exif in broken {
        for bytes in [jpeg(&exif), png(&exif), webp(&exif)] {
            check("a broken tag", &Image::decode(&bytes).expect("an image"), 1);
        }
    }
    check(
        "more than there is",
        &Image::decode(&jpeg(&long)).expect("an image"),
        6,
    );
    for value in [0, 9, u16::MAX] {
        check("TIFF", &Image::decode(&tiff(value)).expect("an image"), 1);
    }
}

#[test]
fn numbered_images_are_rotated_each_by_its_own() {
    let folder = std::env::temp_dir().join(format!("rotated-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let all: Vec<u16> = (1..=8).collect();
    for value in &all {
        fs::write(folder.join(format!("{value}.jpg")), jpeg(&exif(*value))).expect("a file");
    }
    fs::write(folder.join("9.tif"), tiff(6)).expect("a file");
    let open = || Video::from_images(&folder, 1.0).expect("images");
    let (mut ours, mut published) = (open(), open().as_published());
    for value in all {
        let (_, image) = ours.next_frame().expect("a frame").expect("one");
        check("ours", &image, value.into());
        let (_, image) = published.next_frame().expect("a frame").expect("one");
        check("published", &image, 1);
    }
    for video in [&mut ours, &mut published] {
        let (_, image) = video.next_frame().expect("a frame").expect("one");
        check("TIFF", &image, 6);
    }
    fs::remove_dir_all(&folder).expect("it is there");
}
