//! Files that lie: each gives a typed error, within bounds and without a panic.

mod bytes;

use std::io::Cursor;

use deepseek_vision::limits::{FILE_BYTES_MAX, SIDE_MAX};
use deepseek_vision::{Image, ImageError};
use image::{DynamicImage, ImageFormat, RgbImage};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use bytes::{find, png_chunk, with};

/// The kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Empty,
    FileBytes,
    UnknownFormat,
    Foreign,
    NoPixels,
    Side,
    Pixels,
    Memory,
    Unsupported,
    Corrupt,
}
use Kind::{Corrupt, Memory, NoPixels, Pixels, Side, Unsupported};

fn kind(error: &ImageError) -> Kind {
    match error {
        ImageError::Empty => Kind::Empty,
        ImageError::FileBytes { .. } => Kind::FileBytes,
        ImageError::UnknownFormat { .. } => Kind::UnknownFormat,
        ImageError::Foreign { .. } => Kind::Foreign,
        ImageError::NoPixels { .. } => NoPixels,
        ImageError::Side { .. } => Side,
        ImageError::Pixels { .. } => Pixels,
        ImageError::Memory { .. } => Memory,
        ImageError::Unsupported { .. } => Unsupported,
        ImageError::Corrupt { .. } => Corrupt,
        other => unreachable!("{other} has no kind"),
    }
}

type Case = (String, Vec<u8>, Kind);

fn case(name: &str, bytes: impl Into<Vec<u8>>, want: Kind) -> Case {
    (name.to_owned(), bytes.into(), want)
}

/// Holds every case, and that there are at least `least` of them.
#[track_caller]
fn check(cases: &[Case], least: usize) {
    assert!(cases.len() >= least, "{} cases", cases.len());
    let wrong = cases.iter().filter_map(|(name, bytes, want)| {
        let Err(error) = Image::decode(bytes) else {
            return Some(format!("{name}: taken as an image"));
        };
        assert!(error.to_string().starts_with("image: "), "{name}: {error}");
        let found = kind(&error);
        (found != *want).then(|| format!("{name}: {found:?}, want {want:?}: {error}"))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A good file, with detail enough that no format packs it into a few bytes.
fn good(format: ImageFormat) -> Vec<u8> {
    let image = RgbImage::from_fn(24, 16, |x, y| {
        let noise = (x * 24 + y).wrapping_mul(2_654_435_761);
        image::Rgb([(noise >> 24) as u8, (noise >> 16) as u8, (x * y) as u8])
    });
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(image)
        .write_to(&mut bytes, format)
        .expect("the format has such samples");
    bytes.into_inner()
}

const FORMATS: [ImageFormat; 6] = [
    ImageFormat::Png,
    ImageFormat::Jpeg,
    ImageFormat::WebP,
    ImageFormat::Gif,
    ImageFormat::Bmp,
    ImageFormat::Tiff,
];

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The head of a PNG: `kind` is bit depth, colour type, compression, filter and interlacing.
fn png_head(width: u32, height: u32, kind: [u8; 5]) -> Vec<u8> {
    let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
    [PNG, &png_chunk(b"IHDR", &[&sides[..], &kind].concat())].concat()
}

/// `data` as a zlib stream of one stored block.
fn stored(data: &[u8]) -> Vec<u8> {
    let length = data.len() as u16;
    let (a, b) = data.iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (a + b) % 65_521)
    });
    let head = [
        &[0x78, 0x01, 0x01][..],
        &length.to_le_bytes(),
        &(!length).to_le_bytes(),
    ]
    .concat();
    [&head[..], data, &(b << 16 | a).to_be_bytes()].concat()
}

fn png(width: u32, height: u32, kind: [u8; 5], data: &[u8]) -> Vec<u8> {
    let head = png_head(width, height, kind);
    [head, png_chunk(b"IDAT", data), png_chunk(b"IEND", &[])].concat()
}

const GREY: [u8; 5] = [8, 0, 0, 0, 0];

fn gif(screen: [u16; 2], frame: &[u8]) -> Vec<u8> {
    let [width, height] = screen.map(u16::to_le_bytes);
    // A palette of two colours, then what comes.
    let palette = [0, 0, 0, 255, 255, 255];
    [
        &b"GIF89a"[..],
        &width,
        &height,
        &[0x80, 0, 0],
        &palette,
        frame,
    ]
    .concat()
}

