//! Videos written byte by byte, so that each of their bytes can lie.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};

/// A chunk of a RIFF file, padded.
pub(crate) fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u32).to_le_bytes();
    let padding = vec![0; data.len() % 2];
    [&name[..], &length, data, &padding].concat()
}

/// A list of chunks; also the file itself, as `RIFF`.
pub(crate) fn list(name: &[u8; 4], kind: &[u8; 4], chunks: &[Vec<u8>]) -> Vec<u8> {
    chunk(name, &[&kind[..], &chunks.concat()].concat())
}

/// A stream's header, without what nobody reads.
pub(crate) fn strh(kind: &[u8; 4], ticks: u32, seconds: u32, start: u32) -> Vec<u8> {
    let numbers = [seconds, ticks, start, 0, 0, 0, 0].map(u32::to_le_bytes);
    chunk(
        b"strh",
        &[&kind[..], b"MJPG", &[0; 12], &numbers.concat(), &[0; 8]].concat(),
    )
}

/// A `BITMAPINFOHEADER`.
pub(crate) fn bitmap(width: i32, height: i32, codec: &[u8; 4]) -> Vec<u8> {
    let size = [width.to_le_bytes(), height.to_le_bytes()].concat();
    let head = [
        &40_u32.to_le_bytes()[..],
        &size,
        &[1, 0, 24, 0],
        codec,
        &[0; 20],
    ]
    .concat();
    chunk(b"strf", &head)
}

/// A `WAVEFORMATEX` whose blocks are as large as its channels make them.
pub(crate) fn wave(tag: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
    wave_of_blocks(tag, channels, rate, channels.wrapping_mul(bits / 8), bits)
}

pub(crate) fn wave_of_blocks(tag: u16, channels: u16, rate: u32, block: u16, bits: u16) -> Vec<u8> {
    let bytes = rate.wrapping_mul(block.into());
    let head = [tag, channels].map(u16::to_le_bytes).concat();
    let rates = [rate, bytes].map(u32::to_le_bytes).concat();
    let tail = [block, bits].map(u16::to_le_bytes).concat();
    chunk(b"strf", &[head, rates, tail].concat())
}

/// A file of such streams (header and format) and such chunks.
pub(crate) fn avi(streams: &[[Vec<u8>; 2]], chunks: &[Vec<u8>]) -> Vec<u8> {
    let streams: Vec<_> = streams
        .iter()
        .map(|stream| list(b"LIST", b"strl", stream))
        .collect();
    let head = [vec![chunk(b"avih", &[0; 56])], streams].concat();
    let lists = [
        list(b"LIST", b"hdrl", &head),
        chunk(b"JUNK", &[0; 5]),
        list(b"LIST", b"movi", chunks),
    ];
    list(b"RIFF", b"AVI ", &lists)
}

/// Ten frames a second of 16 by 8 pixels.
pub(crate) fn video_stream() -> [Vec<u8>; 2] {
    [strh(b"vids", 10, 1, 0), bitmap(16, 8, b"MJPG")]
}

/// An image of one grey.
pub(crate) fn jpeg(shade: u8) -> Vec<u8> {
    let image = RgbImage::from_pixel(16, 8, image::Rgb([shade; 3]));
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(image)
        .write_to(&mut bytes, ImageFormat::Jpeg)
        .expect("grey can be written");
    bytes.into_inner()
}

/// A Y4M file of frames of `bytes` bytes, each of one sample.
pub(crate) fn y4m(head: &str, bytes: usize, frames: &[u8]) -> Vec<u8> {
    let mut file = format!("YUV4MPEG2 {head}\n").into_bytes();
    for sample in frames {
        file.extend(b"FRAME\n");
        file.extend(vec![*sample; bytes]);
    }
    file
}
