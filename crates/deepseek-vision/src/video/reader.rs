//! Where frames come from: one reader for each kind of file.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

mod avi;
mod images;
mod input;
mod moving;
mod pcm;
pub(crate) mod webp;
mod y4m;

use std::path::{Path, PathBuf};

use image::ImageFormat;

use deepseek_core::{Note, guard};

use crate::decode::recognise;
use crate::formats;
use crate::image::{Image, ImageError};
use crate::limits::{FRAME_PIXELS_MAX, VIDEO_FRAMES_MAX, VIDEO_SECONDS_MAX};

use super::file::{Video, VideoError};
use super::track::Track;

use self::input::Input;
pub(super) use self::input::Source;

/// What may be one image or many, behind each other without a container.
const BARE_JPEG: &str = "JPEG without a container";

/// The frames of a video.
pub(super) trait FrameReader {
    /// The frame with this index, which is larger than any that was asked for before, and one that
    /// the timeline has.
    fn frame(&mut self, index: usize) -> Result<Image, VideoError>;

    /// From now on frames are rotated as the published loader rotates images.
    fn orient_as_published(&mut self) {}
}

/// When frames are seen: at least one of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Timeline {
    /// Seconds from the first frame to each.
    pub(super) times: Vec<f64>,
    /// Seconds from the first frame to the end of the last.
    pub(super) duration: f64,
}

impl Timeline {
    /// The times that `ticks` stand for, `fps` of them a second; the last frame ends at `end`.
    fn of_ticks(
        format: &'static str,
        ticks: &[u64],
        end: u64,
        fps: Rate,
    ) -> Result<Self, VideoError> {
        let Some(first) = ticks.first() else {
            return Err(VideoError::NoFrames { format });
        };
        let seconds = |tick: u64| fps.seconds(tick.saturating_sub(*first));
        let duration = seconds(end);
        if duration > VIDEO_SECONDS_MAX {
            let (seconds, max) = (duration, VIDEO_SECONDS_MAX);
            return Err(VideoError::Length { seconds, max });
        }
        let times = ticks.iter().map(|tick| seconds(*tick)).collect();
        Ok(Self { times, duration })
    }
}

/// Ticks a second, as a ratio of two numbers above zero.
#[derive(Debug, Clone, Copy)]
struct Rate {
    ticks: f64,
    seconds: f64,
}

impl Rate {
    fn new(ticks: f64, seconds: f64) -> Result<Self, VideoError> {
        let fps = ticks / seconds;
        if fps.is_finite() && fps > 0.0 && seconds > 0.0 {
            Ok(Self { ticks, seconds })
        } else {
            Err(VideoError::Rate { fps })
        }
    }

    /// When a tick is. The product comes first, so that whole seconds are whole.
    #[expect(clippy::as_conversions, reason = "ticks are far below 2^53")]
    fn seconds(self, tick: u64) -> f64 {
        tick as f64 * self.seconds / self.ticks
    }
}

/// Opens a file by what it begins with.
pub(super) fn open(source: &Source) -> Result<Video, VideoError> {
    guard::guarded(|| open_known(source))?
}

fn open_known(source: &Source) -> Result<Video, VideoError> {
    let mut input = Input::open(source, "video")?;
    let head = input.head(formats::HEAD_BYTES)?;
    match head.as_slice() {
        [] => Err(VideoError::Empty),
        [b'G', b'I', b'F', b'8', ..] => moving::open(source, moving::Kind::Gif),
        [0x89, b'P', b'N', b'G', ..] => moving::open(source, moving::Kind::Png),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => moving::open(source, moving::Kind::WebP),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'A',
            b'V',
            b'I',
            b' ',
            ..,
        ] => avi::open(source),
        head if head.starts_with(b"YUV4MPEG2 ") => y4m::open(source),
        head => Err(match recognise(head) {
            Ok((ImageFormat::Jpeg, _)) => VideoError::Foreign { kind: BARE_JPEG },
            Ok((_, format)) => VideoError::Still { format },
            Err(ImageError::Foreign { kind }) => VideoError::Foreign { kind },
            Err(_) => VideoError::UnknownFormat,
        }),
    }
}

/// The images of a folder, or those that fit a pattern.
pub(super) fn image_files(at: &Path) -> Result<Vec<PathBuf>, VideoError> {
    images::files(at)
}

/// What there is to be told of a file whose first `count` frames are whole, if there are any, where it
/// breaks off; else the error.
fn cut(error: VideoError, count: usize) -> Result<Note, VideoError> {
    let (format, why) = match error {
        VideoError::Corrupt { format, why }
        | VideoError::Frame {
            source: ImageError::Corrupt { format, why },
            ..
        } if count > 0 => (format, why),
        error => return Err(error),
    };
    let text =
        format!("damaged {format} data at frame {count}: {why}; the frames before it are taken");
    Ok(Note::new(text))
}

/// Opens the images of a folder.
pub(super) fn open_images(at: &Path, fps: f64) -> Result<Video, VideoError> {
    images::open(at, fps)
}

/// Gives the audio of a video from its beginning, each time that it is called.
pub(super) type Voice = Box<dyn Fn() -> Result<Track, VideoError>>;

pub(super) fn video(
    timeline: Timeline,
    reader: impl FrameReader + 'static,
    voice: Option<Voice>,
) -> Video {
    Video {
        timeline,
        reader: Box::new(reader),
        voice,
        unheard: None,
        next: 0,
        notes: Vec::new(),
        damaged: None,
    }
}

/// Whether there can be another frame behind `count`.
fn room_for_frame(count: usize) -> Result<(), VideoError> {
    let max = VIDEO_FRAMES_MAX;
    if count < max {
        Ok(())
    } else {
        Err(VideoError::Frames { max })
    }
}

/// Whether a frame of this size is taken.
pub(super) fn room_for_pixels(width: u64, height: u64) -> Result<(), VideoError> {
    let max = FRAME_PIXELS_MAX;
    let pixels = width.saturating_mul(height);
    if pixels > 0 && pixels <= max {
        Ok(())
    } else {
        Err(VideoError::Pixels { width, height, max })
    }
}

/// The same for one that is decoded.
fn in_room(image: Image) -> Result<Image, VideoError> {
    let side = |pixels| u64::try_from(pixels).unwrap_or(u64::MAX);
    room_for_pixels(side(image.width()), side(image.height()))?;
    Ok(image)
}
