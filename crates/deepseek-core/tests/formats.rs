//! The number formats against the reference implementation, bit for bit.

mod support;

use deepseek_core::format::{Format, Fp4Scale, Rounding, ScaleFormat};
use deepseek_core::quant::{self, e8m0, fp4, fp8};
use deepseek_core::rope::{Rope, Yarn};
use deepseek_core::weights::{Shard, Tensors, WeightView};

/// One array of the fixture.
struct Array {
    name: String,
    shape: Vec<usize>,
    data: Vec<f32>,
}

fn fixture() -> Shard {
    Shard::open(support::operations()).expect("the fixture of single operations")
}

fn array(shard: &Shard, name: &str) -> Array {
    let shape = shard
        .tensor(name)
        .unwrap_or_else(|| panic!("{name} in the fixture"))
        .shape();
    let data = Tensors::new(shard, [1, 1])
        .array(name, shape)
        .expect("an array of floats");
    Array {
        name: name.to_owned(),
        shape: shape.to_vec(),
        data,
    }
}

impl Array {
    fn width(&self) -> usize {
        *self.shape.last().expect("an array of rows")
    }

    /// Wants `got` to have these bits, NaN for NaN.
    #[track_caller]
    fn is(&self, got: &[f32]) {
        assert_eq!(got.len(), self.data.len(), "{}", self.name);
        let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        let off = (0..got.len())
            .filter(|&i| !same(got[i], self.data[i]))
            .collect::<Vec<_>>();
        if let Some(&first) = off.first() {
            let (got, want) = (got[first], self.data[first]);
            panic!(
                "{}: {} differ, the first at {first}: {got:e}, want {want:e}",
                self.name,
                off.len()
            );
        }
    }

    /// Wants every number of `got` within `ulps` neighbours.
    #[track_caller]
    fn is_within(&self, got: &[f32], ulps: u32) {
        assert_eq!(got.len(), self.data.len(), "{}", self.name);
        let (worst, at) = (0..got.len())
            .map(|i| (distance(got[i], self.data[i]), i))
            .max()
            .expect("some numbers");
        let (got, want) = (got[at], self.data[at]);
        assert!(
            worst <= ulps,
            "{}: {worst} ulps at {at}: {got:e}, want {want:e}",
            self.name
        );
    }
}

/// How many floats lie between two, and one more.
fn distance(a: f32, b: f32) -> u32 {
    let rank = |x: f32| match x.to_bits() as i32 {
        bits if bits < 0 => i32::MIN.wrapping_sub(bits),
        bits => bits,
    };
    rank(a).abs_diff(rank(b))
}

/// Rounds every row of `{operation}.x` and wants `{operation}.out`.
#[track_caller]
fn rounds(operation: &str, to: Rounding) {
    let shard = fixture();
    let mut x = array(&shard, &format!("{operation}.x"));
    let width = x.width();
    x.data
        .chunks_mut(width)
        .for_each(|row| quant::round_row(row, to));
    array(&shard, &format!("{operation}.out")).is(&x.data);
    let once = x.data.clone();
    x.data
        .chunks_mut(width)
        .for_each(|row| quant::round_row(row, to));
    Array {
        name: format!("{operation} twice"),
        data: once,
        ..x
    }
    .is(&x.data);
}

