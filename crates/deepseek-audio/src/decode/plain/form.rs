//! The heads of such files: chunks in any order, or, in AU files, a few numbers.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_ADPCM_IMA_QT, CODEC_ID_ADPCM_IMA_WAV, CODEC_ID_ADPCM_MS, CODEC_ID_PCM_ALAW,
    CODEC_ID_PCM_F32BE, CODEC_ID_PCM_F32LE, CODEC_ID_PCM_F64BE, CODEC_ID_PCM_F64LE,
    CODEC_ID_PCM_MULAW, CODEC_ID_PCM_S8, CODEC_ID_PCM_S16BE, CODEC_ID_PCM_S16LE,
    CODEC_ID_PCM_S24BE, CODEC_ID_PCM_S24LE, CODEC_ID_PCM_S32BE, CODEC_ID_PCM_S32LE,
    CODEC_ID_PCM_U8,
};

use super::super::tail::Tail;
use super::{Layout, Span};
use crate::error::AudioError;
use crate::limits::CHUNKS_MAX;

/// Bytes of a chunk that describe the samples, at most.
const FIELDS_BYTES: u64 = 64;

/// Chunks that stand where a byte of padding was forgotten, if one of these names does.
const NAMES: [&[u8; 4]; 14] = [
    b"fmt ", b"data", b"fact", b"LIST", b"JUNK", b"bext", b"PEAK", b"cue ", b"smpl", b"inst",
    b"COMM", b"SSND", b"MARK", b"NAME",
];

/// Names that codecs have in a WAV file, beside those that are read.
const CODECS: [(u16, &str); 12] = [
    (0x0031, "GSM 6.10"),
    (0x0040, "G.721 ADPCM"),
    (0x0045, "G.726 ADPCM"),
    (0x0050, "MPEG"),
    (0x0055, "MP3"),
    (0x0064, "G.726 ADPCM"),
    (0x0160, "WMA"),
    (0x0161, "WMA"),
    (0x0162, "WMA"),
    (0x0270, "ATRAC3"),
    (0x2000, "AC-3"),
    (0x2001, "DTS"),
];

/// What the codes of sub-formats end with: Microsoft's own, in either order of bytes, and those of
/// ambisonic audio.
const TAILS: [[u8; 12]; 3] = [
    [0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71],
    [0, 0, 0, 0x10, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71],
    [
        0x21, 0x07, 0xD3, 0x11, 0x86, 0x44, 0xC8, 0xC1, 0xCA, 0, 0, 0,
    ],
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}
use Order::{Big, Little};

/// Which chunks hold what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Wave,
    Aiff,
    Caf,
    Au,
}

/// A kind of file.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) name: &'static str,
    family: Family,
    order: Order,
    /// Where the first chunk stands.
    first: u64,
    /// Bytes of a chunk's name.
    name_bytes: u64,
    /// Whether the size of a chunk has 64 bits.
    is_wide: bool,
    /// Whether that size counts name and size, too.
    is_inclusive: bool,
    /// What a chunk's bytes are padded to a multiple of.
    align: u64,
}

/// A part of a file.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    name: [u8; 4],
    start: u64,
    bytes: u64,
}

