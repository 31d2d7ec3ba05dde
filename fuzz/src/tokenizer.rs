//! Reads bytes as a `tokenizer.json`, and encodes with what they say.

/// Whether the bytes were a good tokenizer.
pub(crate) fn read(bytes: &[u8]) -> bool {
    match deepseek_text::Tokenizer::parse(bytes) {
        Ok(tokenizer) => {
            let _ = tokenizer.encode("a user's text");
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}
