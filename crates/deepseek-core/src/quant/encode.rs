//! Rows of weights from 32-bit floats: the inverse of [`decode_packed`](super::decode_packed).

use crate::format::{Format, ScaleFormat};
use crate::quant::rows::{fp4_codes, fp8_codes, is_fp4, is_fp8, pack_bf16, pack_f32};
use crate::quant::{e8m0, f16, fp4, fp8, int};

/// Rows of a weight as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The codes, row-major: what [`WeightView::data`](crate::weights::WeightView) holds.
    pub data: Vec<u8>,
    /// The scales, row-major: one for each tile or block. Empty for formats without.
    pub scales: Vec<u8>,
}

/// Encodes one row, which shares its scales with no other. See [`encode_rows`].
///
/// # Panics
/// As [`encode_rows`].
#[must_use]
pub fn encode_row(values: &[f32], format: Format) -> Encoded {
    encode_rows(values, values.len(), format)
}

/// Encodes `values: [rows, columns]`, each to the nearest code, ties to even. The first row begins a
/// row of tiles, so a matrix may be encoded in runs of whole tiles.
///
/// The scale of a tile or block is the least under which its largest magnitude is within the codes:
/// a power of two for E8M0, the quotient of the two for F32. In INT4, whose codes are few, it may be
/// less, so that the largest numbers are cut: of some scales the one with the least squared error. What
/// was decoded is encoded to the same values again, bit for bit, and to the same bytes where these had
/// the least scale; under float scales the least is the only one that is found again. A tile or block
/// with a number that is not finite gets a scale that is not a number, so that none of its values passes
/// for one.
///
/// # Panics
/// If there are not whole rows, or for FP4 and INT4 an odd number of columns.
#[must_use]
pub fn encode_rows(values: &[f32], columns: usize, format: Format) -> Encoded {
    assert!(
        columns > 0 && values.len().is_multiple_of(columns),
        "{} values in rows of {columns}",
        values.len()
    );
    let mut encoded = Encoded {
        data: Vec::new(),
        scales: Vec::new(),
    };
    match format {
        Format::F32 => {
            encoded.data.resize(values.len() * 4, 0);
            pack_f32(values, &mut encoded.data);
        }
        Format::Bf16 => {
            encoded.data.resize(values.len() * 2, 0);
            pack_bf16(values, &mut encoded.data);
        }
        Format::F16 => {
            let halves = values.iter().map(|x| f16::encode(*x).to_le_bytes());
            encoded.data.extend(halves.flatten());
        }
        Format::Fp8 { tile, scale } => {
            for rows in values.chunks(tile[0] * columns) {
                encode_tiles(rows, columns, tile[1], scale, &mut encoded);
            }
        }
        Format::Fp4 { block, scale } => {
            assert!(columns.is_multiple_of(2), "two codes a byte");
            encoded.data.resize(values.len() / 2, 0);
            let rows = values.chunks(columns);
            for (values, codes) in rows.zip(encoded.data.chunks_mut(columns / 2)) {
                for (values, codes) in values.chunks(block).zip(codes.chunks_mut(block / 2)) {
                    let factor = weight_scale(values, scale, fp4::MAX, is_fp4);
                    push_scale(factor, scale, &mut encoded.scales);
                    fp4_codes(values, factor, codes);
                }
            }
        }
        Format::Int8 => {
            for values in values.chunks(columns) {
                let factor = weight_scale(values, ScaleFormat::F32, int::MAX, is_int::<MAX8>);
                push_scale(factor, ScaleFormat::F32, &mut encoded.scales);
                let codes = values.iter().map(|x| int_code::<MAX8>(*x, factor));
                encoded.data.extend(codes);
            }
        }
        Format::Int4 { group } => {
            assert!(columns.is_multiple_of(2), "two codes a byte");
            for values in values.chunks(columns).flat_map(|row| row.chunks(group)) {
                let factor = int4_scale(values);
                push_scale(factor, ScaleFormat::F32, &mut encoded.scales);
                let code = |x: f32| int_code::<MAX4>(x, factor) & 0xf;
                let pairs = values.as_chunks::<2>().0.iter();
                let codes = pairs.map(|[low, high]| code(*low) | code(*high) << 4);
                encoded.data.extend(codes);
            }
        }
    }
    encoded
}

