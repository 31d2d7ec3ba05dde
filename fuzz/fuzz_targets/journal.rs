//! Any bytes as the record of a conversion.

#![no_main]

#[path = "../src/journal.rs"]
mod journal;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    journal::read(bytes);
});
