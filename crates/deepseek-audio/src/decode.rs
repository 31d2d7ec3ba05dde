//! From the bytes of a file to samples of one channel (`docs/models/audio-video.md` §2.1).

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

mod plain;
mod tail;

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};

use deepseek_core::{Note, guard};
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_FLAC, CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3, CODEC_ID_OPUS,
};
use symphonia::core::codecs::audio::{
    AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions,
};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, Track as Announced, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase};

use self::plain::Plain;
use self::tail::Tail;
use crate::config::RATE;
use crate::error::AudioError;
use crate::limits::{FAILURES_MAX, Limits, PACKET_FRAMES_MAX, RATE_CHANGES_MAX, RATE_MIN};

/// First bytes of a file that tell what it is.
const HEAD_BYTES: u64 = 512;
/// As many of them as a message shows.
const SHOWN_BYTES: usize = 12;

/// What files of a format begin with, and where: to blame the right thing when none is read.
const MARKS: [(usize, &[u8], &str); 5] = [
    (0, b"caff", "caf"),
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (4, b"ftyp", "isomp4"),
    (0, b"\x1A\x45\xDF\xA3", "matroska"),
];

/// The same of formats that are not read. They are told apart first: what looks like a frame of MP3
/// occurs in many a file.
const UNREAD: [(usize, &[u8], &str); 32] = [
    (0, b"#!AMR", "AMR"),
    (0, b"\x30\x26\xB2\x75\x8E\x66\xCF\x11", "ASF (WMA)"),
    (0, b"\x0B\x77", "AC-3"),
    (0, b"\x7F\xFE\x80\x01", "DTS"),
    (0, b"DSD ", "DSF"),
    (0, b"FRM8", "DSDIFF"),
    (0, b"MThd", "MIDI"),
    (8, b"RMID", "MIDI"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"OFR ", "OptimFROG"),
    (0, b"tBaK", "TAK"),
    (0, b"TTA1", "True Audio"),
    (0, b"TTA2", "True Audio"),
    (0, b"wvpk", "WavPack"),
    (0, b"MPCK", "Musepack"),
    (0, b"MP+", "Musepack"),
    (0, b"qoaf", "QOA"),
    (0, b".RMF", "RealMedia"),
    (0, b".ra\xFD", "RealAudio"),
    (0, b"Creative Voice File", "VOC"),
    (0, b"NIST_1A", "NIST SPHERE"),
    (8, b"8SVX", "8SVX"),
    (8, b"AVI ", "AVI"),
    (8, b"CDXA", "CDXA"),
    (0, b"FLV\x01", "FLV"),
    (0, b"\0\0\x01\xBA", "MPEG program stream"),
    (0, b".SoX", "SoX"),
    (0, b"XoS.", "SoX"),
    (0, b"nut/multimedia", "NUT"),
    (4, b"\xF8\x72\x6F\xBA", "TrueHD"),
    (4, b"\xF8\x72\x6F\xBB", "MLP"),
    (0, b"\x64\xA3\x01\0", "IRCAM"),
];

/// Seconds that a Matroska file may be shorter than it says, whose times are rounded.
const MATROSKA_SLACK: f64 = 0.1;

/// Packets of a transport stream follow one another, with or without the time before each.
const TRANSPORT: [[usize; 3]; 2] = [[0, 188, 376], [4, 196, 388]];

/// A sample, or silence in place of what is no number.
pub(crate) fn finite(sample: f32) -> f32 {
    if sample.is_finite() { sample } else { 0.0 }
}

/// The first audio track of a file, packet by packet, its channels averaged.
pub(crate) struct Track {
    reader: Reader,
    tail: Tail,
    decoder: Box<dyn AudioDecoder>,
    id: u32,
    limits: Limits,
    /// Bytes of packets.
    bytes: u64,
    /// Frames a second, once a packet has said so.
    rate: Option<u32>,
    /// Frames of that rate, and samples of [`RATE`] before them.
    frames: u64,
    before: u64,
    rate_changes: usize,
    /// What the frames of an MPEG stream have in common, and one that was read ahead.
    kind: Option<FrameKind>,
    ahead: Option<Packet>,
    /// Packets in a row that gave no sample.
    failures: usize,
    skipped: usize,
    interleaved: Vec<f32>,
}

impl fmt::Debug for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Track")
            .field("format", &self.reader.name())
            .field("rate", &self.rate)
            .field("frames", &self.frames)
            .field("skipped", &self.skipped)
            .finish_non_exhaustive()
    }
}