impl Form {
    /// The kind of a file that begins with `head`.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        let riff = |name, family, order| Self {
            name,
            family,
            order,
            first: 12,
            name_bytes: 4,
            is_wide: false,
            is_inclusive: false,
            align: 2,
        };
        let (mark, rest) = head.split_first_chunk()?;
        let kind = rest.get(4..8).unwrap_or_default();
        Some(match (mark, kind) {
            (b"RIFF", b"WAVE") => riff("wave", Family::Wave, Little),
            (b"RIFX", b"WAVE") => riff("wave", Family::Wave, Big),
            (b"RF64" | b"BW64", b"WAVE") => riff("rf64", Family::Wave, Little),
            (b"FORM", b"AIFF" | b"AIFC") => riff("aiff", Family::Aiff, Big),
            (b".snd", _) => riff("au", Family::Au, Big),
            (b"dns.", _) => riff("au", Family::Au, Little),
            (b"riff", [0xA5, 0xD6, 0x28, 0xDB]) => Self {
                first: 40,
                name_bytes: 16,
                is_wide: true,
                is_inclusive: true,
                align: 8,
                ..riff("wave64", Family::Wave, Little)
            },
            (b"caff", _) => Self {
                first: 8,
                is_wide: true,
                align: 1,
                ..riff("caf", Family::Caf, Big)
            },
            _ => return None,
        })
    }

    /// How the samples of a file of `bytes` lie. Nothing where blocks are not of one size.
    pub(super) fn read(
        &self,
        source: &mut (impl Read + Seek),
        bytes: u64,
    ) -> Result<Option<(Layout, Span)>, AudioError> {
        if self.family == Family::Au {
            return self.au(source, bytes).map(Some);
        }
        let (mut layout, mut span, mut long) = (None, None, None);
        let mut at = self.first;
        for _ in 0..CHUNKS_MAX {
            let Some(mut chunk) = self.chunk(source, at, bytes)? else {
                break;
            };
            match &chunk.name {
                b"fmt " | b"COMM" | b"desc" if layout.is_none() => {
                    let described = fields(source, chunk.start, chunk.bytes)?;
                    let Some(described) = self.layout(&described)? else {
                        return Ok(None);
                    };
                    layout = Some(described);
                }
                // The sizes of a file of more than 4 GiB: of the file, then of its samples.
                b"ds64" => {
                    let sizes = fields(source, chunk.start, chunk.bytes)?;
                    long = self.fields(&sizes).u64(8);
                }
                b"data" | b"SSND" if span.is_none() => {
                    if let (Some(long), 0xFFFF_FFFF) = (long, chunk.bytes) {
                        chunk.bytes = long;
                    }
                    let before = self.before(source, chunk)?;
                    let found = self.span(source, chunk, before, bytes)?;
                    chunk.bytes = found.end.saturating_sub(chunk.start);
                    span = Some(found);
                }
                _ => {
                    // What was put behind the samples is no part of the file.
                    let end = chunk.start.saturating_add(chunk.bytes);
                    let is_part = is_name(&chunk.name) && end <= bytes && !is_other(&chunk.name);
                    if let Some(span) = span.as_mut().filter(|_| !is_part) {
                        span.tail.behind = if is_tag(&chunk.name) {
                            0
                        } else {
                            bytes.saturating_sub(at)
                        };
                        break;
                    }
                }
            }
            at = self.behind(source, chunk, bytes)?;
        }
        let missing = |name| self.broken(format!("no {name} chunk"));
        let [described, samples] = match self.family {
            Family::Wave => ["fmt", "data"],
            Family::Aiff => ["COMM", "SSND"],
            Family::Caf | Family::Au => ["desc", "data"],
        };
        let layout = layout.ok_or_else(|| missing(described))?;
        let span = span.ok_or_else(|| missing(samples))?;
        Ok(Some((layout, span)))
    }

    /// The chunk that begins at `at`, if the file has one there.
    fn chunk(
        &self,
        source: &mut (impl Read + Seek),
        at: u64,
        bytes: u64,
    ) -> io::Result<Option<Chunk>> {
        let size_bytes = if self.is_wide { 8 } else { 4 };
        let head_bytes = self.name_bytes.saturating_add(size_bytes);
        let start = at.saturating_add(head_bytes);
        if start > bytes {
            return Ok(None);
        }
        let head = fields(source, at, head_bytes)?;
        let head = self.fields(&head);
        let at = usize::try_from(self.name_bytes).unwrap_or(usize::MAX);
        let size = if self.is_wide {
            head.u64(at)
        } else {
            head.u32(at).map(u64::from)
        };
        let (Some(name), Some(size)) = (head.get(0), size) else {
            return Ok(None);
        };
        let counted = if self.is_inclusive { head_bytes } else { 0 };
        let bytes = size.saturating_sub(counted);
        Ok(Some(Chunk { name, start, bytes }))
    }

    /// Where the next chunk begins: padding is what is forgotten most often.
    fn behind(&self, source: &mut (impl Read + Seek), chunk: Chunk, bytes: u64) -> io::Result<u64> {
        let end = chunk.start.saturating_add(chunk.bytes);
        let padded = end.checked_next_multiple_of(self.align).unwrap_or(u64::MAX);
        if padded == end || padded >= bytes {
            return Ok(padded);
        }
        let next = fields(source, end, 4)?;
        let is_name = NAMES.iter().any(|name| next == **name);
        Ok(if is_name { end } else { padded })
    }

    /// Bytes of a chunk of samples that stand before them.
    fn before(&self, source: &mut (impl Read + Seek), chunk: Chunk) -> Result<u64, AudioError> {
        match self.family {
            Family::Wave | Family::Au => Ok(0),
            // A count of edits.
            Family::Caf => Ok(4),
            // How much to leave out, and the size of blocks, which is no longer used.
            Family::Aiff => {
                let late = fields(source, chunk.start, 8)?;
                let late = self.fields(&late).u32(0);
                let late = late.ok_or_else(|| self.broken("an SSND chunk cut off"))?;
                Ok(u64::from(late).saturating_add(8))
            }
        }
    }

    /// Where the samples of a chunk lie, `before` bytes behind its start.
    fn span(
        &self,
        source: &mut (impl Read + Seek),
        chunk: Chunk,
        before: u64,
        bytes: u64,
    ) -> io::Result<Span> {
        let start = chunk.start.saturating_add(before).min(bytes);
        let there = bytes.saturating_sub(start);
        let announced = chunk.bytes.saturating_sub(before);
        let is_open = match announced {
            // What follows tells whether nothing was written, or its size was not.
            0 => {
                let next = self.chunk(source, start, bytes)?;
                next.is_none_or(|next| {
                    let end = next.start.saturating_add(next.bytes);
                    !is_name(&next.name) || end > bytes
                })
            }
            // What programs write that do not know how much is to come.
            0x7FFE_0000..=0x8001_0000 | 0xFFFE_0000..=0xFFFF_FFFF => announced > there,
            _ => announced >= 1 << 62,
        };
        let announced = if is_open { there } else { announced };
        let lacking = announced.saturating_sub(there);
        Ok(Span {
            start,
            end: start.saturating_add(announced).min(bytes),
            tail: Tail {
                lacking,
                ..Tail::default()
            },
        })
    }

    fn layout(&self, bytes: &[u8]) -> Result<Option<Layout>, AudioError> {
        let fields = self.fields(bytes);
        match self.family {
            Family::Wave => self.wave(&fields).map(Some),
            Family::Aiff => self.aiff(&fields).map(Some),
            Family::Caf | Family::Au => self.caf(&fields),
        }
    }

    fn wave(&self, fields: &Fields<'_>) -> Result<Layout, AudioError> {
        let cut = || self.broken("a fmt chunk cut off");
        let tag = fields.u16(0).ok_or_else(cut)?;
        let channels = fields.u16(2).ok_or_else(cut)?;
        let rate = fields.u32(4).ok_or_else(cut)?;
        let block = fields.u16(12).ok_or_else(cut)?;
        let bits = fields.u16(14).ok_or_else(cut)?;
        let tag = match tag {
            0xFFFE => {
                let tail = fields.get(28).ok_or_else(cut)?;
                let sub = fields.u32(24).ok_or_else(cut)?;
                let known = u16::try_from(sub).ok().filter(|_| TAILS.contains(&tail));
                known.ok_or_else(|| self.unread("a sub-format that is not known"))?
            }
            tag => tag,
        };
        let block = u32::from(block);
        let made = Made {
            form: self,
            rate,
            channels,
        };
        match tag {
            1 => made.integers(bits.into(), block, bits > 8, self.order),
            2 => made.adpcm(CODEC_ID_ADPCM_MS, bits, block, 7, 2),
            3 => made.floats(bits.into(), self.order),
            6 => made.bytes(CODEC_ID_PCM_ALAW),
            7 => made.bytes(CODEC_ID_PCM_MULAW),
            0x11 => made.adpcm(CODEC_ID_ADPCM_IMA_WAV, bits, block, 4, 1),
            tag => {
                let name = CODECS.iter().find(|(code, _)| *code == tag);
                let name = name.map_or(String::new(), |(_, name)| format!(", {name}"));
                Err(self.unread(format!("codec {tag:#06x}{name}")))
            }
        }
    }

    fn aiff(&self, fields: &Fields<'_>) -> Result<Layout, AudioError> {
        let cut = || self.broken("a COMM chunk cut off");
        let channels = fields.u16(0).ok_or_else(cut)?;
        let bits = u32::from(fields.u16(6).ok_or_else(cut)?);
        let rate = fields.get(8).and_then(extended);
        let rate = rate.ok_or_else(|| self.broken("a rate that is no number"))?;
        let made = Made {
            form: self,
            rate,
            channels,
        };
        let codec = fields.get(18).unwrap_or(*b"NONE");
        match &codec.map(|byte| byte.to_ascii_lowercase()) {
            b"none" | b"twos" => made.integers(bits, 0, true, Big),
            b"sowt" => made.integers(bits, 0, true, Little),
            b"raw " => made.integers(bits, 0, false, Big),
            b"in24" => made.integers(24, 0, true, Big),
            b"in32" => made.integers(32, 0, true, Big),
            b"42ni" => made.integers(24, 0, true, Little),
            b"23ni" => made.integers(32, 0, true, Little),
            b"fl32" => made.floats(32, Big),
            b"fl64" => made.floats(64, Big),
            b"alaw" => made.bytes(CODEC_ID_PCM_ALAW),
            b"ulaw" => made.bytes(CODEC_ID_PCM_MULAW),
            b"ima4" => made.layout(CODEC_ID_ADPCM_IMA_QT, 34, 64, None),
            _ => Err(self.unread(format!("codec {}", codec.escape_ascii()))),
        }
    }

    fn caf(&self, fields: &Fields<'_>) -> Result<Option<Layout>, AudioError> {
        let cut = || self.broken("a desc chunk cut off");
        let rate = whole(f64::from_bits(fields.u64(0).ok_or_else(cut)?));
        let codec = fields.get(8).ok_or_else(cut)?;
        let flags = fields.u32(12).ok_or_else(cut)?;
        let packet = fields.u32(16).ok_or_else(cut)?;
        let channels = fields.u32(24).ok_or_else(cut)?;
        let channels = u16::try_from(channels).unwrap_or(u16::MAX);
        let bits = fields.u32(28).ok_or_else(cut)?;
        let order = if flags & 2 == 0 { Big } else { Little };
        let made = Made {
            form: self,
            rate,
            channels,
        };
        let layout = match &codec {
            b"lpcm" if flags & 1 == 1 => made.floats(bits, order)?,
            b"lpcm" => made.integers(bits, packet, true, order)?,
            b"alaw" => made.bytes(CODEC_ID_PCM_ALAW)?,
            b"ulaw" => made.bytes(CODEC_ID_PCM_MULAW)?,
            b"ima4" if fields.u32(20) == Some(64) => {
                made.layout(CODEC_ID_ADPCM_IMA_QT, 34, 64, None)?
            }
            // Their packets stand in a table.
            _ => return Ok(None),
        };
        if layout.bytes != u64::from(packet) {
            return Err(self.broken(format!("packets of {packet} bytes")));
        }
        Ok(Some(layout))
    }

    fn au(
        &self,
        source: &mut (impl Read + Seek),
        bytes: u64,
    ) -> Result<(Layout, Span), AudioError> {
        let head = fields(source, 4, 20)?;
        let head = self.fields(&head);
        let [
            Some(start),
            Some(size),
            Some(codec),
            Some(rate),
            Some(channels),
        ] = [0, 4, 8, 12, 16].map(|at| head.u32(at))
        else {
            return Err(self.broken("a head cut off"));
        };
        let channels = u16::try_from(channels).unwrap_or(u16::MAX);
        let made = Made {
            form: self,
            rate,
            channels,
        };
        let layout = match codec {
            1 => made.bytes(CODEC_ID_PCM_MULAW),
            2..=5 => {
                let bits = codec.saturating_sub(1).saturating_mul(8);
                made.integers(bits, 0, true, self.order)
            }
            6 => made.floats(32, self.order),
            7 => made.floats(64, self.order),
            27 => made.bytes(CODEC_ID_PCM_ALAW),
            codec => Err(self.unread(format!("codec {codec}"))),
        }?;
        let chunk = Chunk {
            name: *b"data",
            start: start.into(),
            bytes: size.into(),
        };
        let mut span = self.span(source, chunk, 0, bytes)?;
        span.tail.behind = bytes.saturating_sub(span.end);
        Ok((layout, span))
    }

    fn fields<'a>(&self, bytes: &'a [u8]) -> Fields<'a> {
        let order = self.order;
        Fields { bytes, order }
    }

    fn broken(&self, why: impl Into<String>) -> AudioError {
        let (format, why) = (self.name, why.into());
        AudioError::Corrupt { format, why }
    }

    fn unread(&self, why: impl Into<String>) -> AudioError {
        let (format, why) = (self.name, why.into());
        AudioError::Unsupported { format, why }
    }
}

