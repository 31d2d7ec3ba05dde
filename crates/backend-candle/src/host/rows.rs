//! Pools of cache rows in host memory, packed.
#![allow(unsafe_code, reason = "floats are read where they lie")]

use std::ops::Range;

use deepseek_core::quant::{bf16, e8m0, fp4, fp4_scale, fp8, fp8_scale};
use deepseek_core::{Error, Fp4Scale, Result, RowFormat};
use memmap2::MmapMut;

/// `count` rows of `width` channels. Pages that no row was written to cost no memory.
///
/// The pages are the system's own, not the allocator's: that clears what it gives out again, and with
/// it would touch every page of a pool.
pub struct RowPool {
    format: RowFormat,
    width: usize,
    bytes: MmapMut,
}

impl std::fmt::Debug for RowPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RowPool({:?} of {})", self.format, self.width)
    }
}

impl RowPool {
    /// A pool of zeros.
    pub(crate) fn new(format: RowFormat, width: usize, count: usize) -> Result<Self> {
        let full = |bytes| Error::OutOfMemory {
            device: "cpu".to_owned(),
            bytes,
        };
        let bytes = format.row_bytes(width).checked_mul(count);
        let bytes = bytes.filter(|bytes| *bytes <= isize::MAX as usize);
        let bytes = bytes.ok_or_else(|| full(usize::MAX))?;
        // No system maps nothing.
        let map = MmapMut::map_anon(bytes.max(1)).map_err(|_| full(bytes))?;
        Ok(Self {
            format,
            width,
            bytes: map,
        })
    }

    /// Channels of a row.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Stores rows of `from` at `at`.
    pub(crate) fn write(&mut self, at: &[u32], from: &[f32]) {
        for (row, from) in at.iter().zip(from.chunks_exact(self.width)) {
            let places = self.places(*row..*row + 1);
            pack(self.format, from, &mut self.bytes[places]);
        }
    }

    /// Reads the rows `at`.
    pub(crate) fn read(&self, at: &[u32], out: &mut [f32]) {
        for (row, out) in at.iter().zip(out.chunks_exact_mut(self.width)) {
            self.read_run(*row..*row + 1, out);
        }
    }

    /// Reads a run of neighbours.
    pub(crate) fn read_run(&self, run: Range<u32>, out: &mut [f32]) {
        if let Some(floats) = self.floats(run.clone()) {
            return out.copy_from_slice(floats);
        }
        let bytes = self.bytes[self.places(run)].chunks_exact(self.format.row_bytes(self.width));
        for (bytes, out) in bytes.zip(out.chunks_exact_mut(self.width)) {
            unpack(self.format, bytes, out);
        }
    }

    /// A run of neighbours where it lies, if rows are kept as floats.
    pub(crate) fn floats(&self, run: Range<u32>) -> Option<&[f32]> {
        if self.format != RowFormat::F32 {
            return None;
        }
        let bytes = &self.bytes[self.places(run)];
        // SAFETY: any four bytes are a float.
        let (head, floats, tail) = unsafe { bytes.align_to::<f32>() };
        assert!(
            head.is_empty() && tail.is_empty(),
            "rows of floats begin at multiples of four in a map that begins a page"
        );
        Some(floats)
    }

    /// Where the bytes of a run of rows lie.
    fn places(&self, run: Range<u32>) -> Range<usize> {
        let row = self.format.row_bytes(self.width);
        run.start as usize * row..run.end as usize * row
    }
}

fn halves(bytes: &mut [u8], values: &[f32]) {
    for (bytes, x) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(values) {
        *bytes = ((bf16(*x).to_bits() >> 16) as u16).to_le_bytes();
    }
}

fn from_halves(bytes: &[u8], values: &mut [f32]) {
    for (bytes, x) in bytes.as_chunks::<2>().0.iter().zip(values) {
        *x = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
    }
}

/// Packs a row. The scale of a block is that of its rounding; a block that was rounded before gets
/// a scale under which its values are codes again, so nothing is lost twice.
fn pack(format: RowFormat, values: &[f32], bytes: &mut [u8]) {
    match format {
        RowFormat::F32 => {
            let quads = bytes.as_chunks_mut::<4>().0.iter_mut();
            quads.zip(values).for_each(|(b, x)| *b = x.to_ne_bytes());
        }
        RowFormat::Bf16 => halves(bytes, values),
        RowFormat::Fp8 {
            block,
            tail,
            tail_bytes,
        } => {
            let codes = values.len() - tail;
            let (body, rest) = bytes.split_at_mut(codes);
            let (scales, rest) = rest.split_at_mut(codes.div_ceil(block));
            let blocks = values[..codes]
                .chunks(block)
                .zip(body.chunks_mut(block))
                .zip(scales);
            for ((values, codes), byte) in blocks {
                let scale = fp8_scale(values);
                *byte = e8m0::encode(scale);
                for (x, code) in values.iter().zip(codes) {
                    *code = fp8::encode((x / scale).clamp(-fp8::MAX, fp8::MAX));
                }
            }
            match tail_bytes {
                2 => halves(rest, &values[codes..]),
                _ => {
                    let quads = rest.as_chunks_mut::<4>().0;
                    quads
                        .iter_mut()
                        .zip(&values[codes..])
                        .for_each(|(b, x)| *b = x.to_le_bytes());
                }
            }
        }
        RowFormat::Fp4 { block, scale: kind } => {
            let (body, scales) = bytes.split_at_mut(values.len() / 2);
            let blocks = values
                .chunks(block)
                .zip(body.chunks_mut(block / 2))
                .zip(scales);
            for ((values, codes), byte) in blocks {
                let scale = match kind {
                    Fp4Scale::E8m0 => fp4_scale(values, kind),
                    Fp4Scale::E4m3 => kept_scale(values),
                };
                *byte = match kind {
                    Fp4Scale::E8m0 => e8m0::encode(scale),
                    Fp4Scale::E4m3 => fp8::encode(scale),
                };
                let code = |x: f32| fp4::encode((x / scale).clamp(-fp4::MAX, fp4::MAX));
                for (pair, codes) in values.as_chunks::<2>().0.iter().zip(codes) {
                    *codes = code(pair[0]) | code(pair[1]) << 4;
                }
            }
        }
    }
}