impl Track {
    /// Finds out by content what `reader` holds.
    pub(crate) fn open(
        mut reader: impl Read + Seek + Send + Sync + 'static,
        limits: Limits,
    ) -> Result<Self, AudioError> {
        let mut head = Vec::new();
        reader.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
        if head.is_empty() {
            return Err(AudioError::Empty);
        }
        if let Some(format) = unread(&head) {
            return Err(AudioError::UnreadFormat { format });
        }
        let bytes = reader.seek(SeekFrom::End(0))?;
        reader.seek(SeekFrom::Start(0))?;
        let file = Box::new(File { reader, bytes });
        let mut file = match Plain::open(file, bytes, &head)? {
            Ok(plain) => {
                let tail = plain.tail();
                return Self::of(Reader::Plain(plain.into()), tail, limits);
            }
            Err(file) => file,
        };
        let format = marked(&head).unwrap_or("file");
        let tail = Tail::of(format, &mut file, bytes)?;
        file.seek(SeekFrom::Start(0))?;
        guarded(format, || Self::of(probe(file, &head, tail)?, tail, limits))
    }

    fn of(reader: Reader, tail: Tail, limits: Limits) -> Result<Self, AudioError> {
        let (id, decoder) = select(&reader, &limits)?;
        Ok(Self {
            reader,
            tail,
            decoder,
            id,
            limits,
            bytes: 0,
            rate: None,
            frames: 0,
            before: 0,
            rate_changes: 0,
            kind: None,
            ahead: None,
            failures: 0,
            skipped: 0,
            interleaved: Vec::new(),
        })
    }

    /// Appends what the next packet holds. Nothing is returned at the end, else the rate. Not to be
    /// called again after an error.
    pub(crate) fn read(&mut self, mono: &mut Vec<f32>) -> Result<Option<u32>, AudioError> {
        let name = self.reader.name();
        guarded(name, || self.next(mono))
    }

    fn next(&mut self, mono: &mut Vec<f32>) -> Result<Option<u32>, AudioError> {
        while let Some(packet) = self.packet()? {
            let bytes = u64::try_from(packet.data.len()).unwrap_or(u64::MAX);
            self.bytes = self.bytes.saturating_add(bytes);
            if !self.suit(&packet)? {
                self.skip()?;
                continue;
            }
            match self.decoder.decode(&packet) {
                Ok(decoded) => {
                    let (rate, channels) = (decoded.spec().rate(), decoded.spec().channels());
                    let (channels, frames) = (channels.count(), decoded.frames());
                    decoded.copy_to_vec_interleaved(&mut self.interleaved);
                    if frames == 0 {
                        // Nothing yet, or a file that pretends to go on.
                        self.fail()?;
                        continue;
                    }
                    self.failures = 0;
                    self.count(rate, channels, frames)?;
                    average(&self.interleaved, channels, mono);
                    return Ok(Some(rate));
                }
                Err(Error::DecodeError(_) | Error::IoError(_)) => self.skip()?,
                // Of a kind that was read up to here: damaged.
                Err(Error::Unsupported(_)) if self.rate.is_some() => self.skip()?,
                Err(error) => return Err(self.fault(error)),
            }
        }
        Ok(None)
    }

    /// Packets that could not be decoded, up to now.
    pub(crate) fn skipped(&self) -> usize {
        self.skipped
    }

    /// What there is to be told of what was read.
    pub(crate) fn notes(&self) -> Vec<Note> {
        let mut notes: Vec<Note> = self.tail.notes().collect();
        if self.skipped > 0 {
            let count = self.skipped;
            let text = format!("packets that could not be decoded and are left out: {count}");
            notes.push(Note::new(text));
        }
        let left = self.tail.frames.map(|all| all.saturating_sub(self.bytes));
        if let Some(left) = left.filter(|left| *left > 0) {
            let text = format!("bytes that could not be decoded: {left}");
            notes.push(Note::new(text));
        }
        if let Some((got, all)) = self.short() {
            let text = format!("ends after {got:.2} of {all:.2} seconds");
            notes.push(Note::new(text));
        }
        notes
    }

    /// Seconds that were read and seconds announced, where those are more. What was guessed from the
    /// size of a file is no announcement.
    fn short(&self) -> Option<(f64, f64)> {
        let Reader::Probed(format) = &self.reader else {
            return None;
        };
        let (track, got) = (self.reader.announced()?, seconds(self.frames, self.rate?)?);
        let parameters = parameters(track)?;
        let is_counted = parameters.codec == CODEC_ID_FLAC && self.reader.name() == "flac"
            || is_mpeg(parameters) && track.padding.is_some();
        let (all, slack) = if is_counted {
            (seconds(track.num_frames?, parameters.sample_rate?)?, 0.0)
        } else if self.reader.name() == "matroska" && format.tracks().len() == 1 {
            let info = format.media_info();
            let all = info.time_base?.calc_duration(info.duration?)?;
            (all.as_secs_f64(), MATROSKA_SLACK)
        } else {
            return None;
        };
        (self.rate_changes == 0 && got + slack < all).then_some((got, all))
    }

