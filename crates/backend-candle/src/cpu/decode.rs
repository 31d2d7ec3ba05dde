//! Stored codes as 32-bit floats: bit for bit what [`deepseek_core::quant::decode_row`] gives.

use deepseek_core::quant::{e8m0, fp4, fp8};
use deepseek_core::{Format, ScaleFormat};

use super::simd::{LANES, Simd};

/// Below this a scale may be multiplied by `2^8` and stay finite.
const SCALE_MAX: f32 = 6.6e35;

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
        Format::Fp8 { tile, scale: ScaleFormat::E8m0 } => {
            let blocks = out.chunks_mut(tile[1]).zip(codes.chunks(tile[1]));
            for ((out, codes), scale) in blocks.zip(scales) {
                fp8_block(s, codes, e8m0::decode(*scale), out);
            }
        }
        Format::Fp8 { tile, scale: ScaleFormat::F32 } => {
            let blocks = out.chunks_mut(tile[1]).zip(codes.chunks(tile[1]));
            for ((out, codes), scale) in blocks.zip(scales.as_chunks::<4>().0) {
                fp8_block(s, codes, f32::from_le_bytes(*scale), out);
            }
        }
        Format::Fp4 { block } => {
            let blocks = out.chunks_mut(block).zip(codes.chunks(block / 2));
            for ((out, codes), scale) in blocks.zip(scales) {
                fp4_block(s, codes, e8m0::decode(*scale), out);
            }
        }
    }
}

#[inline(always)]
fn fp8_block<S: Simd>(s: S, codes: &[u8], scale: f32, out: &mut [f32]) {
    let (codes, code_tail) = codes.as_chunks::<LANES>();
    let (out, tail) = out.as_chunks_mut::<LANES>();
    if scale.abs() < SCALE_MAX {
        let factor = s.splat(scale * 256.0);
        for (out, codes) in out.iter_mut().zip(codes) {
            s.store(s.mul(s.fp8(codes), factor), out);
        }
    } else {
        for (out, code) in out.as_flattened_mut().iter_mut().zip(codes.as_flattened()) {
            *out = fp8::decode(*code) * scale;
        }
    }
    for (out, code) in tail.iter_mut().zip(code_tail) {
        *out = fp8::decode(*code) * scale;
    }
}

#[inline(always)]
fn fp4_block<S: Simd>(s: S, codes: &[u8], scale: f32, out: &mut [f32]) {
    let table = s.fp4_table(scale);
    let (codes, code_tail) = codes.as_chunks();
    let (out, tail) = out.as_chunks_mut::<LANES>();
    for (out, codes) in out.iter_mut().zip(codes) {
        s.store(s.fp4(codes, table), out);
    }
    for (pair, code) in tail.chunks_mut(2).zip(code_tail) {
        pair[0] = fp4::decode(*code) * scale;
        pair[1] = fp4::decode(code >> 4) * scale;
    }
}
