//! Any bytes as a `tokenizer.json`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(tokenizer) = deepseek_text::Tokenizer::parse(bytes) {
        let _ = tokenizer.encode("a user's text");
    }
});