    /// The next packet of the track.
    fn packet(&mut self) -> Result<Option<Packet>, AudioError> {
        if let Some(packet) = self.ahead.take() {
            return Ok(Some(packet));
        }
        loop {
            match self.reader.packet() {
                Ok(Some(packet)) if packet.track_id == self.id => return Ok(Some(packet)),
                // Tables may name any number of packets without a byte.
                Ok(Some(other)) if other.data.is_empty() => self.fail()?,
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                // A new beginning within the file, as in chained Ogg streams.
                Err(Error::ResetRequired) => {
                    (self.id, self.decoder) = select(&self.reader, &self.limits)?;
                }
                // A file that was cut off is audio up to there. One that was written into a pipe
                // ends so, too, where its parts say no length.
                Err(Error::IoError(error))
                    if error.kind() == io::ErrorKind::UnexpectedEof && self.rate.is_some() =>
                {
                    if self.reader.name() != "matroska" {
                        self.skip()?;
                    }
                    return Ok(None);
                }
                Err(error) => return Err(self.fault(error)),
            }
        }
    }

    /// Has a decoder that suits a packet. MPEG files of unlike kinds may be joined to one another; a
    /// frame of another kind that stands alone is none.
    fn suit(&mut self, packet: &Packet) -> Result<bool, AudioError> {
        let parameters = self.reader.announced().and_then(parameters);
        if !parameters.is_some_and(is_mpeg) {
            return Ok(true);
        }
        let kind = FrameKind::of(&packet.data);
        if self.kind.is_none() || self.kind == kind {
            self.kind = kind;
            return Ok(true);
        }
        self.ahead = self.packet()?;
        let next = self.ahead.as_ref();
        if next.is_none_or(|next| FrameKind::of(&next.data) != kind) {
            return Ok(false);
        }
        self.kind = kind;
        let mut parameters = AudioCodecParameters::new();
        parameters.for_codec(kind.map_or(CODEC_ID_MP3, FrameKind::codec));
        self.decoder = decoder(&parameters).map_err(|error| self.fault(error))?;
        Ok(true)
    }

    fn skip(&mut self) -> Result<(), AudioError> {
        self.skipped = self.skipped.saturating_add(1);
        self.fail()
    }

    fn fail(&mut self) -> Result<(), AudioError> {
        self.failures = self.failures.saturating_add(1);
        if self.failures > FAILURES_MAX {
            let max = FAILURES_MAX;
            return Err(AudioError::Packets { max });
        }
        Ok(())
    }

    /// Holds a packet's frames against the bounds.
    fn count(&mut self, rate: u32, channels: usize, frames: usize) -> Result<(), AudioError> {
        check(rate, channels, &self.limits)?;
        let wide = u64::from(rate);
        if let Some(last) = self.rate.replace(rate).filter(|last| *last != rate) {
            let part = self.frames.saturating_mul(RATE.into());
            self.before = self.before.saturating_add(part.div_ceil(last.into()));
            self.frames = 0;
            self.rate_changes = self.rate_changes.saturating_add(1);
            let max = RATE_CHANGES_MAX;
            if self.rate_changes > max {
                return Err(AudioError::RateChanges { max });
            }
        }
        let frames = u64::try_from(frames).unwrap_or(u64::MAX);
        self.frames = self.frames.saturating_add(frames);
        let max = self.limits.seconds;
        let before = self.before.saturating_mul(wide);
        let before = before.div_ceil(RATE.into());
        if self.frames.saturating_add(before) > u64::from(max).saturating_mul(wide) {
            return Err(AudioError::Length { max });
        }
        Ok(())
    }

    fn fault(&self, error: Error) -> AudioError {
        fault(self.reader.name(), error)
    }
}

/// Who takes a file apart.
enum Reader {
    Plain(Box<Plain>),
    Probed(Box<dyn FormatReader>),
}

