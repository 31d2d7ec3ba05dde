//! Compressed ids: tokens that differ in case, accents or blanks alone become one.

use std::collections::HashMap;

use tokenizers::normalizers::StripAccents;
use tokenizers::{NormalizedString, Normalizer};

use crate::error::{Error, Result};
use crate::tokenizer::{Entry, Tokenizer};

impl Tokenizer {
    /// The compressed id of every id: what the n-gram memory of V4.1 is addressed by
    /// (`docs/models/deepseek-v41.md` §3.7). Compressed ids are counted from 0 in the order of the
    /// ids, so the largest one tells how many there are.
    ///
    /// The table decides which rows of the memory a text reads, so it has to equal the one that the
    /// model was trained with. Unicode has moved on since; decompositions and marks are therefore
    /// those of the `tokenizers` library, as there, and no newer ones.
    ///
    /// Costs a fifth of a second for the released vocabulary: build it once.
    ///
    /// # Errors
    /// [`Error::Library`] if the library cannot normalise a text.
    pub fn engram_ids(&self) -> Result<Vec<u32>> {
        table(self.entries())
    }

    /// As [`Tokenizer::engram_ids`], from the bytes of a `tokenizer.json` whose markers may have
    /// other names than those of the V4 prompt.
    ///
    /// # Errors
    /// Those of [`Tokenizer::parse`], but for missing markers.
    pub fn engram_ids_of(json: &[u8]) -> Result<Vec<u32>> {
        table(&Self::entries_of(json)?)
    }
}

fn table(entries: &[Entry]) -> Result<Vec<u32>> {
    let mut ids: HashMap<String, u32> = HashMap::new();
    entries
        .iter()
        .map(|entry| {
            let next = ids.len() as u32;
            Ok(*ids.entry(key(entry)?).or_insert(next))
        })
        .collect()
}

/// What tokens that share a compressed id have in common.
fn key(entry: &Entry) -> Result<String> {
    let text = entry.text();
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return Ok(entry.spelling());
    }
    let folded = fold(&text)?;
    Ok(match folded.trim() {
        _ if folded == " " => folded,
        "" => text.into_owned(),
        key => key.to_owned(),
    })
}

/// Compatibility forms composed, then decomposed, without combining marks, in lower case, each run
/// of blanks as one space.
fn fold(text: &str) -> Result<String> {
    let mut form = NormalizedString::from(text);
    form.nfkc().nfd();
    StripAccents.normalize(&mut form).map_err(Error::Library)?;
    form.lowercase();
    let mut folded = String::with_capacity(form.get().len());
    for c in form.get().chars() {
        match c {
            ' ' | '\t' | '\r' | '\n' if folded.ends_with(' ') => {}
            ' ' | '\t' | '\r' | '\n' => folded.push(' '),
            c => folded.push(c),
        }
    }
    Ok(folded)
}
