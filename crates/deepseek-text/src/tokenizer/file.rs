//! `tokenizer.json`, read as a claim and checked before anything is built from it.
//!
//! The library's own reader takes any model with any regular expression and panics on some of them
//! (a merge longer than every token, a pattern that never ends). So only the form of the released
//! checkpoints is read here: byte-level BPE behind known patterns.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;

use super::{Entry, alphabet};
use crate::error::{Error, Result};

/// How V4 cuts text before BPE: numbers, then Chinese and Japanese, then the rest.
pub(super) const SPLITS: [&str; 3] = [
    r"\p{N}{1,3}",
    "[一-龥\u{3040}-ゟ゠-ヿ]+",
    concat!(
        r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"##,
        "|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+",
        "| ?[\\p{P}\\p{S}]+[\r\n]*",
        "|\\s*[\r\n]+",
        r"|\s+(?!\S)|\s+",
    ),
];

/// No vocabulary comes near; a file of that many is no tokenizer.
const TOKENS_MAX: usize = 1 << 24;

/// The file, proven to hold together.
#[derive(Debug)]
pub(super) struct Checked {
    /// Base tokens by text; none of them is an added one.
    pub(super) base: HashMap<String, u32>,
    /// Pairs of base tokens whose union is a base token, most urgent first.
    pub(super) merges: Vec<(String, String)>,
    /// Added tokens by text.
    pub(super) added: HashMap<String, u32>,
    pub(super) split: SplitRule,
    pub(super) ignore_merges: bool,
}

/// How text is cut before BPE.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SplitRule {
    /// The patterns of V4, all or some, in the order of the file.
    Known(Vec<&'static str>),
    /// The rule built into the byte-level step, as GPT-2 had it.
    Gpt2,
}

impl Checked {
    pub(super) fn parse(json: &[u8]) -> Result<Self> {
        let file: Wire = serde_json::from_slice(json).map_err(Error::Json)?;
        if !is_empty_step(&file.normalizer, "normalizers") {
            return Err(unsupported("normalizer", &file.normalizer, "none"));
        }
        let decoder = file
            .decoder
            .as_ref()
            .and_then(|decoder| decoder.get("type"));
        if decoder.and_then(Value::as_str) != Some("ByteLevel") {
            return Err(unsupported("decoder", &file.decoder, "ByteLevel"));
        }
        file.model.check()?;
        let split = SplitRule::parse(&file.pre_tokenizer)?;
        let added = added_by_text(file.added_tokens)?;
        let base = base_by_text(file.model.vocab.0, &added)?;
        let merges = pairs(file.model.merges, &base)?;
        let ignore_merges = file.model.ignore_merges.unwrap_or(false);
        Ok(Self {
            base,
            merges,
            added,
            split,
            ignore_merges,
        })
    }

    /// What each id stands for, without gaps.
    pub(super) fn entries(&self) -> Result<Vec<Entry>> {
        let count = self.base.len().saturating_add(self.added.len());
        if count == 0 || count > TOKENS_MAX {
            return Err(Error::Count {
                found: count,
                max: TOKENS_MAX,
            });
        }
        let letters = alphabet::letters();
        let bytes: HashMap<char, u8> = letters.iter().copied().zip(0..=u8::MAX).collect();
        if let Some((_, byte)) = letters
            .iter()
            .zip(0..=u8::MAX)
            .find(|(l, _)| !self.base.contains_key(&l.to_string()))
        {
            return Err(Error::MissingByte { byte });
        }
        let mut slots: Vec<Option<(&String, Entry)>> = Vec::new();
        slots.resize_with(count, || None);
        let base = self.base.iter().map(|(text, &id)| (text, id, false));
        let added = self.added.iter().map(|(text, &id)| (text, id, true));
        for (token, id, added) in base.chain(added) {
            let spelled: Option<Box<[u8]>> = if added {
                None
            } else {
                token.chars().map(|c| bytes.get(&c).copied()).collect()
            };
            let bytes = match spelled {
                Some(bytes) => bytes,
                None if added => token.as_bytes().into(),
                None => {
                    return Err(Error::Alphabet {
                        token: token.clone(),
                    });
                }
            };
            let slot = usize::try_from(id)
                .ok()
                .and_then(|index| slots.get_mut(index));
            let slot = slot.ok_or_else(|| Error::Gap {
                token: token.clone(),
                id,
                count,
            })?;
            if let Some((first, _)) = slot {
                let (first, second) = (first.to_string(), token.clone());
                return Err(Error::DoubledId { id, first, second });
            }
            *slot = Some((token, Entry { bytes, added }));
        }
        // As many distinct ids below `count` as there are slots: none is empty.
        Ok(slots
            .into_iter()
            .flatten()
            .map(|(_, entry)| entry)
            .collect())
    }
}