/// The scale in E4M3 under which a block that was rounded before is codes again.
///
/// Among the subnormal scales the largest value of a rounded block may be four steps where six were
/// possible; the scale that its magnitude asks for is then one code below the one it was made with.
fn kept_scale(values: &[f32]) -> f32 {
    let scale = fp4_scale(values, Fp4Scale::E4m3);
    let is_code = |x: &f32, scale: f32| {
        let code = (x / scale).clamp(-fp4::MAX, fp4::MAX);
        fp4::decode(fp4::encode(code)) * scale == *x
    };
    if values.iter().all(|x| is_code(x, scale)) {
        return scale;
    }
    let next = fp8::decode((fp8::encode(scale) + 1).min(fp8::encode(fp8::MAX)));
    match values.iter().all(|x| is_code(x, next)) {
        true => next,
        false => scale,
    }
}

fn unpack(format: RowFormat, bytes: &[u8], values: &mut [f32]) {
    match format {
        RowFormat::F32 => unreachable!("floats are read where they lie"),
        RowFormat::Bf16 => from_halves(bytes, values),
        RowFormat::Fp8 {
            block,
            tail,
            tail_bytes,
        } => {
            let codes = values.len() - tail;
            let (body, rest) = bytes.split_at(codes);
            let (scales, rest) = rest.split_at(codes.div_ceil(block));
            let blocks = values[..codes]
                .chunks_mut(block)
                .zip(body.chunks(block))
                .zip(scales);
            for ((values, codes), byte) in blocks {
                let scale = e8m0::decode(*byte);
                values
                    .iter_mut()
                    .zip(codes)
                    .for_each(|(x, code)| *x = fp8::decode(*code) * scale);
            }
            match tail_bytes {
                2 => from_halves(rest, &mut values[codes..]),
                _ => {
                    let quads = rest.as_chunks::<4>().0;
                    let tail = values[codes..].iter_mut().zip(quads);
                    tail.for_each(|(x, b)| *x = f32::from_le_bytes(*b));
                }
            }
        }
        RowFormat::Fp4 { block, scale: kind } => {
            let (body, scales) = bytes.split_at(values.len() / 2);
            let blocks = values
                .chunks_mut(block)
                .zip(body.chunks(block / 2))
                .zip(scales);
            for ((values, codes), byte) in blocks {
                let scale = match kind {
                    Fp4Scale::E8m0 => e8m0::decode(*byte),
                    Fp4Scale::E4m3 => fp8::decode(*byte),
                };
                for (pair, code) in values.as_chunks_mut::<2>().0.iter_mut().zip(codes) {
                    *pair = [fp4::decode(*code) * scale, fp4::decode(code >> 4) * scale];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use deepseek_core::Rounding;
    use deepseek_core::quant::round_row;

    use super::*;

    #[test]
    fn what_was_rounded_before_comes_back_bit_for_bit() {
        let cases = [
            (RowFormat::F32, None),
            (RowFormat::Bf16, Some(Rounding::Bf16)),
            (
                RowFormat::Fp8 {
                    block: 64,
                    tail: 32,
                    tail_bytes: 4,
                },
                Some(Rounding::Fp8 {
                    block: 64,
                    tail: 32,
                }),
            ),
            (
                RowFormat::Fp4 {
                    block: 32,
                    scale: Fp4Scale::E8m0,
                },
                Some(Rounding::Fp4 {
                    block: 32,
                    scale: Fp4Scale::E8m0,
                }),
            ),
            (
                RowFormat::Fp4 {
                    block: 16,
                    scale: Fp4Scale::E4m3,
                },
                Some(Rounding::Fp4 {
                    block: 16,
                    scale: Fp4Scale::E4m3,
                }),
            ),
        ];
        for (format, rounding) in cases {
            let width = 224;
            let mut pool = RowPool::new(format, width, 90).expect("room");
            for exponent in -40..40 {
                let magnitude = 2.0_f32.powi(exponent) * 1.37;
                let mut row: Vec<f32> = (0..width)
                    .map(|at| (at as f32 * 0.9).sin() * magnitude)
                    .collect();
                row[..64].fill(0.0);
                if let Some(rounding) = rounding {
                    round_row(&mut row, rounding);
                }
                let at = [(exponent + 40) as u32];
                pool.write(&at, &row);
                let mut back = vec![0.0; width];
                pool.read(&at, &mut back);
                // A negative zero may lose its sign nowhere either.
                let same = row
                    .iter()
                    .zip(&back)
                    .all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{format:?} at 2^{exponent}: {row:?} and {back:?}");
            }
        }
    }

    #[test]
    fn a_pool_beyond_all_memory_is_an_error() {
        let error = RowPool::new(RowFormat::Bf16, 1 << 20, 1 << 42).expect_err("no such room");
        assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    }
}
