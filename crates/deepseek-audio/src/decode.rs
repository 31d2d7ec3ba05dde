//! From the bytes of a file to samples of one channel (spec `audio-video.md` §2.1).

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};

use deepseek_core::guard;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;

use crate::limits::{FAILURES_MAX, Limits, PACKET_FRAMES_MAX, RATE_MIN};
use crate::sound::{SoundError, finite};

/// First bytes of a file that tell what it is, and that a message shows.
const HEAD_BYTES: u64 = 12;

/// What files of a format begin with, and where: to blame the right thing when none is read.
const MARKS: [(usize, &[u8], &str); 8] = [
    (8, b"WAVE", "wave"),
    (8, b"AIFF", "aiff"),
    (8, b"AIFC", "aiff"),
    (0, b"caff", "caf"),
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (4, b"ftyp", "isomp4"),
    (0, b"\x1A\x45\xDF\xA3", "matroska"),
];

/// The first audio track of a file, packet by packet, its channels averaged.
pub(crate) struct Track {
    format: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    id: u32,
    limits: Limits,
    /// Frames a second, once a packet has said so.
    rate: Option<u32>,
    frames: u64,
    /// Packets in a row that gave no sample.
    failures: usize,
    skipped: usize,
    interleaved: Vec<f32>,
}

impl fmt::Debug for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Track")
            .field("format", &self.format.format_info().short_name)
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
    ) -> Result<Self, SoundError> {
        let mut head = Vec::new();
        reader.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
        if head.is_empty() {
            return Err(SoundError::Empty);
        }
        let bytes = reader.seek(SeekFrom::End(0))?;
        reader.seek(SeekFrom::Start(0))?;
        let file = Box::new(File { reader, bytes });
        let stream = MediaSourceStream::new(file, MediaSourceStreamOptions::default());
        guarded(marked(&head).unwrap_or("file"), || {
            Self::find(stream, &head, limits)
        })
    }

    fn find(
        stream: MediaSourceStream<'static>,
        head: &[u8],
        limits: Limits,
    ) -> Result<Self, SoundError> {
        let format = symphonia::default::get_probe()
            .probe(
                &Hint::new(),
                stream,
                FormatOptions::default(),
                MetadataOptions::default(),
            )
            .map_err(|error| unrecognised(error, head))?;
        let (id, decoder) = select(format.as_ref(), &limits)?;
        Ok(Self {
            format,
            decoder,
            id,
            limits,
            rate: None,
            frames: 0,
            failures: 0,
            skipped: 0,
            interleaved: Vec::new(),
        })
    }

    /// Appends what the next packet holds. Nothing is returned at the end, else the rate, which
    /// never changes. Not to be called again after an error.
    pub(crate) fn read(&mut self, mono: &mut Vec<f32>) -> Result<Option<u32>, SoundError> {
        let name = self.format.format_info().short_name;
        guarded(name, || self.next(mono))
    }

    fn next(&mut self, mono: &mut Vec<f32>) -> Result<Option<u32>, SoundError> {
        while let Some(packet) = self.packet()? {
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
                Err(error) => return Err(self.fault(error)),
            }
        }
        Ok(None)
    }

    /// Packets that could not be decoded, up to now.
    pub(crate) fn skipped(&self) -> usize {
        self.skipped
    }

    /// The next packet of the track.
    fn packet(&mut self) -> Result<Option<Packet>, SoundError> {
        loop {
            match self.format.next_packet() {
                Ok(Some(packet)) if packet.track_id == self.id => return Ok(Some(packet)),
                // Tables may name any number of packets without a byte.
                Ok(Some(other)) if other.data.is_empty() => self.fail()?,
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                // A new beginning within the file, as in chained Ogg streams.
                Err(Error::ResetRequired) => {
                    (self.id, self.decoder) = select(self.format.as_ref(), &self.limits)?;
                }
                // A file that was cut off is a sound up to there.
                Err(Error::IoError(error))
                    if error.kind() == io::ErrorKind::UnexpectedEof && self.frames > 0 =>
                {
                    self.skip()?;
                    return Ok(None);
                }
                Err(error) => return Err(self.fault(error)),
            }
        }
    }

    fn skip(&mut self) -> Result<(), SoundError> {
        self.skipped = self.skipped.saturating_add(1);
        self.fail()
    }

    fn fail(&mut self) -> Result<(), SoundError> {
        self.failures = self.failures.saturating_add(1);
        if self.failures > FAILURES_MAX {
            let max = FAILURES_MAX;
            return Err(SoundError::Packets { max });
        }
        Ok(())
    }

    /// Holds a packet's frames against the bounds.
    fn count(&mut self, rate: u32, channels: usize, frames: usize) -> Result<(), SoundError> {
        check(rate, channels, &self.limits)?;
        let first = *self.rate.get_or_insert(rate);
        if rate != first {
            return Err(SoundError::RateChange { first, rate });
        }
        let frames = u64::try_from(frames).unwrap_or(u64::MAX);
        self.frames = self.frames.saturating_add(frames);
        let max = self.limits.seconds;
        if self.frames > u64::from(max).saturating_mul(u64::from(rate)) {
            return Err(SoundError::Length { max });
        }
        Ok(())
    }

    fn fault(&self, error: Error) -> SoundError {
        fault(self.format.format_info().short_name, error)
    }
}