/// A frame of a GIF: its descriptor, then `data` behind the size of its codes.
fn gif_frame(size: [u16; 2], code: u8, data: &[u8]) -> Vec<u8> {
    let [width, height] = size.map(u16::to_le_bytes);
    [&[0x2C, 0, 0, 0, 0][..], &width, &height, &[0, code], data].concat()
}

/// A little-endian TIFF of one directory; entries are tag, type, count and value.
fn tiff(entries: &[(u16, u16, u32, u32)]) -> Vec<u8> {
    let mut bytes = b"II*\0\x08\0\0\0".to_vec();
    bytes.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        bytes.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
        bytes.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
    }
    bytes.extend([0; 4]);
    bytes
}

/// A grey TIFF whose one strip is said to be `strip` bytes at the end of the directory.
fn grey_tiff(width: u32, height: u32, compression: u32, strip: u32) -> Vec<u8> {
    let end = 8 + 2 + 9 * 12 + 4;
    tiff(&[
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, compression),
        (262, 3, 1, 1),
        (273, 4, 1, end),
        (277, 3, 1, 1),
        (278, 4, 1, height),
        (279, 4, 1, strip),
    ])
}

/// A BMP of a 40-byte head.
fn bmp(width: i32, height: i32, bits: u16, compression: u32, data: &[u8]) -> Vec<u8> {
    let file = [54 + data.len() as u32, 0, 54, 40].map(u32::to_le_bytes);
    let size = [width.to_le_bytes(), height.to_le_bytes()].concat();
    let depth = [1_u16.to_le_bytes(), bits.to_le_bytes()].concat();
    let rest = [compression, 0, 0, 0, 0, 0].map(u32::to_le_bytes).concat();
    [b"BM", &file.concat()[..], &size, &depth, &rest, data].concat()
}

fn webp(chunks: &[u8]) -> Vec<u8> {
    let length = (chunks.len() as u32 + 4).to_le_bytes();
    [b"RIFF", &length[..], b"WEBP", chunks].concat()
}

/// A chunk of a WebP, said to have `length` bytes.
fn webp_chunk(name: &[u8; 4], length: u32, data: &[u8]) -> Vec<u8> {
    [name, &length.to_le_bytes()[..], data].concat()
}

/// A lossless WebP of 14-bit sides, with no data behind its head.
fn lossless(width: u32, height: u32) -> Vec<u8> {
    let sides = (width - 1) | (height - 1) << 14;
    let data = [&[0x2F][..], &sides.to_le_bytes()].concat();
    webp(&webp_chunk(b"VP8L", 5, &[&data[..], &[0]].concat()))
}

#[test]
fn files_of_no_format() {
    let good = good(ImageFormat::Png);
    let long = [&good[..], &vec![0; FILE_BYTES_MAX]].concat();
    check(
        &[
            case("empty", [], Kind::Empty),
            case("too long", long, Kind::FileBytes),
            case("one byte", [0x89], Kind::UnknownFormat),
            case("zeros", [0; 64], Kind::UnknownFormat),
            case("text", *b"GIF is not what this is", Kind::UnknownFormat),
            case("a program", *b"\x7FELF\x02\x01\x01\0", Kind::Foreign),
            case(
                "a format that is not read",
                *b"\0\0\x01\0\x01\0\x10\x10\0\0",
                Kind::Foreign,
            ),
            case(
                "SVG",
                *b"<svg xmlns='http://www.w3.org/2000/svg'/>",
                Kind::Foreign,
            ),
            case("PDF", *b"%PDF-1.7\n", Kind::Foreign),
            case("wrong magic", with(&good, 1, b"PGN"), Kind::UnknownFormat),
            case(
                "reversed",
                good.iter().rev().copied().collect::<Vec<_>>(),
                Kind::UnknownFormat,
            ),
            case("RIFF of audio", *b"RIFF\x24\0\0\0WAVEfmt ", Kind::Foreign),
        ],
        12,
    );
}

