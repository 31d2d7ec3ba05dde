//! Ids to text as they come, whole characters at a time.

use crate::error::Result;
use crate::tokenizer::Tokenizer;

/// Turns ids into text and holds back a character that is not whole yet.
///
/// What it has given, with what [`Detokenizer::finish`] gives, is what [`Tokenizer::decode`] makes
/// of all the ids. Markers are spelled out; [`Reader`](crate::Reader) is what understands them.
#[derive(Debug)]
pub struct Detokenizer {
    tokenizer: Tokenizer,
    utf8: Utf8,
}

impl Detokenizer {
    /// Starts with nothing held back.
    pub fn new(tokenizer: &Tokenizer) -> Self {
        Self {
            tokenizer: tokenizer.clone(),
            utf8: Utf8::default(),
        }
    }

    /// The text that is certain after one more id; often empty.
    ///
    /// # Errors
    /// [`Error::UnknownId`](crate::Error::UnknownId).
    pub fn push(&mut self, id: u32) -> Result<String> {
        Ok(self.utf8.push(self.tokenizer.bytes(id)?))
    }

    /// The rest: nothing, or U+FFFD for a character that stayed a part.
    pub fn finish(&mut self) -> String {
        self.utf8.finish()
    }
}

/// Bytes to text with the same replacements, however they are cut.
#[derive(Debug, Default)]
pub(crate) struct Utf8 {
    /// The beginning of a character: three bytes at most.
    held: Vec<u8>,
}

impl Utf8 {
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(bytes);
        let mut text = String::with_capacity(all.len());
        let mut chunks = all.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            if chunk.invalid().is_empty() {
                continue;
            }
            // At the end, bytes without an error length are those that may still become whole.
            let error = std::str::from_utf8(chunk.invalid()).err();
            if chunks.peek().is_none() && error.is_some_and(|error| error.error_len().is_none()) {
                self.held = chunk.invalid().to_vec();
            } else {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }

    pub(crate) fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.held)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_bytes_give_the_text_of_the_whole() {
        let cases: [&[u8]; 5] = [
            "a é 素 🙂".as_bytes(),
            b"\xE4a\xE4\xBD\xF0\x9F\x99",
            b"\x80\x80\xFF\xC0\xAF",
            b"\xED\xA0\x80\xF4\x90\x80\x80",
            b"",
        ];
        for bytes in cases {
            let whole = String::from_utf8_lossy(bytes);
            for cut in 0..=bytes.len() {
                let mut utf8 = Utf8::default();
                let (head, tail) = bytes.split_at(cut);
                let text = utf8.push(head) + &utf8.push(tail) + &utf8.finish();
                assert_eq!(text, whole, "{bytes:x?} cut at {cut}");
            }
        }
    }
}
