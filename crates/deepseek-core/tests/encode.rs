//! Weights encoded and decoded again, on random values and random bytes.

use deepseek_core::format::{Format, Fp4Scale, Rounding, ScaleFormat};
use deepseek_core::quant::{
    Encoded, bf16, decode_packed, decode_row, encode_row, encode_rows, f16, fp4, fp8, round_row,
};
use deepseek_core::weights::{Bytes, WeightView};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SEEDS: std::ops::Range<u64> = 0..200;
/// Columns: whole blocks and a part of one.
const COLUMNS: usize = 104;
const BLOCK: usize = 32;

/// Every message of a failing case says the seed.
fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// Rows whose blocks differ in magnitude, with zeros and both signs.
fn values(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(count);
    while values.len() < count {
        let magnitude = 2.0_f32.powi(rng.random_range(-12..12));
        for _ in 0..BLOCK.min(count - values.len()) {
            let x = rng.random_range(-1.0..1.0_f32) * magnitude;
            values.push(if rng.random_ratio(1, 16) { 0.0 } else { x });
        }
    }
    values
}

fn formats() -> Vec<Format> {
    let fp8 = |scale| Format::Fp8 {
        tile: [1, BLOCK],
        scale,
    };
    let fp4 = |scale| Format::Fp4 {
        block: BLOCK,
        scale,
    };
    vec![
        Format::F32,
        Format::Bf16,
        Format::F16,
        fp8(ScaleFormat::E8m0),
        fp8(ScaleFormat::F32),
        fp4(ScaleFormat::E8m0),
        fp4(ScaleFormat::F32),
        Format::Int8,
        Format::Int4 { group: BLOCK },
    ]
}

/// Whether a format's scales are floats.
fn has_float_scales(format: Format) -> bool {
    match format {
        Format::Fp8 { scale, .. } | Format::Fp4 { scale, .. } => scale == ScaleFormat::F32,
        Format::Int8 | Format::Int4 { .. } => true,
        Format::F32 | Format::Bf16 | Format::F16 => false,
    }
}

fn decoded(format: Format, encoded: &Encoded, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; columns];
    decode_packed(format, &encoded.data, &encoded.scales, &mut out);
    out
}

/// Wants the same bits, NaN for NaN.
#[track_caller]
fn same(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        let same = got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan();
        assert!(same, "{what}: {got:e} at {at}, want {want:e}");
    }
}

/// Wants the same numbers, or for a block as a whole as little of a squared error.
#[track_caller]
fn near(got: &[f32], want: &[f32], row: &[f32], what: &str) {
    for ((got, want), row) in got
        .chunks(BLOCK)
        .zip(want.chunks(BLOCK))
        .zip(row.chunks(BLOCK))
    {
        let error = |made: &[f32]| -> f64 {
            let off = made.iter().zip(row).map(|(a, b)| f64::from(a - b));
            off.map(|off| off * off).sum()
        };
        let (mine, best) = (error(got), error(want));
        assert!(
            got == want || (mine - best).abs() <= best * 1e-4,
            "{what}: {mine:e}, want {best:e}"
        );
    }
}

/// The nearest of `codes` times the scale that the largest magnitude sets, in 64 bits; of two the
/// one with the even code, which is the one of even index.
fn nearest(block: &[f32], codes: &[f32]) -> Vec<f32> {
    let max = codes.iter().copied().fold(0.0, f32::max);
    let scale = block.iter().fold(0.0_f32, |amax, x| amax.max(x.abs())) / max;
    let one = |x: &f32| {
        let distance = |code: &f32| (f64::from(x.abs() / scale) - f64::from(*code)).abs();
        let better = |a: &usize, b: &usize| {
            let by_distance = distance(&codes[*a]).total_cmp(&distance(&codes[*b]));
            by_distance.then((a % 2).cmp(&(b % 2)))
        };
        let best = (0..codes.len()).min_by(better).expect("some codes");
        (codes[best] * scale).copysign(*x)
    };
    block.iter().map(one).collect()
}

/// What a round trip makes of a row, computed without the encoder.
fn rounded(row: &[f32], format: Format) -> Vec<f32> {
    let mut out = row.to_vec();
    match format {
        Format::F32 => {}
        Format::Bf16 => out.iter_mut().for_each(|x| *x = bf16(*x)),
        Format::F16 => {
            for x in &mut out {
                // Ties and ends are tested beside `f16`; here a nearer neighbour would be a fault.
                let bits = f16::encode(*x);
                let off = |bits: u16| (f16::decode(bits) - *x).abs();
                assert!(off(bits) <= off(bits + 1) && (bits == 0 || off(bits) <= off(bits - 1)));
                *x = f16::decode(bits);
            }
        }
        Format::Fp8 { tile, scale } => match scale {
            ScaleFormat::E8m0 => round_row(
                &mut out,
                Rounding::Fp8 {
                    block: tile[1],
                    tail: 0,
                },
            ),
            ScaleFormat::F32 => {
                let codes: Vec<f32> = (0..0x7f).map(fp8::decode).collect();
                let blocks = row.chunks(tile[1]).map(|block| nearest(block, &codes));
                out = blocks.flatten().collect();
            }
        },
        Format::Fp4 { block, scale } => match scale {
            ScaleFormat::E8m0 => round_row(
                &mut out,
                Rounding::Fp4 {
                    block,
                    scale: Fp4Scale::E8m0,
                },
            ),
            ScaleFormat::F32 => {
                let codes: Vec<f32> = (0..8).map(fp4::decode).collect();
                let blocks = row.chunks(block).map(|block| nearest(block, &codes));
                out = blocks.flatten().collect();
            }
        },
        Format::Int8 => out = nearest(row, &integers(127)),
        Format::Int4 { group } => {
            let blocks = row.chunks(group).map(|block| cut(block, &integers(7)));
            out = blocks.flatten().collect();
        }
    }
    out
}

