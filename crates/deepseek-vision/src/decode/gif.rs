//! GIF: frames of palette indices, each drawn over what those before it have left.

use std::io::{self, Read};
use std::num::NonZeroU64;

use gif::{ColorOutput, DecodeOptions, Decoder, DecodingError, DisposalMethod, MemoryLimit};

use crate::image::ImageError;
use crate::limits::PIXELS_MAX;
use crate::screen::{Blend, Disposal, Region, Screen};

use super::{Stop, within_bounds};

pub(crate) const FORMAT: &str = "GIF";
/// Thousandths of a second in a tick of its clock.
const TICK_MS: u64 = 10;

/// A GIF that is drawn frame by frame.
pub(crate) struct Gif<R: Read> {
    decoder: Decoder<R>,
    /// Made with the first frame, which says what lies around it.
    screen: Option<Screen>,
}

impl<R: Read> Gif<R> {
    pub(crate) fn open(reader: R) -> Result<Self, Stop> {
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::Indexed);
        // A byte a pixel, of frames that may be larger than the screen.
        options.set_memory_limit(NonZeroU64::new(PIXELS_MAX).map_or(
            // There is no bound of zero.
            MemoryLimit::Unlimited,
            MemoryLimit::Bytes,
        ));
        let decoder = options.read_info(reader).map_err(stop)?;
        let screen = None;
        Ok(Self { decoder, screen })
    }

    /// Width and height of the screen.
    pub(crate) fn size(&self) -> [u32; 2] {
        [self.decoder.width(), self.decoder.height()].map(u32::from)
    }

    /// Draws the next frame and tells how long it is seen, in thousandths of a second, and nothing
    /// behind the last. The screen must have been found to be in bounds.
    pub(crate) fn next(&mut self) -> Result<Option<(&Screen, u64)>, Stop> {
        let [width, height] = self.size().map(|side| usize::try_from(side).unwrap_or(0));
        self.decoder.read_next_frame().map_err(stop)?;
        let Some(frame) = self.decoder.current_frame_info() else {
            return Ok(None);
        };
        let (palette, _) = self.decoder.palette().map_err(stop)?.as_chunks::<3>();
        let colour = |index: u8| palette.get(usize::from(index)).copied().unwrap_or([0; 3]);
        let pixels = frame.buffer.iter().map(|index| {
            let [red, green, blue] = colour(*index);
            let opacity = u8::from(frame.transparent != Some(*index));
            [red, green, blue, opacity.saturating_mul(255)]
        });
        let pixels: Vec<[u8; 4]> = pixels.collect();
        let region = Region {
            left: frame.left.into(),
            top: frame.top.into(),
            width: frame.width.into(),
            height: frame.height.into(),
        };
        // Where the first frame does not reach, Pillow shows what is transparent, or the first colour.
        let around = colour(frame.transparent.unwrap_or(0));
        let screen = self
            .screen
            .get_or_insert_with(|| Screen::new(width, height, around));
        let disposal = match frame.dispose {
            DisposalMethod::Any | DisposalMethod::Keep => Disposal::Keep,
            DisposalMethod::Background => Disposal::Clear,
            DisposalMethod::Previous => Disposal::Restore,
        };
        let rows = pixels.chunks(region.width.max(1));
        screen.draw(region, rows, Blend::Over, disposal);
        Ok(Some((
            screen,
            u64::from(frame.delay).saturating_mul(TICK_MS),
        )))
    }
}

/// The first frame.
pub(super) fn still(bytes: &[u8]) -> Result<super::Stored, ImageError> {
    let mut gif = Gif::open(bytes).map_err(|stop| stop.of_bytes(FORMAT))?;
    let [width, height] = gif.size();
    within_bounds(width, height)?;
    match gif.next().map_err(|stop| stop.of_bytes(FORMAT))? {
        Some((screen, _)) => super::Stored::from_rgb(FORMAT, [width, height], screen.rgb()),
        None => {
            let (format, why) = (FORMAT, "there is no frame".to_owned());
            Err(ImageError::Corrupt { format, why })
        }
    }
}

fn stop(error: DecodingError) -> Stop {
    match error {
        DecodingError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => Stop::Io(error),
        DecodingError::MemoryLimit | DecodingError::OutOfMemory => Stop::Memory,
        DecodingError::UnexpectedEof | DecodingError::Io(_) => Stop::cut_off(),
        error => Stop::Corrupt(error.to_string()),
    }
}
