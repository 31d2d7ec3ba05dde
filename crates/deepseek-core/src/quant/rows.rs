//! Cache rows, packed and unpacked.

use crate::format::{Fp4Scale, RowFormat};
use crate::quant::{bf16, e8m0, fp4, fp4_scale, fp8, fp8_scale};

/// Packs `values: [width]` into `bytes`, of [`RowFormat::row_bytes`]. All numbers of several bytes
/// are little-endian.
///
/// The scale of a block is that of its rounding ([`Rounding`](crate::Rounding)); a block that was
/// rounded before gets a scale under which its values are codes again, so nothing is lost twice.
///
/// # Panics
/// If `bytes` has another length than such a row.
#[inline]
pub fn pack_row(format: RowFormat, values: &[f32], bytes: &mut [u8]) {
    assert_eq!(
        bytes.len(),
        format.row_bytes(values.len()),
        "a row and its room"
    );
    match format {
        RowFormat::F32 => pack_f32(values, bytes),
        RowFormat::Bf16 => pack_bf16(values, bytes),
        RowFormat::Fp8 {
            block,
            tail,
            tail_bytes,
        } => {
            let (values, tail) = values.split_at(values.len() - tail);
            let (codes, rest) = bytes.split_at_mut(values.len());
            let (scales, rest) = rest.split_at_mut(values.len().div_ceil(block));
            let blocks = values.chunks(block).zip(codes.chunks_mut(block));
            for ((values, codes), byte) in blocks.zip(scales) {
                let scale = fp8_scale(values);
                *byte = e8m0::encode(scale);
                fp8_codes(values, scale, codes);
            }
            match tail_bytes {
                2 => pack_bf16(tail, rest),
                _ => pack_f32(tail, rest),
            }
        }
        RowFormat::Fp4 { block, scale: kind } => {
            let (codes, scales) = bytes.split_at_mut(values.len() / 2);
            let blocks = values.chunks(block).zip(codes.chunks_mut(block / 2));
            for ((values, codes), byte) in blocks.zip(scales) {
                let scale = match kind {
                    Fp4Scale::E8m0 => fp4_scale(values, kind),
                    Fp4Scale::E4m3 => kept_scale(values),
                };
                *byte = match kind {
                    Fp4Scale::E8m0 => e8m0::encode(scale),
                    Fp4Scale::E4m3 => fp8::encode(scale),
                };
                fp4_codes(values, scale, codes);
            }
        }
    }
}

/// Unpacks a row that [`pack_row`] packed into `values: [width]`.
///
/// # Panics
/// If `bytes` has another length than such a row.
#[inline]
pub fn unpack_row(format: RowFormat, bytes: &[u8], values: &mut [f32]) {
    assert_eq!(
        bytes.len(),
        format.row_bytes(values.len()),
        "a row and its room"
    );
    match format {
        RowFormat::F32 => unpack_f32(bytes, values),
        RowFormat::Bf16 => unpack_bf16(bytes, values),
        RowFormat::Fp8 {
            block,
            tail,
            tail_bytes,
        } => {
            let (values, tail) = values.split_at_mut(values.len() - tail);
            let (codes, rest) = bytes.split_at(values.len());
            let (scales, rest) = rest.split_at(values.len().div_ceil(block));
            let blocks = values.chunks_mut(block).zip(codes.chunks(block));
            for ((values, codes), byte) in blocks.zip(scales) {
                let scale = e8m0::decode(*byte);
                for (x, code) in values.iter_mut().zip(codes) {
                    *x = fp8::decode(*code) * scale;
                }
            }
            match tail_bytes {
                2 => unpack_bf16(rest, tail),
                _ => unpack_f32(rest, tail),
            }
        }
        RowFormat::Fp4 { block, scale: kind } => {
            let (codes, scales) = bytes.split_at(values.len() / 2);
            let blocks = values.chunks_mut(block).zip(codes.chunks(block / 2));
            for ((values, codes), byte) in blocks.zip(scales) {
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

/// The E4M3 codes of a block under a scale; what lies beyond the largest becomes the largest.
#[inline]
pub(super) fn fp8_codes(values: &[f32], scale: f32, codes: &mut [u8]) {
    for (x, code) in values.iter().zip(codes) {
        *code = fp8::encode((x / scale).clamp(-fp8::MAX, fp8::MAX));
    }
}

/// The E2M1 codes of a block under a scale, two a byte, the low nibble first.
#[inline]
pub(super) fn fp4_codes(values: &[f32], scale: f32, codes: &mut [u8]) {
    let code = |x: f32| fp4::encode((x / scale).clamp(-fp4::MAX, fp4::MAX));
    for (pair, codes) in values.as_chunks::<2>().0.iter().zip(codes) {
        *codes = code(pair[0]) | code(pair[1]) << 4;
    }
}

#[inline]
pub(super) fn pack_f32(values: &[f32], bytes: &mut [u8]) {
    for (bytes, x) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(values) {
        *bytes = x.to_le_bytes();
    }
}

#[inline]
fn unpack_f32(bytes: &[u8], values: &mut [f32]) {
    for (bytes, x) in bytes.as_chunks::<4>().0.iter().zip(values) {
        *x = f32::from_le_bytes(*bytes);
    }
}

#[inline]
pub(super) fn pack_bf16(values: &[f32], bytes: &mut [u8]) {
    for (bytes, x) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(values) {
        *bytes = ((bf16(*x).to_bits() >> 16) as u16).to_le_bytes();
    }
}

#[inline]
fn unpack_bf16(bytes: &[u8], values: &mut [f32]) {
    for (bytes, x) in bytes.as_chunks::<2>().0.iter().zip(values) {
        *x = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
    }
}

/// The scale in E4M3 under which a block that was rounded before is codes again.
///
/// Among the subnormal scales the largest value of a rounded block may be four steps where six were
/// possible; the scale that its magnitude asks for is then one code below the one it was made with.
#[inline]
fn kept_scale(values: &[f32]) -> f32 {
    let scale = fp4_scale(values, Fp4Scale::E4m3);
    if is_fp4(values, scale) {
        return scale;
    }
    let next = fp8::decode((fp8::encode(scale) + 1).min(fp8::encode(fp8::MAX)));
    if is_fp4(values, next) { next } else { scale }
}

/// Whether all values are E2M1 codes under this scale.
#[inline]
pub(super) fn is_fp4(values: &[f32], scale: f32) -> bool {
    values.iter().all(|x| {
        let code = (x / scale).clamp(-fp4::MAX, fp4::MAX);
        fp4::decode(fp4::encode(code)) * scale == *x
    })
}

/// Whether all values are E4M3 codes under this scale.
pub(super) fn is_fp8(values: &[f32], scale: f32) -> bool {
    values.iter().all(|x| {
        let code = (x / scale).clamp(-fp8::MAX, fp8::MAX);
        fp8::decode(fp8::encode(code)) * scale == *x
    })
}
