//! Samples that are stored as they are.

use std::{io, vec};

use crate::limits::{
    AUDIO_BLOCK_BYTES, AUDIO_CHANNELS_MAX, AUDIO_RATE_MAX, SILENCE_SAMPLES, VIDEO_SECONDS_MAX,
};

use super::super::error::VideoError;
use super::super::track::Track;
use super::avi::Run;
use super::input::{Input, Source};

/// How samples are stored: what a `WAVEFORMATEX` says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Samples {
    rate: u32,
    channels: usize,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    U8,
    I16,
    I24,
    I32,
    F32,
    F64,
}

impl Samples {
    /// Reads a `WAVEFORMATEX`, or says why audio of this format is not read.
    pub(super) fn parse(format: &[u8]) -> Result<Self, String> {
        let (words, _) = format.as_chunks::<2>();
        let word = |index: usize| words.get(index).copied().map(u16::from_le_bytes);
        let (Some(tag), Some(channels), Some(low), Some(high), Some(block)) =
            (word(0), word(1), word(2), word(3), word(6))
        else {
            return Err("an audio format of less than 14 bytes".to_owned());
        };
        let bits = word(7).unwrap_or(0);
        let rate = u32::from(high).wrapping_shl(16) | u32::from(low);
        // The extensible form says further on what the tag says else.
        let tag = if tag == 0xFFFE {
            word(12).unwrap_or(tag)
        } else {
            tag
        };
        let kind = match (tag, bits) {
            (1, 8) => Kind::U8,
            (1, 16) => Kind::I16,
            (1, 24) => Kind::I24,
            (1, 32) => Kind::I32,
            (3, 32) => Kind::F32,
            (3, 64) => Kind::F64,
            _ => return Err(foreign(tag, bits)),
        };
        if !(1..=AUDIO_CHANNELS_MAX).contains(&channels) {
            return Err(format!(
                "{channels} channels, want 1 to {AUDIO_CHANNELS_MAX}"
            ));
        }
        if !(1..=AUDIO_RATE_MAX).contains(&rate) {
            return Err(format!(
                "{rate} samples a second, want 1 to {AUDIO_RATE_MAX}"
            ));
        }
        let channels = usize::from(channels);
        let samples = Self {
            rate,
            channels,
            kind,
        };
        if samples.block_bytes() != usize::from(block) {
            return Err(format!(
                "blocks of {block} bytes for {channels} channels of {bits} bits"
            ));
        }
        Ok(samples)
    }

    /// Bytes of a sample.
    fn bytes(self) -> usize {
        match self.kind {
            Kind::U8 => 1,
            Kind::I16 => 2,
            Kind::I24 => 3,
            Kind::I32 | Kind::F32 => 4,
            Kind::F64 => 8,
        }
    }

    /// Bytes of a sample of every channel; not zero.
    fn block_bytes(self) -> usize {
        self.bytes().saturating_mul(self.channels)
    }

    /// The mean of the channels, block by block.
    #[expect(
        clippy::as_conversions,
        reason = "few channels, and samples are rounded to 32 bits"
    )]
    fn mono(self, bytes: &[u8]) -> Vec<f32> {
        let blocks = bytes.chunks_exact(self.block_bytes());
        blocks
            .map(|block| {
                let samples = block.chunks_exact(self.bytes());
                let sum: f64 = samples.map(|sample| self.decode(sample)).sum();
                let mean = (sum / self.channels as f64) as f32;
                if mean.is_finite() { mean } else { 0.0 }
            })
            .collect()
    }

    /// A sample from -1 to 1, where it is stored as an integer.
    fn decode(self, sample: &[u8]) -> f64 {
        match (self.kind, sample) {
            (Kind::U8, [a]) => (f64::from(*a) - 128.0) / 128.0,
            (Kind::I16, [a, b]) => f64::from(i16::from_le_bytes([*a, *b])) / 32_768.0,
            (Kind::I24, [a, b, c]) => {
                f64::from(i32::from_le_bytes([0, *a, *b, *c])) / 2_147_483_648.0
            }
            (Kind::I32, [a, b, c, d]) => {
                f64::from(i32::from_le_bytes([*a, *b, *c, *d])) / 2_147_483_648.0
            }
            (Kind::F32, [a, b, c, d]) => f32::from_le_bytes([*a, *b, *c, *d]).into(),
            (Kind::F64, _) => sample
                .first_chunk()
                .map_or(0.0, |bytes| f64::from_le_bytes(*bytes)),
            _ => 0.0,
        }
    }
}

/// What is known by name of formats that are not read.
fn foreign(tag: u16, bits: u16) -> String {
    let name = match tag {
        1 | 3 => return format!("PCM of {bits} bits"),
        2 | 0x11 => "ADPCM",
        6 => "A-law",
        7 => "mu-law",
        0x50 => "MPEG layer 2",
        0x55 => "MP3",
        0xFF | 0x1600 | 0x1601 | 0x1602 => "AAC",
        0x160..=0x162 => "WMA",
        0x2000 => "AC-3",
        0x2001 => "DTS",
        0x566F | 0x674F..=0x6751 => "Vorbis",
        0x704F => "Opus",
        0xF1AC => "FLAC",
        _ => return format!("format {tag:#06x}"),
    };
    name.to_owned()
}

