//! Any bytes as a sound.

#![no_main]

#[path = "../src/sound.rs"]
mod sound;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    sound::read(bytes);
});
