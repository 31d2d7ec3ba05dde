//! YUV4MPEG2: a line of text, then planes of samples, frame by frame.

use crate::image::Image;
use crate::limits::LINE_BYTES_MAX;

use super::super::error::VideoError;
use super::super::yuv::Matrix;
use super::input::{Input, Source};
use super::{FrameReader, Parts, Rate, Timeline, cut, room_for_frame, room_for_pixels};

const FORMAT: &str = "Y4M";

/// What the first line says.
struct Head {
    width: usize,
    height: usize,
    /// Luma samples of a row and of a column to one of chroma.
    chroma: usize,
    rate: Rate,
    is_full_range: bool,
}

struct Y4m {
    input: Input,
    head: Head,
    /// Where the samples of each frame begin.
    frames: Vec<u64>,
}

pub(super) fn open(source: &Source) -> Result<Parts, VideoError> {
    let mut input = Input::open(source, FORMAT)?;
    let head = head(&mut input)?;
    let [luma, chroma] = head.plane_bytes();
    let bytes = luma.saturating_add(chroma).saturating_add(chroma);
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let mut frames = Vec::new();
    let mut notes = Vec::new();
    while input.left() > 0 {
        room_for_frame(frames.len())?;
        match frame(&mut input, bytes) {
            Ok(at) => frames.push(at),
            Err(error) => {
                notes.push(cut(error, frames.len())?);
                break;
            }
        }
    }
    let ticks: Vec<u64> = (0..).zip(&frames).map(|(tick, _)| tick).collect();
    let end = u64::try_from(ticks.len()).unwrap_or(u64::MAX);
    let timeline = Timeline::of_ticks(FORMAT, &ticks, end, head.rate)?;
    let reader = Y4m {
        input,
        head,
        frames,
    };
    let mut parts = Parts::new(timeline, reader);
    parts.notes = notes;
    Ok(parts)
}

/// Where the samples of the next frame begin, of which there are so many bytes.
fn frame(input: &mut Input, bytes: u64) -> Result<u64, VideoError> {
    let line = input.line(LINE_BYTES_MAX)?;
    if !matches!(line.strip_prefix(b"FRAME"), Some([] | [b' ', ..])) {
        return Err(input.corrupt("no FRAME where one should begin"));
    }
    let at = input.at();
    input.skip(bytes)?;
    Ok(at)
}

fn head(input: &mut Input) -> Result<Head, VideoError> {
    let line = input.line(LINE_BYTES_MAX)?;
    let line = String::from_utf8_lossy(&line);
    let [mut width, mut height] = [None; 2];
    let mut rate = None;
    let mut chroma = 2;
    let mut is_full_range = false;
    for word in line.split(' ').skip(1) {
        let mut letters = word.chars();
        let letter = letters.next();
        let value = letters.as_str();
        match letter {
            Some('W') => width = value.parse::<u32>().ok(),
            Some('H') => height = value.parse::<u32>().ok(),
            Some('F') => rate = ratio(value),
            Some('C') => chroma = subsampling(input, value)?,
            Some('X') if value == "COLORRANGE=FULL" => is_full_range = true,
            // Interlacing, the aspect of a pixel and comments change no sample.
            _ => {}
        }
    }
    let (Some(width), Some(height)) = (width, height) else {
        return Err(input.corrupt("no width and height"));
    };
    room_for_pixels(width.into(), height.into())?;
    let (ticks, seconds) = rate.ok_or_else(|| input.corrupt("no frame rate"))?;
    let side = |pixels| usize::try_from(pixels).unwrap_or(usize::MAX);
    Ok(Head {
        width: side(width),
        height: side(height),
        chroma,
        rate: Rate::new(ticks.into(), seconds.into())?,
        is_full_range,
    })
}

/// `30000:1001`.
fn ratio(text: &str) -> Option<(u32, u32)> {
    let (ticks, seconds) = text.split_once(':')?;
    Some((ticks.parse().ok()?, seconds.parse().ok()?))
}

/// Luma samples of a side to one of chroma. Where chroma lies between them is told apart by none
/// that repeats it.
fn subsampling(input: &Input, value: &str) -> Result<usize, VideoError> {
    match value {
        "420" | "420jpeg" | "420mpeg2" | "420paldv" => Ok(2),
        "444" => Ok(1),
        _ => Err(input.unsupported(format!("samples C{value}, want C420 or C444 of 8 bits"))),
    }
}

impl Head {
    /// Chroma samples of a row, and their rows.
    fn chroma_sides(&self) -> [usize; 2] {
        [self.width, self.height].map(|side| side.div_ceil(self.chroma))
    }

    /// Bytes of luma, and of either chroma. A frame has been found to be in bounds.
    fn plane_bytes(&self) -> [usize; 2] {
        let [columns, rows] = self.chroma_sides();
        let luma = self.width.saturating_mul(self.height);
        [luma, columns.saturating_mul(rows)]
    }
}

impl FrameReader for Y4m {
    fn frame(&mut self, index: usize) -> Result<Image, VideoError> {
        let Self {
            input,
            head,
            frames,
        } = self;
        let at = frames.get(index).copied();
        input.seek(at.ok_or_else(|| input.corrupt("a frame is missing"))?)?;
        let [luma, chroma] = head.plane_bytes();
        let [y, cb, cr] = [input.take(luma)?, input.take(chroma)?, input.take(chroma)?];
        let matrix = Matrix::new(head.is_full_range, false);
        let chroma_row = head.chroma_sides()[0];
        let mut rgb = Vec::with_capacity(luma.saturating_mul(3));
        // Each row of chroma stands for as many of luma.
        let chroma_rows = cb.chunks_exact(chroma_row).zip(cr.chunks_exact(chroma_row));
        let chroma_rows = chroma_rows.flat_map(|rows| std::iter::repeat_n(rows, head.chroma));
        for (y, (cb, cr)) in y.chunks_exact(head.width).zip(chroma_rows) {
            let pairs = cb.iter().zip(cr);
            let pairs = pairs.flat_map(|pair| std::iter::repeat_n(pair, head.chroma));
            for (y, (cb, cr)) in y.iter().zip(pairs) {
                rgb.extend(matrix.rgb(*y, *cb, *cr));
            }
        }
        Ok(Image::from_rgb(head.width, head.height, rgb))
    }
}
