//! Any bytes as audio.

#![no_main]

#[path = "../src/audio.rs"]
mod audio;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    audio::read(bytes);
});