impl Reader {
    fn name(&self) -> &'static str {
        match self {
            Self::Plain(plain) => plain.name(),
            Self::Probed(format) => format.format_info().short_name,
        }
    }

    /// The first audio track.
    fn announced(&self) -> Option<&Announced> {
        match self {
            Self::Plain(plain) => Some(plain.track()),
            Self::Probed(format) => format.first_track(TrackType::Audio),
        }
    }

    fn packet(&mut self) -> Result<Option<Packet>, Error> {
        match self {
            Self::Plain(plain) => Ok(plain.packet()?),
            Self::Probed(format) => {
                let packet = format.next_packet()?;
                let track = format.first_track(TrackType::Audio);
                Ok(packet.map(|packet| match track {
                    Some(track) => heard(packet, track),
                    None => packet,
                }))
            }
        }
    }
}

/// What all frames of an MPEG stream have in common: version and layer, rate, whether there is one
/// channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FrameKind(u8, u8, bool);

impl FrameKind {
    fn of(frame: &[u8]) -> Option<Self> {
        let [_, kind, rate, mode] = frame.first_chunk()?;
        Some(Self(kind & 0x1E, rate & 0x0C, mode & 0xC0 == 0xC0))
    }

    fn codec(self) -> AudioCodecId {
        match self.0 & 0x06 {
            0x06 => CODEC_ID_MP1,
            0x04 => CODEC_ID_MP2,
            _ => CODEC_ID_MP3,
        }
    }
}

fn is_mpeg(parameters: &AudioCodecParameters) -> bool {
    matches!(parameters.codec, CODEC_ID_MP1 | CODEC_ID_MP2 | CODEC_ID_MP3)
}

/// A packet as it is to be heard. The end of an MPEG stream is cut as its encoder says, not as it was
/// guessed from the first frames; and what another file was joined to is not its end.
fn heard(mut packet: Packet, track: &Announced) -> Packet {
    if !parameters(track).is_some_and(is_mpeg) {
        return packet;
    }
    let padding = track.padding.map(u64::from);
    let end = padding.and_then(|padding| padding.checked_add(track.num_frames?));
    let end = end.and_then(|end| i64::try_from(end).ok());
    if end.is_none_or(|end| packet.pts.get() >= end) {
        packet.dur = packet.dur.saturating_add(packet.trim_end);
        packet.trim_end = Duration::ZERO;
    }
    packet
}

fn probe(file: Box<dyn MediaSource>, head: &[u8], tail: Tail) -> Result<Reader, AudioError> {
    let stream = MediaSourceStream::new(file, MediaSourceStreamOptions::default());
    let format = symphonia::default::get_probe().probe(
        &Hint::new(),
        stream,
        FormatOptions::default(),
        MetadataOptions::default(),
    );
    format
        .map(Reader::Probed)
        .map_err(|error| unrecognised(error, head, tail))
}

/// The first audio track and its decoder.
fn select(reader: &Reader, limits: &Limits) -> Result<(u32, Box<dyn AudioDecoder>), AudioError> {
    let name = reader.name();
    let track = reader.announced();
    let found = track.and_then(|track| Some((track.id, parameters(track)?)));
    let Some((id, parameters)) = found else {
        return Err(untracked(reader));
    };
    if parameters.codec == CODEC_ID_OPUS {
        return Err(AudioError::Opus);
    }
    announced(name, parameters, limits)?;
    let decoder = decoder(parameters).map_err(|error| fault(name, error))?;
    Ok((id, decoder))
}

/// Why a file has no audio track that could be read.
fn untracked(reader: &Reader) -> AudioError {
    let format = reader.name();
    match reader {
        Reader::Probed(probed)
            if probed
                .tracks()
                .iter()
                .any(|track| track.codec_params.is_none()) =>
        {
            let why = "a track of a codec that is not known".to_owned();
            AudioError::Unsupported { format, why }
        }
        _ => AudioError::NoTrack { format },
    }
}

fn seconds(frames: u64, rate: u32) -> Option<f64> {
    let time = TimeBase::try_new(1, rate)?.calc_duration(Duration::from(frames))?;
    Some(time.as_secs_f64())
}

fn parameters(track: &Announced) -> Option<&AudioCodecParameters> {
    track.codec_params.as_ref()?.audio()
}

fn decoder(parameters: &AudioCodecParameters) -> Result<Box<dyn AudioDecoder>, Error> {
    symphonia::default::get_codecs().make_audio_decoder(parameters, &AudioDecoderOptions::default())
}