impl SplitRule {
    fn parse(step: &Option<Value>) -> Result<Self> {
        const WANT: &str = "the splits of V4 and a byte level";
        let bad = || unsupported("pre_tokenizer", step, WANT);
        let one = std::slice::from_ref(step.as_ref().ok_or_else(bad)?);
        let steps = match step.as_ref().and_then(|step| step.get("pretokenizers")) {
            Some(list) => list.as_array().ok_or_else(bad)?.as_slice(),
            None => one,
        };
        let (last, splits) = steps.split_last().ok_or_else(bad)?;
        let last = ByteLevelWire::deserialize(last).map_err(Error::Json)?;
        if last.r#type != "ByteLevel" || last.add_prefix_space {
            return Err(bad());
        }
        if last.use_regex.unwrap_or(true) {
            return if splits.is_empty() {
                Ok(Self::Gpt2)
            } else {
                Err(bad())
            };
        }
        let known = splits.iter().map(|split| {
            let split = SplitWire::deserialize(split).map_err(Error::Json)?;
            let found = SPLITS
                .into_iter()
                .find(|known| *known == split.pattern.regex);
            match found {
                Some(known) if split.is_isolating() => Ok(known),
                _ => Err(bad()),
            }
        });
        Ok(Self::Known(known.collect::<Result<_>>()?))
    }

    /// The step as the library runs it.
    pub(super) fn build(self) -> tokenizers::Result<Sequence> {
        let patterns = match self {
            Self::Known(patterns) => patterns,
            Self::Gpt2 => {
                return Ok(Sequence::new(vec![
                    ByteLevel::new(false, true, true).into(),
                ]));
            }
        };
        let mut steps: Vec<PreTokenizerWrapper> = Vec::new();
        for pattern in patterns {
            let pattern = SplitPattern::Regex(pattern.to_owned());
            steps.push(Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?.into());
        }
        steps.push(ByteLevel::new(false, true, false).into());
        Ok(Sequence::new(steps))
    }
}

fn added_by_text(tokens: Vec<AddedWire>) -> Result<HashMap<String, u32>> {
    let mut added = HashMap::with_capacity(tokens.len());
    for AddedWire { id, content } in tokens {
        if content.is_empty() {
            return Err(Error::EmptyToken { id });
        }
        match added.entry(content) {
            Slot::Vacant(slot) => drop(slot.insert(id)),
            Slot::Occupied(slot) => {
                let (token, first) = (slot.key().clone(), *slot.get());
                return Err(Error::DoubledToken {
                    token,
                    first,
                    second: id,
                });
            }
        }
    }
    Ok(added)
}

/// The base vocabulary without the added tokens, some of which files name twice.
fn base_by_text(
    tokens: Vec<(String, u32)>,
    added: &HashMap<String, u32>,
) -> Result<HashMap<String, u32>> {
    let mut base = HashMap::with_capacity(tokens.len());
    for (token, id) in tokens {
        if token.is_empty() {
            return Err(Error::EmptyToken { id });
        }
        let known = added.get(&token).filter(|&&first| first != id);
        if let Some(&first) = known.or_else(|| base.get(&token)) {
            return Err(Error::DoubledToken {
                token,
                first,
                second: id,
            });
        }
        if !added.contains_key(&token) {
            base.insert(token, id);
        }
    }
    Ok(base)
}

