//! The networks of a layer are the provided bodies to the bit, whatever they are given.

use backend_host::{Host, KernelSet, Tensor};
use deepseek_core::operands::{ExpertShare, ExpertViews, FeedForward, Residency, Routing, SwiGlu};
use deepseek_core::weights::{Bytes, WeightView};
use deepseek_core::{
    Backend, Format, HostTensor, Kernels, Result, Rounding, ScaleFormat, reference,
};

/// Numbers without a pattern.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> usize {
        let (multiplier, increment) = (6_364_136_223_846_793_005, 1_442_695_040_888_963_407);
        self.0 = self.0.wrapping_mul(multiplier).wrapping_add(increment);
        (self.0 >> 33) as usize
    }

    fn tensor(&mut self, shape: &[usize], hostile: bool) -> HostTensor {
        const HOSTILE: [f32; 6] = [f32::NAN, f32::INFINITY, f32::MIN, 1e-41, -0.0, 0.0];
        let count = shape.iter().product();
        let number = |_| match self.next() % 50 {
            0 if hostile => HOSTILE[self.next() % HOSTILE.len()],
            _ => self.next() as f32 / (1 << 29) as f32 - 2.0,
        };
        HostTensor::new(shape, (0..count).map(number).collect())
    }

    fn weight(&mut self, format: Format, shape: [usize; 2]) -> WeightView {
        let [rows, columns] = shape;
        let (data, scales) = match format {
            Format::Bf16 => {
                let numbers = self.tensor(&shape, false).into_data();
                let upper = |x: f32| x.to_le_bytes()[2..].to_vec();
                (numbers.into_iter().flat_map(upper).collect(), 0)
            }
            Format::Fp8 { tile, .. } => {
                let codes = (0..rows * columns)
                    .map(|_| self.next() as u8 & 0xf7)
                    .collect();
                (codes, rows.div_ceil(tile[0]) * columns.div_ceil(tile[1]))
            }
            Format::Fp4 { block, .. } => {
                let codes: Vec<u8> = (0..rows * columns / 2).map(|_| self.next() as u8).collect();
                (codes, rows * columns.div_ceil(block))
            }
            Format::Int8 => {
                let codes = (0..rows * columns).map(|_| self.next() as u8).collect();
                (codes, rows)
            }
            Format::Int4 { group } => {
                let codes: Vec<u8> = (0..rows * columns / 2).map(|_| self.next() as u8).collect();
                (codes, rows * columns.div_ceil(group))
            }
            Format::F32 | Format::F16 => unreachable!("no expert is stored so"),
        };
        let scales: Vec<u8> = match format {
            Format::Int8 | Format::Int4 { .. } => (0..scales)
                .flat_map(|_| ((self.next() % 64 + 1) as f32 / 4096.0).to_le_bytes())
                .collect(),
            _ => (0..scales).map(|_| 118 + (self.next() % 8) as u8).collect(),
        };
        WeightView {
            name: "w".to_owned(),
            format,
            shape,
            data: Bytes::from(data),
            scales: Bytes::from(scales),
            tile_row: 0,
            stride: None,
        }
    }
}

fn forms() -> [SwiGlu; 4] {
    let form = |limit, input, bf16| SwiGlu { limit, input, bf16 };
    let fp8 = |block| Some(Rounding::Fp8 { block, tail: 0 });
    [
        form(f32::INFINITY, None, false),
        form(1.5, fp8(32), true),
        form(10.0, fp8(128), false),
        form(1.5, Some(Rounding::Int8), true),
    ]
}

#[track_caller]
fn same(what: &str, be: &Host, got: &Tensor, want: &Tensor) -> Result<()> {
    let (got, want) = (be.download(got)?, be.download(want)?);
    assert_eq!(got.shape(), want.shape(), "{what}");
    for (place, (a, b)) in got.data().iter().zip(want.data()).enumerate() {
        let equal = a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        assert!(equal, "{what}: {a} for {b} at {place}");
    }
    Ok(())
}

