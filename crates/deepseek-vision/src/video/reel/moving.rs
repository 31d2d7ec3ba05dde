//! Pictures that move: GIF, APNG and animated WebP, through the library that reads pictures.
//!
//! Each frame is drawn over the one before, and the library tells a frame's delay with its pixels. So
//! a file is gone through twice: once for the times, once for the frames that are wanted.

use std::io::BufReader;

use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{
    AnimationDecoder, DynamicImage, Frame, Frames, ImageDecoder, ImageError, Limits, Rgba,
};

use crate::decode::fault;
use crate::limits::{DECODE_BYTES_MAX, MOVING_PIXELS_MAX};
use crate::picture::Picture;

use super::super::film::{Film, FilmError};
use super::input::Source;
use super::{Rate, Reel, Timeline, film, room_for_frame, room_for_pixels, webp};

/// Ticks a second: thousandths.
const TICKS: f64 = 1000.0;
/// The longest delay that stands for [`DELAY_DEFAULT`], in thousandths of a second. So browsers have
/// it, because many files have none.
const DELAY_NONE: u64 = 10;
/// What no delay stands for, in thousandths of a second.
const DELAY_DEFAULT: u64 = 100;

/// The formats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Gif,
    Png,
    WebP,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Gif => "GIF",
            Self::Png => "PNG",
            Self::WebP => "WebP",
        }
    }
}

struct Moving {
    kind: Kind,
    frames: Frames<'static>,
    /// Frames that were read.
    at: usize,
}

pub(super) fn open(source: &Source, kind: Kind) -> Result<Film, FilmError> {
    if kind == Kind::WebP {
        webp::check(source)?;
    }
    let timeline = timeline(source, kind)?;
    let (frames, _) = frames(source, kind)?;
    let at = 0;
    Ok(film(timeline, Moving { kind, frames, at }, None))
}

/// When each frame is seen.
fn timeline(source: &Source, kind: Kind) -> Result<Timeline, FilmError> {
    let (frames, pixels) = frames(source, kind)?;
    let mut ticks = Vec::new();
    let mut end = 0_u64;
    let mut all = 0_u64;
    for (index, frame) in frames.enumerate() {
        room_for_frame(ticks.len())?;
        all = all.saturating_add(pixels);
        if all > MOVING_PIXELS_MAX {
            let (format, max) = (kind.name(), MOVING_PIXELS_MAX);
            return Err(FilmError::AllPixels { format, max });
        }
        let frame = frame.map_err(|error| at_frame(kind, index, &error))?;
        ticks.push(end);
        end = end.saturating_add(delay(&frame));
    }
    Timeline::of_ticks(kind.name(), &ticks, end, Rate::new(TICKS, 1.0)?)
}

/// How long a frame is seen, in thousandths of a second.
fn delay(frame: &Frame) -> u64 {
    let (numerator, denominator) = frame.delay().numer_denom_ms();
    let delay = u64::from(numerator.checked_div(denominator).unwrap_or(0));
    if delay > DELAY_NONE {
        delay
    } else {
        DELAY_DEFAULT
    }
}

/// The frames from the first on, and the pixels of each.
fn frames(source: &Source, kind: Kind) -> Result<(Frames<'static>, u64), FilmError> {
    let (stream, _) = source.open()?;
    let stream = BufReader::new(stream);
    match kind {
        Kind::Gif => {
            let decoder = GifDecoder::new(stream).map_err(|error| in_file(kind, &error))?;
            let (decoder, pixels) = within_limits(decoder, kind)?;
            Ok((decoder.into_frames(), pixels))
        }
        Kind::Png => {
            let decoder = PngDecoder::with_limits(stream, limits());
            let decoder = decoder.map_err(|error| in_file(kind, &error))?;
            let (decoder, pixels) = within_limits(decoder, kind)?;
            if !decoder.is_apng().map_err(|error| in_file(kind, &error))? {
                let format = kind.name();
                return Err(FilmError::Still { format });
            }
            let decoder = decoder.apng().map_err(|error| in_file(kind, &error))?;
            Ok((decoder.into_frames(), pixels))
        }
        Kind::WebP => {
            let decoder = WebPDecoder::new(stream).map_err(|error| in_file(kind, &error))?;
            let (mut decoder, pixels) = within_limits(decoder, kind)?;
            if !decoder.has_animation() {
                let format = kind.name();
                return Err(FilmError::Still { format });
            }
            // What a frame clears becomes transparent, as in browsers, and not the hint of the file.
            let cleared = decoder.set_background_color(Rgba([0; 4]));
            cleared.map_err(|error| in_file(kind, &error))?;
            Ok((decoder.into_frames(), pixels))
        }
    }
}

fn limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(DECODE_BYTES_MAX);
    limits
}

/// The decoder, bounded, and the pixels of a frame.
fn within_limits<D: ImageDecoder>(mut decoder: D, kind: Kind) -> Result<(D, u64), FilmError> {
    let (width, height) = decoder.dimensions();
    room_for_pixels(width.into(), height.into())?;
    let limited = decoder.set_limits(limits());
    limited.map_err(|error| in_file(kind, &error))?;
    let pixels = u64::from(width).saturating_mul(height.into());
    Ok((decoder, pixels))
}

/// What is wrong with the head of a file.
fn in_file(kind: Kind, error: &ImageError) -> FilmError {
    let (format, why) = (kind.name(), error.to_string());
    match error {
        ImageError::Unsupported(_) => FilmError::Unsupported { format, why },
        _ => FilmError::Corrupt { format, why },
    }
}

/// What is wrong with a frame.
fn at_frame(kind: Kind, index: usize, error: &ImageError) -> FilmError {
    let source = fault(kind.name(), error);
    FilmError::Frame { index, source }
}

impl Reel for Moving {
    fn frame(&mut self, index: usize) -> Result<Picture, FilmError> {
        loop {
            let frame = self.frames.next();
            let at = self.at;
            self.at = at.saturating_add(1);
            let Some(frame) = frame else {
                let (format, why) = (self.kind.name(), "a frame is missing".to_owned());
                return Err(FilmError::Corrupt { format, why });
            };
            let frame = frame.map_err(|error| at_frame(self.kind, at, &error))?;
            if at >= index {
                let image = DynamicImage::from(frame.into_buffer()).into_rgb8();
                let side = |pixels| usize::try_from(pixels).unwrap_or(usize::MAX);
                let (width, height) = (side(image.width()), side(image.height()));
                return Ok(Picture::from_rgb(width, height, image.into_raw()));
            }
        }
    }
}
