//! JPEG. Its decoder would fill what is missing with grey, unless it is told to be strict.

use image::{DynamicImage, GrayImage};
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use deepseek_core::Note;

use crate::image::ImageError;

use super::{Stop, Stored, orientation, within_bounds};

pub(crate) const FORMAT: &str = "JPEG";

/// What may stand behind the data of an image without changing it.
const MORE: [u8; 64] = [0x5A; 64];

const START_OF_IMAGE: u8 = 0xD8;
const END_OF_IMAGE: u8 = 0xD9;

pub(super) fn still(bytes: &[u8]) -> Result<Stored, ImageError> {
    let format = FORMAT;
    if let Some(why) = foreign(bytes) {
        return Err(ImageError::Unsupported { format, why });
    }
    let mut ends = segments(bytes).filter(|(marker, _)| *marker == END_OF_IMAGE);
    let Some((_, after)) = ends.next() else {
        return Err(Stop::cut_off().of_bytes(format));
    };
    let end = bytes.len().saturating_sub(after.len()).saturating_sub(2);
    match unpack(bytes, true) {
        Err(ImageError::Corrupt { why, .. }) => {
            unpack(bytes, false).map(|stored| damaged(stored, &why))
        }
        Ok(stored) if !is_whole(&stored, bytes, end) => {
            Ok(damaged(stored, "they end before the image does"))
        }
        stored => stored,
    }
}

/// Whether an image whose data end at `end` has all of them: it is the same with others behind.
fn is_whole(stored: &Stored, bytes: &[u8], end: usize) -> bool {
    let (data, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
    let longer = [data, &MORE, rest].concat();
    unpack(&longer, false).is_ok_and(|longer| longer.image == stored.image)
}

fn damaged(mut stored: Stored, why: &str) -> Stored {
    let note = format!("damaged JPEG data ({why}): a part of it may be grey or wrong");
    stored.notes.push(Note::new(note));
    stored
}

/// Decodes a file. A strict decoder makes nothing up, but still skips what is between its headers.
fn unpack(bytes: &[u8], is_strict: bool) -> Result<Stored, ImageError> {
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| fault(&error))?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let [width, height] = [width, height].map(|side| u32::try_from(side).unwrap_or(u32::MAX));
    within_bounds(width, height)?;
    let is_grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let space = if is_grey {
        ColorSpace::Luma
    } else {
        ColorSpace::RGB
    };
    let options = options.set_strict_mode(is_strict);
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let samples = decoder.decode().map_err(|error| fault(&error))?;
    let mut stored = if is_grey {
        let image = GrayImage::from_raw(width, height, samples);
        Stored::of(FORMAT, image.map(DynamicImage::ImageLuma8))
    } else {
        Stored::from_rgb(FORMAT, [width, height], samples)
    }?;
    stored.orientation = orientation(decoder.exif().map(Vec::as_slice));
    Ok(stored)
}

fn fault(error: &DecodeErrors) -> ImageError {
    let (format, why) = (FORMAT, error.to_string());
    match error {
        DecodeErrors::Unsupported(_) => ImageError::Unsupported { format, why },
        _ => ImageError::Corrupt { format, why },
    }
}

/// What kind of JPEG it is, if none that is read: what the first frame header says.
fn foreign(bytes: &[u8]) -> Option<String> {
    let mut segments = segments(bytes);
    let (marker, after) = segments.find(|(marker, _)| {
        // Among the frame headers are three markers of other meaning.
        matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC)
    })?;
    let kind = match marker {
        0xC3 => "lossless",
        0xC5..=0xC7 => "hierarchical",
        0xC9..=0xCB => "arithmetic coding",
        0xCD..=0xCF => "hierarchical, arithmetic coding",
        // Behind the length of the segment.
        _ => match after.get(2) {
            Some(8) | None => return None,
            Some(bits) => return Some(format!("{bits} bits a sample")),
        },
    };
    Some(kind.to_owned())
}

/// The markers of a file, each with what is behind it.
///
/// Within entropy-coded data a byte of ones is followed by a zero or a restart, so that every other
/// marker can be found; the segment behind it is skipped, as it may hold a smaller image.
fn segments(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (marker, after) = next_marker(rest)?;
        let length = match marker {
            START_OF_IMAGE | END_OF_IMAGE => 0,
            _ => after
                .first_chunk()
                .map_or(0, |two| u16::from_be_bytes(*two)),
        };
        rest = after.get(usize::from(length)..).unwrap_or_default();
        Some((marker, after))
    })
}

/// The next marker that is no restart, stuffing or filling, and the bytes behind it.
fn next_marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let mut pairs = bytes.windows(2).enumerate();
    pairs.find_map(|(at, pair)| match *pair {
        [0xFF, 0x00 | 0x01 | 0xD0..=0xD7 | 0xFF] => None,
        [0xFF, marker] => Some((marker, bytes.get(at.saturating_add(2)..)?)),
        _ => None,
    })
}