/// Zero and the positive codes.
fn integers(largest: u8) -> Vec<f32> {
    (0..=largest).map(f32::from).collect()
}

/// Of the scale that the largest magnitude sets and those up to 10 in 32 parts below it, the best: under
/// it, what lies beyond the codes is the largest of them. Found by the squared error in 64 bits.
fn cut(block: &[f32], codes: &[f32]) -> Vec<f32> {
    let max = codes.iter().copied().fold(0.0, f32::max);
    let whole = block.iter().fold(0.0_f32, |amax, x| amax.max(x.abs())) / max;
    let under = |parts: u8| -> Vec<f32> {
        let scale = whole * (1.0 - f32::from(parts) / 32.0);
        let one = |x: &f32| (x / scale).round_ties_even().clamp(-max, max) * scale;
        block.iter().map(one).collect()
    };
    let error = |made: &Vec<f32>| -> f64 {
        let off = made.iter().zip(block).map(|(a, b)| f64::from(a - b));
        off.map(|off| off * off).sum()
    };
    let all = (0..=10).map(under);
    all.min_by(|a, b| error(a).total_cmp(&error(b)))
        .expect("some scales")
}

#[test]
fn what_is_encoded_is_decoded_rounded() {
    for format in formats() {
        for seed in SEEDS {
            let row = values(&mut rng(seed), COLUMNS);
            let got = decoded(format, &encode_row(&row, format), COLUMNS);
            let want = rounded(&row, format);
            let what = format!("{format}, seed {seed}");
            match format {
                // An integer's zero has no sign, and of two scales as good either may be chosen.
                Format::Int8 | Format::Int4 { .. } => near(&got, &want, &row, &what),
                _ => same(&got, &want, &what),
            }
        }
    }
}

#[test]
fn what_is_decoded_is_encoded_to_the_same_values() {
    for format in formats() {
        for seed in SEEDS {
            let mut row = stored(&mut rng(seed), format);
            if has_float_scales(format) {
                row = with_largest_codes(row, format);
            }
            let once = decoded(format, &row, COLUMNS);
            let twice = decoded(format, &encode_row(&once, format), COLUMNS);
            same(&twice, &once, &format!("{format}, seed {seed}"));
        }
    }
}

#[test]
fn bytes_with_the_least_scale_come_back() {
    for format in formats() {
        for seed in SEEDS {
            let row = with_largest_codes(stored(&mut rng(seed), format), format);
            let back = encode_row(&decoded(format, &row, COLUMNS), format);
            assert_eq!(back, row, "{format}, seed {seed}");
        }
    }
}

/// The same row with the largest code in each block, which says that no lesser scale would do.
fn with_largest_codes(mut row: Encoded, format: Format) -> Encoded {
    match format {
        Format::Fp8 { .. } => row.data.iter_mut().step_by(BLOCK).for_each(|b| *b = 0xfe),
        Format::Fp4 { .. } => {
            let codes = row.data.iter_mut().step_by(BLOCK / 2);
            codes.for_each(|b| *b = *b & 0xf0 | 7);
        }
        Format::Int8 => row.data[3] = 0x81,
        Format::Int4 { group } => {
            let codes = row.data.iter_mut().step_by(group / 2);
            codes.for_each(|b| *b = *b & 0xf0 | 7);
        }
        Format::F32 | Format::Bf16 | Format::F16 => {}
    }
    row
}