/// The first audio track and its decoder.
fn select(
    format: &dyn FormatReader,
    limits: &Limits,
) -> Result<(u32, Box<dyn AudioDecoder>), SoundError> {
    let name = format.format_info().short_name;
    let none = SoundError::NoTrack { format: name };
    let Some(track) = format.first_track(TrackType::Audio) else {
        return Err(none);
    };
    let parameters = track.codec_params.as_ref().and_then(|all| all.audio());
    let Some(parameters) = parameters else {
        return Err(none);
    };
    if parameters.codec == CODEC_ID_OPUS {
        return Err(SoundError::Opus);
    }
    announced(name, parameters, limits)?;
    let decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &AudioDecoderOptions::default())
        .map_err(|error| fault(name, error))?;
    Ok((track.id, decoder))
}

/// Holds what a file announces against the bounds, as far as it announces anything.
fn announced(
    format: &'static str,
    parameters: &AudioCodecParameters,
    limits: &Limits,
) -> Result<(), SoundError> {
    // Decoders take memory for a whole packet at once.
    let frames = parameters.max_frames_per_packet.unwrap_or(0);
    if frames > PACKET_FRAMES_MAX {
        let why = format!("{frames} frames a packet, want at most {PACKET_FRAMES_MAX}");
        return Err(SoundError::Memory { format, why });
    }
    let channels = parameters.channels.as_ref();
    let channels = channels.map_or(1, |channels| channels.count());
    check(parameters.sample_rate.unwrap_or(RATE_MIN), channels, limits)
}

fn check(rate: u32, channels: usize, limits: &Limits) -> Result<(), SoundError> {
    if !(RATE_MIN..=limits.rate).contains(&rate) {
        let (min, max) = (RATE_MIN, limits.rate);
        return Err(SoundError::Rate { rate, min, max });
    }
    if channels == 0 || channels > limits.channels {
        let max = limits.channels;
        return Err(SoundError::Channels { channels, max });
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
    read: impl FnOnce() -> Result<T, SoundError>,
) -> Result<T, SoundError> {
    guard::guarded(read).unwrap_or_else(|panicked| {
        let why = panicked.to_string();
        Err(SoundError::Corrupt { format, why })
    })
}

/// The format that a file begins like.
fn marked(head: &[u8]) -> Option<&'static str> {
    let is = |at: usize, mark| head.get(at..).is_some_and(|head| head.starts_with(mark));
    let mut marks = MARKS.into_iter();
    marks.find_map(|(at, mark, format)| is(at, mark).then_some(format))
}

fn unrecognised(error: Error, head: &[u8]) -> SoundError {
    match (error, marked(head)) {
        (Error::Unsupported(_), Some(format)) => {
            let why = "its head is cut off, or names what no reader knows".to_owned();
            SoundError::Unsupported { format, why }
        }
        (Error::Unsupported(_), None) => {
            let head: Vec<_> = head.iter().map(|byte| format!("{byte:02x}")).collect();
            let head = head.join(" ");
            SoundError::UnknownFormat { head }
        }
        (error, format) => fault(format.unwrap_or("file"), error),
    }
}

fn fault(format: &'static str, error: Error) -> SoundError {
    let why = error.to_string();
    match error {
        Error::IoError(source) if source.kind() != io::ErrorKind::UnexpectedEof => {
            SoundError::Io(source)
        }
        Error::Unsupported(_) => SoundError::Unsupported { format, why },
        Error::LimitError(_) => SoundError::Memory { format, why },
        _ => SoundError::Corrupt { format, why },
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
