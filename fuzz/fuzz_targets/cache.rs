//! Any bytes as a saved KV cache.

#![no_main]

#[path = "../src/cache.rs"]
mod cache;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cache::read(bytes);
});