/// What every kind of samples has.
struct Made<'a> {
    form: &'a Form,
    rate: u32,
    channels: u16,
}

impl Made<'_> {
    /// Integers of so many bits, the highest ones of as many bytes as a block has for each, if it
    /// says so.
    fn integers(
        &self,
        bits: u32,
        block: u32,
        is_signed: bool,
        order: Order,
    ) -> Result<Layout, AudioError> {
        if !(1..=64).contains(&bits) {
            return Err(self.form.broken(format!("samples of {bits} bits")));
        }
        let least = bits.div_ceil(8);
        let channels = u32::from(self.channels);
        let each = block.checked_div(channels).unwrap_or(0);
        let has_room = (least..=8).contains(&each) && each.checked_mul(channels) == Some(block);
        let width = if has_room { each } else { least };
        let wide = usize::try_from(width).unwrap_or(8);
        let (codec, wide) = match (width, order) {
            (1, _) if is_signed => (CODEC_ID_PCM_S8, None),
            (1, _) => (CODEC_ID_PCM_U8, None),
            _ if !is_signed => {
                return Err(self.form.unread(format!("unsigned samples of {bits} bits")));
            }
            (2, Little) => (CODEC_ID_PCM_S16LE, None),
            (2, Big) => (CODEC_ID_PCM_S16BE, None),
            (3, Little) => (CODEC_ID_PCM_S24LE, None),
            (3, Big) => (CODEC_ID_PCM_S24BE, None),
            // The lowest bits would be lost in 32-bit floats anyway.
            (_, Little) => (
                CODEC_ID_PCM_S32LE,
                Some((wide, wide.saturating_sub(4)..wide)),
            ),
            (_, Big) => (CODEC_ID_PCM_S32BE, Some((wide, 0..4))),
        };
        let wide = wide.filter(|(width, _)| *width > 4);
        self.layout(codec, width.into(), 1, wide)
    }

    fn floats(&self, bits: u32, order: Order) -> Result<Layout, AudioError> {
        let (codec, width) = match (bits, order) {
            (32, Little) => (CODEC_ID_PCM_F32LE, 4),
            (32, Big) => (CODEC_ID_PCM_F32BE, 4),
            (64, Little) => (CODEC_ID_PCM_F64LE, 8),
            (64, Big) => (CODEC_ID_PCM_F64BE, 8),
            _ => return Err(self.form.unread(format!("floats of {bits} bits"))),
        };
        self.layout(codec, width, 1, None)
    }

    /// Samples of a byte each.
    fn bytes(&self, codec: AudioCodecId) -> Result<Layout, AudioError> {
        self.layout(codec, 1, 1, None)
    }

    /// Blocks of 4-bit samples that begin, for each channel, with a head of `head` bytes, in which the
    /// first `first` samples stand.
    fn adpcm(
        &self,
        codec: AudioCodecId,
        bits: u16,
        block: u32,
        head: u32,
        first: u64,
    ) -> Result<Layout, AudioError> {
        if bits != 4 {
            return Err(self.form.unread(format!("ADPCM samples of {bits} bits")));
        }
        let channels = u32::from(self.channels);
        let packed = block
            .checked_sub(head.saturating_mul(channels))
            .and_then(|packed| packed.checked_mul(2)?.checked_div(channels));
        let Some(packed) = packed else {
            return Err(self.form.broken(format!("blocks of {block} bytes")));
        };
        let frames = u64::from(packed).saturating_add(first);
        let layout = self.layout(codec, 1, frames, None)?;
        let bytes = block.into();
        Ok(Layout { bytes, ..layout })
    }

    /// Blocks of so many bytes a channel.
    fn layout(
        &self,
        codec: AudioCodecId,
        bytes: u64,
        frames: u64,
        wide: Option<(usize, std::ops::Range<usize>)>,
    ) -> Result<Layout, AudioError> {
        if self.channels == 0 {
            return Err(self.form.broken("no channels"));
        }
        Ok(Layout {
            codec,
            rate: self.rate,
            channels: self.channels,
            bytes: bytes.saturating_mul(self.channels.into()),
            frames,
            wide,
        })
    }
}

