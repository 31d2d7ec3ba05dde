//! AVI with Motion-JPEG and PCM: chunks within lists, each with a name and a length.
//!
//! Lists that matter are entered and their lengths forgotten, as what follows their last chunk is the
//! next one anyway: so files beyond the first gigabytes (`AVIX`) and unfinished lists are read, too.
//! The index at the end is not looked at; the chunks themselves say where they are.

use crate::image::Image;
use crate::limits::{CHUNKS_MAX, VIDEO_SECONDS_MAX};

use super::super::error::VideoError;
use super::input::{Input, Source};
use super::pcm::{Pcm, Samples};
use super::{
    FrameReader, OpenTrack, Parts, Rate, Timeline, cut, in_room, room_for_frame, room_for_pixels,
};

const FORMAT: &str = "AVI";
/// Most bytes of a stream's format that are of interest.
const FORMAT_BYTES_MAX: u64 = 64;

/// A range of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) at: u64,
    pub(super) bytes: u32,
}

/// What is known of a stream, in the order in which its file tells it.
#[derive(Clone, Copy)]
struct Header {
    kind: Kind,
    rate: Option<Rate>,
    /// Ticks before its first chunk.
    start: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Video,
    Audio,
    Other,
}

/// A stream that is read, by its place among all.
struct Taken<T> {
    index: usize,
    rate: Rate,
    start: u32,
    format: T,
    /// Chunks, of which those of no bytes are the frame before once more.
    runs: Vec<Run>,
}

#[derive(Default)]
struct Contents {
    /// Whether a list ends behind the file.
    is_cut: bool,
    streams: usize,
    /// The last `strh`, until its `strf` comes.
    header: Option<Header>,
    video: Option<Taken<()>>,
    /// The audio, or why it is not read.
    audio: Option<Result<Taken<Samples>, String>>,
}

struct Avi {
    input: Input,
    frames: Vec<Run>,
}

pub(super) fn open(source: &Source) -> Result<Parts, VideoError> {
    let mut input = Input::open(source, FORMAT)?;
    let mut contents = Contents::default();
    let mut chunks = 0_usize;
    let mut notes = Vec::new();
    while input.left() > 0 {
        if chunks == CHUNKS_MAX {
            return Err(input.corrupt(format!("more than {CHUNKS_MAX} chunks")));
        }
        chunks = chunks.saturating_add(1);
        if let Err(error) = contents.chunk(&mut input) {
            notes.push(cut(error, contents.cut_off(&input))?);
            break;
        }
    }
    if contents.is_cut && notes.is_empty() {
        let error = input.corrupt("the file ends early");
        notes.push(cut(error, contents.cut_off(&input))?);
    }
    let mut parts = contents.finish(source, input)?;
    parts.notes = notes;
    Ok(parts)
}

impl Contents {
    fn chunk(&mut self, input: &mut Input) -> Result<(), VideoError> {
        let name: [u8; 4] = input.array()?;
        let bytes = u32::from_le_bytes(input.array()?);
        let run = Run {
            at: input.at(),
            bytes,
        };
        match &name {
            b"RIFF" | b"LIST" => {
                let kind: [u8; 4] = input.array()?;
                if matches!(
                    &kind,
                    b"AVI " | b"AVIX" | b"hdrl" | b"strl" | b"movi" | b"rec "
                ) {
                    // A length of all ones stands for one that was not known, and the last byte may
                    // be one that makes the last chunk even.
                    let known = bytes.saturating_sub(1);
                    self.is_cut |= bytes < u32::MAX && input.goes_beyond(run.at, known);
                    return Ok(());
                }
            }
            b"strh" => self.header = Some(header(input)?),
            b"strf" => self.format(input, bytes)?,
            [b'0'..=b'9', b'0'..=b'9', kind @ ..] => self.piece(&name, *kind, run)?,
            _ => {}
        }
        input.seek_behind(run.at, bytes)
    }

    /// Takes the first stream of each kind.
    fn format(&mut self, input: &mut Input, bytes: u32) -> Result<(), VideoError> {
        let index = self.streams;
        self.streams = index.saturating_add(1);
        let header = self.header.take();
        let header = header.ok_or_else(|| input.corrupt("a stream without a header"))?;
        let length = u64::from(bytes).min(FORMAT_BYTES_MAX);
        let format = input.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        let rate = |input: &Input| {
            let rate = header.rate;
            rate.ok_or_else(|| input.corrupt("a stream without a rate"))
        };
        if header.kind == Kind::Video && self.video.is_none() {
            motion_jpeg(input, &format)?;
            self.video = Some(Taken {
                index,
                rate: rate(input)?,
                start: header.start,
                format: (),
                runs: Vec::new(),
            });
        } else if header.kind == Kind::Audio && self.audio.is_none() {
            // Of audio that is not read, the frames are seen all the same.
            let taken = Samples::parse(&format).and_then(|format| {
                let rate = header.rate.ok_or("audio without a rate")?;
                Ok(Taken {
                    index,
                    rate,
                    start: header.start,
                    format,
                    runs: Vec::new(),
                })
            });
            self.audio = Some(taken);
        }
        Ok(())
    }

