//! Audio in pieces that are encoded one by one (`docs/models/audio-video.md` §2.4, §5).

use std::iter;

use deepseek_core::HostTensor;

use crate::audio::Audio;
use crate::config::{AudioConfig, HOP, Level};
use crate::error::AudioError;
use crate::mel::{self, LogMel, MARGIN};

/// A piece of audio, ready for the tower.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// Seconds of the audio before it.
    pub start: usize,
    /// What stands before it in a prompt, such as `<00:30>`; nothing if it is all of it.
    pub label: Option<String>,
    /// The features: `[frames, mels]`, 100 frames a second, the silence that fills it up included.
    pub features: HostTensor,
    /// How many of the tower's tokens count. Those of the silence stand behind them.
    pub tokens: usize,
}

/// What a token of a chunk stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The beginning of the chunk.
    Start,
    /// The next moment.
    Feature,
    /// The end of the chunk.
    End,
}

impl Chunk {
    /// What each token of its block stands for, in order: a start, its tokens, an end.
    pub fn layout(&self) -> impl Iterator<Item = Place> + use<> {
        iter::once(Place::Start)
            .chain(iter::repeat_n(Place::Feature, self.tokens))
            .chain(iter::once(Place::End))
    }
}

/// What stands before a chunk that begins after `seconds`: minutes and seconds, such as `<00:30>` or
/// `<102:00>`.
#[must_use]
pub fn label(seconds: usize) -> String {
    format!("<{:02}:{:02}>", seconds / 60, seconds % 60)
}

/// The chunks of audio, read as they are asked for. After an error there are no more.
#[derive(Debug)]
pub struct Chunks {
    audio: Audio,
    config: AudioConfig,
    mel: LogMel,
    level: Option<f32>,
    /// Samples from the margin before the next chunk on. With [`Level::Clip`] that margin is audio,
    /// else it is empty.
    held: Vec<f32>,
    before: usize,
    index: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The audio goes on.
    Open,
    /// All samples are in `held`.
    Ended,
    /// There is nothing more.
    Over,
}

impl Chunks {
    /// The chunks of what `open` opens: once, or twice where the loudest of the whole clip has to be
    /// known first.
    ///
    /// # Errors
    /// What `open` says and, if it is called twice, all that can be wrong with the audio.
    ///
    /// # Panics
    /// If the shape's chunks are no whole number of tokens, or have more frames than positions.
    pub fn new(
        config: &AudioConfig,
        mut open: impl FnMut() -> Result<Audio, AudioError>,
    ) -> Result<Self, AudioError> {
        assert!(config.chunk_tokens() > 0, "chunks without tokens");
        let level = match config.level {
            Level::Chunk => None,
            Level::Fixed(level) => Some(level),
            Level::Clip => Some(Self::over(open()?, config, None).loudest()?),
        };
        Ok(Self::over(open()?, config, level))
    }

    fn over(audio: Audio, config: &AudioConfig, level: Option<f32>) -> Self {
        Self {
            audio,
            config: *config,
            mel: LogMel::new(config.mels),
            level,
            held: Vec::new(),
            before: 0,
            index: 0,
            state: State::Open,
        }
    }

    /// Packets that could not be decoded and were left out, up to now.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.audio.skipped()
    }

    /// The level of the loudest band of all chunks.
    fn loudest(mut self) -> Result<f32, AudioError> {
        let mut loudest = f32::NEG_INFINITY;
        while let Some((energies, _)) = self.energies()? {
            loudest = loudest.max(mel::peak(&energies));
        }
        Ok(loudest)
    }

    fn chunk(&mut self) -> Result<Option<Chunk>, AudioError> {
        let start = self.index * self.config.chunk_seconds;
        let Some((energies, samples)) = self.energies()? else {
            return Ok(None);
        };
        let alone = start == 0 && self.state == State::Over;
        Ok(Some(Chunk {
            start,
            label: (!alone).then(|| label(start)),
            features: mel::compress(energies, self.level),
            tokens: self.config.tokens(samples as u64) as usize,
        }))
    }

    /// The energies of the next chunk, and how many samples of it are audio.
    fn energies(&mut self) -> Result<Option<(HostTensor, usize)>, AudioError> {
        if self.state == State::Over {
            return Ok(None);
        }
        let whole = self.config.chunk_samples();
        // One sample beyond the margin tells whether the audio goes on.
        let want = self.before + whole + MARGIN + 1;
        if self.state == State::Open {
            let missing = want - self.held.len();
            self.audio.read(missing, &mut self.held)?;
            if self.held.len() < want {
                self.state = State::Ended;
            }
        }
        let heard = (self.held.len() - self.before).min(whole);
        if heard == 0 {
            return Err(AudioError::NoSamples);
        }
        let padded = if self.config.pad_to_chunk {
            whole
        } else {
            heard.next_multiple_of(self.config.pool.samples())
        };
        let is_last = self.held.len() <= self.before + whole;
        let energies = self.mel.energies(&self.framed(padded, is_last));
        debug_assert_eq!(energies.shape()[0], padded / HOP);
        self.index += 1;
        if is_last {
            self.state = State::Over;
        } else {
            let margin = self.margin();
            self.held.drain(..self.before + whole - margin);
            self.before = margin;
        }
        Ok(Some((energies, heard)))
    }

    /// What frames of a chunk reach beyond its ends, of the audio itself.
    fn margin(&self) -> usize {
        if self.config.level == Level::Clip {
            MARGIN
        } else {
            0
        }
    }

    /// `padded` samples of the next chunk with their margins: the audio's own where frames run
    /// across the cuts, the chunk's mirror image where they do not and at the ends of the audio.
    fn framed(&self, padded: usize, is_last: bool) -> Vec<f32> {
        let mut samples: Vec<f32> = self
            .held
            .iter()
            .copied()
            .take(self.before + padded)
            .collect();
        samples.resize(self.before + padded, 0.0);
        let mut framed = mel::mirrored(&samples[self.before..]);
        framed[MARGIN - self.before..MARGIN].copy_from_slice(&samples[..self.before]);
        if self.margin() > 0 && !is_last {
            let (inside, next) = framed.split_at_mut(MARGIN + padded);
            debug_assert_eq!(inside.len(), MARGIN + padded);
            next.fill(0.0);
            let follows = &self.held[self.before + padded..];
            for (to, from) in next.iter_mut().zip(follows) {
                *to = *from;
            }
        }
        framed
    }
}

impl Iterator for Chunks {
    type Item = Result<Chunk, AudioError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.chunk().transpose();
        if matches!(next, Some(Err(_))) {
            self.state = State::Over;
        }
        next
    }
}