#[test]
fn files_that_end_early() {
    let mut cases = Vec::new();
    for format in FORMATS {
        let bytes = good(format);
        // Pixels of a PNG and a GIF end a little before the file does.
        let end = match format {
            ImageFormat::Png => find(&bytes, b"IEND", 0) - 9,
            ImageFormat::Gif => bytes.len() - 6,
            // The directory stands behind the pixels.
            _ => bytes.len() - 1,
        };
        for part in 2..=12 {
            let name = format!("{format:?} cut at {part}/12");
            cases.push((name, bytes[..end * part / 12].to_vec(), Corrupt));
        }
    }
    check(&cases, 66);
}

#[test]
fn png_files_that_lie() {
    let good = good(ImageFormat::Png);
    let data = find(&good, b"IDAT", 0);
    let pixel = stored(&[0, 7]);
    let early = [PNG, &png_chunk(b"IDAT", &pixel), &png_chunk(b"IEND", &[])].concat();
    let twice = [png_head(1, 1, GREY), png(1, 1, GREY, &pixel)[8..].to_vec()].concat();
    let bare = [png_head(1, 1, GREY), png_chunk(b"IEND", &[])].concat();
    check(
        &[
            case("width of zero", png(0, 1, GREY, &pixel), Corrupt),
            case("height of zero", png(1, 0, GREY, &pixel), Corrupt),
            case(
                "width of 2^31 - 1",
                png(i32::MAX as u32, 1, GREY, &pixel),
                Memory,
            ),
            case("width of 2^32 - 1", png(u32::MAX, 1, GREY, &pixel), Memory),
            case("a side too long", png(SIDE_MAX + 1, 1, GREY, &pixel), Side),
            case("too many pixels", png(8193, 8192, GREY, &pixel), Pixels),
            case(
                "a bomb within the bounds",
                png(8192, 8192, [16, 6, 0, 0, 0], &pixel),
                Corrupt,
            ),
            case(
                "fewer rows than said",
                png(8192, 8192, GREY, &pixel),
                Corrupt,
            ),
            case("three bits", png(1, 1, [3, 0, 0, 0, 0], &pixel), Corrupt),
            case(
                "colour type seven",
                png(1, 1, [8, 7, 0, 0, 0], &pixel),
                Corrupt,
            ),
            case(
                "colours of four bits",
                png(1, 1, [4, 2, 0, 0, 0], &pixel),
                Corrupt,
            ),
            case(
                "compression one",
                png(1, 1, [8, 0, 1, 0, 0], &pixel),
                Corrupt,
            ),
            case(
                "filter method one",
                png(1, 1, [8, 0, 0, 1, 0], &pixel),
                Corrupt,
            ),
            case(
                "interlacing two",
                png(1, 1, [8, 0, 0, 0, 2], &pixel),
                Corrupt,
            ),
            case(
                "a palette that is not there",
                png(1, 1, [8, 3, 0, 0, 0], &pixel),
                Corrupt,
            ),
            case("filter nine", png(1, 1, GREY, &stored(&[9, 7])), Corrupt),
            case(
                "no zlib stream",
                png(1, 1, GREY, b"not compressed"),
                Corrupt,
            ),
            case("an empty stream", png(1, 1, GREY, &[]), Corrupt),
            case("pixels before the head", early, Corrupt),
            case("two heads", twice, Corrupt),
            case("no pixels", bare, Corrupt),
            case(
                "a head with a wrong sum",
                with(&good, 29, &[1, 2, 3, 4]),
                Corrupt,
            ),
            case(
                "a broken byte of pixels",
                with(&good, data + 40, &[!good[data + 40]]),
                Corrupt,
            ),
            case(
                "a chunk of 2^31 bytes",
                with(&good, data - 4, &[0x7F, 255, 255, 255]),
                Corrupt,
            ),
            case(
                "a chunk of 2^32 bytes",
                with(&good, data - 4, &[255; 4]),
                Corrupt,
            ),
            case(
                "a head of three bytes",
                [PNG, &png_chunk(b"IHDR", &[0, 0, 0])].concat(),
                Corrupt,
            ),
        ],
        26,
    );
}