/// Encodes one row of FP8 tiles, `width` columns each.
fn encode_tiles(
    rows: &[f32],
    columns: usize,
    width: usize,
    scale: ScaleFormat,
    encoded: &mut Encoded,
) {
    let first = encoded.data.len();
    encoded.data.resize(first + rows.len(), 0);
    let data = &mut encoded.data[first..];
    let mut values = Vec::new();
    for start in (0..columns).step_by(width) {
        let tile = start..columns.min(start + width);
        values.clear();
        for row in rows.chunks(columns) {
            values.extend_from_slice(&row[tile.clone()]);
        }
        let factor = weight_scale(&values, scale, fp8::MAX, is_fp8);
        push_scale(factor, scale, &mut encoded.scales);
        let tiles = values.chunks(tile.len()).zip(data.chunks_mut(columns));
        for (values, data) in tiles {
            fp8_codes(values, factor, &mut data[tile.clone()]);
        }
    }
}

/// The least scale under which the largest magnitude is at most `max`.
///
/// The quotient that a float scale is was rounded when the values were made, and again here, which
/// may lead to a neighbour of the scale they were made with: the one that makes them codes is kept.
fn weight_scale(
    values: &[f32],
    scale: ScaleFormat,
    max: f32,
    is_codes: fn(&[f32], f32) -> bool,
) -> f32 {
    if !values.iter().all(|x| x.is_finite()) {
        return f32::NAN;
    }
    let amax = values.iter().fold(0.0_f32, |amax, x| amax.max(x.abs()));
    let least = match scale {
        ScaleFormat::E8m0 => e8m0::decode(0),
        ScaleFormat::F32 => f32::MIN_POSITIVE,
    };
    if amax <= max * least {
        return least;
    }
    match scale {
        ScaleFormat::E8m0 => e8m0::ceil_pow2(amax * (1.0 / max)),
        ScaleFormat::F32 => {
            let exact = amax / max;
            // The quotient may have been rounded up, and the largest code is a float nevertheless.
            let exact = if (exact * max).is_finite() {
                exact
            } else {
                exact.next_down()
            };
            let near = [exact, exact.next_up(), exact.next_down()];
            let kept = near.into_iter().find(|near| is_codes(values, *near));
            kept.unwrap_or(exact)
        }
    }
}

/// Of the least scale that cuts nothing and [`CUTS`] smaller ones, the one under which the squared error
/// is least. Numbers that are codes already have none under the first.
fn int4_scale(values: &[f32]) -> f32 {
    let whole = weight_scale(values, ScaleFormat::F32, int::MAX4, is_int::<MAX4>);
    let mut best = (squared_error(values, whole), whole);
    if whole.is_nan() || best.0 == 0.0 {
        return whole;
    }
    for cut in 1..=CUTS {
        let scale = whole * (1.0 - cut as f32 * CUT);
        let error = squared_error(values, scale);
        if error < best.0 && scale >= f32::MIN_POSITIVE {
            best = (error, scale);
        }
    }
    best.1
}

/// What scales of INT4 are tried: so many, each less than the one before by this part of the largest.
const CUTS: u32 = 10;
const CUT: f32 = 1.0 / 32.0;

/// The squared error of a group under a scale, in eight sums, which vectors take.
fn squared_error(values: &[f32], scale: f32) -> f32 {
    const LANES: usize = 8;
    let mut sums = [0.0_f32; LANES];
    for values in values.chunks(LANES) {
        for (sum, x) in sums.iter_mut().zip(values) {
            let exact = x / scale;
            let error = exact - int::nearest(exact.clamp(-int::MAX4, int::MAX4));
            *sum += error * error;
        }
    }
    sums.iter().sum::<f32>() * scale * scale
}

const MAX8: i8 = int::MAX as i8;
const MAX4: i8 = int::MAX4 as i8;

/// The code nearest to `x` under a scale; what lies beyond ±`LARGEST` becomes that.
fn int_code<const LARGEST: i8>(x: f32, scale: f32) -> u8 {
    let largest = f32::from(LARGEST);
    int::encode((x / scale).clamp(-largest, largest))
}

/// Whether all values are codes of at most `LARGEST` under this scale.
fn is_int<const LARGEST: i8>(values: &[f32], scale: f32) -> bool {
    let value = |x: f32| int::decode(int_code::<LARGEST>(x, scale)) * scale;
    values.iter().all(|x| value(*x) == *x)
}

fn push_scale(factor: f32, scale: ScaleFormat, to: &mut Vec<u8>) {
    match scale {
        ScaleFormat::E8m0 if factor.is_nan() => to.push(255),
        ScaleFormat::E8m0 => to.push(e8m0::encode(factor)),
        ScaleFormat::F32 => to.extend(factor.to_le_bytes()),
    }
}
