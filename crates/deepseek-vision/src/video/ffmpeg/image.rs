//! Frames of a video as images, in the worker.

use ffmpeg_next::codec::packet::side_data;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::software::scaling::{Context as Scaler, Flags};
use ffmpeg_next::util::color;
use ffmpeg_next::{Packet, Rational, decoder, frame};

use crate::image::Image;
use crate::limits::SEEK_SECONDS;

use super::super::error::VideoError;
use super::super::reader::room_for_pixels;
use super::super::yuv::Matrix;
use super::av::{codec, fault, seconds, video};
use super::failure;

/// Seconds by which times may miss each other: less than the tick of any video.
const SLACK: f64 = 1e-4;

/// A video on its way.
pub(super) struct Frames {
    input: Input,
    index: usize,
    base: Rational,
    decoder: decoder::Video,
    /// When the first frame is seen, in the file's own time.
    origin: f64,
    /// Quarter turns to the right.
    turns: u8,
    /// The last frame that was decoded, and the one behind it.
    current: Option<frame::Video>,
    next: Option<frame::Video>,
    has_ended: bool,
}

impl Frames {
    pub(super) fn new(input: Input, origin: f64) -> Result<Self, VideoError> {
        let stream = video(&input).ok_or_else(|| failure("no video"))?;
        let (index, base) = (stream.index(), stream.time_base());
        let matrix = stream
            .side_data()
            .find(|data| data.kind() == side_data::Type::DisplayMatrix);
        let turns = matrix.map_or(0, |matrix| turns(matrix.data()));
        let decoder = codec(&stream)?.decoder().video().map_err(fault)?;
        room_for_pixels(decoder.width().into(), decoder.height().into())?;
        Ok(Self {
            input,
            index,
            base,
            decoder,
            origin,
            turns,
            current: None,
            next: None,
            has_ended: false,
        })
    }

    /// The last frame at or before `time`, in seconds since the first. Times rise.
    pub(super) fn at(&mut self, time: f64) -> Result<Image, VideoError> {
        if self
            .current
            .as_ref()
            .is_some_and(|frame| time - self.time(frame) > SEEK_SECONDS)
        {
            self.seek(time)?;
        }
        loop {
            if self.next.is_none() {
                self.next = self.decode()?;
            }
            let is_due = match &self.next {
                Some(next) => self.time(next) <= time + SLACK || self.current.is_none(),
                None => false,
            };
            if !is_due {
                break;
            }
            self.current = self.next.take();
        }
        let current = self
            .current
            .as_ref()
            .ok_or_else(|| failure("a frame is missing"))?;
        Ok(rotated(image(current)?, self.turns))
    }

    fn time(&self, frame: &frame::Video) -> f64 {
        let time = frame
            .timestamp()
            .map_or(0.0, |time| seconds(time, self.base));
        time - self.origin
    }

    /// Goes to the key frame before `time`. A file in which that cannot be done is read on.
    #[expect(
        clippy::as_conversions,
        reason = "a video lasts less than 2^53 microseconds"
    )]
    fn seek(&mut self, time: f64) -> Result<(), VideoError> {
        let target = ((time + self.origin) * 1e6) as i64;
        if self.input.seek(target, ..target.saturating_add(1)).is_ok() {
            self.decoder.flush();
            self.has_ended = false;
            self.current = None;
            self.next = None;
        }
        Ok(())
    }

    /// The next frame. What is broken is left out, as players do.
    fn decode(&mut self) -> Result<Option<frame::Video>, VideoError> {
        let mut frame = frame::Video::empty();
        loop {
            if self.decoder.receive_frame(&mut frame).is_ok() {
                return Ok(Some(frame));
            }
            if self.has_ended {
                return Ok(None);
            }
            let mut packet = Packet::empty();
            match packet.read(&mut self.input) {
                Ok(()) if packet.stream() == self.index => {
                    self.decoder.send_packet(&packet).ok();
                }
                Ok(()) | Err(ffmpeg_next::Error::InvalidData) => {}
                Err(ffmpeg_next::Error::Eof) => {
                    self.has_ended = true;
                    self.decoder.send_eof().map_err(fault)?;
                }
                Err(error) => return Err(fault(error)),
            }
        }
    }
}

