//! Cache rows packed and unpacked, on random values.

use deepseek_core::quant::{pack_row, round_row, unpack_row};
use deepseek_core::{Fp4Scale, Rounding, RowFormat};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SEEDS: std::ops::Range<u64> = 0..400;
const WIDTH: usize = 224;
const TAIL: usize = 32;

/// Each format with the rounding whose results it keeps.
fn formats() -> Vec<(RowFormat, Option<Rounding>)> {
    let fp8 = |tail_bytes| RowFormat::Fp8 {
        block: 64,
        tail: TAIL,
        tail_bytes,
    };
    let to_fp8 = Some(Rounding::Fp8 {
        block: 64,
        tail: TAIL,
    });
    let fp4 = |block, scale| {
        (
            RowFormat::Fp4 { block, scale },
            Some(Rounding::Fp4 { block, scale }),
        )
    };
    vec![
        (RowFormat::F32, None),
        (RowFormat::Bf16, Some(Rounding::Bf16)),
        (fp8(2), to_fp8),
        (fp8(4), to_fp8),
        fp4(32, Fp4Scale::E8m0),
        fp4(16, Fp4Scale::E4m3),
    ]
}

/// Blocks of all magnitudes, some of zeros.
fn values(seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut values = Vec::with_capacity(WIDTH);
    while values.len() < WIDTH {
        let magnitude = match rng.random_range(0..8) {
            0 => 0.0,
            _ => 2.0_f32.powi(rng.random_range(-40..40)),
        };
        values.extend((0..16).map(|_| rng.random_range(-1.0..1.0_f32) * magnitude));
    }
    values
}

fn packed(format: RowFormat, row: &[f32]) -> Vec<u8> {
    let mut bytes = vec![0xa5; format.row_bytes(row.len())];
    pack_row(format, row, &mut bytes);
    bytes
}

fn unpacked(format: RowFormat, bytes: &[u8]) -> Vec<f32> {
    let mut row = vec![f32::NAN; WIDTH];
    unpack_row(format, bytes, &mut row);
    row
}

/// Wants the same bits: a zero keeps its sign, too.
#[track_caller]
fn same(got: &[f32], want: &[f32], what: &str) {
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        let same = got.to_bits() == want.to_bits();
        assert!(same, "{what}: {got:e} at {at}, want {want:e}");
    }
}

#[test]
fn a_row_comes_back_rounded() {
    for (format, rounding) in formats() {
        for seed in SEEDS {
            let mut row = values(seed);
            let got = unpacked(format, &packed(format, &row));
            if let Some(rounding) = rounding {
                round_row(&mut row, rounding);
            }
            if let RowFormat::Fp8 { tail_bytes: 2, .. } = format {
                round_row(&mut row[WIDTH - TAIL..], Rounding::Bf16);
            }
            same(&got, &row, &format!("{format:?}, seed {seed}"));
        }
    }
}

#[test]
fn a_row_that_was_packed_before_loses_nothing() {
    for (format, _) in formats() {
        for seed in SEEDS {
            let once = unpacked(format, &packed(format, &values(seed)));
            let bytes = packed(format, &once);
            let twice = unpacked(format, &bytes);
            let what = format!("{format:?}, seed {seed}");
            same(&twice, &once, &what);
            assert_eq!(packed(format, &twice), bytes, "{what}");
        }
    }
}

#[test]
fn a_row_that_does_not_fit_is_a_bug() {
    for (format, _) in formats() {
        let mut bytes = vec![0; format.row_bytes(WIDTH) - 1];
        let pack = std::panic::catch_unwind(move || pack_row(format, &[0.0; WIDTH], &mut bytes));
        assert!(pack.is_err(), "{format:?}");
    }
}