/// The same but for another order of sums, which a rounding of the inner activations may make larger: 2^-6
/// of the largest number of a row.
fn near(what: &str, be: &Host, got: &Tensor, want: &Tensor) -> Result<()> {
    let (got, want) = (be.download(got)?, be.download(want)?);
    let width = got.shape()[1];
    let rows = got.data().chunks(width).zip(want.data().chunks(width));
    for (got, want) in rows {
        let largest = want.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        for (a, b) in got.iter().zip(want) {
            let is_near = (a - b).abs() <= largest / 64.0 || a.is_nan() && b.is_nan();
            assert!(is_near, "{what}: {a} for {b}");
        }
    }
    Ok(())
}

/// `tokens` that visit `each` of `count` experts, on every set and some numbers of threads.
fn check(
    draw: &mut Draw,
    format: Format,
    [hidden, inner]: [usize; 2],
    tokens: usize,
) -> Result<()> {
    let (count, each) = (6, 3);
    let mut network = || ExpertViews {
        gate: draw.weight(format, [inner, hidden]),
        up: draw.weight(format, [inner, hidden]),
        down: draw.weight(format, [hidden, inner]),
    };
    let views: Vec<_> = (0..count).map(|_| network()).collect();
    // Not in ascending order, and some expert more than once.
    let chosen: Vec<u32> = (0..tokens * each)
        .map(|_| (draw.next() % count) as u32)
        .collect();
    let x = draw.tensor(&[tokens, hidden], tokens % 2 == 1);
    let weights = draw.tensor(&[tokens, each], false);
    for set in KernelSet::available() {
        for threads in [1, 3] {
            let be = Host::start(threads, set)?;
            let bank =
                be.load_experts(ExpertShare::all(&views), Residency { bytes: Some(4096) })?;
            let (x, weights) = (be.upload(&x)?, be.upload(&weights)?);
            let routing = Routing {
                experts: be.ids(&chosen)?,
                // Nothing that is run here looks at them.
                scores: weights.clone(),
                weights,
                top_k: each,
            };
            let shared: FeedForward<Host> = views[0].load(&be)?;
            for form in forms() {
                let what = format!("{format} {hidden} {inner} {tokens} {set} {threads} {form:?}");
                let is_paired = set == KernelSet::Avx512Bf16 && form.input.is_some();
                // Integers are summed exactly, the provided body's floats are not.
                let is_integer = form.input == Some(Rounding::Int8)
                    && matches!(format, Format::Int8 | Format::Int4 { .. });
                let agree = if is_paired || is_integer { near } else { same };
                let got = be.experts(&x, &routing, &bank, form)?;
                agree(
                    &what,
                    &be,
                    &got,
                    &reference::experts(&be, &x, &routing, &bank, form)?,
                )?;
                let got = be.feed_forward(&x, &shared, form)?;
                agree(
                    &what,
                    &be,
                    &got,
                    &reference::feed_forward(&be, &x, &shared, None, form)?,
                )?;
            }
        }
    }
    Ok(())
}

#[test]
fn networks_are_the_provided_bodies_to_the_bit() -> Result<()> {
    let scale = ScaleFormat::E8m0;
    let mut draw = Draw(7);
    for format in [
        Format::Bf16,
        Format::Fp8 {
            tile: [32, 32],
            scale,
        },
        Format::Fp4 { block: 32, scale },
        Format::Int8,
        Format::Int4 { group: 32 },
        Format::Int4 { group: 128 },
    ] {
        for tokens in [1, 2, 5, 60] {
            check(&mut draw, format, [96, 64], tokens)?;
            check(&mut draw, format, [30, 48], tokens)?;
        }
    }
    Ok(())
}

#[test]
fn no_tokens_visit_no_expert() -> Result<()> {
    let be = Host::new(2);
    let mut draw = Draw(9);
    let mut weight = |shape| draw.weight(Format::Bf16, shape);
    let views = ExpertViews {
        gate: weight([8, 16]),
        up: weight([8, 16]),
        down: weight([16, 8]),
    };
    let bank = be.load_experts(ExpertShare::all(&[views]), Residency::default())?;
    let none = |shape: &[usize]| be.upload(&HostTensor::new(shape, vec![]));
    let routing = Routing {
        experts: be.ids(&[])?,
        weights: none(&[0, 2])?,
        scores: none(&[0, 1])?,
        top_k: 2,
    };
    let y = be.experts(&none(&[0, 16])?, &routing, &bank, forms()[0])?;
    assert_eq!(be.download(&y)?.shape(), [0, 16]);
    Ok(())
}