/// A row of random codes, none of which is NaN or infinite.
fn stored(rng: &mut ChaCha8Rng, format: Format) -> Encoded {
    let mut code = || rng.random::<u8>();
    let data: Vec<u8> = match format {
        Format::F32 => (0..COLUMNS)
            .flat_map(|_| [code(), code(), code(), code() & 0xbf])
            .collect(),
        Format::Bf16 | Format::F16 => (0..COLUMNS).flat_map(|_| [code(), code() & 0xbf]).collect(),
        Format::Fp8 { .. } => (0..COLUMNS)
            .map(|_| code())
            .map(|code| {
                if code & 0x7f == 0x7f {
                    code & 0x80
                } else {
                    code
                }
            })
            .collect(),
        Format::Fp4 { .. } => (0..COLUMNS / 2).map(|_| code()).collect(),
        // No code that an encoder does not make.
        Format::Int8 => (0..COLUMNS)
            .map(|_| code())
            .map(|code| code.max(1) ^ 0x80)
            .collect(),
        Format::Int4 { .. } => {
            let one = |code: u8| (code & 0xf).max(1) ^ 8;
            let pair = |code: u8| one(code) | one(code >> 4) << 4;
            (0..COLUMNS / 2).map(|_| pair(code())).collect()
        }
    };
    let count = match format {
        Format::Int8 => 1,
        _ => COLUMNS.div_ceil(BLOCK),
    };
    let scales = match format {
        // From the least to the largest under which the largest code is a float.
        Format::Fp8 { scale, .. } | Format::Fp4 { scale, .. } if scale == ScaleFormat::E8m0 => {
            (0..count).map(|_| rng.random_range(0..=246)).collect()
        }
        Format::Fp8 { .. } | Format::Fp4 { .. } | Format::Int8 | Format::Int4 { .. } => (0..count)
            .flat_map(|_| {
                let magnitude = 2.0_f32.powi(rng.random_range(-60..60));
                (rng.random_range(1.0..2.0_f32) * magnitude).to_le_bytes()
            })
            .collect(),
        Format::F32 | Format::Bf16 | Format::F16 => Vec::new(),
    };
    Encoded { data, scales }
}

#[test]
fn rows_of_a_tile_share_its_scale_partial_tiles_too() {
    let tile = [3, BLOCK];
    for scale in [ScaleFormat::E8m0, ScaleFormat::F32] {
        let format = Format::Fp8 { tile, scale };
        for seed in SEEDS {
            let rows = values(&mut rng(seed), 7 * COLUMNS);
            let whole = encode_rows(&rows, COLUMNS, format);
            let view = WeightView {
                name: "w".to_owned(),
                format,
                shape: [7, COLUMNS],
                data: Bytes::from(whole.data),
                scales: Bytes::from(whole.scales),
                tile_row: 0,
                stride: None,
            };
            for (first, tile) in rows.chunks(3 * COLUMNS).enumerate() {
                for column in (0..COLUMNS).step_by(BLOCK) {
                    let part = column..COLUMNS.min(column + BLOCK);
                    let together: Vec<f32> = tile
                        .chunks(COLUMNS)
                        .flat_map(|row| row[part.clone()].to_vec())
                        .collect();
                    let alone = Format::Fp8 {
                        tile: [1, together.len()],
                        scale,
                    };
                    let want = decoded(alone, &encode_row(&together, alone), together.len());
                    for (row, want) in want.chunks(part.len()).enumerate() {
                        let mut got = vec![0.0; COLUMNS];
                        decode_row(&view, 3 * first + row, &mut got);
                        same(&got[part.clone()], want, &format!("{format}, seed {seed}"));
                    }
                }
            }
        }
    }
}

#[test]
fn a_block_with_a_number_that_is_not_finite_holds_no_number() {
    for format in formats() {
        let width = match format {
            Format::Fp8 { .. } | Format::Fp4 { .. } | Format::Int4 { .. } => BLOCK,
            Format::Int8 => COLUMNS,
            Format::F32 | Format::Bf16 | Format::F16 => 1,
        };
        for lost in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut row = values(&mut rng(1), COLUMNS);
            row[BLOCK + 5] = lost;
            let got = decoded(format, &encode_row(&row, format), COLUMNS);
            let block = (BLOCK + 5) / width * width..(BLOCK + 5) / width * width + width;
            for (at, x) in got.iter().enumerate() {
                assert_eq!(
                    x.is_finite(),
                    !block.contains(&at),
                    "{format}, {lost} at {at}"
                );
            }
        }
    }
}

#[test]
fn a_block_of_zeros_is_zeros() {
    for format in formats() {
        let zeros = vec![0.0; COLUMNS];
        let got = decoded(format, &encode_row(&zeros, format), COLUMNS);
        same(&got, &zeros, &format.to_string());
    }
}

#[test]
fn no_scale_of_integers_is_zero() {
    for format in [Format::Int8, Format::Int4 { group: BLOCK }] {
        for magnitude in [0.0, 1e-45, 1e-39, f32::MIN_POSITIVE] {
            let encoded = encode_row(&[magnitude; BLOCK], format);
            let scale = ScaleFormat::F32.decode(&encoded.scales, 0);
            assert!(
                scale >= f32::MIN_POSITIVE,
                "{format}: {scale:e} for {magnitude:e}"
            );
            let got = decoded(format, &encoded, BLOCK);
            assert!(
                got.iter().all(|x| (x - magnitude).abs() <= scale / 2.0),
                "{format}, {magnitude:e}"
            );
        }
    }
}

#[test]
fn rows_of_the_largest_floats_stay_finite() {
    for format in [Format::Int8, Format::Int4 { group: BLOCK }] {
        let mut row = values(&mut rng(3), COLUMNS);
        row[1] = f32::MAX;
        row[70] = f32::MIN;
        let got = decoded(format, &encode_row(&row, format), COLUMNS);
        assert!(got.iter().all(|x| x.is_finite()), "{format}: {got:?}");
    }
}
