//! Animated images: GIF, APNG and animated WebP, through the decoders that read images.
//!
//! Each frame is drawn over the one before, and the decoders tell a frame's delay with its pixels. So
//! a file is gone through twice: once for the times, once for the frames that are wanted.

use std::io::BufReader;

use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{AnimationDecoder, DynamicImage, Frames, ImageDecoder, Limits, RgbImage, Rgba};

use deepseek_core::Note;

use crate::decode::gif::{self, Gif};
use crate::decode::png::{self, Png};
use crate::decode::{Stop, Stored, orientation};
use crate::image::Image;
use crate::limits::{DECODE_BYTES_MAX, MOVING_PIXELS_MAX};

use super::super::error::VideoError;
use super::input::{Head, Input, Source, Stream};
use super::{FrameReader, Parts, Rate, Timeline, cut, room_for_frame, room_for_pixels, webp};

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
            Self::Gif => gif::FORMAT,
            Self::Png => png::FORMAT,
            Self::WebP => webp::FORMAT,
        }
    }

    /// What is wrong with the head of a file.
    fn in_file(self, stop: Stop) -> VideoError {
        let format = self.name();
        match stop {
            Stop::Io(error) => error.into(),
            Stop::Memory => {
                let max = MOVING_PIXELS_MAX;
                VideoError::AllPixels { format, max }
            }
            Stop::Unsupported(why) => VideoError::Unsupported { format, why },
            Stop::Corrupt(why) => VideoError::Corrupt { format, why },
        }
    }

    /// What is wrong with a frame.
    fn at_frame(self, index: usize, stop: Stop) -> VideoError {
        match stop {
            Stop::Io(error) => error.into(),
            stop => {
                let source = stop.of_bytes(self.name());
                VideoError::Frame { index, source }
            }
        }
    }
}

type File = BufReader<Box<dyn Stream>>;