/// Holds what a file announces against the bounds, as far as it announces anything.
fn announced(
    format: &'static str,
    parameters: &AudioCodecParameters,
    limits: &Limits,
) -> Result<(), AudioError> {
    // Decoders take memory for a whole packet at once.
    let frames = parameters.max_frames_per_packet.unwrap_or(0);
    if frames > PACKET_FRAMES_MAX {
        let why = format!("{frames} frames a packet, want at most {PACKET_FRAMES_MAX}");
        return Err(AudioError::Memory { format, why });
    }
    let channels = parameters.channels.as_ref();
    let channels = channels.map_or(1, |channels| channels.count());
    check(parameters.sample_rate.unwrap_or(RATE_MIN), channels, limits)
}

fn check(rate: u32, channels: usize, limits: &Limits) -> Result<(), AudioError> {
    if !(RATE_MIN..=limits.rate).contains(&rate) {
        let (min, max) = (RATE_MIN, limits.rate);
        return Err(AudioError::Rate { rate, min, max });
    }
    if channels == 0 || channels > limits.channels {
        let max = limits.channels;
        return Err(AudioError::Channels { channels, max });
    }
    Ok(())
}

/// Appends the mean of each frame's channels; what is no number counts as silence.
fn average(interleaved: &[f32], channels: usize, mono: &mut Vec<f32>) {
    if channels <= 1 {
        mono.extend(interleaved.iter().copied().map(finite));
        return;
    }
    let share = u32::try_from(channels).map_or(1.0, f64::from).recip();
    mono.extend(interleaved.chunks_exact(channels).map(|frame| {
        let samples = frame.iter().copied().map(finite).map(f64::from);
        narrowed(samples.sum::<f64>() * share)
    }));
}

/// The nearest 32-bit float. A mean of such floats overflows none.
#[expect(clippy::as_conversions, reason = "rounding is meant")]
fn narrowed(x: f64) -> f32 {
    x as f32
}

/// Runs a reader that was found to panic on some files that lie: where sums of what they say
/// overflow and the build checks that.
fn guarded<T>(
    format: &'static str,
    read: impl FnOnce() -> Result<T, AudioError>,
) -> Result<T, AudioError> {
    guard::guarded(read).unwrap_or_else(|panicked| {
        let why = panicked.to_string();
        Err(AudioError::Corrupt { format, why })
    })
}

/// The format that a file begins like.
fn marked(head: &[u8]) -> Option<&'static str> {
    listed(&MARKS, head)
}

/// The format that a file begins like, of those that are not read.
fn unread(head: &[u8]) -> Option<&'static str> {
    let is_sync = |at: &usize| head.get(*at) == Some(&0x47);
    if TRANSPORT.iter().any(|places| places.iter().all(is_sync)) {
        return Some("MPEG transport stream");
    }
    listed(&UNREAD, head)
}

fn listed(marks: &[(usize, &[u8], &'static str)], head: &[u8]) -> Option<&'static str> {
    let is = |at: usize, mark: &[u8]| head.get(at..).is_some_and(|head| head.starts_with(mark));
    let mut marks = marks.iter();
    marks.find_map(|(at, mark, format)| is(*at, mark).then_some(*format))
}

fn unrecognised(error: Error, head: &[u8], tail: Tail) -> AudioError {
    match (error, marked(head)) {
        (Error::Unsupported(_) | Error::DecodeError(_), Some(format)) if tail.lacking > 0 => {
            let why = format!("cut off: {} bytes less than it announces", tail.lacking);
            AudioError::Corrupt { format, why }
        }
        (Error::Unsupported(_), Some(format)) => {
            let why = "its head is cut off, or names what no reader knows".to_owned();
            AudioError::Unsupported { format, why }
        }
        (Error::Unsupported(_), None) => {
            let head = head.iter().take(SHOWN_BYTES);
            let head: Vec<_> = head.map(|byte| format!("{byte:02x}")).collect();
            let head = head.join(" ");
            AudioError::UnknownFormat { head }
        }
        (error, format) => fault(format.unwrap_or("file"), error),
    }
}

fn fault(format: &'static str, error: Error) -> AudioError {
    let why = error.to_string();
    match error {
        Error::IoError(source) if source.kind() != io::ErrorKind::UnexpectedEof => {
            AudioError::Io(source)
        }
        Error::Unsupported(_) => AudioError::Unsupported { format, why },
        Error::LimitError(_) => AudioError::Memory { format, why },
        _ => AudioError::Corrupt { format, why },
    }
}

/// A reader whose length is known.
struct File<R> {
    reader: R,
    bytes: u64,
}

impl<R: Read> Read for File<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl<R: Seek> Seek for File<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.reader.seek(to)
    }
}

impl<R: Read + Seek + Send + Sync> MediaSource for File<R> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.bytes)
    }
}
