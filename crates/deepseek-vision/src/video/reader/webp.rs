//! The images of a WebP file, looked at before its decoder does.
//!
//! The decoder (`image-webp` 0.2) takes memory by the size that a lossy image gives itself, indexes
//! by the size that the file gives a frame, and makes up what a file that is cut off lacks. Nothing but
//! whole images whose sizes are alike is let through, and none that it would draw wrongly.

use crate::image::ImageError;

use super::super::error::VideoError;
use super::input::{Input, Source};

pub(crate) const FORMAT: &str = "WebP";
/// The flag of a frame that is cleared when its time is over.
const CLEARS: u8 = 1;

/// A frame as its head has it.
struct Frame {
    at: [u32; 2],
    size: [u32; 2],
    flags: u8,
}

/// How much of a file its decoder is shown.
pub(super) struct Whole {
    /// Images that may be decoded.
    pub(super) images: usize,
    /// Bytes in which they are.
    pub(super) bytes: u64,
    /// Why there are not more.
    pub(super) end: Option<VideoError>,
}

/// As much of a file as its decoder may be shown, with at least one image.
pub(crate) fn first(bytes: &[u8]) -> Result<&[u8], ImageError> {
    let format = FORMAT;
    let found = Input::open(&Source::Bytes(bytes.into()), format).map(whole);
    match found {
        Ok(Whole {
            images: 0,
            end: Some(VideoError::Unsupported { why, .. }),
            ..
        }) => Err(ImageError::Unsupported { format, why }),
        Ok(Whole {
            images: 0,
            end: Some(VideoError::Corrupt { why, .. }),
            ..
        }) => Err(ImageError::Corrupt { format, why }),
        Ok(Whole {
            images,
            bytes: count,
            ..
        }) if images > 0 => {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            Ok(bytes.get(..count).unwrap_or(bytes))
        }
        // What is wrong without an image, the decoder says best.
        _ => Ok(bytes),
    }
}

/// Walks through the file as the decoder will.
pub(super) fn whole(mut input: Input) -> Whole {
    let mut whole = Whole {
        images: 0,
        bytes: 0,
        end: None,
    };
    whole.end = walk(&mut input, &mut whole).err();
    whole
}

fn walk(input: &mut Input, whole: &mut Whole) -> Result<(), VideoError> {
    input.skip(4)?;
    // Behind it there may be anything.
    let end = u64::from(u32::from_le_bytes(input.array()?)).saturating_add(8);
    input.skip(4)?;
    let mut canvas = None;
    let mut is_cleared = false;
    while input.left() > 0 && input.at() < end {
        let name: [u8; 4] = input.array()?;
        let bytes = u32::from_le_bytes(input.array()?);
        let at = input.at();
        let mut is_image = true;
        match (&name, canvas) {
            (b"VP8X", None) => {
                input.skip(4)?;
                canvas = Some([input_side(input)?, input_side(input)?]);
                is_image = false;
            }
            (b"VP8 ", Some(size)) => check_lossy(input, size)?,
            (b"VP8 " | b"VP8L", _) => {}
            (b"ANMF", Some(canvas)) => {
                if bytes % 2 == 1 {
                    return Err(input.corrupt("a frame of an odd number of bytes"));
                }
                let frame = frame(input)?;
                let is_whole = frame.at == [0; 2] && frame.size == canvas;
                let is_opaque = check_frame(input, &frame)?;
                if is_cleared && is_opaque && !is_whole {
                    return Err(input.unsupported("a lossy frame beside what was cleared"));
                }
                is_cleared = frame.flags & CLEARS != 0;
            }
            _ => is_image = false,
        }
        input.seek_behind(at, bytes)?;
        whole.images = whole.images.saturating_add(usize::from(is_image));
        whole.bytes = input.at();
    }
    if input.at() < end {
        return Err(input.corrupt("the file ends early"));
    }
    Ok(())
}

/// A side of 24 bits, one less than it is.
fn input_side(input: &mut Input) -> Result<u32, VideoError> {
    Ok(small(input)?.saturating_add(1))
}

/// A number of 24 bits.
fn small(input: &mut Input) -> Result<u32, VideoError> {
    let [a, b, c] = input.array()?;
    Ok(u32::from_le_bytes([a, b, c, 0]))
}

fn frame(input: &mut Input) -> Result<Frame, VideoError> {
    let at = [small(input)?, small(input)?];
    let size = [input_side(input)?, input_side(input)?];
    input.skip(3)?;
    let [flags] = input.array()?;
    Ok(Frame { at, size, flags })
}

/// Whether the frame is lossy without transparency. It is in bounds of the size that its head has.
fn check_frame(input: &mut Input, frame: &Frame) -> Result<bool, VideoError> {
    let [name, size]: [[u8; 4]; 2] = [input.array()?, input.array()?];
    match &name {
        b"VP8 " => check_lossy(input, frame.size).map(|()| true),
        b"ALPH" => {
            let bytes = u64::from(u32::from_le_bytes(size)).next_multiple_of(2);
            // Whatever its name is, the next chunk is taken for the image.
            input.skip(bytes)?;
            input.skip(8)?;
            check_lossy(input, frame.size).map(|()| false)
        }
        _ => Ok(false),
    }
}

/// Whether the image's own size is the one that the file gives it.
fn check_lossy(input: &mut Input, [columns, rows]: [u32; 2]) -> Result<(), VideoError> {
    input.skip(6)?;
    let sides: [[u8; 2]; 2] = [input.array()?, input.array()?];
    let [width, height] = sides.map(|side| u32::from(u16::from_le_bytes(side) & 0x3FFF));
    if [width, height] == [columns, rows] {
        Ok(())
    } else {
        let why = format!("an image of {width}x{height} in a frame of {columns}x{rows}");
        Err(input.corrupt(why))
    }
}
