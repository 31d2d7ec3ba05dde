//! Audio whose length is known, and whose samples are read while its prompt is run.

use std::fmt;
use std::sync::Arc;

use deepseek_audio::{Audio, AudioConfig, AudioError, Chunks, Note};
use deepseek_engine::MediaKey;
use deepseek_model::Media;

use crate::media_key::Hasher;

/// Samples that are read at a time where they are merely counted.
const COUNTED_AT_ONCE: usize = 1 << 16;

/// Opens audio at its beginning, as often as it is asked to.
type Open = dyn Fn() -> Result<Audio, AudioError> + Send + Sync;

/// Audio whose length is known and whose samples are not: they are read, chunk after chunk, when a
/// prompt gets there. Its memory does not grow with its length.
pub struct AudioSource {
    shape: AudioConfig,
    samples: u64,
    key: MediaKey,
    notes: Vec<Note>,
    open: Box<Open>,
}

impl AudioSource {
    /// Reads the audio once, to count its samples, because no container can be trusted to tell. `open`
    /// opens it at its beginning.
    ///
    /// # Errors
    /// All that can be wrong with the audio.
    pub fn new(
        shape: AudioConfig,
        open: impl Fn() -> Result<Audio, AudioError> + Send + Sync + 'static,
    ) -> Result<Self, AudioError> {
        let (samples, key, notes) = count(open()?)?;
        if samples == 0 {
            return Err(AudioError::NoSamples);
        }
        Ok(Self {
            shape,
            samples,
            key,
            notes,
            open: Box::new(open),
        })
    }

    /// How the model hears it.
    #[must_use]
    pub fn shape(&self) -> &AudioConfig {
        &self.shape
    }

    /// What there is to be told of it.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// A number that other samples do not have.
    pub(crate) fn key(&self) -> MediaKey {
        self.key
    }

    /// How many chunks it has.
    #[must_use]
    pub fn chunks(&self) -> usize {
        let whole = self.shape.chunk_samples() as u64;
        self.samples.div_ceil(whole) as usize
    }

    /// Rows of all chunks, delimiters aside.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.shape.tokens(self.samples) as usize
    }

    /// Rows of one chunk, delimiters aside, if there is such a one.
    #[must_use]
    pub fn chunk_tokens(&self, number: usize) -> Option<usize> {
        let whole = self.shape.chunk_samples() as u64;
        let before = whole * number as u64;
        let left = self.samples.checked_sub(before).filter(|left| *left > 0)?;
        Some(self.shape.tokens(left.min(whole)) as usize)
    }

    /// Rows of one chunk, delimiters among them, if there is such a one.
    #[must_use]
    pub fn chunk_rows(&self, number: usize) -> Option<usize> {
        self.chunk_tokens(number).map(|tokens| tokens + 2)
    }

    /// Begins to read.
    fn read(&self) -> Result<Chunks, AudioError> {
        Chunks::new(&self.shape, || (self.open)())
    }
}

impl fmt::Debug for AudioSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AudioSource({} samples)", self.samples)
    }
}

/// The samples of audio, their key, and what there is to be told of it.
fn count(mut audio: Audio) -> Result<(u64, MediaKey, Vec<Note>), AudioError> {
    let mut samples = 0;
    let mut key = Hasher::default();
    let mut block = Vec::new();
    loop {
        block.clear();
        audio.read(COUNTED_AT_ONCE, &mut block)?;
        samples += block.len() as u64;
        key.numbers(&block);
        if block.len() < COUNTED_AT_ONCE {
            return Ok((samples, key.finish(), audio.notes()));
        }
    }
}

/// Why audio broke off while its prompt was run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioSourceError {
    /// It cannot be read, or no longer.
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// It is another one than when it was counted.
    #[error("audio: chunk {number} has {found} tokens, {counted} when the prompt was made")]
    Changed {
        /// The chunk.
        number: usize,
        /// Its tokens now.
        found: usize,
        /// Its tokens before.
        counted: usize,
    },
    /// The system has no thread to read it on.
    #[error("audio: no thread to read it")]
    Thread(#[source] std::io::Error),
    /// Its reader has gone, which is a bug.
    #[error("audio: its reader broke off")]
    Gone,
}

/// Audio that is being read, chunk after chunk.
pub(crate) struct ChunkReader {
    source: Arc<AudioSource>,
    chunks: Option<Chunks>,
    next: usize,
}

impl ChunkReader {
    pub(crate) fn new(source: Arc<AudioSource>) -> Self {
        Self {
            source,
            chunks: None,
            next: 0,
        }
    }

    /// The chunk of this number. Those behind the one before it are read over; of an earlier one, the
    /// audio is read anew.
    pub(crate) fn read(&mut self, number: usize) -> Result<Media, AudioSourceError> {
        if number < self.next {
            (self.chunks, self.next) = (None, 0);
        }
        while self.next < number {
            self.next()?;
        }
        self.next()
    }

    /// The next chunk. The one that was counted last must be the last.
    fn next(&mut self) -> Result<Media, AudioSourceError> {
        let chunks = match &mut self.chunks {
            Some(chunks) => chunks,
            None => self.chunks.insert(self.source.read()?),
        };
        let (number, mut found) = (self.next, 0);
        self.next += 1;
        let chunk = chunks.next().transpose()?;
        let counted = self.source.chunk_tokens(number).unwrap_or_default();
        if let Some(chunk) = chunk {
            found = chunk.tokens;
            if self.next == self.source.chunks()
                && let Some(more) = chunks.next().transpose()?
            {
                found += more.tokens;
            }
            if found == counted {
                return Ok(Media::Audio(chunk));
            }
        }
        Err(AudioSourceError::Changed {
            number,
            found,
            counted,
        })
    }
}
