//! Audio as the model hears it: one channel at 16 kHz, read a little at a time.

use std::fmt;
use std::io::{self, Cursor, Read, Seek};

use deepseek_core::Note;

use crate::decode::{Track, finite};
use crate::error::AudioError;
use crate::limits::Limits;
use crate::resample::Resampler;

/// One channel at 16 kHz. Memory does not grow with its length.
#[derive(Debug)]
pub struct Audio {
    source: Source,
    /// The rate of the last samples, and what they go through; gone when the source has ended.
    resampler: Option<(u32, Resampler)>,
    ended: bool,
    /// Samples of the source's rate, kept for their memory alone.
    raw: Vec<f32>,
    /// Samples that were made and not yet asked for.
    ready: Vec<f32>,
}

/// Where samples of one channel come from.
enum Source {
    Track(Box<Track>),
    Blocks(u32, Box<dyn Iterator<Item = io::Result<Vec<f32>>> + Send>),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Track(track) => track.fmt(f),
            Self::Blocks(rate, _) => write!(f, "Blocks({rate})"),
        }
    }
}

impl Source {
    /// Appends a block. Nothing is returned at the end, else the rate.
    fn read(&mut self, mono: &mut Vec<f32>) -> Result<Option<u32>, AudioError> {
        match self {
            Self::Track(track) => track.read(mono),
            Self::Blocks(rate, blocks) => {
                let Some(block) = blocks.next().transpose()? else {
                    return Ok(None);
                };
                mono.extend(block.into_iter().map(finite));
                Ok(Some(*rate))
            }
        }
    }
}

impl Audio {
    /// Opens a file of one of the [`FORMATS`](crate::FORMATS), told apart by content.
    /// The first audio track is read, its channels averaged.
    ///
    /// Packets that cannot be decoded are left out, up to
    /// [`FAILURES_MAX`](crate::limits::FAILURES_MAX) in a row. Silence that an encoder put before or
    /// behind is cut off where the format tells of it.
    ///
    /// # Errors
    /// [`AudioError`] for what is no audio, one that cannot be decoded, or one beyond the bounds.
    pub fn open(
        reader: impl Read + Seek + Send + Sync + 'static,
        limits: Limits,
    ) -> Result<Self, AudioError> {
        let track = Track::open(reader, limits)?;
        Ok(Self::of(Source::Track(track.into())))
    }

    /// The same for a file in memory.
    ///
    /// # Errors
    /// As [`Audio::open`].
    pub fn from_bytes(
        bytes: impl AsRef<[u8]> + Send + Sync + 'static,
        limits: Limits,
    ) -> Result<Self, AudioError> {
        Self::open(Cursor::new(bytes), limits)
    }

    /// Samples of one channel, `rate` a second, decoded elsewhere and held against bounds there. What
    /// is no number counts as silence.
    ///
    /// # Panics
    /// If the rate is zero.
    #[must_use]
    pub fn from_blocks(rate: u32, blocks: impl Iterator<Item = Vec<f32>> + Send + 'static) -> Self {
        Self::from_track(rate, blocks.map(Ok))
    }

    /// The same from where reading may fail.
    ///
    /// # Panics
    /// If the rate is zero.
    #[must_use]
    pub fn from_track(
        rate: u32,
        blocks: impl Iterator<Item = io::Result<Vec<f32>>> + Send + 'static,
    ) -> Self {
        assert!(rate > 0, "a rate of zero");
        Self::of(Source::Blocks(rate, Box::new(blocks)))
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            resampler: None,
            ended: false,
            raw: Vec::new(),
            ready: Vec::new(),
        }
    }

    /// Appends `count` samples, or as many as are left. After an error there are no more.
    ///
    /// # Errors
    /// [`AudioError`] for what turned out to be broken or too long.
    pub fn read(&mut self, count: usize, samples: &mut Vec<f32>) -> Result<(), AudioError> {
        while self.ready.len() < count && !self.ended {
            self.raw.clear();
            // A source that failed is not asked again.
            self.ended = true;
            let rate = self.source.read(&mut self.raw)?;
            self.ended = rate.is_none();
            if let Some((_, over)) = self.resampler.take_if(|(last, _)| Some(*last) != rate) {
                over.finish(&mut self.ready);
            }
            if let Some(rate) = rate {
                let new = || (rate, Resampler::new(rate));
                let (_, resampler) = self.resampler.get_or_insert_with(new);
                resampler.push(&self.raw, &mut self.ready);
            }
        }
        let count = count.min(self.ready.len());
        samples.extend(self.ready.drain(..count));
        Ok(())
    }

    /// Packets that could not be decoded and were left out, up to now.
    #[must_use]
    pub fn skipped(&self) -> usize {
        match &self.source {
            Source::Track(track) => track.skipped(),
            Source::Blocks(..) => 0,
        }
    }

    /// What there is to be told of it, as far as it was read.
    #[must_use]
    pub fn notes(&self) -> Vec<Note> {
        match &self.source {
            Source::Track(track) => track.notes(),
            Source::Blocks(..) => Vec::new(),
        }
    }
}