#[test]
fn jpeg_files_that_lie() {
    let good = good(ImageFormat::Jpeg);
    let frame = find(&good, &[0xFF, 0xC0], 0);
    let tables = find(&good, &[0xFF, 0xC4], 0);
    let quantisers = find(&good, &[0xFF, 0xDB], 0);
    let scan = find(&good, &[0xFF, 0xDA], 0);
    check(
        &[
            case("only a magic", [0xFF, 0xD8, 0xFF], Corrupt),
            case("begins and ends", [0xFF, 0xD8, 0xFF, 0xD9], Corrupt),
            case("width of zero", with(&good, frame + 7, &[0, 0]), Corrupt),
            case("65535 by 65535", with(&good, frame + 5, &[255; 4]), Pixels),
            case(
                "precision of twelve bits",
                with(&good, frame + 4, &[12]),
                Unsupported,
            ),
            case("no components", with(&good, frame + 9, &[0]), Corrupt),
            case(
                "a frame too short",
                with(&good, frame + 2, &[0, 2]),
                Corrupt,
            ),
            case(
                "a frame of another kind",
                with(&good, frame + 1, &[0xC3]),
                Unsupported,
            ),
            case(
                "codes that do not fit",
                with(&good, tables + 5, &[255; 16]),
                Corrupt,
            ),
            case(
                "a quantiser that is not there",
                with(&good, quantisers + 4, &[0x0F]),
                Corrupt,
            ),
            case(
                "a scan before its frame",
                [&good[..2], &good[scan..]].concat(),
                Corrupt,
            ),
            case("no scan", [&good[..scan], &[0xFF, 0xD9]].concat(), Corrupt),
        ],
        12,
    );
}

#[test]
fn gif_files_that_lie() {
    let pixel = [2, 0x44, 0x01, 0, 0x3B];
    let huge = gif_frame([u16::MAX, u16::MAX], 2, &pixel);
    check(
        &[
            case("only a magic", *b"GIF89a", Corrupt),
            case(
                "a screen of nothing",
                gif([0, 0], &gif_frame([1, 1], 2, &pixel)),
                NoPixels,
            ),
            case(
                "a screen of 65535 by 65535",
                gif([u16::MAX; 2], &huge),
                Pixels,
            ),
            case("a frame larger than its screen", gif([1, 1], &huge), Memory),
            case(
                "a frame of nothing",
                gif([1, 1], &gif_frame([0, 0], 2, &pixel)),
                Corrupt,
            ),
            case("no frame", gif([1, 1], &[0x3B]), Corrupt),
            case(
                "codes of thirteen bits",
                gif([1, 1], &gif_frame([1, 1], 13, &pixel)),
                Corrupt,
            ),
            case(
                "fewer pixels than said",
                gif([900, 900], &gif_frame([900, 900], 2, &pixel)),
                Corrupt,
            ),
            case("a block of no kind", gif([1, 1], &[0x99, 1, 2, 3]), Corrupt),
            case(
                "a block that does not end",
                gif([9, 9], &gif_frame([9, 9], 2, &[200, 1])),
                Corrupt,
            ),
        ],
        10,
    );
}

#[test]
fn bmp_files_that_lie() {
    let row = [1, 2, 3, 0];
    check(
        &[
            case("only a magic", *b"BM", Corrupt),
            case("width of zero", bmp(0, 1, 24, 0, &row), Unsupported),
            case("height of zero", bmp(1, 0, 24, 0, &row), Unsupported),
            case("a width below zero", bmp(-1, 1, 24, 0, &row), Corrupt),
            case("the least height", bmp(1, i32::MIN, 24, 0, &row), Corrupt),
            case(
                "the largest sides",
                bmp(i32::MAX, i32::MAX, 24, 0, &row),
                Corrupt,
            ),
            case("too many pixels", bmp(60_000, 60_000, 24, 0, &row), Pixels),
            case(
                "fewer rows than said",
                bmp(8000, 8000, 24, 0, &row),
                Corrupt,
            ),
            case("seven bits", bmp(1, 1, 7, 0, &row), Corrupt),
            case("runs of 24 bits", bmp(1, 1, 24, 1, &row), Corrupt),
            case("compression 99", bmp(1, 1, 24, 99, &row), Corrupt),
            case(
                "a head of seven bytes",
                with(&bmp(1, 1, 24, 0, &row), 14, &[7]),
                Corrupt,
            ),
        ],
        12,
    );
}

