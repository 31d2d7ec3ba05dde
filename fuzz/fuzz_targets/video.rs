//! Any bytes as a video.

#![no_main]

#[path = "../src/video.rs"]
mod video;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    video::read(bytes);
});
