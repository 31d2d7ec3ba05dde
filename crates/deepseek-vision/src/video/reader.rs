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

use super::error::VideoError;
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

/// Gives the audio of a video from its beginning, each time that it is called.
pub(super) type OpenTrack = Box<dyn Fn() -> Result<Track, VideoError>>;

/// What a reader has found in a file.
pub(super) struct Parts {
    pub(super) timeline: Timeline,
    pub(super) reader: Box<dyn FrameReader>,
    /// The audio, if the file has any, or why it is not read.
    pub(super) track: Option<Result<OpenTrack, String>>,
    /// What there is to be told of the file.
    pub(super) notes: Vec<Note>,
}

impl Parts {
    /// Those of a file without audio, of which there is nothing to be told.
    pub(super) fn new(timeline: Timeline, reader: impl FrameReader + 'static) -> Self {
        Self {
            timeline,
            reader: Box::new(reader),
            track: None,
            notes: Vec::new(),
        }
    }
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
pub(super) fn open(source: &Source) -> Result<Parts, VideoError> {
    guard::guarded(|| open_known(source))?
}

fn open_known(source: &Source) -> Result<Parts, VideoError> {
    let mut input = Input::open(source, "video")?;
    let head = input.head(formats::HEAD_BYTES)?;
    if head.is_empty() {
        return Err(VideoError::Empty);
    }
    if formats::is_riff(&head, b"AVI ") {
        return avi::open(source);
    }
    if head.starts_with(b"YUV4MPEG2 ") {
        return y4m::open(source);
    }
    match recognise(&head) {
        Ok((ImageFormat::Gif, _)) => moving::open(source, moving::Kind::Gif),
        Ok((ImageFormat::Png, _)) => moving::open(source, moving::Kind::Png),
        Ok((ImageFormat::WebP, _)) => moving::open(source, moving::Kind::WebP),
        Ok((ImageFormat::Jpeg, _)) => Err(VideoError::Foreign { kind: BARE_JPEG }),
        Ok((_, format)) => Err(VideoError::Still { format }),
        Err(ImageError::Foreign { kind }) => Err(VideoError::Foreign { kind }),
        Err(_) => Err(VideoError::UnknownFormat),
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
pub(super) fn open_images(at: &Path, fps: f64) -> Result<Parts, VideoError> {
    images::open(at, fps)
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