#[test]
fn tiff_files_that_lie() {
    let pixel = |mut head: Vec<u8>, data: &[u8]| {
        head.extend(data);
        head
    };
    check(
        &[
            case("only a magic", *b"II*\0", Corrupt),
            case(
                "a directory beyond the end",
                *b"II*\0\xFF\xFF\xFF\x7F",
                Corrupt,
            ),
            case("an empty directory", tiff(&[]), Corrupt),
            case("a width alone", tiff(&[(256, 4, 1, 9)]), Corrupt),
            case("width of zero", pixel(grey_tiff(0, 1, 1, 1), &[7]), Corrupt),
            case(
                "height of zero",
                pixel(grey_tiff(1, 0, 1, 1), &[7]),
                Corrupt,
            ),
            case(
                "a side too long",
                pixel(grey_tiff(SIDE_MAX + 1, 1, 1, 1), &[7]),
                Side,
            ),
            case(
                "the largest sides",
                pixel(grey_tiff(u32::MAX, u32::MAX, 1, 1), &[7]),
                Side,
            ),
            case(
                "too many pixels",
                pixel(grey_tiff(9000, 9000, 1, 1), &[7]),
                Pixels,
            ),
            case(
                "a strip beyond the end",
                grey_tiff(64, 64, 1, 4096),
                Corrupt,
            ),
            case(
                "a strip of 2^32 bytes",
                pixel(grey_tiff(64, 64, 8, u32::MAX), &[7]),
                Memory,
            ),
            case(
                "no zlib stream",
                pixel(grey_tiff(8, 8, 8, 4), b"nope"),
                Corrupt,
            ),
            case(
                "fewer rows than said",
                pixel(grey_tiff(8000, 8000, 8, 13), &stored(&[0, 7])),
                Corrupt,
            ),
            case(
                "a compression of no kind",
                pixel(grey_tiff(1, 1, 4711, 1), &[7]),
                Unsupported,
            ),
            case(
                "a count of 2^32",
                tiff(&[(256, 4, u32::MAX, 8), (257, 4, 1, 1)]),
                Memory,
            ),
        ],
        15,
    );
}

#[test]
fn webp_files_that_lie() {
    let good = good(ImageFormat::WebP);
    let canvas = |data: &[u8]| webp(&webp_chunk(b"VP8X", 10, data));
    check(
        &[
            case("only a magic", *b"RIFF\x04\0\0\0WEBP", Corrupt),
            case(
                "a chunk of no kind",
                webp(&webp_chunk(b"NONE", 4, b"data")),
                Corrupt,
            ),
            case("16383 by 16383", lossless(16_383, 16_383), Pixels),
            case("8192 by 8192 of nothing", lossless(8192, 8192), Corrupt),
            case("a wrong signature", with(&good, 20, &[0]), Corrupt),
            case(
                "a version to come",
                with(&good, 24, &[good[24] | 0xE0]),
                Corrupt,
            ),
            case("a canvas without an image", canvas(&[0; 10]), Corrupt),
            case(
                "a canvas of 2^24",
                canvas(&[0, 0, 0, 0, 255, 255, 255, 255, 255, 255]),
                Corrupt,
            ),
            case(
                "lossy data that is none",
                webp(&webp_chunk(b"VP8 ", 10, &[0; 10])),
                Corrupt,
            ),
            case(
                "a chunk of 2^32 bytes",
                webp(&webp_chunk(b"VP8L", u32::MAX, &[0x2F])),
                Corrupt,
            ),
        ],
        10,
    );
}

#[test]
fn no_change_of_a_good_file_brings_the_reader_down() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for format in FORMATS {
        let good = good(format);
        let mut refused = 0;
        for _ in 0..400 {
            let mut bytes = good.clone();
            for _ in 0..rng.random_range(1..6) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
            match Image::decode(&bytes) {
                Ok(image) => {
                    let pixels = image.width() * image.height();
                    assert_eq!(image.rgb().len(), 3 * pixels);
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    refused += 1;
                }
            }
        }
        assert!(refused > 0, "{format:?}");
    }
}
