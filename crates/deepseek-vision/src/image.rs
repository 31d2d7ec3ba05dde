//! A decoded image, and what keeps a file from becoming one.

use deepseek_core::Note;

use crate::formats::IMAGES;

/// Pixels in three channels of 8 bits. Neither side is zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
    notes: Vec<Note>,
}

impl Image {
    /// Wraps pixels: row by row, red, green and blue for each.
    ///
    /// # Panics
    /// If a side is zero, or the sides do not hold exactly as many bytes as there are.
    #[must_use]
    pub fn from_rgb(width: usize, height: usize, rgb: Vec<u8>) -> Self {
        assert!(width > 0 && height > 0, "an image of {width}x{height}");
        assert_eq!(
            width * height * 3,
            rgb.len(),
            "bytes of an image of {width}x{height}"
        );
        Self {
            width,
            height,
            rgb,
            notes: Vec::new(),
        }
    }

    /// The same image, of which this is to be told.
    pub(crate) fn with_notes(self, notes: Vec<Note>) -> Self {
        Self { notes, ..self }
    }

    /// Pixels of a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows of pixels.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels: `[height, width, 3]`.
    #[must_use]
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// What there is to be told of its file.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }
}

/// Why a file is not taken as an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// There are no bytes.
    #[error("image: an empty file")]
    Empty,
    /// The file is too long to be looked at.
    #[error("image: {bytes} bytes, at most {max} are read")]
    FileBytes {
        /// Bytes of the file.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The file begins like none of the formats that are read.
    #[error("image: begins with {head}, want one of {images}", images = IMAGES)]
    UnknownFormat {
        /// Its first bytes, in hexadecimal.
        head: String,
    },
    /// The file is of a kind that is known by name and not read.
    #[error("image: of a kind that is not read: {kind}")]
    Foreign {
        /// The kind.
        kind: &'static str,
    },
    /// A side is zero.
    #[error("image: {width}x{height} pixels, want at least one")]
    NoPixels {
        /// Pixels of a row, as the file says.
        width: u32,
        /// Rows, as the file says.
        height: u32,
    },
    /// A side is too long.
    #[error("image: {width}x{height} pixels, a side has at most {max}")]
    Side {
        /// Pixels of a row, as the file says.
        width: u32,
        /// Rows, as the file says.
        height: u32,
        /// The bound.
        max: u32,
    },
    /// There are too many pixels.
    #[error("image: {width}x{height} pixels, at most {max} altogether")]
    Pixels {
        /// Pixels of a row, as the file says.
        width: u32,
        /// Rows, as the file says.
        height: u32,
        /// The bound.
        max: u64,
    },
    /// Decoding would take too much memory.
    #[error("image: {format} data that takes more than {max} bytes to decode")]
    Memory {
        /// The format.
        format: &'static str,
        /// The bound.
        max: u64,
    },
    /// The file is of a kind within its format that is not read.
    #[error("image: {format} of a kind that is not read: {why}")]
    Unsupported {
        /// The format.
        format: &'static str,
        /// What the decoder said.
        why: String,
    },
    /// The file ends early or contradicts itself or its format.
    #[error("image: broken {format} data: {why}")]
    Corrupt {
        /// The format.
        format: &'static str,
        /// What the decoder said.
        why: String,
    },
}
