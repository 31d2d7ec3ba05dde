//! A kept place as plain data, and as bytes: what a later process goes on from.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use std::io::{self, Read, Write};

use deepseek_model::limits::POSITIONS_MAX;
use deepseek_model::saved::{Binding, Reader, SavedError, Writer};
use deepseek_model::{Extent, SequenceState};

use crate::media_source::MediaKey;
use crate::places::{KeptSpan, KeptText};

/// What a request left in its place, as data: the ids and media that were read, and what the decoder
/// remembers of them. Once an engine has taken it in, prompts go on from it as from any place that was kept.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedPlace {
    pub(crate) text: KeptText,
    /// All of the sequence, which stands behind the text.
    pub(crate) whole: SequenceState,
    /// Its tail where its prompt ended.
    pub(crate) tail: Option<SequenceState>,
}

impl SavedPlace {
    /// Ids that need not be run.
    #[must_use]
    pub fn tokens(&self) -> u32 {
        self.whole.position()
    }

    /// Bytes of its rows.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let tail = self.tail.as_ref().map_or(0, SequenceState::bytes);
        self.whole.bytes().saturating_add(tail)
    }

    /// Writes it, bound to what decides its numbers. Many small pieces are written: `out` has a buffer.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write(&self, out: &mut dyn Write, binding: &Binding) -> io::Result<()> {
        let mut to = Writer::begin(out, binding)?;
        to.numbers(&self.text.ids)?;
        to.count(self.text.media.len())?;
        for span in &self.text.media {
            for place in [span.at, span.end, span.from] {
                to.count(place)?;
            }
            to.flag(span.key.is_some())?;
            if let Some(MediaKey(key)) = &span.key {
                to.bytes(key)?;
            }
        }
        self.whole.write(&mut to)?;
        to.flag(self.tail.is_some())?;
        if let Some(tail) = &self.tail {
            tail.write(&mut to)?;
        }
        to.end()
    }

    /// Reads what was written with the same binding. `input` has `bytes` bytes, and no more memory is
    /// taken than that.
    ///
    /// # Errors
    /// Bytes that are something else, of another binding, or not what was written.
    pub fn read(input: &mut dyn Read, bytes: u64, binding: &Binding) -> Result<Self, SavedError> {
        let mut from = Reader::begin(input, bytes, binding)?;
        let ids = from.numbers("its ids", POSITIONS_MAX)?;
        let mut media = Vec::new();
        let mut free = 0;
        for _ in 0..from.count("its media", ids.len())? {
            let span = span(&mut from)?;
            if span.at < free || span.end <= span.at || span.end > ids.len() {
                return Err(SavedError::Broken { what: "its media" });
            }
            free = span.end;
            media.push(span);
        }
        let whole = SequenceState::read(&mut from)?;
        let tail = if from.flag("its tail")? {
            Some(SequenceState::read(&mut from)?)
        } else {
            None
        };
        from.end()?;
        let stands = usize::try_from(whole.position()).is_ok_and(|at| at == ids.len());
        if !stands || ids.is_empty() || whole.extent() != Extent::Whole {
            return Err(SavedError::Broken {
                what: "its position",
            });
        }
        let is_before = |tail: &SequenceState| {
            let position = tail.position();
            tail.extent() == Extent::Tail && 0 < position && position <= whole.position()
        };
        if !tail.as_ref().is_none_or(is_before) {
            return Err(SavedError::Broken { what: "its tail" });
        }
        let text = KeptText { ids, media };
        Ok(Self { text, whole, tail })
    }
}

fn span(from: &mut Reader<'_>) -> Result<KeptSpan, SavedError> {
    let what = "its media";
    Ok(KeptSpan {
        at: from.count(what, POSITIONS_MAX)?,
        end: from.count(what, POSITIONS_MAX)?,
        from: from.count(what, POSITIONS_MAX)?,
        key: if from.flag(what)? {
            Some(MediaKey(from.array(what)?))
        } else {
            None
        },
    })
}
