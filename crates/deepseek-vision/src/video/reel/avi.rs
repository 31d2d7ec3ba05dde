//! AVI with Motion-JPEG and PCM: chunks within lists, each with a name and a length.
//!
//! Lists that matter are entered and their lengths forgotten, as what follows their last chunk is the
//! next one anyway: so files beyond the first gigabytes (`AVIX`) and unfinished lists are read, too.
//! The index at the end is not looked at; the chunks themselves say where they are.

use crate::limits::{CHUNKS_MAX, FILM_SECONDS_MAX};
use crate::picture::Picture;

use super::super::film::{Film, FilmError};
use super::input::{Input, Source};
use super::pcm::{Pcm, Samples};
use super::{Rate, Reel, Timeline, Voice, film, in_room, room_for_frame, room_for_pixels};

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
    streams: usize,
    /// The last `strh`, until its `strf` comes.
    header: Option<Header>,
    video: Option<Taken<()>>,
    audio: Option<Taken<Samples>>,
}

struct Avi {
    input: Input,
    frames: Vec<Run>,
}

pub(super) fn open(source: &Source) -> Result<Film, FilmError> {
    let mut input = Input::open(source, FORMAT)?;
    let mut contents = Contents::default();
    let mut chunks = 0_usize;
    while input.left() > 0 {
        if chunks == CHUNKS_MAX {
            return Err(input.corrupt(format!("more than {CHUNKS_MAX} chunks")));
        }
        chunks = chunks.saturating_add(1);
        contents.chunk(&mut input)?;
    }
    contents.finish(source, input)
}

impl Contents {
    fn chunk(&mut self, input: &mut Input) -> Result<(), FilmError> {
        let name: [u8; 4] = input.array()?;
        let bytes = u32::from_le_bytes(input.array()?);
        let run = Run {
            at: input.at(),
            bytes,
        };
        let padded = u64::from(bytes).saturating_add(u64::from(bytes % 2));
        match &name {
            b"RIFF" | b"LIST" => {
                let kind: [u8; 4] = input.array()?;
                if matches!(
                    &kind,
                    b"AVI " | b"AVIX" | b"hdrl" | b"strl" | b"movi" | b"rec "
                ) {
                    return Ok(());
                }
            }
            b"strh" => self.header = Some(header(input)?),
            b"strf" => self.format(input, bytes)?,
            [b'0'..=b'9', b'0'..=b'9', kind @ ..] => self.piece(&name, *kind, run)?,
            _ => {}
        }
        // The last chunk may lack the byte that makes it even.
        let end = run.at.saturating_add(padded);
        let is_last = end == input.at().saturating_add(input.left()).saturating_add(1);
        input.seek(if is_last { end.saturating_sub(1) } else { end })
    }

    /// Takes the first stream of each kind.
    fn format(&mut self, input: &mut Input, bytes: u32) -> Result<(), FilmError> {
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
            self.audio = Some(Taken {
                index,
                rate: rate(input)?,
                start: header.start,
                format: Samples::parse(input, &format)?,
                runs: Vec::new(),
            });
        }
        Ok(())
    }

    /// Notes a chunk of a stream. Its name begins with the stream's place, in decimal.
    fn piece(&mut self, name: &[u8; 4], kind: [u8; 2], run: Run) -> Result<(), FilmError> {
        let [tens, ones, ..] = name.map(|digit| usize::from(digit.saturating_sub(b'0')));
        let index = tens.saturating_mul(10).saturating_add(ones);
        match (&kind, &mut self.video, &mut self.audio) {
            (b"dc" | b"db", Some(video), _) if video.index == index => {
                room_for_frame(video.runs.len())?;
                video.runs.push(run);
            }
            (b"wb", _, Some(audio)) if audio.index == index => audio.runs.push(run),
            _ => {}
        }
        Ok(())
    }

    fn finish(self, source: &Source, input: Input) -> Result<Film, FilmError> {
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
            let start = audio.rate.seconds(audio.start.into()) - begin;
            if start.abs() > FILM_SECONDS_MAX {
                return Err(input.corrupt(format!("sound {start} seconds after the first frame")));
            }
            Pcm::new(source.clone(), audio.runs, audio.format, start)
        });
        let voice = pcm
            .transpose()?
            .map(|pcm| -> Voice { Box::new(move || pcm.track()) });
        Ok(film(timeline, Avi { input, frames }, voice))
    }
}

/// The fields of `strh` that matter.
fn header(input: &mut Input) -> Result<Header, FilmError> {
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
fn motion_jpeg(input: &Input, format: &[u8]) -> Result<(), FilmError> {
    let Some([_, width, height, _, codec]) = words(format) else {
        return Err(input.corrupt("a video format of less than 20 bytes"));
    };
    if !codec.eq_ignore_ascii_case(b"MJPG") {
        // Of all builds, those with the feature read it.
        return Err(FilmError::UnknownFormat);
    }
    let [width, height] = [width, height].map(|side| i32::from_le_bytes(side).unsigned_abs());
    room_for_pixels(width.into(), height.into())
}

/// The first five words.
fn words(bytes: &[u8]) -> Option<[[u8; 4]; 5]> {
    let (words, _) = bytes.as_chunks::<4>();
    words.first_chunk().copied()
}

impl Reel for Avi {
    fn frame(&mut self, index: usize) -> Result<Picture, FilmError> {
        let Self { input, frames } = self;
        let run = frames.get(index).copied();
        let run = run.ok_or_else(|| input.corrupt("a frame is missing"))?;
        input.seek(run.at)?;
        let bytes = input.take(usize::try_from(run.bytes).unwrap_or(usize::MAX))?;
        let picture = Picture::decode(&bytes);
        in_room(picture.map_err(|source| FilmError::Frame { index, source })?)
    }
}