    /// Forgets what the file ends in the midst of, and counts the frames that are left.
    fn cut_off(&mut self, input: &Input) -> usize {
        let is_whole = |run: &Run| !input.goes_beyond(run.at, run.bytes);
        if let Some(Ok(audio)) = &mut self.audio {
            audio.runs.retain(is_whole);
        }
        self.video.as_mut().map_or(0, |video| {
            video.runs.retain(is_whole);
            video.runs.len()
        })
    }

    /// Notes a chunk of a stream. Its name begins with the stream's place, in decimal.
    fn piece(&mut self, name: &[u8; 4], kind: [u8; 2], run: Run) -> Result<(), VideoError> {
        let [tens, ones, ..] = name.map(|digit| usize::from(digit.saturating_sub(b'0')));
        let index = tens.saturating_mul(10).saturating_add(ones);
        match (&kind, &mut self.video, &mut self.audio) {
            (b"dc" | b"db", Some(video), _) if video.index == index => {
                room_for_frame(video.runs.len())?;
                video.runs.push(run);
            }
            (b"wb", _, Some(Ok(audio))) if audio.index == index => audio.runs.push(run),
            _ => {}
        }
        Ok(())
    }

    fn finish(self, source: &Source, input: Input) -> Result<Parts, VideoError> {
        let Some(video) = self.video else {
            return Err(input.corrupt("no video"));
        };
        let slots = (0..).zip(&video.runs).filter(|(_, run)| run.bytes > 0);
        let (ticks, frames): (Vec<u64>, Vec<Run>) = slots.unzip();
        let end = u64::try_from(video.runs.len()).unwrap_or(u64::MAX);
        let timeline = Timeline::of_ticks(FORMAT, &ticks, end, video.rate)?;
        let first = ticks.first().copied().unwrap_or(0);
        let begin = video.rate.seconds(first.saturating_add(video.start.into()));
        let pcm = self.audio.map(|audio| {
            let audio = audio?;
            let start = audio.rate.seconds(audio.start.into()) - begin;
            if start.abs() > VIDEO_SECONDS_MAX {
                return Err(format!("audio {start} seconds after the first frame"));
            }
            Pcm::new(source.clone(), audio.runs, audio.format, start)
        });
        let mut parts = Parts::new(timeline, Avi { input, frames });
        parts.track = pcm.map(|pcm| {
            let pcm = pcm?;
            let open: OpenTrack = Box::new(move || pcm.track());
            Ok(open)
        });
        Ok(parts)
    }
}

/// The fields of `strh` that matter.
fn header(input: &mut Input) -> Result<Header, VideoError> {
    let kind: [u8; 4] = input.array()?;
    input.skip(16)?;
    let [scale, ticks, start] = [
        u32::from_le_bytes(input.array()?),
        u32::from_le_bytes(input.array()?),
        u32::from_le_bytes(input.array()?),
    ];
    Ok(Header {
        kind: match &kind {
            b"vids" => Kind::Video,
            b"auds" => Kind::Audio,
            _ => Kind::Other,
        },
        rate: Rate::new(ticks.into(), scale.into()).ok(),
        start,
    })
}

/// Whether a video format, a `BITMAPINFOHEADER`, is one that is read.
fn motion_jpeg(input: &Input, format: &[u8]) -> Result<(), VideoError> {
    let Some([_, width, height, _, codec]) = words(format) else {
        return Err(input.corrupt("a video format of less than 20 bytes"));
    };
    if !codec.eq_ignore_ascii_case(b"MJPG") {
        let codec = codec.escape_ascii();
        return Err(input.unsupported(format!("video of codec {codec}, want MJPG")));
    }
    let [width, height] = [width, height].map(|side| i32::from_le_bytes(side).unsigned_abs());
    room_for_pixels(width.into(), height.into())
}

/// The first five words.
fn words(bytes: &[u8]) -> Option<[[u8; 4]; 5]> {
    let (words, _) = bytes.as_chunks::<4>();
    words.first_chunk().copied()
}

impl FrameReader for Avi {
    fn frame(&mut self, index: usize) -> Result<Image, VideoError> {
        let Self { input, frames } = self;
        let run = frames.get(index).copied();
        let run = run.ok_or_else(|| input.corrupt("a frame is missing"))?;
        input.seek(run.at)?;
        let bytes = input.take(usize::try_from(run.bytes).unwrap_or(usize::MAX))?;
        // Frames of a video stream have no orientation of their own.
        let image = Image::decode_as_published(&bytes);
        in_room(image.map_err(|source| VideoError::Frame { index, source })?)
    }
}
