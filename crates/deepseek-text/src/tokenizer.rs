//! Text to ids and back, with text from users and control tokens kept apart.
//!
//! The file is checked first (`tokenizer/file.rs`); the library that encodes is built from the
//! checked parts and never reads the file. It is given the base vocabulary alone, so that no text
//! can become an added token: those enter by id, where the encoder of the prompt says so.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use tokenizers::models::bpe::BPE;

use crate::error::{Error, Result};

mod alphabet;
mod file;
mod tiny;

/// The control tokens of the V4 and V4.1 prompts, by their text. Their ids are the tokenizer's affair.
pub mod marker {
    /// Begins a prompt.
    pub const BOS: &str = "<｜begin▁of▁sentence｜>";
    /// Ends an answer. The one token to stop at.
    pub const EOS: &str = "<｜end▁of▁sentence｜>";
    /// Fills a batch.
    pub const PAD: &str = "<｜▁pad▁｜>";
    /// Begins a user turn.
    pub const USER: &str = "<｜User｜>";
    /// Begins an answer.
    pub const ASSISTANT: &str = "<｜Assistant｜>";
    /// Begins reasoning.
    pub const THINK: &str = "<think>";
    /// Ends reasoning.
    pub const THINK_END: &str = "</think>";
    /// Stands within each tag of a tool call.
    pub const DSML: &str = "｜DSML｜";
    /// Begins a reminder.
    pub const LATEST_REMINDER: &str = "<｜latest_reminder｜>";
    /// Asks whether to search or to answer.
    pub const ACTION: &str = "<｜action｜>";
    /// Asks for search words.
    pub const QUERY: &str = "<｜query｜>";
    /// Asks for the authority needed.
    pub const AUTHORITY: &str = "<｜authority｜>";
    /// Asks for the field.
    pub const DOMAIN: &str = "<｜domain｜>";
    /// Asks for a title.
    pub const TITLE: &str = "<｜title｜>";
    /// Asks whether to read an address.
    pub const READ_URL: &str = "<｜read_url｜>";
    /// Begins a system text. V4.1 alone has it.
    pub const SYSTEM: &str = "<｜System｜>";
    /// Stands for an image. V4.1 alone has it.
    pub const IMAGE: &str = "<｜deepseek_image｜>";
    /// Stands for audio. Ours: in the released vocabulary the slot is reserved and has no such name.
    pub const AUDIO: &str = "<｜deepseek_audio｜>";
    /// Stands for a video. Ours, as that for audio.
    pub const VIDEO: &str = "<｜deepseek_video｜>";
    /// Point at places in an image: the control tokens that V4.1 may write in an answer, and that
    /// keep their meaning when the answer is shown to it again.
    pub const GROUNDING: [&str; 8] = [
        "<｜ref｜>",
        "<｜/ref｜>",
        "<｜box｜>",
        "<｜/box｜>",
        "<｜point｜>",
        "<｜/point｜>",
        "<｜polygon｜>",
        "<｜/polygon｜>",
    ];
}

/// A checkpoint's tokenizer. A clone is a handle.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

struct Inner {
    /// Knows the base vocabulary alone.
    plain: tokenizers::Tokenizer,
    /// By id, without a gap.
    entries: Vec<Entry>,
    /// Added tokens by text.
    added: HashMap<String, u32>,
    /// Finds added tokens in text that is trusted.
    finder: AhoCorasick,
    bos: u32,
    eos: u32,
}

/// What an id stands for.
pub(crate) struct Entry {
    bytes: Box<[u8]>,
    added: bool,
}

impl Entry {
    /// The text, with U+FFFD for bytes that are no UTF-8.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }

    /// The text as the file spells it: a base token in the byte alphabet, an added one as it is.
    pub(crate) fn spelling(&self) -> String {
        if self.added {
            return self.text().into_owned();
        }
        let letters = alphabet::letters();
        let letter = |byte: &u8| letters.get(usize::from(*byte));
        self.bytes.iter().filter_map(letter).collect()
    }
}

impl Tokenizer {
    /// The largest file that is read. The released one has 6.4 MB.
    pub const FILE_BYTES_MAX: u64 = 64 << 20;

    /// The longest text that is encoded between two markers. A million tokens of prose are about
    /// 5 MB. The bound is below the ten million steps after which the library's regular expressions
    /// give up with a panic; a run of blanks takes one step a blank.
    pub const TEXT_BYTES_MAX: usize = 8 << 20;