/// A file whose frames are decoded one by one.
enum Decoder {
    Gif(Box<Gif<File>>),
    Png(Box<Png<File>>),
    WebP(Frames<'static>),
}

struct Moving {
    kind: Kind,
    decoder: Decoder,
    size: [u32; 2],
    orientation: Orientation,
    /// Frames that were read.
    at: usize,
    /// Why there are no more, where the file goes on or breaks off.
    end: Option<VideoError>,
}

pub(super) fn open(source: &Source, kind: Kind) -> Result<Parts, VideoError> {
    let (timeline, notes) = timeline(source, kind)?;
    let mut parts = Parts::new(timeline, Moving::open(source, kind)?);
    parts.notes = notes;
    Ok(parts)
}

/// When each frame is seen, and what there is to be told of a file that breaks off.
fn timeline(source: &Source, kind: Kind) -> Result<(Timeline, Vec<Note>), VideoError> {
    let mut moving = Moving::open(source, kind)?;
    let mut end_of_file = moving.end.take();
    let [width, height] = moving.size.map(u64::from);
    let pixels = width.saturating_mul(height);
    let mut ticks = Vec::new();
    let mut end = 0_u64;
    let mut all = 0_u64;
    loop {
        let index = ticks.len();
        let frame = match moving.next() {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(stop) => {
                end_of_file = Some(kind.at_frame(index, stop));
                break;
            }
        };
        room_for_frame(index)?;
        all = all.saturating_add(pixels);
        if all > MOVING_PIXELS_MAX {
            let (format, max) = (kind.name(), MOVING_PIXELS_MAX);
            return Err(VideoError::AllPixels { format, max });
        }
        ticks.push(end);
        end = end.saturating_add(frame.delay());
    }
    let note = end_of_file
        .map(|error| cut(error, ticks.len()))
        .transpose()?;
    let timeline = Timeline::of_ticks(kind.name(), &ticks, end, Rate::new(TICKS, 1.0)?)?;
    Ok((timeline, note.into_iter().collect()))
}

/// A frame, and what it says of how long it is seen, in thousandths of a second.
struct Frame {
    rgb: Vec<u8>,
    delay: u64,
}

impl Frame {
    /// How long it is seen.
    fn delay(&self) -> u64 {
        if self.delay > DELAY_NONE {
            self.delay
        } else {
            DELAY_DEFAULT
        }
    }
}

impl Moving {
    fn open(source: &Source, kind: Kind) -> Result<Self, VideoError> {
        let (stream, _) = source.open()?;
        let mut end = None;
        let format = kind.name();
        let in_file = |stop| kind.in_file(stop);
        let of_image = |error: image::ImageError| kind.in_file(error.into());
        let (decoder, size, orientation) = match kind {
            Kind::Gif => {
                let gif = Gif::open(BufReader::new(stream)).map_err(in_file)?;
                let size = gif.size();
                (Decoder::Gif(Box::new(gif)), size, Orientation::NoTransforms)
            }
            Kind::Png => {
                let png = Png::open(BufReader::new(stream)).map_err(in_file)?;
                if !png.moves() {
                    return Err(VideoError::Still { format });
                }
                let (size, orientation) = (png.size(), png.orientation());
                (Decoder::Png(Box::new(png)), size, orientation)
            }
            Kind::WebP => {
                let whole = webp::whole(Input::open(source, format)?);
                end = match whole.end {
                    Some(error) if whole.images == 0 => return Err(error),
                    end => end,
                };
                let file = BufReader::new(Head::new(stream, whole.bytes));
                let mut webp = WebPDecoder::new(file).map_err(of_image)?;
                if !webp.has_animation() {
                    return Err(VideoError::Still { format });
                }
                let (width, height) = webp.dimensions();
                room_for_pixels(width.into(), height.into())?;
                let mut limits = Limits::no_limits();
                limits.max_alloc = Some(DECODE_BYTES_MAX);
                webp.set_limits(limits).map_err(of_image)?;
                let exif = webp.exif_metadata().ok().flatten();
                // What a frame clears becomes transparent, as in browsers, and not the hint of the
                // file.
                let cleared = webp.set_background_color(Rgba([0; 4]));
                cleared.map_err(of_image)?;
                let frames = webp.into_frames();
                let orientation = orientation(exif.as_deref());
                (Decoder::WebP(frames), [width, height], orientation)
            }
        };
        let [width, height] = size.map(u64::from);
        room_for_pixels(width, height)?;
        Ok(Self {
            kind,
            decoder,
            size,
            orientation,
            at: 0,
            end,
        })
    }

    /// The next frame, and nothing behind the last.
    fn next(&mut self) -> Result<Option<Frame>, Stop> {
        let drawn = match &mut self.decoder {
            Decoder::Gif(gif) => gif.next()?,
            Decoder::Png(png) => png.next()?,
            Decoder::WebP(frames) => {
                let Some(frame) = frames.next().transpose()? else {
                    return Ok(None);
                };
                let (numerator, denominator) = frame.delay().numer_denom_ms();
                let delay = u64::from(numerator.checked_div(denominator).unwrap_or(0));
                let rgb = DynamicImage::from(frame.into_buffer())
                    .into_rgb8()
                    .into_raw();
                return Ok(Some(Frame { rgb, delay }));
            }
        };
        Ok(drawn.map(|(screen, delay)| Frame {
            rgb: screen.rgb(),
            delay,
        }))
    }
}

impl FrameReader for Moving {
    fn frame(&mut self, index: usize) -> Result<Image, VideoError> {
        loop {
            let (kind, at) = (self.kind, self.at);
            let frame = self.next().map_err(|stop| kind.at_frame(at, stop))?;
            self.at = at.saturating_add(1);
            let missing = || kind.in_file(Stop::Corrupt("a frame is missing".to_owned()));
            let frame = frame.ok_or_else(missing)?;
            if at >= index {
                let [width, height] = self.size;
                let image = RgbImage::from_raw(width, height, frame.rgb).ok_or_else(missing)?;
                let stored = Stored {
                    image: image.into(),
                    orientation: self.orientation,
                    notes: Vec::new(),
                };
                return Ok(stored.into_oriented());
            }
        }
    }

    fn orient_as_published(&mut self) {
        self.orientation = Orientation::NoTransforms;
    }
}
