//! Any bytes as a video.

#![no_main]

#[path = "../src/film.rs"]
mod film;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    film::read(bytes);
});