    /// Reads the bytes of a `tokenizer.json`: byte-level BPE, split as V4 splits or by GPT-2's
    /// own rule, with every byte spelled by a base token, ids without gaps, and markers for the
    /// begin and end of a sentence.
    ///
    /// # Errors
    /// Whatever the file says that does not hold together.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let bytes = u64::try_from(json.len()).unwrap_or(u64::MAX);
        if bytes > Self::FILE_BYTES_MAX {
            return Err(Error::TooLarge {
                bytes,
                max: Self::FILE_BYTES_MAX,
            });
        }
        Self::build(file::Checked::parse(json)?)
    }

    fn build(checked: file::Checked) -> Result<Self> {
        let entries = checked.entries()?;
        let file::Checked {
            base,
            merges,
            added,
            split,
            ignore_merges,
        } = checked;
        let model = BPE::builder()
            .vocab_and_merges(
                base.into_iter().collect::<tokenizers::models::bpe::Vocab>(),
                merges,
            )
            .ignore_merges(ignore_merges)
            .build()
            .map_err(Error::Library)?;
        let mut plain = tokenizers::Tokenizer::new(model);
        plain.with_pre_tokenizer(Some(split.build().map_err(Error::Library)?));

        let (texts, ids): (Vec<&String>, Vec<u32>) = added.iter().map(|(t, id)| (t, *id)).unzip();
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&texts)
            .map_err(|error| Error::Library(error.into()))?;
        let added: HashMap<String, u32> = texts.into_iter().cloned().zip(ids).collect();
        let need = |marker: &str| {
            let found = added.get(marker).copied();
            found.ok_or_else(|| Error::MissingMarker {
                marker: marker.to_owned(),
            })
        };
        let (bos, eos) = (need(marker::BOS)?, need(marker::EOS)?);
        Ok(Self {
            inner: Arc::new(Inner {
                plain,
                entries,
                added,
                finder,
                bos,
                eos,
            }),
        })
    }

    /// A `tokenizer.json` for a model so small that no real vocabulary fits: 256 bytes, the
    /// markers of the V4 prompt (begin of sentence 0, end 1, pad 2), and pairs and triples of
    /// small letters for the ids that are left, so that every id has a text.
    ///
    /// # Errors
    /// [`Error::TinySize`] if the markers do not fit or the letters do not suffice.
    pub fn tiny_json(vocab_size: usize) -> Result<String> {
        tiny::json(vocab_size, &[])
    }

    /// As [`Tokenizer::tiny_json`], with the markers of the V4.1 prompt behind those of V4's.
    ///
    /// # Errors
    /// [`Error::TinySize`].
    pub fn tiny_v41_json(vocab_size: usize) -> Result<String> {
        let markers = [marker::SYSTEM, marker::IMAGE].into_iter();
        tiny::json(
            vocab_size,
            &markers
                .chain(marker::GROUNDING)
                .chain([marker::AUDIO, marker::VIDEO])
                .collect::<Vec<_>>(),
        )
    }

    /// How many ids there are; every id below has a text.
    pub fn vocab_size(&self) -> usize {
        self.inner.entries.len()
    }

    /// The id that begins a prompt.
    pub fn bos(&self) -> u32 {
        self.inner.bos
    }

    /// The id that ends an answer.
    pub fn eos(&self) -> u32 {
        self.inner.eos
    }

    /// The id of a control token, by its text.
    ///
    /// # Errors
    /// [`Error::MissingMarker`]: this checkpoint has none of that text.
    pub fn marker(&self, text: &str) -> Result<u32> {
        let found = self.inner.added.get(text).copied();
        found.ok_or_else(|| Error::MissingMarker {
            marker: text.to_owned(),
        })
    }

    /// The id that stands for a medium by the text of its marker. Released vocabularies have a marker
    /// for images alone: there it stands for every medium.
    fn placeholder(&self, text: &str) -> Result<u32> {
        match text {
            marker::AUDIO | marker::VIDEO => {
                self.marker(text).or_else(|_| self.marker(marker::IMAGE))
            }
            text => self.marker(text),
        }
    }

    /// The ids that [`Tokenizer::placeholder`] gives to media.
    pub(crate) fn placeholders(&self) -> Result<[u32; 3]> {
        Ok([
            self.placeholder(marker::IMAGE)?,
            self.placeholder(marker::AUDIO)?,
            self.placeholder(marker::VIDEO)?,
        ])
    }

    /// Whether the id is an added token, which no text becomes.
    pub fn is_added(&self, id: u32) -> bool {
        self.entry(id).is_some_and(|entry| entry.added)
    }

    /// Ids of text from anyone. None of them is a control token, whatever the text spells.
    ///
    /// # Errors
    /// [`Error::TextTooLong`], or the library's own.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        if text.len() > Self::TEXT_BYTES_MAX {
            return Err(Error::TextTooLong {
                bytes: text.len(),
                max: Self::TEXT_BYTES_MAX,
            });
        }
        let encoding = self
            .inner
            .plain
            .encode_fast(text, false)
            .map_err(Error::Library)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Ids of text in which spelled added tokens count as such: for text that we wrote, or to
    /// compare with other tools. Never for text from users.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_trusted(&self, text: &str) -> Result<Vec<u32>> {
        let found: Vec<_> = self
            .inner
            .finder
            .find_iter(text)
            .map(|found| found.range())
            .collect();
        self.encode_ranges(text, &found)
    }

    /// Ids of text whose `markers`, and nothing else, are control tokens. The ranges are in order,
    /// do not overlap and lie on characters.
    pub(crate) fn encode_ranges(&self, text: &str, markers: &[Range<usize>]) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        let mut from = 0;
        for range in markers {
            let before = text.get(from..range.start).unwrap_or_default();
            ids.extend(self.encode(before)?);
            ids.push(self.placeholder(text.get(range.clone()).unwrap_or_default())?);
            from = range.end;
        }
        ids.extend(self.encode(text.get(from..).unwrap_or_default())?);
        Ok(ids)
    }

    /// The text of ids, markers spelled out. Bytes that are no UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let mut bytes = Vec::new();
        for &id in ids {
            bytes.extend_from_slice(self.bytes(id)?);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The bytes of one id, which may be a part of a character.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn bytes(&self, id: u32) -> Result<&[u8]> {
        let unknown = Error::UnknownId {
            id,
            size: self.vocab_size(),
        };
        self.entry(id).map(|entry| &*entry.bytes).ok_or(unknown)
    }

    /// What each id stands for, by id.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.inner.entries
    }

    /// What each id of a file stands for, by id, whatever its markers are called.
    pub(crate) fn entries_of(json: &[u8]) -> Result<Vec<Entry>> {
        file::Checked::parse(json)?.entries()
    }

    fn entry(&self, id: u32) -> Option<&Entry> {
        self.inner.entries.get(usize::try_from(id).ok()?)
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .field("added", &self.inner.added.len())
            .finish_non_exhaustive()
    }
}
