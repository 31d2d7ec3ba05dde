//! Any bytes as a `tokenizer.json`.

#![no_main]

#[path = "../src/tokenizer.rs"]
mod tokenizer;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tokenizer::read(bytes);
});
