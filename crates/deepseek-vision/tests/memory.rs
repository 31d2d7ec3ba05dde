//! What is said beside the pixels is not unpacked. Alone in its process, whose peak it reads.
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "it is shared")]
mod bytes;

use std::io::Cursor;

use deepseek_vision::Image;
use image::{DynamicImage, ImageFormat};

use bytes::png_chunk;

/// What the chunks would take each, and what the image may take with all of them.
const BOMB_BYTES: usize = 300 << 20;
const BYTES_MAX: u64 = 100 << 20;

/// The most memory that this process has had.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .and_then(|number| number.parse::<u64>().ok())
        .expect("a number")
        << 10
}

/// A zlib stream of so many zeros, a thirty-second of their size.
fn bomb(bytes: usize) -> Vec<u8> {
    // One block of fixed codes, the last one: a zero, then copies of 258 bytes from one before.
    let copies = bytes / 258;
    let bits = [1, 1, 0].into_iter();
    let zero = [0, 0, 1, 1, 0, 0, 0, 0].into_iter();
    let copy = [1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0];
    let end = [0; 7].into_iter();
    let bits = bits
        .chain(zero)
        .chain((0..copies).flat_map(|_| copy))
        .chain(end);
    let bits: Vec<u8> = bits.collect();
    let packed = bits.chunks(8).map(|byte| {
        let places = byte.iter().enumerate();
        places.fold(0, |all, (place, bit)| all | bit << place)
    });
    // Zeros leave one half of the checksum at one and count themselves in the other.
    let count = ((copies * 258 + 1) % 65_521) as u32;
    let sum = (count << 16 | 1).to_be_bytes();
    [&[0x78, 0x01][..], &packed.collect::<Vec<u8>>(), &sum].concat()
}

#[test]
fn colour_profiles_and_texts_are_not_unpacked() {
    let mut bytes = Cursor::new(Vec::new());
    let image = DynamicImage::new_rgb8(8, 8);
    image
        .write_to(&mut bytes, ImageFormat::Png)
        .expect("black can be written");
    let good = bytes.into_inner();
    let bomb = bomb(BOMB_BYTES);
    let named = [b"profile\0\0", &bomb[..]].concat();
    let words = [b"words\0\x01\0\0\0", &bomb[..]].concat();
    let chunks = [(b"iCCP", &named), (b"zTXt", &named), (b"iTXt", &words)];
    let chunks = chunks.map(|(name, data)| png_chunk(name, data)).concat();
    let head = 8 + 25;
    let bytes = [&good[..head], &chunks, &good[head..]].concat();
    drop((bomb, named, words, chunks));
    let image = Image::decode(&bytes).expect("an image");
    assert_eq!(image.rgb(), [0; 8 * 8 * 3]);
    assert!(
        peak() < BOMB_BYTES as u64 / 2 + BYTES_MAX,
        "{} bytes",
        peak()
    );
}
