//! Stored codes as 32-bit floats, bit for bit what [`deepseek_core::quant::decode_row`] gives, and
//! products straight from them.

use deepseek_core::quant::{fp4, fp8};
use deepseek_core::weights::WeightView;
use deepseek_core::{Format, ScaleFormat};

use super::simd::{Chunk, LANES, Simd};

/// Widens a line of `codes` with its `scales`; as long as `out`.
#[inline(always)]
pub(super) fn decode<S: Simd>(s: S, format: Format, codes: &[u8], scales: &[u8], out: &mut [f32]) {
    match format {
        Format::F32 => {
            for (out, bytes) in out.iter_mut().zip(codes.as_chunks::<4>().0) {
                *out = f32::from_le_bytes(*bytes);
            }
        }
        Format::Bf16 => {
            for (out, bytes) in out.iter_mut().zip(codes.as_chunks::<2>().0) {
                *out = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
            }
        }
        Format::Fp8 {
            tile,
            scale: ScaleFormat::E8m0,
        } => {
            let blocks = out.chunks_mut(tile[1]).zip(codes.chunks(tile[1]));
            for ((out, codes), scale) in blocks.zip(scales) {
                fp8_block(s, codes, e8m0(*scale), out);
            }
        }
        Format::Fp8 {
            tile,
            scale: ScaleFormat::F32,
        } => {
            let blocks = out.chunks_mut(tile[1]).zip(codes.chunks(tile[1]));
            for ((out, codes), scale) in blocks.zip(scales.as_chunks::<4>().0) {
                fp8_block(s, codes, f32::from_le_bytes(*scale), out);
            }
        }
        Format::Fp4 { block: 32 } if out.len().is_multiple_of(32) => {
            // The released block, with nothing left for the loop to ask.
            let blocks = out
                .as_chunks_mut::<32>()
                .0
                .iter_mut()
                .zip(codes.as_chunks::<16>().0);
            for ((out, codes), scale) in blocks.zip(scales) {
                fp4_block(s, codes, e8m0(*scale), out);
            }
        }
        Format::Fp4 { block } => {
            let blocks = out.chunks_mut(block).zip(codes.chunks(block / 2));
            for ((out, codes), scale) in blocks.zip(scales) {
                fp4_block(s, codes, e8m0(*scale), out);
            }
        }
    }
}

/// As [`deepseek_core::quant::e8m0::decode`], without a branch.
#[inline(always)]
fn e8m0(byte: u8) -> f32 {
    let end = u32::from(byte == 0 || byte == 255) << 22;
    f32::from_bits(u32::from(byte) << 23 | end)
}

#[inline(always)]
fn fp8_block<S: Simd>(s: S, codes: &[u8], scale: f32, out: &mut [f32]) {
    let (codes, code_tail) = codes.as_chunks();
    let (out, tail) = out.as_chunks_mut();
    for (out, codes) in out.iter_mut().zip(codes) {
        s.store(s.mul(s.fp8(codes), s.splat(scale)), out);
    }
    for (out, code) in tail.iter_mut().zip(code_tail) {
        *out = fp8::decode(*code) * scale;
    }
}

#[inline(always)]
fn fp4_block<S: Simd>(s: S, codes: &[u8], scale: f32, out: &mut [f32]) {
    let table = s.fp4_table(scale);
    let (codes, code_tail) = codes.as_chunks();
    let (out, tail) = out.as_chunks_mut();
    for (out, codes) in out.iter_mut().zip(codes) {
        s.store(s.fp4(codes, table), out);
    }
    for (pair, code) in tail.chunks_mut(2).zip(code_tail) {
        pair[0] = fp4::decode(*code) * scale;
        pair[1] = fp4::decode(code >> 4) * scale;
    }
}

/// Rows of a weight from `first` on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored<'a> {
    pub(super) weight: &'a WeightView,
    pub(super) first: usize,
}

impl Stored<'_> {
    /// Whether rows and blocks are whole chunks, as in every released checkpoint.
    pub(super) fn is_regular(&self) -> bool {
        let width = self.weight.shape[1];
        let block = match self.weight.format {
            Format::F32 | Format::Bf16 => LANES,
            Format::Fp8 { tile, .. } => tile[1],
            Format::Fp4 { block } => block,
        };
        block.is_multiple_of(LANES) && width.is_multiple_of(block)
    }

    fn line(&self, row: usize) -> (&[u8], &[u8]) {
        (
            self.weight.row(self.first + row),
            self.weight.row_scales(self.first + row),
        )
    }
}

