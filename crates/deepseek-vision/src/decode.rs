//! From the bytes of a file to pixels (`docs/models/deepseek-v41.md` §4.2).

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

pub(crate) mod gif;
mod jpeg;
pub(crate) mod png;

use std::io::{self, Cursor};

use deepseek_core::{Note, guard};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use crate::formats;
use crate::image::{Image, ImageError};
use crate::limits::{DECODE_BYTES_MAX, FILE_BYTES_MAX, PIXELS_MAX, SIDE_MAX};
use crate::video::webp;

/// First bytes of a file that a message shows.
const HEAD_BYTES: usize = 8;

/// An image as its file has it.
pub(crate) struct Stored {
    pub(crate) image: DynamicImage,
    /// How it is to be oriented.
    pub(crate) orientation: Orientation,
    pub(crate) notes: Vec<Note>,
}

/// Why a decoder did not go on.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The system refused to read on.
    Io(io::Error),
    /// It would take too much memory.
    Memory,
    /// The data are of a kind that is not read.
    Unsupported(String),
    /// The data end early or do not hold.
    Corrupt(String),
}

impl Image {
    /// Reads a file of [`IMAGES`](formats::IMAGES), told apart by its first bytes.
    ///
    /// Of several frames the first is taken. It is rotated as its orientation tag says. 16-bit samples
    /// become `round(v / 257)`, grey becomes three equal channels, and an alpha channel is dropped,
    /// not blended. Colour profiles are not looked at.
    ///
    /// # Errors
    /// [`ImageError`] for what is no image, or too large a one. Sizes are checked before memory
    /// is taken for them; the bounds are those of [`limits`](crate::limits).
    pub fn decode(bytes: &[u8]) -> Result<Self, ImageError> {
        read(bytes, |_| true)
    }

    /// The same as the published loader does it: of all formats, TIFF alone is rotated.
    ///
    /// # Errors
    /// As [`Image::decode`].
    pub fn decode_as_published(bytes: &[u8]) -> Result<Self, ImageError> {
        read(bytes, |kind| kind == ImageFormat::Tiff)
    }
}

/// Reads a file, and rotates it as it says if `is_oriented` says so of its format.
fn read(bytes: &[u8], is_oriented: fn(ImageFormat) -> bool) -> Result<Image, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    if bytes.len() > FILE_BYTES_MAX {
        let (bytes, max) = (bytes.len(), FILE_BYTES_MAX);
        return Err(ImageError::FileBytes { bytes, max });
    }
    let (kind, format) = recognise(bytes)?;
    let image = guard::guarded(|| {
        let stored = match kind {
            ImageFormat::Gif => gif::still(bytes),
            ImageFormat::Jpeg => jpeg::still(bytes),
            ImageFormat::Png => png::still(bytes),
            ImageFormat::WebP => {
                // The decoder gives grey for what is missing, and memory to what the file says.
                unpack(webp::first(bytes)?, kind, format)
            }
            _ => unpack(bytes, kind, format),
        }?;
        Ok(if is_oriented(kind) {
            stored.into_oriented()
        } else {
            stored.into_image()
        })
    });
    image.unwrap_or_else(|panicked| {
        let why = panicked.to_string();
        Err(ImageError::Unsupported { format, why })
    })
}

/// The format that the first bytes announce, and its name in messages.
pub(crate) fn recognise(bytes: &[u8]) -> Result<(ImageFormat, &'static str), ImageError> {
    Ok(match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => (ImageFormat::Png, png::FORMAT),
        [0xFF, 0xD8, 0xFF, ..] => (ImageFormat::Jpeg, jpeg::FORMAT),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => (ImageFormat::Gif, gif::FORMAT),
        riff if formats::is_riff(riff, b"WEBP") => (ImageFormat::WebP, webp::FORMAT),
        [b'B', b'M', ..] => (ImageFormat::Bmp, "BMP"),
        [b'I', b'I', b'*' | b'+', 0, ..] | [b'M', b'M', 0, b'*' | b'+', ..] => {
            (ImageFormat::Tiff, "TIFF")
        }
        _ => {
            if let Some(kind) = formats::foreign(bytes) {
                return Err(ImageError::Foreign { kind });
            }
            let head = bytes.iter().take(HEAD_BYTES);
            let head: Vec<_> = head.map(|byte| format!("{byte:02x}")).collect();
            let head = head.join(" ");
            return Err(ImageError::UnknownFormat { head });
        }
    })
}