/// Widens the rows of `{operation}.w` with the scales `{operation}.s` and wants `{operation}.out`.
#[track_caller]
fn widens(operation: &str, format: Format, shape: [usize; 2]) {
    let shard = fixture();
    let bytes = |part: &str| {
        let name = format!("{operation}.{part}");
        shard
            .tensor(&name)
            .unwrap_or_else(|| panic!("{name} in the fixture"))
            .bytes()
            .clone()
    };
    let name = operation.to_owned();
    let view = WeightView {
        name,
        format,
        shape,
        data: bytes("w"),
        scales: bytes("s"),
        tile_row: 0,
        stride: None,
    };
    let want = array(&shard, &format!("{operation}.out"));
    assert_eq!(want.shape, shape);
    let rows = |view: &WeightView| {
        let mut out = vec![f32::NAN; view.shape[0] * view.shape[1]];
        for (index, out) in out.chunks_mut(view.shape[1]).enumerate() {
            quant::decode_row(view, index, out);
        }
        out
    };
    want.is(&rows(&view));
    // Cuts that begin and end inside a tile, and on its edges.
    for (start, end) in [
        (0, 5),
        (3, 9),
        (5, shape[0]),
        (shape[0] / 2, shape[0] - 1),
        (2, 2),
    ] {
        let part = Array {
            name: format!("{operation}, rows {start} to {end}"),
            shape: vec![end - start, shape[1]],
            data: want.data[start * shape[1]..end * shape[1]].to_vec(),
        };
        part.is(&rows(&view.narrow(start..end)));
        let rest = view.narrow(1..shape[0]);
        if start > 0 {
            part.is(&rows(&rest.narrow(start - 1..end - 1)));
        }
    }
    // Columns, cut on the edges of blocks, within one, and cut again; some rows of them likewise.
    let Some((block, _)) = format.columns_of_a_scale() else {
        panic!("{operation} has scales");
    };
    let columns = shape[1];
    for own in [
        0..block,
        block..columns,
        block..2 * block,
        block / 2..columns,
        2..columns - 2,
        block / 4..block / 4 + block,
        0..columns,
        6..6,
    ] {
        let cut = view.narrow_columns(own.clone()).expect("whole bytes");
        let want: Vec<f32> = want
            .data
            .chunks(columns)
            .flat_map(|row| row[own.clone()].to_vec())
            .collect();
        let part = |data: &[f32], rows: usize| Array {
            name: format!("{operation}, columns {own:?}, as {}", cut.format),
            shape: vec![rows, own.len()],
            data: data.to_vec(),
        };
        if own.is_empty() {
            continue;
        }
        part(&want, shape[0]).is(&rows(&cut));
        let few = &want[3 * own.len()..9 * own.len()];
        part(few, 6).is(&rows(&cut.narrow(3..9)));
        part(few, 6).is(&rows(
            &view
                .narrow(3..9)
                .narrow_columns(own.clone())
                .expect("whole bytes"),
        ));
        let half = own.len() / 4 * 2;
        let again = cut.narrow_columns(half..own.len()).expect("whole bytes");
        let rest: Vec<f32> = want
            .chunks(own.len())
            .flat_map(|row| row[half..].to_vec())
            .collect();
        Array {
            name: format!(
                "{operation}, columns {own:?} from {half}, as {}",
                again.format
            ),
            shape: vec![shape[0], own.len() - half],
            data: rest,
        }
        .is(&rows(&again));
        // What is borrowed takes no more than its part.
        let part = view.bytes() * own.len() / columns;
        assert!(cut.format != format || cut.bytes() <= part + shape[0]);
    }
}

#[test]
fn a_byte_of_two_codes_is_not_divided() {
    let view = WeightView {
        name: "w".to_owned(),
        format: Format::Fp4 {
            block: 4,
            scale: ScaleFormat::E8m0,
        },
        shape: [2, 8],
        data: vec![0; 8].into(),
        scales: vec![127; 4].into(),
        tile_row: 0,
        stride: None,
    };
    let error = view.narrow_columns(1..4).expect_err("an odd column");
    assert_eq!(
        error.to_string(),
        "tensor w: columns 1..4 of FP4 /4, which has two in a byte"
    );
    assert!(view.narrow_columns(2..8).is_ok());
}

#[test]
fn every_code_means_what_the_reference_says() {
    let shard = fixture();
    let codes = |count: u16, decode: fn(u8) -> f32| -> Vec<f32> {
        (0..count).map(|code| decode(code as u8)).collect()
    };
    array(&shard, "formats.e4m3").is(&codes(256, fp8::decode));
    array(&shard, "formats.e8m0").is(&codes(256, e8m0::decode));
    array(&shard, "formats.e2m1").is(&codes(16, fp4::decode));
}

#[test]
fn fp8_weights_widen_as_in_the_reference_partial_tiles_too() {
    let format = Format::Fp8 {
        tile: [128, 128],
        scale: ScaleFormat::E8m0,
    };
    widens("dequant_fp8", format, [192, 320]);
}

