//! From the bytes of a file to pixels (spec `deepseek-v41.md` §4.2).

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use std::io::Cursor;

use image::error::ImageError;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::limits::{DECODE_BYTES_MAX, FILE_BYTES_MAX, PIXELS_MAX, SIDE_MAX};
use crate::picture::{Picture, PictureError};

/// The formats that are read, by the names that messages use.
const FORMATS: [(ImageFormat, &str); 6] = [
    (ImageFormat::Png, "PNG"),
    (ImageFormat::Jpeg, "JPEG"),
    (ImageFormat::WebP, "WebP"),
    (ImageFormat::Gif, "GIF"),
    (ImageFormat::Bmp, "BMP"),
    (ImageFormat::Tiff, "TIFF"),
];

/// First bytes of a file that a message shows.
const HEAD_BYTES: usize = 8;

impl Picture {
    /// Reads a PNG, JPEG, WebP, GIF, BMP or TIFF file, told apart by its first bytes.
    ///
    /// Of several frames the first is taken. 16-bit samples become `round(v / 257)`, grey becomes
    /// three equal channels, and an alpha channel is dropped, not blended. Orientation tags and
    /// colour profiles are not applied.
    ///
    /// # Errors
    /// [`PictureError`] for what is no picture, or too large a one. Sizes are checked before memory
    /// is taken for them; the bounds are those of [`limits`](crate::limits).
    pub fn decode(bytes: &[u8]) -> Result<Self, PictureError> {
        if bytes.is_empty() {
            return Err(PictureError::Empty);
        }
        if bytes.len() > FILE_BYTES_MAX {
            let (bytes, max) = (bytes.len(), FILE_BYTES_MAX);
            return Err(PictureError::FileBytes { bytes, max });
        }
        let (kind, format) = recognise(bytes)?;
        if kind == ImageFormat::Jpeg && !has_end_of_image(bytes) {
            // The decoder would fill what is missing with grey.
            let why = "the file ends before the picture does".to_owned();
            return Err(PictureError::Corrupt { format, why });
        }
        let image = unpack(bytes, kind, format)?.into_rgb8();
        let side = |pixels| usize::try_from(pixels).unwrap_or(usize::MAX);
        let (width, height) = (side(image.width()), side(image.height()));
        Ok(Self::from_rgb(width, height, image.into_raw()))
    }
}

/// The format that the first bytes announce.
fn recognise(bytes: &[u8]) -> Result<(ImageFormat, &'static str), PictureError> {
    let kind = image::guess_format(bytes).ok();
    let known = FORMATS.into_iter().find(|(known, _)| Some(*known) == kind);
    known.ok_or_else(|| {
        let head = bytes.iter().take(HEAD_BYTES);
        let head: Vec<_> = head.map(|byte| format!("{byte:02x}")).collect();
        let head = head.join(" ");
        PictureError::UnknownFormat { head }
    })
}

/// Decodes the first frame, once its size has been found to be in bounds.
fn unpack(
    bytes: &[u8],
    kind: ImageFormat,
    format: &'static str,
) -> Result<DynamicImage, PictureError> {
    let fault = |error| fault(format, &error);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(DECODE_BYTES_MAX);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), kind);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(fault)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(PictureError::NoPixels { width, height });
    }
    if width.max(height) > SIDE_MAX {
        let max = SIDE_MAX;
        return Err(PictureError::Side { width, height, max });
    }
    if u64::from(width).saturating_mul(u64::from(height)) > PIXELS_MAX {
        let max = PIXELS_MAX;
        return Err(PictureError::Pixels { width, height, max });
    }
    // What the samples take is not left for the decoder.
    limits.reserve(decoder.total_bytes()).map_err(fault)?;
    decoder.set_limits(limits).map_err(fault)?;
    DynamicImage::from_decoder(decoder).map_err(fault)
}

/// Whether the markers of a JPEG file lead to the one that ends the picture.
///
/// Within entropy-coded data a byte of ones is followed by a zero or a restart, so that every other
/// marker can be found; the segment behind it is skipped, as it may hold a smaller picture.
fn has_end_of_image(bytes: &[u8]) -> bool {
    const START: u8 = 0xD8;
    const END: u8 = 0xD9;
    let mut rest = bytes;
    while let Some((marker, after)) = next_marker(rest) {
        let length = match marker {
            END => return true,
            START => 0,
            _ => after
                .first_chunk()
                .map_or(0, |two| u16::from_be_bytes(*two)),
        };
        rest = after.get(usize::from(length)..).unwrap_or_default();
    }
    false
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

pub(crate) fn fault(format: &'static str, error: &ImageError) -> PictureError {
    let why = error.to_string();
    match error {
        ImageError::Limits(_) => {
            let max = DECODE_BYTES_MAX;
            PictureError::Memory { format, max }
        }
        ImageError::Unsupported(_) => PictureError::Unsupported { format, why },
        _ => PictureError::Corrupt { format, why },
    }
}