/// Quarter turns to the right of a display matrix: its upper left numbers, of 16 bits and as many
/// behind the point, are the cosine and the sine.
fn turns(matrix: &[u8]) -> u8 {
    let (words, _) = matrix.as_chunks::<4>();
    let word = |index: usize| words.get(index).copied().map(i32::from_le_bytes);
    let (Some(cos), Some(sin)) = (word(0), word(1)) else {
        return 0;
    };
    if cos.unsigned_abs() >= sin.unsigned_abs() {
        if cos < 0 { 2 } else { 0 }
    } else if sin > 0 {
        1
    } else {
        3
    }
}

/// A frame in colours. The library takes what it is not told otherwise for BT.601, of full range if
/// the format says so, and it cannot be told safely. So of other frames it brings chroma to the size
/// of luma, and the matrix is ours.
fn image(frame: &frame::Video) -> Result<Image, VideoError> {
    room_for_pixels(frame.width().into(), frame.height().into())?;
    let name = frame
        .format()
        .descriptor()
        .map_or("", |format| format.name());
    let is_luma = ["yuv", "nv", "p0"]
        .iter()
        .any(|kind| name.starts_with(kind));
    let is_named_full = name.starts_with("yuvj");
    let is_full = is_named_full || frame.color_range() == color::Range::JPEG;
    let is_bt709 = frame.color_space() == color::Space::BT709;
    let into = if !is_luma || (!is_bt709 && is_full == is_named_full) {
        Pixel::RGB24
    } else if is_named_full {
        // Of the same range as it has.
        Pixel::YUVJ444P
    } else {
        Pixel::YUV444P
    };
    let (width, height) = (frame.width(), frame.height());
    let scaler = Scaler::get(
        frame.format(),
        width,
        height,
        into,
        width,
        height,
        Flags::BICUBIC,
    );
    let mut converted = frame::Video::empty();
    scaler
        .and_then(|mut scaler| scaler.run(frame, &mut converted))
        .map_err(fault)?;
    let side = |pixels| usize::try_from(pixels).unwrap_or(usize::MAX);
    let (width, height) = (side(width), side(height));
    let mut rgb = Vec::with_capacity(width.saturating_mul(height).saturating_mul(3));
    let rows = |plane: usize| {
        let stride = converted.stride(plane).max(1);
        converted.data(plane).chunks_exact(stride).take(height)
    };
    if into == Pixel::RGB24 {
        let bytes = width.saturating_mul(3);
        rgb.extend(rows(0).flat_map(|row| row.iter().take(bytes)));
    } else {
        let matrix = Matrix::new(is_full, is_bt709);
        for ((y, cb), cr) in rows(0).zip(rows(1)).zip(rows(2)) {
            for ((y, cb), cr) in y.iter().zip(cb).zip(cr).take(width) {
                rgb.extend(matrix.rgb(*y, *cb, *cr));
            }
        }
    }
    if rgb.len() != width.saturating_mul(height).saturating_mul(3) {
        return Err(failure("a frame of another size than it says"));
    }
    Ok(Image::from_rgb(width, height, rgb))
}

/// An image rotated to the right, a quarter at a time.
fn rotated(image: Image, turns: u8) -> Image {
    (0..turns).fold(image, |image, _| {
        let (pixels, _) = image.rgb().as_chunks::<3>();
        let (width, height) = (image.width(), image.height());
        let column = |x: usize| pixels.iter().skip(x).step_by(width);
        let rgb = (0..width).flat_map(|x| {
            let mut column: Vec<[u8; 3]> = column(x).copied().collect();
            column.reverse();
            column.into_iter().flatten()
        });
        Image::from_rgb(height, width, rgb.collect())
    })
}