fn pairs(merges: Vec<MergeWire>, base: &HashMap<String, u32>) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::with_capacity(merges.len());
    for (index, merge) in merges.into_iter().enumerate() {
        let (left, right) = match merge {
            MergeWire::Pair(left, right) => (left, right),
            MergeWire::Line(line) => match line.split_once(' ') {
                Some((left, right)) => (left.to_owned(), right.to_owned()),
                None => return Err(Error::MergeForm { index, found: line }),
            },
        };
        let union = format!("{left}{right}");
        let missing = [&left, &right, &union]
            .into_iter()
            .find(|token| !base.contains_key(*token));
        if let Some(missing) = missing.cloned() {
            return Err(Error::Merge {
                index,
                left,
                right,
                missing,
            });
        }
        pairs.push((left, right));
    }
    Ok(pairs)
}

fn unsupported(part: &'static str, found: &Option<Value>, expected: &'static str) -> Error {
    let found = found.as_ref().map_or_else(|| "missing".to_owned(), brief);
    Error::Unsupported {
        part,
        found,
        expected,
    }
}

/// The first characters of a value: enough to find it by.
fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn is_empty_step(step: &Option<Value>, list: &str) -> bool {
    let Some(step) = step else { return true };
    step.get(list)
        .and_then(Value::as_array)
        .is_some_and(Vec::is_empty)
}

/// The file as it stands. What only concerns other uses (truncation, padding, templates) is
/// passed over: the prompt encoder writes each token of a prompt itself.
#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    added_tokens: Vec<AddedWire>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    decoder: Option<Value>,
    model: ModelWire,
}

#[derive(Deserialize)]
struct AddedWire {
    id: u32,
    content: String,
}

#[derive(Deserialize)]
struct ModelWire {
    r#type: Option<String>,
    dropout: Option<f32>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    byte_fallback: Option<bool>,
    ignore_merges: Option<bool>,
    vocab: VocabWire,
    merges: Vec<MergeWire>,
}

impl ModelWire {
    fn check(&self) -> Result<()> {
        let affix = |affix: &Option<String>| affix.as_ref().is_some_and(|affix| !affix.is_empty());
        let refused = [
            (
                "model.type",
                self.r#type.as_deref().is_some_and(|kind| kind != "BPE"),
                "BPE",
            ),
            (
                "model.dropout",
                self.dropout.is_some_and(|dropout| dropout != 0.0),
                "none",
            ),
            ("model.unk_token", self.unk_token.is_some(), "none"),
            (
                "model.continuing_subword_prefix",
                affix(&self.continuing_subword_prefix),
                "none",
            ),
            (
                "model.end_of_word_suffix",
                affix(&self.end_of_word_suffix),
                "none",
            ),
            (
                "model.byte_fallback",
                self.byte_fallback == Some(true),
                "false",
            ),
        ];
        match refused.into_iter().find(|(_, refused, _)| *refused) {
            Some((part, _, expected)) => Err(Error::Unsupported {
                part,
                found: "another".to_owned(),
                expected,
            }),
            None => Ok(()),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum MergeWire {
    Pair(String, String),
    Line(String),
}

#[derive(Deserialize)]
struct ByteLevelWire {
    r#type: String,
    add_prefix_space: bool,
    use_regex: Option<bool>,
}

#[derive(Deserialize)]
struct SplitWire {
    r#type: String,
    pattern: PatternWire,
    behavior: String,
    #[serde(default)]
    invert: bool,
}

impl SplitWire {
    fn is_isolating(&self) -> bool {
        self.r#type == "Split" && self.behavior == "Isolated" && !self.invert
    }
}

#[derive(Deserialize)]
struct PatternWire {
    #[serde(rename = "Regex")]
    regex: String,
}

/// The base vocabulary as a list, so that a token named twice is seen.
struct VocabWire(Vec<(String, u32)>);

impl<'de> Deserialize<'de> for VocabWire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(VocabVisitor)
    }
}

struct VocabVisitor;

impl<'de> Visitor<'de> for VocabVisitor {
    type Value = VocabWire;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tokens and ids")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<VocabWire, A::Error> {
        let mut tokens = Vec::new();
        while let Some(entry) = map.next_entry()? {
            tokens.push(entry);
        }
        Ok(VocabWire(tokens))
    }
}