/// Decodes by the library's own reader, once the size has been found to be in bounds.
fn unpack(bytes: &[u8], kind: ImageFormat, format: &'static str) -> Result<Stored, ImageError> {
    let fault = |error| Stop::from(error).of_bytes(format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(DECODE_BYTES_MAX);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), kind);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(fault)?;
    let (width, height) = decoder.dimensions();
    within_bounds(width, height)?;
    // What the samples take is not left for the decoder.
    limits.reserve(decoder.total_bytes()).map_err(fault)?;
    decoder.set_limits(limits).map_err(fault)?;
    // A tag that cannot be read is none.
    let orientation = match kind {
        ImageFormat::WebP => orientation(decoder.exif_metadata().ok().flatten().as_deref()),
        _ => decoder.orientation().unwrap_or(Orientation::NoTransforms),
    };
    Ok(Stored {
        image: DynamicImage::from_decoder(decoder).map_err(fault)?,
        orientation,
        notes: Vec::new(),
    })
}

/// Whether an image of this size is taken.
fn within_bounds(width: u32, height: u32) -> Result<(), ImageError> {
    if width == 0 || height == 0 {
        return Err(ImageError::NoPixels { width, height });
    }
    if width.max(height) > SIDE_MAX {
        let max = SIDE_MAX;
        return Err(ImageError::Side { width, height, max });
    }
    if u64::from(width).saturating_mul(u64::from(height)) > PIXELS_MAX {
        let max = PIXELS_MAX;
        return Err(ImageError::Pixels { width, height, max });
    }
    Ok(())
}

/// What EXIF data say; nothing, if they do not hold. Some have a name before them.
pub(crate) fn orientation(exif: Option<&[u8]>) -> Orientation {
    let exif = exif.map(|exif| exif.strip_prefix(b"Exif\0\0").unwrap_or(exif));
    let said = exif.and_then(Orientation::from_exif_chunk);
    said.unwrap_or(Orientation::NoTransforms)
}

impl Stored {
    /// Pixels that were found to be of the right number.
    fn of(format: &'static str, image: Option<DynamicImage>) -> Result<Self, ImageError> {
        let why = || "pixels are missing".to_owned();
        Ok(Self {
            image: image.ok_or_else(|| ImageError::Corrupt { format, why: why() })?,
            orientation: Orientation::NoTransforms,
            notes: Vec::new(),
        })
    }

    fn from_rgb(
        format: &'static str,
        [width, height]: [u32; 2],
        rgb: Vec<u8>,
    ) -> Result<Self, ImageError> {
        let image = RgbImage::from_raw(width, height, rgb);
        Self::of(format, image.map(DynamicImage::ImageRgb8))
    }

    /// The image, rotated as its orientation says.
    pub(crate) fn into_oriented(mut self) -> Image {
        // Fewer bytes are moved.
        self.image = self.image.into_rgb8().into();
        self.image.apply_orientation(self.orientation);
        self.into_image()
    }

    fn into_image(self) -> Image {
        let image = self.image.into_rgb8();
        let side = |pixels| usize::try_from(pixels).unwrap_or(usize::MAX);
        let (width, height) = (side(image.width()), side(image.height()));
        Image::from_rgb(width, height, image.into_raw()).with_notes(self.notes)
    }
}

impl Stop {
    fn cut_off() -> Self {
        Self::Corrupt("the file ends before the image does".to_owned())
    }

    /// What it means for data that are at hand.
    pub(crate) fn of_bytes(self, format: &'static str) -> ImageError {
        match self {
            Self::Io(error) => {
                let why = error.to_string();
                ImageError::Corrupt { format, why }
            }
            Self::Memory => {
                let max = DECODE_BYTES_MAX;
                ImageError::Memory { format, max }
            }
            Self::Unsupported(why) => ImageError::Unsupported { format, why },
            Self::Corrupt(why) => ImageError::Corrupt { format, why },
        }
    }
}

impl From<image::ImageError> for Stop {
    fn from(error: image::ImageError) -> Self {
        match error {
            image::ImageError::IoError(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                Self::Io(error)
            }
            image::ImageError::IoError(_) => Self::cut_off(),
            image::ImageError::Limits(_) => Self::Memory,
            image::ImageError::Unsupported(_) => Self::Unsupported(error.to_string()),
            error => Self::Corrupt(error.to_string()),
        }
    }
}
