//! The frames of an animated WebP file, looked at before its decoder does.
//!
//! The decoder (`image-webp` 0.2) takes memory by the size that a lossy frame gives itself, and
//! indexes by the size that the file gives the frame. Nothing but such frames as have both alike is
//! let through, and none that it would draw wrongly.

use super::super::film::FilmError;
use super::input::{Input, Source};

/// The flag of a frame that is cleared when its time is over.
const CLEARS: u8 = 1;

/// A frame as its head has it.
struct Frame {
    at: [u32; 2],
    size: [u32; 2],
    flags: u8,
}

/// Walks through the file as the decoder will.
pub(super) fn check(source: &Source) -> Result<(), FilmError> {
    let mut input = Input::open(source, "WebP")?;
    input.skip(12)?;
    let mut canvas = None;
    let mut is_cleared = false;
    while input.left() > 0 {
        let name: [u8; 4] = input.array()?;
        let bytes = u32::from_le_bytes(input.array()?);
        let at = input.at();
        match (&name, canvas) {
            (b"VP8X", None) => {
                input.skip(4)?;
                canvas = Some([input_side(&mut input)?, input_side(&mut input)?]);
            }
            (b"ANMF", Some(canvas)) => {
                if bytes % 2 == 1 {
                    return Err(input.corrupt("a frame of an odd number of bytes"));
                }
                let frame = frame(&mut input)?;
                let is_whole = frame.at == [0; 2] && frame.size == canvas;
                let is_opaque = check_frame(&mut input, &frame)?;
                if is_cleared && is_opaque && !is_whole {
                    return Err(input.unsupported("a lossy frame beside what was cleared"));
                }
                is_cleared = frame.flags & CLEARS != 0;
            }
            _ => {}
        }
        let end = at.saturating_add(u64::from(bytes).next_multiple_of(2));
        input.seek(end)?;
    }
    Ok(())
}

/// A side of 24 bits, one less than it is.
fn input_side(input: &mut Input) -> Result<u32, FilmError> {
    Ok(small(input)?.saturating_add(1))
}

/// A number of 24 bits.
fn small(input: &mut Input) -> Result<u32, FilmError> {
    let [a, b, c] = input.array()?;
    Ok(u32::from_le_bytes([a, b, c, 0]))
}

fn frame(input: &mut Input) -> Result<Frame, FilmError> {
    let at = [small(input)?, small(input)?];
    let size = [input_side(input)?, input_side(input)?];
    input.skip(3)?;
    let [flags] = input.array()?;
    Ok(Frame { at, size, flags })
}

/// Whether the frame is lossy without transparency. It is in bounds of the size that its head has.
fn check_frame(input: &mut Input, frame: &Frame) -> Result<bool, FilmError> {
    let [name, size]: [[u8; 4]; 2] = [input.array()?, input.array()?];
    match &name {
        b"VP8 " => check_lossy(input, frame).map(|()| true),
        b"ALPH" => {
            let bytes = u64::from(u32::from_le_bytes(size)).next_multiple_of(2);
            // Whatever its name is, the next chunk is taken for the picture.
            input.skip(bytes)?;
            input.skip(8)?;
            check_lossy(input, frame).map(|()| false)
        }
        _ => Ok(false),
    }
}

/// Whether the picture's own size is the frame's.
fn check_lossy(input: &mut Input, frame: &Frame) -> Result<(), FilmError> {
    input.skip(6)?;
    let sides: [[u8; 2]; 2] = [input.array()?, input.array()?];
    let [width, height] = sides.map(|side| u32::from(u16::from_le_bytes(side) & 0x3FFF));
    if [width, height] == frame.size {
        Ok(())
    } else {
        let [columns, rows] = frame.size;
        let why = format!("a picture of {width}x{height} in a frame of {columns}x{rows}");
        Err(input.corrupt(why))
    }
}