/// Numbers among bytes.
struct Fields<'a> {
    bytes: &'a [u8],
    order: Order,
}

impl Fields<'_> {
    fn get<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..)?.first_chunk().copied()
    }

    fn u16(&self, at: usize) -> Option<u16> {
        self.get(at).map(match self.order {
            Little => u16::from_le_bytes,
            Big => u16::from_be_bytes,
        })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.get(at).map(match self.order {
            Little => u32::from_le_bytes,
            Big => u32::from_be_bytes,
        })
    }

    fn u64(&self, at: usize) -> Option<u64> {
        self.get(at).map(match self.order {
            Little => u64::from_le_bytes,
            Big => u64::from_be_bytes,
        })
    }
}

/// Up to `bytes` bytes at `at`, as far as there are any and fields may reach.
fn fields(source: &mut (impl Read + Seek), at: u64, bytes: u64) -> io::Result<Vec<u8>> {
    source.seek(SeekFrom::Start(at))?;
    let mut fields = Vec::new();
    let bytes = bytes.min(FIELDS_BYTES);
    source.take(bytes).read_to_end(&mut fields)?;
    Ok(fields)
}

/// Whether these may be the name of a chunk.
fn is_name(name: &[u8; 4]) -> bool {
    name.iter().all(|byte| (b' '..=b'~').contains(byte))
}

/// Whether another file begins here, or a tag.
fn is_other(name: &[u8; 4]) -> bool {
    matches!(name, b"RIFF" | b"RIFX" | b"RF64" | b"BW64" | b"FORM") || is_tag(name)
}

/// Whether a tag begins here, of which no format knows.
fn is_tag(name: &[u8; 4]) -> bool {
    name.starts_with(b"TAG") || name.starts_with(b"ID3") && !name.ends_with(b" ")
}

/// A number of 80 bits, rounded down.
fn extended(bytes: [u8; 10]) -> Option<u32> {
    let (exponent, mantissa) = bytes.split_first_chunk::<2>()?;
    let exponent = u32::from(u16::from_be_bytes(*exponent));
    let mantissa = u64::from_be_bytes(*mantissa.first_chunk()?);
    let shift = 0x401E_u32.checked_sub(exponent)?.checked_add(32)?;
    let number = mantissa.checked_shr(shift)?;
    u32::try_from(number).ok().filter(|number| *number > 0)
}

/// A number without what is behind its point; the nearest that there is.
#[expect(
    clippy::as_conversions,
    reason = "it saturates, and makes 0 of what is no number"
)]
fn whole(x: f64) -> u32 {
    x as u32
}
