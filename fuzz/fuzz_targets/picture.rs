//! Any bytes as an image.

#![no_main]

#[path = "../src/picture.rs"]
mod picture;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    picture::read(bytes);
});