#[test]
fn fp8_weights_with_float_scales_widen_alike() {
    let shard = fixture();
    let bytes = |name: &str| shard.tensor(name).expect("in the fixture").bytes().clone();
    let scales: Vec<u8> = bytes("dequant_fp8.s")
        .iter()
        .flat_map(|byte| e8m0::decode(*byte).to_le_bytes())
        .collect();
    let view = WeightView {
        name: "float scales".to_owned(),
        format: Format::Fp8 {
            tile: [128, 128],
            scale: ScaleFormat::F32,
        },
        shape: [192, 320],
        data: bytes("dequant_fp8.w"),
        scales: scales.into(),
        tile_row: 0,
        stride: None,
    };
    let mut out = vec![f32::NAN; 192 * 320];
    for (index, out) in out.chunks_mut(320).enumerate() {
        quant::decode_row(&view, index, out);
    }
    array(&shard, "dequant_fp8.out").is(&out);
}

#[test]
fn fp4_weights_widen_as_in_the_reference() {
    let format = Format::Fp4 {
        block: 32,
        scale: ScaleFormat::E8m0,
    };
    widens("dequant_fp4", format, [12, 96]);
}

#[test]
fn inputs_of_quantised_products_round_as_in_the_reference() {
    rounds(
        "fp8_round_trip_128",
        Rounding::Fp8 {
            block: 128,
            tail: 0,
        },
    );
}

#[test]
fn the_scales_of_rounded_inputs_are_those_of_the_reference() {
    let shard = fixture();
    let x = array(&shard, "fp8_round_trip_128.x");
    let scales: Vec<f32> = x.data.chunks(128).map(quant::fp8_scale).collect();
    array(&shard, "fp8_round_trip_128.scale").is(&scales);
}

#[test]
fn cache_entries_round_as_in_the_reference() {
    rounds("fp8_round_trip_64", Rounding::Fp8 { block: 64, tail: 0 });
}

#[test]
fn a_tail_is_left_alone() {
    let shard = fixture();
    let x = array(&shard, "fp8_round_trip_64.x");
    let out = array(&shard, "fp8_round_trip_64.out");
    let width = x.width();
    for (x, out) in x.data.chunks(width).zip(out.data.chunks(width)) {
        let mut row = x.to_vec();
        quant::round_row(
            &mut row,
            Rounding::Fp8 {
                block: 64,
                tail: 64,
            },
        );
        assert_eq!(row[..width - 64], out[..width - 64]);
        assert_eq!(row[width - 64..], x[width - 64..]);
    }
}

#[test]
fn indexer_rows_round_as_in_the_reference_with_every_tie() {
    rounds(
        "fp4_round_trip_32",
        Rounding::Fp4 {
            block: 32,
            scale: Fp4Scale::E8m0,
        },
    );
}

#[test]
fn the_hadamard_transform_is_that_of_the_reference() {
    let shard = fixture();
    for width in [32, 128] {
        let mut x = array(&shard, &format!("hadamard_{width}.x"));
        x.data.chunks_mut(width).for_each(quant::hadamard);
        array(&shard, &format!("hadamard_{width}.out")).is(&x.data);
    }
}

#[test]
fn the_angles_are_those_of_the_reference_up_to_a_million_tokens() {
    let shard = fixture();
    let yarn = Yarn {
        factor: 16.0,
        original: 65536.0,
        beta_fast: 32.0,
        beta_slow: 1.0,
    };
    for (table, rope) in [
        ("rope_main", Rope::new(64, 10_000.0, None)),
        ("rope_compress", Rope::new(64, 160_000.0, Some(yarn))),
    ] {
        let positions: Vec<u32> = shard
            .tensor(&format!("{table}.position"))
            .expect("positions in the fixture")
            .bytes()
            .as_chunks::<8>()
            .0
            .iter()
            .map(|bytes| u32::try_from(i64::from_le_bytes(*bytes)).expect("a position"))
            .collect();
        assert_eq!(positions.last(), Some(&1_048_575));
        // A frequency one neighbour off would turn the last position by up to 0.06 radians.
        array(&shard, &format!("{table}.inv_freq")).is(rope.frequencies());
        let angles = rope.angles(&positions);
        assert_eq!(angles.pairs(), 32);
        // Ours are rounded correctly; the reference's 32-bit functions may be a neighbour off.
        array(&shard, &format!("{table}.cos")).is_within(angles.cos(), 1);
        array(&shard, &format!("{table}.sin")).is_within(angles.sin(), 1);
    }
}
