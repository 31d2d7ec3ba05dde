//! Files whose samples lie one behind the other in blocks of one size: WAV and its kin, AIFF, AU, CAF.
//!
//! What such a file says of its length is often wrong: a program that writes into a pipe cannot know
//! how much is to come, a recorder may stop before it writes it down, a file may have been cut. So the
//! samples that are there count, and what is lacking is told.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

mod form;

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use symphonia::core::audio::Channels;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};
use symphonia::core::formats::Track;
use symphonia::core::io::MediaSource;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use self::form::Form;
use super::tail::Tail;
use crate::error::AudioError;

/// Frames of a packet, where blocks do not have more.
const PACKET_FRAMES: u64 = 1152;

/// A file and how its samples lie.
pub(super) struct Plain {
    name: &'static str,
    source: BufReader<Box<dyn MediaSource>>,
    track: Track,
    layout: Layout,
    span: Span,
    blocks_at_once: u64,
}

/// A block of samples: one frame, or more where a codec packs them.
#[derive(Debug)]
struct Layout {
    codec: AudioCodecId,
    rate: u32,
    channels: u16,
    bytes: u64,
    frames: u64,
    /// Bytes of a sample, and those of them that the decoder can read.
    wide: Option<(usize, Range<usize>)>,
}

/// Where the blocks lie.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u64,
    end: u64,
    tail: Tail,
}

impl Plain {
    /// Reads the head of a file of `bytes` that begins with `head`; gives it back if it is of another
    /// kind.
    pub(super) fn open(
        source: Box<dyn MediaSource>,
        bytes: u64,
        head: &[u8],
    ) -> Result<Result<Self, Box<dyn MediaSource>>, AudioError> {
        let Some(form) = Form::of(head) else {
            return Ok(Err(source));
        };
        let mut source = BufReader::new(source);
        let Some((layout, span)) = form.read(&mut source, bytes)? else {
            let mut source = source.into_inner();
            source.seek(SeekFrom::Start(0))?;
            return Ok(Err(source));
        };
        source.seek(SeekFrom::Start(span.start))?;
        let frames = layout.frames.max(1);
        let blocks_at_once = PACKET_FRAMES.checked_div(frames).unwrap_or(1).max(1);
        let mut parameters = AudioCodecParameters::new();
        parameters
            .for_codec(layout.codec)
            .with_sample_rate(layout.rate)
            .with_channels(Channels::Discrete(layout.channels))
            .with_max_frames_per_packet(blocks_at_once.saturating_mul(frames))
            .with_frames_per_block(frames);
        let mut track = Track::new(0);
        track.with_codec_params(CodecParameters::Audio(parameters));
        Ok(Ok(Self {
            name: form.name,
            source,
            track,
            layout,
            span,
            blocks_at_once,
        }))
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn track(&self) -> &Track {
        &self.track
    }

    /// How it ends: half a block is none.
    pub(super) fn tail(&self) -> Tail {
        let left = self.span.end.saturating_sub(self.span.start);
        let half = left.checked_rem(self.layout.bytes).unwrap_or(0);
        let lacking = self.span.tail.lacking.max(half);
        Tail {
            lacking,
            ..self.span.tail
        }
    }

    /// Some blocks, as long as there are whole ones.
    pub(super) fn packet(&mut self) -> io::Result<Option<Packet>> {
        let left = self.span.end.saturating_sub(self.span.start);
        let whole = left.checked_div(self.layout.bytes).unwrap_or(0);
        let blocks = whole.min(self.blocks_at_once);
        if blocks == 0 {
            return Ok(None);
        }
        let bytes = blocks.saturating_mul(self.layout.bytes);
        let mut data = Vec::new();
        self.source.by_ref().take(bytes).read_to_end(&mut data)?;
        if u64::try_from(data.len()).ok() != Some(bytes) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.span.start = self.span.start.saturating_add(bytes);
        if let Some((width, kept)) = &self.layout.wide {
            let samples = data.chunks_exact(*width);
            data = samples
                .flat_map(|sample| sample.get(kept.clone()).unwrap_or_default())
                .copied()
                .collect();
        }
        let frames = Duration::from(blocks.saturating_mul(self.layout.frames));
        Ok(Some(Packet::new(0, Timestamp::ZERO, frames, data)))
    }
}
