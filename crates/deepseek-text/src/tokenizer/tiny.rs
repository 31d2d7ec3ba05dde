//! A vocabulary for models of a few hundred ids.

use serde_json::{Map, Value, json};

use super::{alphabet, file, marker};
use crate::error::{Error, Result};

/// Stand before the bytes, as in the released vocabulary.
const HEAD: [&str; 3] = [marker::BOS, marker::EOS, marker::PAD];

/// Stand after the bytes.
const TAIL: [&str; 12] = [
    marker::USER,
    marker::ASSISTANT,
    marker::THINK,
    marker::THINK_END,
    marker::DSML,
    marker::LATEST_REMINDER,
    marker::ACTION,
    marker::QUERY,
    marker::AUTHORITY,
    marker::DOMAIN,
    marker::TITLE,
    marker::READ_URL,
];

const TAIL_AT: usize = HEAD.len() + 256;
const V4_MIN: usize = TAIL_AT + TAIL.len();
const PAIRS_AND_TRIPLES: usize = 26 * 26 + 26 * 26 * 26;

/// A vocabulary of `size` ids; `more` markers stand behind those of V4.
pub(super) fn json(size: usize, more: &[&str]) -> Result<String> {
    let min = V4_MIN.saturating_add(more.len());
    let max = min.saturating_add(PAIRS_AND_TRIPLES);
    if !(min..=max).contains(&size) {
        return Err(Error::TinySize { size, min, max });
    }
    let mut vocab = Map::new();
    let bytes = alphabet::letters().into_iter().map(String::from);
    vocab.extend(
        bytes
            .zip(HEAD.len()..)
            .map(|(letter, id)| (letter, json!(id))),
    );
    let mut merges = Vec::new();
    for ((left, right), id) in pairs().chain(triples()).zip(min..size) {
        vocab.insert(format!("{left}{right}"), json!(id));
        merges.push(json!([left, right]));
    }
    let head = HEAD.into_iter().zip(0..);
    let tail = TAIL.iter().chain(more).copied().zip(TAIL_AT..);
    let added: Vec<Value> = head.chain(tail).map(|(text, id)| added(text, id)).collect();
    let mut splits: Vec<Value> = file::SPLITS.iter().map(|pattern| split(pattern)).collect();
    splits.push(byte_level());
    let file = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": splits },
        "post_processor": null,
        "decoder": byte_level(),
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "vocab": vocab,
            "merges": merges,
        },
    });
    Ok(file.to_string())
}

fn letters() -> impl Iterator<Item = String> + Clone {
    ('a'..='z').map(String::from)
}

fn pairs() -> impl Iterator<Item = (String, String)> {
    letters().flat_map(|left| letters().map(move |right| (left.clone(), right)))
}

fn triples() -> impl Iterator<Item = (String, String)> {
    pairs().flat_map(|(a, b)| letters().map(move |right| (format!("{a}{b}"), right)))
}

fn added(text: &str, id: usize) -> Value {
    json!({
        "id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true,
    })
}

fn split(pattern: &str) -> Value {
    json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false })
}

fn byte_level() -> Value {
    json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false })
}
