//! What parent and worker say to each other: messages of a kind, a length and so many bytes, all
//! numbers little-endian.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use crate::image::Image;
use crate::limits::FRAME_PIXELS_MAX;

use super::super::error::VideoError;
use super::super::reader::Source;
use super::failure;

/// Bytes of a message's kind and length.
const HEAD_BYTES: usize = 5;
/// The longest message of a worker: a frame. The times of all are shorter.
const REPLY_BYTES_MAX: u64 = 3 * FRAME_PIXELS_MAX + 8;

/// What a worker is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Task {
    Frames,
    Audio,
}

/// What the parent wants.
#[derive(Debug)]
pub(super) enum Ask {
    /// First of all: the file.
    Open(Task, Source),
    /// The last frame at or before a time.
    Frame(f64),
}

/// What a worker answers.
#[derive(Debug)]
pub(super) enum Reply {
    /// When frames are seen.
    Timeline {
        has_audio: bool,
        duration: f64,
        times: Vec<f64>,
    },
    Frame(Image),
    /// Samples a second, before the first of them.
    Rate(u32),
    Audio(Vec<f32>),
    /// There is no more audio.
    End,
    Failure(String),
}

impl Ask {
    /// To open `source`, the path of which must be text.
    pub(super) fn open(task: Task, source: &Source) -> Result<Self, VideoError> {
        let Source::File(path) = source else {
            return Ok(Self::Open(task, source.clone()));
        };
        // Whatever the worker's folder is.
        let path = std::path::absolute(path)?;
        if path.to_str().is_none() {
            return Err(failure(format!(
                "a path that is no text: {}",
                path.display()
            )));
        }
        Ok(Self::Open(task, Source::File(path)))
    }

    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Open(task, source) => {
                let task = u8::from(*task == Task::Audio);
                let (kind, bytes) = match source {
                    Source::File(path) => (b'P', path.to_str().unwrap_or_default().as_bytes()),
                    Source::Bytes(bytes) => (b'B', &bytes[..]),
                };
                message(out, kind, &[&[task], bytes])
            }
            Self::Frame(time) => message(out, b'F', &[&time.to_le_bytes()]),
        }
    }

    /// Nothing is returned when the parent has gone.
    pub(super) fn read(input: &mut impl Read) -> Result<Option<Self>, VideoError> {
        let Some((kind, bytes)) = take(input, u64::MAX)? else {
            return Ok(None);
        };
        let ask = match (kind, bytes.split_first()) {
            (b'P' | b'B', Some((task, rest))) => {
                let task = if *task == 0 {
                    Task::Frames
                } else {
                    Task::Audio
                };
                let source = if kind == b'B' {
                    Source::Bytes(Arc::from(rest))
                } else {
                    Source::File(PathBuf::from(String::from_utf8_lossy(rest).as_ref()))
                };
                Self::Open(task, source)
            }
            (b'F', _) => Self::Frame(f64::from_le_bytes(array(&bytes)?)),
            _ => return Err(broken()),
        };
        Ok(Some(ask))
    }
}

impl Reply {
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Timeline {
                has_audio,
                duration,
                times,
            } => {
                let times: Vec<u8> = times.iter().flat_map(|time| time.to_le_bytes()).collect();
                let head = [u8::from(*has_audio)];
                message(out, b'T', &[&head, &duration.to_le_bytes(), &times])
            }
            Self::Frame(image) => {
                let side = |pixels| u32::try_from(pixels).unwrap_or(u32::MAX).to_le_bytes();
                let [width, height] = [image.width(), image.height()].map(side);
                message(out, b'F', &[&width, &height, image.rgb()])
            }
            Self::Rate(rate) => message(out, b'R', &[&rate.to_le_bytes()]),
            Self::Audio(samples) => {
                let bytes = samples.iter().flat_map(|sample| sample.to_le_bytes());
                message(out, b'S', &[&bytes.collect::<Vec<u8>>()])
            }
            Self::End => message(out, b'Z', &[]),
            Self::Failure(why) => message(out, b'E', &[why.as_bytes()]),
        }
    }

    /// Nothing is returned when the worker has gone.
    pub(super) fn read(input: &mut impl Read) -> Result<Option<Self>, VideoError> {
        let Some((kind, bytes)) = take(input, REPLY_BYTES_MAX)? else {
            return Ok(None);
        };
        let reply = match kind {
            b'T' => {
                let (has_audio, rest) = bytes.split_first().ok_or_else(broken)?;
                let (duration, times) = rest.split_first_chunk().ok_or_else(broken)?;
                let times = times.as_chunks().0.iter().copied();
                Self::Timeline {
                    has_audio: *has_audio != 0,
                    duration: f64::from_le_bytes(*duration),
                    times: times.map(f64::from_le_bytes).collect(),
                }
            }
            b'F' => frame(bytes)?,
            b'R' => Self::Rate(u32::from_le_bytes(array(&bytes)?)),
            b'S' => {
                let samples = bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes);
                let finite = |x: f32| if x.is_finite() { x } else { 0.0 };
                Self::Audio(samples.map(finite).collect())
            }
            b'Z' => Self::End,
            b'E' => Self::Failure(String::from_utf8_lossy(&bytes).into_owned()),
            _ => return Err(broken()),
        };
        Ok(Some(reply))
    }
}

fn frame(mut bytes: Vec<u8>) -> Result<Reply, VideoError> {
    let head: [u8; 8] = bytes.first_chunk().copied().ok_or_else(broken)?;
    bytes.drain(..8);
    let ([width, height], _) = head.as_chunks::<4>() else {
        return Err(broken());
    };
    let side = |bytes: &[u8; 4]| usize::try_from(u32::from_le_bytes(*bytes)).unwrap_or(0);
    let (width, height) = (side(width), side(height));
    let samples = width
        .checked_mul(height)
        .and_then(|pixels| pixels.checked_mul(3));
    if bytes.is_empty() || samples != Some(bytes.len()) {
        return Err(broken());
    }
    Ok(Reply::Frame(Image::from_rgb(width, height, bytes)))
}

fn broken() -> VideoError {
    failure("a message that makes no sense")
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], VideoError> {
    bytes.try_into().map_err(|_| broken())
}

fn message(out: &mut impl Write, kind: u8, parts: &[&[u8]]) -> io::Result<()> {
    let bytes = parts.iter().map(|part| part.len()).sum::<usize>();
    let bytes = u32::try_from(bytes).map_err(io::Error::other)?;
    out.write_all(&[kind])?;
    out.write_all(&bytes.to_le_bytes())?;
    parts.iter().try_for_each(|part| out.write_all(part))?;
    out.flush()
}

/// A message's kind and bytes, of which memory is taken for those that come.
fn take(input: &mut impl Read, max: u64) -> Result<Option<(u8, Vec<u8>)>, VideoError> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    input.by_ref().take(5).read_to_end(&mut head)?;
    let Some([kind, bytes @ ..]) = head.first_chunk::<HEAD_BYTES>().copied() else {
        return Ok(None);
    };
    let length = u64::from(u32::from_le_bytes(bytes));
    if length > max {
        return Err(broken());
    }
    let mut bytes = Vec::new();
    let read = input.by_ref().take(length).read_to_end(&mut bytes)?;
    // One that ends in the midst of a message is gone, too.
    let is_whole = u64::try_from(read).is_ok_and(|read| read == length);
    Ok(is_whole.then_some((kind, bytes)))
}