/// One token by rows that [`Stored::is_regular`]: the order of [`super::dense::dots`].
#[inline(always)]
pub(super) fn dot_stored<S: Simd>(s: S, rows: Stored<'_>, x: &[f32], out: &mut [f32]) {
    let x = x.as_chunks().0;
    let chunks = x.len();
    match rows.weight.format {
        Format::F32 => lines(s, x, chunks, out, |row| {
            Floats(rows.line(row).0.as_chunks().0)
        }),
        Format::Bf16 => lines(s, x, chunks, out, |row| {
            Brains(rows.line(row).0.as_chunks().0)
        }),
        Format::Fp8 { tile, scale } => lines(s, x, tile[1] / LANES, out, |row| {
            let (codes, scales) = rows.line(row);
            Bytes {
                codes: codes.as_chunks().0,
                scales,
                scale,
            }
        }),
        Format::Fp4 { block: 32 } => lines(s, x, 2, out, |row| {
            let (codes, scales) = rows.line(row);
            Nibbles {
                codes: codes.as_chunks().0,
                scales,
            }
        }),
        Format::Fp4 { block } => lines(s, x, block / LANES, out, |row| {
            let (codes, scales) = rows.line(row);
            Nibbles {
                codes: codes.as_chunks().0,
                scales,
            }
        }),
    }
}

/// A stored row as chunks in blocks.
trait Line<S: Simd>: Copy {
    /// What the chunks of a block share.
    type Scale: Copy;
    fn scale(&self, s: S, block: usize) -> Self::Scale;
    fn chunk(&self, s: S, at: usize, scale: Self::Scale) -> S::V;
}

/// Four rows at a time, so that their sums do not wait for each other.
#[inline(always)]
fn lines<S: Simd, L: Line<S>>(
    s: S,
    x: &[Chunk],
    block: usize,
    out: &mut [f32],
    line: impl Fn(usize) -> L,
) {
    let (fours, ones) = out.as_chunks_mut::<4>();
    let whole = fours.len() * 4;
    for (index, out) in fours.iter_mut().enumerate() {
        let row = index * 4;
        *out = dot_lines(
            s,
            x,
            block,
            [line(row), line(row + 1), line(row + 2), line(row + 3)],
        );
    }
    for (index, out) in ones.iter_mut().enumerate() {
        [*out] = dot_lines(s, x, block, [line(whole + index)]);
    }
}

#[inline(always)]
fn dot_lines<S: Simd, L: Line<S>, const R: usize>(
    s: S,
    x: &[Chunk],
    block: usize,
    lines: [L; R],
) -> [f32; R] {
    let mut sum = [s.splat(0.0); R];
    for (index, x) in x.chunks_exact(block).enumerate() {
        let mut scale = [lines[0].scale(s, index); R];
        for r in 1..R {
            scale[r] = lines[r].scale(s, index);
        }
        for (i, x) in x.iter().enumerate() {
            let x = s.load(x);
            for r in 0..R {
                sum[r] = s.fma(lines[r].chunk(s, index * block + i, scale[r]), x, sum[r]);
            }
        }
    }
    sum.map(|sum| s.sum(sum))
}

#[derive(Clone, Copy)]
struct Floats<'a>(&'a [[u8; 4 * LANES]]);

impl<S: Simd> Line<S> for Floats<'_> {
    type Scale = ();

    #[inline(always)]
    fn scale(&self, _: S, _: usize) {}

    #[inline(always)]
    fn chunk(&self, s: S, at: usize, (): ()) -> S::V {
        let mut chunk = [0.0; LANES];
        for (out, bytes) in chunk.iter_mut().zip(self.0[at].as_chunks().0) {
            *out = f32::from_le_bytes(*bytes);
        }
        s.load(&chunk)
    }
}

#[derive(Clone, Copy)]
struct Brains<'a>(&'a [[u8; 2 * LANES]]);

impl<S: Simd> Line<S> for Brains<'_> {
    type Scale = ();

    #[inline(always)]
    fn scale(&self, _: S, _: usize) {}

    #[inline(always)]
    fn chunk(&self, s: S, at: usize, (): ()) -> S::V {
        s.bf16(&self.0[at])
    }
}

#[derive(Clone, Copy)]
struct Bytes<'a> {
    codes: &'a [[u8; LANES]],
    scales: &'a [u8],
    scale: ScaleFormat,
}

impl<S: Simd> Line<S> for Bytes<'_> {
    type Scale = S::V;

    #[inline(always)]
    fn scale(&self, s: S, block: usize) -> S::V {
        s.splat(match self.scale {
            ScaleFormat::E8m0 => e8m0(self.scales[block]),
            ScaleFormat::F32 => f32::from_le_bytes(self.scales.as_chunks().0[block]),
        })
    }

    #[inline(always)]
    fn chunk(&self, s: S, at: usize, scale: S::V) -> S::V {
        s.mul(s.fp8(&self.codes[at]), scale)
    }
}

#[derive(Clone, Copy)]
struct Nibbles<'a> {
    codes: &'a [[u8; LANES / 2]],
    scales: &'a [u8],
}

impl<S: Simd> Line<S> for Nibbles<'_> {
    type Scale = S::Fp4;

    #[inline(always)]
    fn scale(&self, s: S, block: usize) -> S::Fp4 {
        s.fp4_table(e8m0(self.scales[block]))
    }

    #[inline(always)]
    fn chunk(&self, s: S, at: usize, table: S::Fp4) -> S::V {
        s.fp4(&self.codes[at], table)
    }
}