/// Audio in runs of a file.
#[derive(Debug, Clone)]
pub(super) struct Pcm {
    source: Source,
    runs: Vec<Run>,
    samples: Samples,
    /// Samples from the video's first frame to the first one; negative if they begin before it.
    start: i64,
}

impl Pcm {
    /// `start` is in seconds, and at most what a video may last.
    #[expect(
        clippy::as_conversions,
        reason = "a video's length in samples is below 2^53"
    )]
    pub(super) fn new(
        source: Source,
        runs: Vec<Run>,
        samples: Samples,
        start: f64,
    ) -> Result<Self, String> {
        let bytes: u64 = runs.iter().map(|run| u64::from(run.bytes)).sum();
        let second = samples.block_bytes() as f64 * f64::from(samples.rate);
        let seconds = bytes as f64 / second;
        if seconds > VIDEO_SECONDS_MAX {
            return Err(format!(
                "{seconds} seconds, at most {VIDEO_SECONDS_MAX} are read"
            ));
        }
        Ok(Self {
            source,
            runs,
            samples,
            start: (start * f64::from(samples.rate)).round() as i64,
        })
    }

    /// The audio from the first frame on.
    pub(super) fn track(&self) -> Result<Track, VideoError> {
        let input = Input::open(&self.source, "AVI")?;
        let silence = u64::try_from(self.start).unwrap_or(0);
        let cut = u64::try_from(self.start.saturating_neg()).unwrap_or(0);
        let block = u64::try_from(self.samples.block_bytes()).unwrap_or(u64::MAX);
        let reader = Reader {
            input,
            samples: self.samples,
            runs: self.runs.clone().into_iter(),
            silence,
            cut: cut.saturating_mul(block),
            carry: Vec::new(),
        };
        Ok(Track::new(self.samples.rate, reader))
    }
}

/// A track on its way.
struct Reader {
    input: Input,
    samples: Samples,
    runs: vec::IntoIter<Run>,
    /// Samples of silence to come.
    silence: u64,
    /// Bytes to be left out.
    cut: u64,
    /// The beginning of a block whose end is in the next run.
    carry: Vec<u8>,
}

impl Reader {
    /// The bytes of some of the next run. Nothing is returned at the end.
    fn bytes(&mut self) -> Result<Option<Vec<u8>>, VideoError> {
        let most = u32::try_from(AUDIO_BLOCK_BYTES).unwrap_or(u32::MAX);
        loop {
            let Some(run) = self.runs.as_slice().first().copied() else {
                return Ok(None);
            };
            let left_out = u32::try_from(self.cut).unwrap_or(u32::MAX).min(run.bytes);
            self.cut = self.cut.saturating_sub(left_out.into());
            let at = run.at.saturating_add(left_out.into());
            let bytes = run.bytes.saturating_sub(left_out);
            let count = bytes.min(most);
            self.shorten(Run { at, bytes }, count);
            if count > 0 {
                self.input.seek(at)?;
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                return self.input.take(count).map(Some);
            }
        }
    }

    /// Puts what is left of the first run in its place.
    fn shorten(&mut self, run: Run, taken: u32) {
        let at = run.at.saturating_add(taken.into());
        let bytes = run.bytes.saturating_sub(taken);
        if bytes == 0 {
            self.runs.next();
        } else if let Some(first) = self.runs.as_mut_slice().first_mut() {
            *first = Run { at, bytes };
        }
    }

    fn block(&mut self) -> Result<Option<Vec<f32>>, VideoError> {
        if self.silence > 0 {
            let count = usize::try_from(self.silence).unwrap_or(usize::MAX);
            let count = count.min(SILENCE_SAMPLES);
            let taken = u64::try_from(count).unwrap_or(u64::MAX);
            self.silence = self.silence.saturating_sub(taken);
            return Ok(Some(vec![0.0; count]));
        }
        loop {
            let Some(bytes) = self.bytes()? else {
                return Ok(None);
            };
            self.carry.extend(bytes);
            let mono = self.samples.mono(&self.carry);
            let whole = mono.len().saturating_mul(self.samples.block_bytes());
            self.carry.drain(..whole.min(self.carry.len()));
            if !mono.is_empty() {
                return Ok(Some(mono));
            }
        }
    }
}

impl Iterator for Reader {
    type Item = io::Result<Vec<f32>>;

    fn next(&mut self) -> Option<Self::Item> {
        let block = self.block();
        if block.is_err() {
            self.runs = Vec::new().into_iter();
        }
        block.map_err(io::Error::other).transpose()
    }
}
