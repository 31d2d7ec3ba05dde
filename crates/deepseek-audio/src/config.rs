//! The numbers that shape audio and its tower.

/// Samples a second of everything behind the resampler.
pub const RATE: u32 = 16_000;
/// Samples from one frame of the features to the next.
pub const HOP: usize = 160;

/// The numbers that shape audio and its tower (`docs/models/audio-video.md` §3, `audio_config`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AudioConfig {
    /// Blocks of the tower.
    pub layers: usize,
    /// Channels of a frame within the tower.
    pub hidden: usize,
    /// Attention heads.
    pub heads: usize,
    /// Channels inside a block's feed-forward network.
    pub inner: usize,
    /// Bands of the features.
    pub mels: usize,
    /// Rows of the table of positions: the most frames of a chunk, after their number is halved.
    pub positions: usize,
    /// Seconds that are encoded on their own.
    pub chunk_seconds: usize,
    /// Whether the last chunk is filled with silence.
    pub pad_to_chunk: bool,
    /// Whether the tokens of that silence are kept.
    pub keep_padding_tokens: bool,
    /// What the features are measured against.
    pub level: Level,
    /// How frames become tokens.
    pub pool: Pool,
    /// Whether the projector must have biases. Those that are there are applied in any case.
    pub projector_bias: bool,
    /// Channels of the text model.
    pub out: usize,
}

/// The level from which features reach down by eight powers of ten (`log_mel_max`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Level {
    /// The largest of the chunk, its silence included.
    Chunk,
    /// The largest of the whole clip, whose features are taken before it is cut. Reads it twice.
    Clip,
    /// Always the same, so that a stream gives what its whole gives.
    Fixed(f32),
}

/// How the tower's frames, 50 a second, become tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// Four frames one behind the other: 12.5 tokens a second.
    Stack4,
    /// The mean of two frames before the final norm: 25 tokens a second.
    Avg2,
    /// Eight frames one behind the other: 6.25 tokens a second.
    Stack8,
}

impl Pool {
    /// The tower's frames that one token stands for.
    #[must_use]
    pub fn frames(self) -> usize {
        match self {
            Self::Avg2 => 2,
            Self::Stack4 => 4,
            Self::Stack8 => 8,
        }
    }

    /// The samples that one token stands for.
    #[must_use]
    pub fn samples(self) -> usize {
        // The second convolution takes every other frame of the features.
        self.frames() * 2 * HOP
    }

    /// Frames that stand one behind the other where the projector reads.
    #[must_use]
    pub fn stack(self) -> usize {
        match self {
            Self::Avg2 => 1,
            Self::Stack4 | Self::Stack8 => self.frames(),
        }
    }
}

impl AudioConfig {
    /// Samples of a whole chunk.
    #[must_use]
    pub fn chunk_samples(&self) -> usize {
        self.chunk_seconds * RATE as usize
    }

    /// Tokens of a whole chunk.
    ///
    /// # Panics
    /// If a chunk is no whole number of tokens, or has more frames than there are positions.
    #[must_use]
    pub fn chunk_tokens(&self) -> usize {
        let (samples, each) = (self.chunk_samples(), self.pool.samples());
        assert!(
            samples > 0 && samples.is_multiple_of(each),
            "chunks of {samples} samples, tokens of {each}"
        );
        let frames = samples / (2 * HOP);
        assert!(
            frames <= self.positions,
            "{frames} frames a chunk, {} positions",
            self.positions
        );
        samples / each
    }

    /// Tokens of a clip of `samples`, delimiters aside (`docs/models/audio-video.md` §2.4).
    #[must_use]
    pub fn tokens(&self, samples: u64) -> u64 {
        let each = self.pool.samples() as u64;
        if self.pad_to_chunk && self.keep_padding_tokens {
            let chunk = self.chunk_samples() as u64;
            samples.div_ceil(chunk) * (chunk / each)
        } else {
            samples.div_ceil(each)
        }
    }
}
