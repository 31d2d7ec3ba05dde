//! PNG and APNG. Of the chunks beside the pixels none is unpacked: not colour profiles, nor texts.

use std::io::{self, BufRead, Cursor, Seek};

use image::metadata::Orientation;
use image::{DynamicImage, ImageBuffer};
use png::{BitDepth, BlendOp, ColorType, Decoder, DecodingError, DisposeOp, Limits, Reader};
use png::{OutputInfo, Transformations};

use crate::image::ImageError;
use crate::limits::DECODE_BYTES_MAX;
use crate::screen::{Blend, Disposal, Region, Screen};

use super::{Stop, Stored, orientation, within_bounds};

pub(crate) const FORMAT: &str = "PNG";

/// A PNG, and if it moves, one that is drawn frame by frame.
pub(crate) struct Png<R: BufRead + Seek> {
    reader: Reader<R>,
    /// Frames of the animation that are to come.
    left: u32,
    /// Whether the next image is one for those who see no animation.
    has_poster: bool,
    screen: Option<Screen>,
}

impl<R: BufRead + Seek> Png<R> {
    pub(crate) fn open(source: R) -> Result<Self, Stop> {
        // The rows of all frames are counted together.
        let bytes = usize::try_from(DECODE_BYTES_MAX).unwrap_or(usize::MAX);
        let limits = Limits { bytes };
        let mut decoder = Decoder::new_with_limits(source, limits);
        decoder.set_ignore_iccp_chunk(true);
        decoder.set_ignore_text_chunk(true);
        decoder.set_transformations(Transformations::EXPAND);
        let reader = decoder.read_info().map_err(stop)?;
        let info = reader.info();
        let left = info.animation_control().map_or(0, |all| all.num_frames);
        let has_poster = info.frame_control().is_none();
        Ok(Self {
            reader,
            left,
            has_poster,
            screen: None,
        })
    }

    pub(crate) fn size(&self) -> [u32; 2] {
        let (width, height) = self.reader.info().size();
        [width, height]
    }

    /// How it is to be oriented.
    pub(crate) fn orientation(&self) -> Orientation {
        orientation(self.reader.info().exif_metadata.as_deref())
    }

    /// Whether it has frames.
    pub(crate) fn moves(&self) -> bool {
        self.reader.info().animation_control().is_some()
    }

    /// The next image, as it is stored. The size must have been found to be in bounds.
    fn image(&mut self) -> Result<DynamicImage, Stop> {
        let bytes = self.reader.output_buffer_size().ok_or(Stop::Memory)?;
        let mut samples = vec![0; bytes];
        let info = self.reader.next_frame(&mut samples).map_err(stop)?;
        if self.reader.info().interlaced {
            // Its rows are as far apart as those of the whole image.
            let stride = self.reader.output_line_size(self.reader.info().width);
            let stride = stride.ok_or(Stop::Memory)?.max(1);
            let rows = samples.chunks_exact(stride);
            let rows = rows.flat_map(|row| row.iter().take(info.line_size));
            samples = rows.copied().collect();
        }
        samples.truncate(info.buffer_size());
        pixels(&info, samples).ok_or_else(|| Stop::Corrupt("rows of no kind".to_owned()))
    }

    /// Draws the next frame and tells how long it is seen, in thousandths of a second, and nothing
    /// behind the last. The size must have been found to be in bounds.
    pub(crate) fn next(&mut self) -> Result<Option<(&Screen, u64)>, Stop> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        if self.has_poster {
            self.has_poster = false;
            self.image()?;
        }
        self.left = left;
        let frame = self.image()?.into_rgba8();
        let control = self.reader.info().frame_control();
        let Some(control) = control.copied() else {
            return Err(Stop::Corrupt("a frame without a head".to_owned()));
        };
        let side = |pixels| usize::try_from(pixels).unwrap_or(usize::MAX);
        let region = Region {
            left: side(control.x_offset),
            top: side(control.y_offset),
            width: side(control.width),
            height: side(control.height),
        };
        let [width, height] = self.size().map(side);
        let screen = self
            .screen
            .get_or_insert_with(|| Screen::new(width, height, [0; 3]));
        let (pixels, _) = frame.as_raw().as_chunks::<4>();
        let rows = pixels.chunks(region.width.max(1));
        let blend = match control.blend_op {
            BlendOp::Source => Blend::Replace,
            BlendOp::Over => Blend::Over,
        };
        let disposal = match control.dispose_op {
            DisposeOp::None => Disposal::Keep,
            DisposeOp::Background => Disposal::Clear,
            DisposeOp::Previous => Disposal::Restore,
        };
        screen.draw(region, rows, blend, disposal);
        // No denominator stands for hundredths.
        let (seconds, parts) = (u64::from(control.delay_num), u64::from(control.delay_den));
        let delay = seconds.saturating_mul(1000).checked_div(parts);
        Ok(Some((screen, delay.unwrap_or(seconds.saturating_mul(10)))))
    }
}

/// The image that those see who see no animation, which is the first frame in most files.
pub(super) fn still(bytes: &[u8]) -> Result<Stored, ImageError> {
    let of_bytes = |stop: Stop| stop.of_bytes(FORMAT);
    let mut png = Png::open(Cursor::new(bytes)).map_err(of_bytes)?;
    let [width, height] = png.size();
    within_bounds(width, height)?;
    Ok(Stored {
        orientation: png.orientation(),
        image: png.image().map_err(of_bytes)?,
        notes: Vec::new(),
    })
}

/// Samples as pixels of their kind.
fn pixels(info: &OutputInfo, samples: Vec<u8>) -> Option<DynamicImage> {
    let (width, height) = (info.width, info.height);
    if info.bit_depth == BitDepth::Sixteen {
        let (pairs, _) = samples.as_chunks::<2>();
        let samples: Vec<u16> = pairs.iter().copied().map(u16::from_be_bytes).collect();
        return match info.color_type {
            ColorType::Grayscale => {
                ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageLuma16)
            }
            ColorType::GrayscaleAlpha => {
                ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageLumaA16)
            }
            ColorType::Rgb => {
                ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageRgb16)
            }
            ColorType::Rgba => {
                ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageRgba16)
            }
            ColorType::Indexed => None,
        };
    }
    match info.color_type {
        ColorType::Grayscale => {
            ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageLuma8)
        }
        ColorType::GrayscaleAlpha => {
            ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageLumaA8)
        }
        ColorType::Rgb => {
            ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageRgb8)
        }
        ColorType::Rgba => {
            ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageRgba8)
        }
        ColorType::Indexed => None,
    }
}

fn stop(error: DecodingError) -> Stop {
    match error {
        DecodingError::IoError(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            Stop::Io(error)
        }
        DecodingError::IoError(_) => Stop::cut_off(),
        DecodingError::LimitsExceeded => Stop::Memory,
        error => Stop::Corrupt(error.to_string()),
    }
}
