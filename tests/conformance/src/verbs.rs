//! Overrides against the provided bodies, on random shapes and in every format: of rows, those of
//! `ROWS`, and of weights, those of `WEIGHTS`.
//!
//! A body that is provided is written in primitives of the same device. So what is stored is held
//! against the plain decoders first: rows come back bit for bit, and weights are what their codes say.

mod products;

use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use deepseek_core::operands::{
    Blocks, EngramGate, ExpertShare, ExpertViews, Gate, Groups, HyperWeights, Inputs, Mix,
    MixerConfig, PoolState, Pooling, Residency, Routing, Runs, ScoreRounding, Select, Selection,
    Softmax, SwiGlu, TokenTable, TopK, WeightRounding,
};
use deepseek_core::quant::decode_row;
use deepseek_core::weights::{Bytes, WeightView};
use deepseek_core::{
    DeviceTensor, Error, Format, Fp4Scale, HostTensor, Kernels, Lists, NO_ROW, Rounding, RowFormat,
    ScaleFormat, Use, reference,
};
use half::f16;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::compare::{relative, same_bits};
use crate::oracle;

/// What an override may differ by, relative to the largest magnitude of the result.
const TOLERANCE: f32 = 1e-5;

/// The same where the result is rounded: a number may fall to its neighbour in that format.
fn tolerance(rounding: Option<Rounding>) -> f32 {
    match rounding {
        Some(_) => 2.0_f32.powi(-7),
        None => TOLERANCE,
    }
}

/// How rows are kept: as floats, and as the windows, the compressed rows and the keys of both releases
/// are packed, with a tail of either width.
const ROWS: [RowFormat; 8] = [
    RowFormat::F32,
    RowFormat::Bf16,
    RowFormat::Fp8 {
        block: 64,
        tail: 8,
        tail_bytes: 2,
    },
    RowFormat::Fp8 {
        block: 64,
        tail: 8,
        tail_bytes: 4,
    },
    RowFormat::Fp8 {
        block: 32,
        tail: 0,
        tail_bytes: 2,
    },
    RowFormat::Fp8 {
        block: 32,
        tail: 0,
        tail_bytes: 4,
    },
    RowFormat::Fp4 {
        block: 32,
        scale: Fp4Scale::E8m0,
    },
    RowFormat::Fp4 {
        block: 16,
        scale: Fp4Scale::E4m3,
    },
];

/// How weights are stored: as floats, as the two releases and the Base checkpoints pack them, FP4
/// with the scales of Base, and as a conversion packs them.
const WEIGHTS: [Format; 10] = [
    Format::F32,
    Format::Bf16,
    Format::F16,
    Format::Fp8 {
        tile: [128, 128],
        scale: ScaleFormat::E8m0,
    },
    Format::Fp8 {
        tile: [32, 32],
        scale: ScaleFormat::E8m0,
    },
    Format::Fp8 {
        tile: [128, 128],
        scale: ScaleFormat::F32,
    },
    Format::Fp4 {
        block: 32,
        scale: ScaleFormat::E8m0,
    },
    Format::Fp4 {
        block: 32,
        scale: ScaleFormat::F32,
    },
    Format::Int8,
    Format::Int4 { group: 32 },
];

/// How inputs of products with quantised weights are rounded, where they are.
const INPUTS: [Rounding; 2] = [Rounding::Fp8 { block: 32, tail: 0 }, Rounding::Int8];

/// Holds every verb of `be` against its provided body, for each seed, and what it stores against the
/// plain decoders.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// Where an override differs; the message names the seed.
pub fn check<B: Kernels>(be: &B, seeds: Range<u64>) -> Result<()> {
    for seed in seeds {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let draw = &mut Draw {
            rng: &mut rng,
            seed,
        };
        for format in ROWS {
            rows(be, format, draw)?;
            index_topk(be, format, draw)?;
            attend(be, format, draw)?;
        }
        for format in WEIGHTS {
            weights(be, format, draw)?;
            hyper_connections(be, format, draw)?;
            route(be, format, draw)?;
            experts(be, format, draw)?;
            products::project(be, format, draw)?;
            products::feed_forward(be, format, draw)?;
            products::hc_read(be, format, draw)?;
        }
        compress(be, draw)?;
        engram(be, draw)?;
        products::attend_dense(be, draw)?;
    }
    Ok(())
}

struct Draw<'a> {
    rng: &'a mut ChaCha8Rng,
    seed: u64,
}

impl Draw<'_> {
    fn count(&mut self, range: Range<usize>) -> usize {
        self.rng.random_range(range)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.rng.random_range(0..from.len())]
    }

    fn flag(&mut self) -> bool {
        self.rng.random()
    }

    /// How a result is rounded, if it is.
    fn rounding(&mut self) -> Option<Rounding> {
        self.pick(&[None, Some(Rounding::Bf16)])
    }

    /// Numbers of unit scale, the sum of a few uniform ones.
    fn tensor(&mut self, shape: &[usize]) -> HostTensor {
        let count = shape.iter().product();
        let number = |rng: &mut ChaCha8Rng| (0..4).map(|_| rng.random_range(-0.87..0.87)).sum();
        HostTensor::new(shape, (0..count).map(|_| number(self.rng)).collect())
    }

    fn bytes(&mut self, count: usize, range: Range<u8>) -> Vec<u8> {
        let byte = |_| self.rng.random_range(range.clone());
        (0..count).map(byte).collect()
    }

    /// Scales of about one part in `parts`.
    fn scales(&mut self, scale: ScaleFormat, count: usize, parts: f32) -> Vec<u8> {
        match scale {
            ScaleFormat::E8m0 => {
                let top = 127 - parts.log2().round() as u8;
                self.bytes(count, top - 2..top + 1)
            }
            ScaleFormat::F32 => {
                let factor = |byte: u8| f32::from(byte) / 64.0 / parts;
                let factors = self.bytes(count, 1..64).into_iter().map(factor);
                factors.flat_map(f32::to_le_bytes).collect()
            }
        }
    }

    /// A weight whose products with rows of unit scale are of about unit scale. Its first row lies
    /// anywhere within a tile, as those of a narrowed weight do.
    fn weight(&mut self, format: Format, [rows, columns]: [usize; 2]) -> WeightView {
        let before = self.count(0..40);
        let all = before + rows;
        let spread = (columns as f32).sqrt();
        let floats: Vec<f32> = match format {
            Format::F32 | Format::Bf16 | Format::F16 => self.tensor(&[all, columns]).into_data(),
            Format::Fp8 { .. } | Format::Fp4 { .. } => Vec::new(),
            Format::Int8 | Format::Int4 { .. } => Vec::new(),
        };
        let floats = floats.iter().map(|x| x / spread);
        // Random codes are hundreds for FP8, dozens for INT8, and a few for FP4 and INT4.
        let (data, scales) = match format {
            Format::F32 => (floats.flat_map(f32::to_le_bytes).collect(), Vec::new()),
            Format::Bf16 => {
                let halves = floats.map(|x| ((x.to_bits() >> 16) as u16).to_le_bytes());
                (halves.flatten().collect(), Vec::new())
            }
            Format::F16 => {
                let halves = floats.map(|x| f16::from_f32(x).to_le_bytes());
                (halves.flatten().collect(), Vec::new())
            }
            Format::Fp8 { tile, scale } => {
                let signs = self.bytes(all * columns, 0..2);
                // All codes but those of no number.
                let codes = self.bytes(all * columns, 0..0x7f);
                let codes = codes.iter().zip(signs).map(|(code, sign)| code | sign << 7);
                let tiles = all.div_ceil(tile[0]) * columns.div_ceil(tile[1]);
                (codes.collect(), self.scales(scale, tiles, 128.0 * spread))
            }
            Format::Fp4 { block, scale } => {
                let codes = self.bytes(all * columns / 2, 0..255);
                let count = all * columns.div_ceil(block);
                (codes, self.scales(scale, count, 2.0 * spread))
            }
            Format::Int8 => {
                let codes = self.bytes(all * columns, 0..255);
                (codes, self.scales(ScaleFormat::F32, all, 64.0 * spread))
            }
            Format::Int4 { group } => {
                let codes = self.bytes(all * columns / 2, 0..255);
                let count = all * columns.div_ceil(group);
                (codes, self.scales(ScaleFormat::F32, count, 4.0 * spread))
            }
        };
        let whole = WeightView {
            name: format!("{format}"),
            format,
            shape: [all, columns],
            data: Bytes::from(data),
            scales: Bytes::from(scales),
            tile_row: 0,
            stride: None,
        };
        whole.narrow(before..all)
    }

    fn what(&self, verb: &str) -> String {
        format!("{verb}, seed {}", self.seed)
    }
}

/// Values that rows of this format keep bit for bit.
fn kept<B: Kernels>(be: &B, format: RowFormat, x: &HostTensor) -> Result<B::Tensor> {
    let x = be.upload(x)?;
    Ok(match format {
        RowFormat::F32 => x,
        RowFormat::Bf16 => be.round(&x, Rounding::Bf16)?,
        RowFormat::Fp8 {
            block,
            tail,
            tail_bytes,
        } => {
            let x = match tail_bytes {
                2 => be.round(&x, Rounding::Bf16)?,
                _ => x,
            };
            be.round(&x, Rounding::Fp8 { block, tail })?
        }
        RowFormat::Fp4 { block, scale } => be.round(&x, Rounding::Fp4 { block, scale })?,
    })
}

/// What is written to rows of a pool, in any order, is read from them, and from no others.
fn rows<B: Kernels>(be: &B, format: RowFormat, draw: &mut Draw<'_>) -> Result<()> {
    let (width, count) = (draw.pick(&[16, 20, 64, 128]), draw.count(1..20));
    let what = draw.what(&format!("rows, {format:?} of {width}"));
    let mut pool = be.rows(format, width, count + 9)?;
    let mut places: Vec<u32> = (0..count as u32 + 9).collect();
    places.shuffle(draw.rng);
    let values = be.download(&kept(be, format, &draw.tensor(&[count, width]))?)?;
    let (first, second) = places[..count].split_at(draw.count(0..count));
    for (at, from) in [(first, 0), (second, first.len())] {
        let part = &values.data()[from * width..(from + at.len()) * width];
        let part = HostTensor::new(&[at.len(), width], part.to_vec());
        if !at.is_empty() {
            be.write_rows(&mut pool, &be.ids(at)?, &be.upload(&part)?)?;
        }
    }
    let got = be.download(&be.read_rows(&pool, &be.ids(&places[..count])?)?)?;
    same_bits(&what, got.data(), values.data());
    let untouched = be.download(&be.read_rows(&pool, &be.ids(&places[count..])?)?)?;
    assert!(untouched.data().iter().all(|x| *x == 0.0), "{what}");
    Ok(())
}

/// A weight is what its codes and scales say, whether its rows are looked up or multiplied.
fn weights<B: Kernels>(be: &B, format: Format, draw: &mut Draw<'_>) -> Result<()> {
    let shape = [draw.count(1..70), draw.pick(&[2, 16, 34, 64, 200])];
    let (view, [rows, columns]) = (draw.weight(format, shape), shape);
    let what = draw.what(&format!("{format} {rows}x{columns}"));
    let mut plain = vec![0.0; rows * columns];
    for (row, out) in plain.chunks_exact_mut(columns).enumerate() {
        decode_row(&view, row, out);
    }
    let table = be.load(&view, Use::Lookup)?;
    let at: Vec<u32> = (0..rows as u32).rev().collect();
    let got = be.download(&be.lookup(&table, &be.ids(&at)?)?)?;
    let want: Vec<f32> = plain.chunks(columns).rev().flatten().copied().collect();
    same_bits(&format!("lookup of {what}"), got.data(), &want);

    let matrix = be.load(&view, Use::Product)?;
    let x = draw.tensor(&[3, columns]);
    let got = be.download(&be.linear(&be.upload(&x)?, &matrix)?)?;
    let product = |a: &[f32], b: &[f32]| {
        let terms = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        terms.sum::<f64>() as f32
    };
    let want: Vec<f32> = (0..3)
        .flat_map(|row| plain.chunks(columns).map(move |w| (row, w)))
        .map(|(row, w)| product(x.row(row), w))
        .collect();
    relative(&format!("linear by {what}"), got.data(), &want, TOLERANCE);

    // Some of its columns, cut where a block ends and within one.
    for own in [columns / 4..columns, columns / 2..columns, 0..columns / 2] {
        let own = own.start / 2 * 2..own.end / 2 * 2;
        if own.is_empty() {
            continue;
        }
        let part = view.narrow_columns(own.clone())?;
        let what = format!("columns {own:?} of {what}, as {}", part.format);
        let of_row = |w: &'_ [f32]| w[own.clone()].to_vec();
        let own_plain: Vec<f32> = plain.chunks(columns).flat_map(of_row).collect();
        let table = be.load(&part, Use::Lookup)?;
        let at: Vec<u32> = (0..rows as u32).collect();
        let got = be.download(&be.lookup(&table, &be.ids(&at)?)?)?;
        same_bits(&format!("lookup of {what}"), got.data(), &own_plain);
        let matrix = be.load(&part, Use::Product)?;
        let own_x: Vec<f32> = x.data().chunks(columns).flat_map(of_row).collect();
        let own_x = HostTensor::new(&[3, own.len()], own_x);
        let got = be.download(&be.linear(&be.upload(&own_x)?, &matrix)?)?;
        let want: Vec<f32> = (0..3)
            .flat_map(|row| own_plain.chunks(own.len()).map(move |w| (row, w)))
            .map(|(row, w)| product(own_x.row(row), w))
            .collect();
        relative(&format!("linear by {what}"), got.data(), &want, TOLERANCE);
    }
    Ok(())
}

fn hyper_connections<B: Kernels>(be: &B, format: Format, draw: &mut Draw<'_>) -> Result<()> {
    let n = draw.pick(&[2, 4]);
    let (tokens, hidden) = (draw.count(1..7), draw.pick(&[1, 15, 16, 33, 64]));
    let rows = (2 + n) * n;
    let weights = HyperWeights {
        projection: be.load(&draw.weight(format, [rows, n * hidden]), Use::Product)?,
        scale: be.upload(&draw.tensor(&[rows]))?,
        base: be.upload(&draw.tensor(&[rows]))?,
        config: MixerConfig {
            streams: n,
            sinkhorn: 20,
            eps: 1e-6,
            norm_eps: 1e-6,
        },
    };
    let streams = be.upload(&draw.tensor(&[tokens, n, hidden]))?;
    let carried = be.upload(&draw.tensor(&[tokens, n]))?;
    let carried = draw.flag().then_some(&carried);
    let rounding = draw.rounding();
    let (y, mix) = be.hc_pre(&streams, &weights, carried, rounding)?;
    let (want_y, want) = reference::hc_pre(be, &streams, &weights, carried, rounding)?;
    assert!(carried.is_none() || mix.pre.is_some(), "shares to carry");
    let pre = mix.pre.iter().zip(&want.pre);
    let pre = pre.map(|(got, want)| ("pre", got, want));
    for (name, got, want) in pre.chain([
        ("hc_pre", &y, &want_y),
        ("post", &mix.post, &want.post),
        ("comb", &mix.comb, &want.comb),
    ]) {
        let (got, want) = (be.download(got)?, be.download(want)?);
        let what = draw.what(&format!("{name} by {format}"));
        assert_eq!(got.shape(), want.shape(), "{what}");
        let within = if name == "hc_pre" {
            tolerance(rounding)
        } else {
            TOLERANCE
        };
        relative(&what, got.data(), want.data(), within);
    }

    let f = be.upload(&draw.tensor(&[tokens, hidden]))?;
    let mix: Mix<B> = want;
    let got = be.download(&be.hc_post(&f, &streams, &mix, rounding)?)?;
    let want = be.download(&reference::hc_post(be, &f, &streams, &mix, rounding)?)?;
    relative(
        &draw.what("hc_post"),
        got.data(),
        want.data(),
        tolerance(rounding),
    );
    Ok(())
}

/// Groups that begin among rows of the state and end among those of the step.
fn compress<B: Kernels>(be: &B, draw: &mut Draw<'_>) -> Result<()> {
    let width = draw.pick(&[1, 16, 24, 40]);
    let overlap = draw.flag();
    let ratio = if overlap { 4 } else { draw.pick(&[2, 5, 128]) };
    let count = draw.count(0..4);
    let first = draw.count(0..2);
    let mut members = Runs::default();
    for group in first..first + count {
        let before = usize::from(overlap && group > 0);
        let run = ((group - before) * ratio) as u32..((group + 1) * ratio) as u32;
        members.push(std::iter::once(run));
    }
    let rows = (first + count) * ratio + draw.count(1..3);
    let wide = if overlap { 2 * width } else { width };
    let pooling = if overlap {
        Pooling::Overlap { ratio }
    } else {
        Pooling::Plain
    };
    let old = draw.count(0..rows.min(ratio));
    // What the state keeps of the step: its last rows, in any order.
    let mut places: Vec<u32> = (0..2 * rows as u32).collect();
    places.shuffle(draw.rng);
    let (before, behind) = (&places[..old], &places[old..]);
    let kept: Vec<u32> = (old..rows)
        .map(|row| if row % 3 == 0 { NO_ROW } else { behind[row] })
        .collect();
    let (all_kv, all_scores) = (draw.tensor(&[rows, wide]), draw.tensor(&[rows, wide]));
    let state = || -> Result<PoolState<B>> {
        let filled = |x: &HostTensor| -> Result<B::Rows> {
            let mut pool = be.rows(RowFormat::F32, wide, 2 * rows)?;
            let x = be.narrow(&be.upload(x)?, 0, 0, old)?;
            be.write_rows(&mut pool, &be.ids(before)?, &x)?;
            Ok(pool)
        };
        Ok(PoolState {
            kv: filled(&all_kv)?,
            scores: filled(&all_scores)?,
        })
    };
    let groups = Groups {
        old: be.ids(before)?,
        old_count: old,
        members: Selection::Runs(Arc::new(members.clone())),
        count,
        kept: be.ids(&kept)?,
    };
    let (all_kv_on, all_scores_on) = (be.upload(&all_kv)?, be.upload(&all_scores)?);
    let kv = be.narrow(&all_kv_on, 0, old, rows - old)?;
    let scores = be.narrow(&all_scores_on, 0, old, rows - old)?;
    let (mut ours, mut provided) = (state()?, state()?);
    let rounding = draw.rounding();
    let got = be.compress(&kv, &scores, &mut ours, &groups, pooling, rounding)?;
    let other = reference::compress(be, &kv, &scores, &mut provided, &groups, pooling, rounding)?;
    let what = draw.what("compress");
    assert_eq!(
        (got.is_some(), other.is_some()),
        (count > 0, count > 0),
        "{what}"
    );
    if let (Some(got), Some(other)) = (got, other) {
        let want = oracle::compress(be, &all_kv_on, &all_scores_on, &members, pooling)?;
        let want = be.download(&match rounding {
            Some(rounding) => be.round(&want, rounding)?,
            None => want,
        })?;
        for got in [got, other] {
            assert_eq!(got.shape(), [count, width], "{what}");
            let got = be.download(&got)?;
            relative(&what, got.data(), want.data(), tolerance(rounding));
        }
    }
    let at: Vec<u32> = (0..2 * rows as u32).collect();
    let mut want = vec![0.0; 2 * rows * wide];
    for (row, place) in before.iter().chain(&kept).enumerate() {
        if *place != NO_ROW {
            want[*place as usize * wide..][..wide].copy_from_slice(all_kv.row(row));
        }
    }
    for state in [ours, provided] {
        let kept = be.download(&be.read_rows(&state.kv, &be.ids(&at)?)?)?;
        same_bits(&what, kept.data(), &want);
    }
    Ok(())
}

fn index_topk<B: Kernels>(be: &B, format: RowFormat, draw: &mut Draw<'_>) -> Result<()> {
    let (tokens, heads) = (draw.count(1..6), draw.pick(&[1, 3, 8]));
    let width = draw.pick(&[32, 64, 128]);
    let count = draw.pick(&[1, 5, 63, 64, 65, 200]);
    let round = draw.pick(&[
        None,
        Some(ScoreRounding::Products),
        Some(ScoreRounding::ProductsAndSum),
    ]);
    let size = draw.pick(&[2, 8]);
    let top = TopK {
        k: draw.pick(&[1, 4, 32]),
        blocks: draw.flag().then_some(Blocks {
            size,
            keep: 32 / size,
        }),
        round,
    };
    let mut keys = be.rows(format, width, count + 4)?;
    let at: Vec<u32> = (0..count as u32).map(|row| row + 3).collect();
    let values = kept(be, format, &draw.tensor(&[count, width]))?;
    be.write_rows(&mut keys, &be.ids(&at)?, &values)?;
    let q = be.upload(&draw.tensor(&[tokens, heads, width]))?;
    let weights = be.upload(&draw.tensor(&[tokens, heads]))?;
    let mut seen = Runs::default();
    let scattered = draw.flag();
    for _ in 0..tokens {
        let visible = 3..3 + draw.count(0..count + 1) as u32;
        if scattered {
            seen.push_rows(visible.filter(|row| row / 4 % 2 == 0));
        } else {
            seen.push([visible]);
        }
    }
    let (rows, candidates) = oracle::index_topk(be, &q, &weights, &keys, &seen, &top)?;
    let seen = Selection::Runs(Arc::new(seen));
    let what = draw.what(&format!("index_topk of {format:?}"));
    for got in [
        be.index_topk(&q, &weights, &keys, &seen, &top)?,
        reference::index_topk(be, &q, &weights, &keys, &seen, &top)?,
    ] {
        alike(&what, &*got.rows.on_host(be)?, &rows, 1, round.is_some());
        assert_eq!(got.candidates.is_some(), top.blocks.is_some(), "{what}");
        if let (Some(got), Some(want)) = (&got.candidates, &candidates) {
            alike(&what, &*got.on_host(be)?, want, size, round.is_some());
        }
    }
    Ok(())
}

/// Holds two choices against each other. A difference is a fault unless the scores in question are
/// as good as tied, which with rounded products they often are: then `most` rows may differ.
fn alike(what: &str, got: &Runs, want: &Runs, most: usize, tied: bool) {
    assert_eq!(got.queries(), want.queries(), "{what}");
    for query in 0..got.queries() {
        let (got, want): (Vec<u32>, Vec<u32>) =
            (got.rows(query).collect(), want.rows(query).collect());
        let differ = got.iter().filter(|row| !want.contains(row)).count();
        assert!(
            got == want || tied && differ <= most,
            "{what}: {got:?}, want {want:?}"
        );
    }
}

/// A window in `format` beside compressed rows in another: as in a model, and more than there are.
fn attend<B: Kernels>(be: &B, format: RowFormat, draw: &mut Draw<'_>) -> Result<()> {
    let (tokens, heads) = (draw.count(1..6), draw.pick(&[1, 2, 5]));
    let width = draw.pick(&[16, 20, 64, 128]);
    let formats = [format, draw.pick(&ROWS)];
    let named = format!("attend to {formats:?}");
    let mut pools = Vec::new();
    for format in formats {
        // More rows than are looked at together, now and then.
        let most = draw.pick(&[90, 90, 300]);
        let count = draw.count(1..most);
        let mut rows = be.rows(format, width, count)?;
        let at: Vec<u32> = (0..count as u32).collect();
        let values = kept(be, format, &draw.tensor(&[count, width]))?;
        be.write_rows(&mut rows, &be.ids(&at)?, &values)?;
        let mut chosen = Runs::default();
        for _ in 0..tokens {
            if draw.flag() {
                let (a, b) = (draw.count(0..count) as u32, draw.count(0..count) as u32);
                chosen.push([a.max(b)..count as u32, 0..a.min(b) + 1]);
            } else {
                chosen.push_rows((0..count as u32).filter(|row| row % 3 != 1));
            }
        }
        pools.push((rows, chosen));
    }
    let plain: Vec<_> = pools.iter().map(|(rows, chosen)| (rows, chosen)).collect();
    let selections: Vec<_> = pools
        .iter()
        .map(|(_, chosen)| Selection::<B>::Runs(Arc::new(chosen.clone())))
        .collect();
    let from: Vec<_> = pools
        .iter()
        .zip(&selections)
        .map(|((rows, _), chosen)| (rows, chosen))
        .collect();
    let q = be.upload(&draw.tensor(&[tokens, heads, width]))?;
    let sink = be.upload(&draw.tensor(&[heads]))?;
    let chunks = [64, 7].map(|rows| Some(WeightRounding::Chunks(rows)));
    for round in [[None, Some(WeightRounding::OnePeak)], chunks].concat() {
        let softmax = Softmax {
            scale: (width as f32).powf(-0.5),
            round,
        };
        let got = be.download(&be.attend(&q, &from, &sink, softmax)?)?;
        let want = be.download(&oracle::attend(be, &q, &plain, &sink, softmax)?)?;
        // A rounded exponential may fall to the neighbouring BF16 number.
        let tolerance = match round {
            Some(_) => 2.0_f32.powi(-8),
            None => TOLERANCE,
        };
        relative(&draw.what(&named), got.data(), want.data(), tolerance);
        let provided = reference::attend(be, &q, &from, &sink, softmax)?;
        // Its chunks are those of padded lists, so roundings fall otherwise.
        let tolerance = match round {
            Some(WeightRounding::Chunks(_)) => 2.0_f32.powi(-6),
            Some(WeightRounding::OnePeak) | None => tolerance,
        };
        let provided = be.download(&provided)?;
        let what = draw.what(&format!("provided {named}"));
        relative(&what, provided.data(), want.data(), tolerance);
        if be.lists() != Lists::Runs {
            continue;
        }

        // A query yields the same bits alone.
        let alone = be.narrow(&q, 0, tokens - 1, 1)?;
        let last: Vec<_> = pools
            .iter()
            .map(|(_, chosen)| {
                let mut one = Runs::default();
                one.push(chosen.runs(tokens - 1).iter().cloned());
                Selection::Runs(Arc::new(one))
            })
            .collect();
        let last = pools
            .iter()
            .zip(&last)
            .map(|((rows, _), chosen)| (rows, chosen));
        let last: Vec<_> = last.collect();
        let alone = be.download(&be.attend(&alone, &last, &sink, softmax)?)?;
        let size = heads * width;
        same_bits(
            &draw.what(&format!("{named}, alone")),
            alone.data(),
            &got.data()[(tokens - 1) * size..],
        );
    }
    Ok(())
}

fn experts<B: Kernels>(be: &B, format: Format, draw: &mut Draw<'_>) -> Result<()> {
    let (tokens, top_k, count) = (draw.count(1..9), 2, 5);
    let (hidden, inner) = (draw.pick(&[16, 30, 64]), draw.pick(&[8, 32]));
    let views: Vec<_> = (0..count)
        .map(|_| ExpertViews {
            gate: draw.weight(format, [inner, hidden]),
            up: draw.weight(format, [inner, hidden]),
            down: draw.weight(format, [hidden, inner]),
        })
        .collect();
    // A device keeps what it likes of them: too little for one, for some, or as much as there is.
    let bytes = draw.pick(&[None, Some(0), Some(4096)]);
    let bank = be.load_experts(ExpertShare::all(&views), Residency { bytes })?;
    assert_eq!(be.experts_in(&bank), 0..count as u32);
    let mut chosen = Vec::new();
    for _ in 0..tokens {
        let first = draw.count(0..count - 1);
        chosen.extend([first as u32, draw.count(first + 1..count) as u32]);
    }
    let routing = Routing {
        experts: be.ids(&chosen)?,
        weights: be.upload(&draw.tensor(&[tokens, top_k]))?,
        scores: be.upload(&draw.tensor(&[tokens, count]))?,
        top_k,
    };
    let x = be.upload(&draw.tensor(&[tokens, hidden]))?;
    be.prefetch(&bank, &routing.experts)?;
    for (input, bf16) in [
        (None, false),
        (Some(INPUTS[0]), true),
        (Some(INPUTS[1]), true),
    ] {
        let form = SwiGlu {
            limit: 1.0,
            input,
            bf16,
        };
        let got = be.download(&be.experts(&x, &routing, &bank, form)?)?;
        let want = be.download(&reference::experts(be, &x, &routing, &bank, form)?)?;
        let tolerance = if bf16 { 2.0_f32.powi(-6) } else { TOLERANCE };
        let what = draw.what(&format!("experts in {format}"));
        relative(&what, got.data(), want.data(), tolerance);
        let whole = want;

        // Ranks that have some each, of which one may be visited by nobody, give terms of the same sum.
        let mut sum = vec![0.0; tokens * hidden];
        let mut is_rank = true;
        for (first, end) in [(0, 1), (1, 3), (3, count)] {
            let share = ExpertShare {
                views: &views[first..end],
                first,
                total: count,
            };
            let bank = match be.load_experts(share, Residency { bytes }) {
                // A device that has no collectives is no rank.
                Err(Error::Unsupported { .. }) => {
                    is_rank = false;
                    break;
                }
                bank => bank?,
            };
            assert_eq!(be.experts_in(&bank), first as u32..end as u32);
            be.prefetch(&bank, &routing.experts)?;
            let got = be.download(&be.experts(&x, &routing, &bank, form)?)?;
            let want = be.download(&reference::experts(be, &x, &routing, &bank, form)?)?;
            let part = format!("{what}, those from {first} to {end}");
            relative(&part, got.data(), want.data(), tolerance);
            sum.iter_mut()
                .zip(got.data())
                .for_each(|(sum, x)| *sum += x);
        }
        if is_rank {
            relative(&format!("{what}, in parts"), &sum, whole.data(), tolerance);
        }

        for (id, views) in views.iter().enumerate() {
            let (own, want) = (be.expert(&bank, id as u32)?, views.load(be)?);
            let got = be.download(&reference::feed_forward(be, &x, &own, None, form)?)?;
            let want = be.download(&reference::feed_forward(be, &x, &want, None, form)?)?;
            same_bits(&what, got.data(), want.data());
        }
    }
    // What is not bounded is not counted. What is, is fetched for a visit or ahead of one.
    let visits = be.visits(&bank);
    let most = match bytes {
        None => 0,
        Some(_) => visits.count + chosen.len() as u64,
    };
    assert!(visits.fetched <= most, "{visits:?} within {bytes:?}");
    Ok(())
}

fn route<B: Kernels>(be: &B, format: Format, draw: &mut Draw<'_>) -> Result<()> {
    let (rows, hidden, experts) = (draw.count(1..9), draw.pick(&[16, 64]), 8);
    let top_k = draw.pick(&[1, 3]);
    let tokens: Vec<u32> = (0..rows).map(|_| draw.count(0..4) as u32).collect();
    let media: Vec<bool> = (0..rows).map(|_| draw.flag()).collect();
    let selects = [
        Select::Score {
            bias: be.upload(&draw.tensor(&[1, experts]))?,
        },
        Select::Score {
            bias: be.upload(&draw.tensor(&[2, experts]))?,
        },
        Select::Token(TokenTable::new(
            be,
            "table",
            &table(draw, 4, top_k, experts),
            top_k,
            experts,
        )?),
    ];
    let x = be.upload(&draw.tensor(&[rows, hidden]))?;
    for select in selects {
        let gate = Gate {
            projection: be.load(&draw.weight(format, [experts, hidden]), Use::Product)?,
            select,
            top_k,
            scale: 2.5,
        };
        for media in [&media[..], &[]] {
            let inputs = Inputs::new(be, &tokens, media)?;
            let got = be.route(&x, &gate, &inputs)?;
            let want = reference::route(be, &x, &gate, &inputs)?;
            let what = draw.what(&format!("route by {format}"));
            assert_eq!(
                be.ids_on_host(&got.experts)?,
                be.ids_on_host(&want.experts)?,
                "{what}"
            );
            for (got, want) in [(&got.weights, &want.weights), (&got.scores, &want.scores)] {
                let (got, want) = (be.download(got)?, be.download(want)?);
                relative(&what, got.data(), want.data(), TOLERANCE);
            }
        }
    }
    Ok(())
}

/// Distinct experts for each of some tokens.
fn table(draw: &mut Draw<'_>, tokens: usize, top_k: usize, experts: usize) -> Vec<i64> {
    let row = |_| rand::seq::index::sample(draw.rng, experts, top_k).into_vec();
    let ids = (0..tokens).flat_map(row);
    ids.map(|id| id as i64).collect()
}

fn engram<B: Kernels>(be: &B, draw: &mut Draw<'_>) -> Result<()> {
    let (tokens, n, hidden) = (
        draw.count(1..6),
        draw.pick(&[1, 2, 4]),
        draw.pick(&[8, 33, 64]),
    );
    let gate = EngramGate {
        weight: be.upload(&draw.tensor(&[n, hidden]))?,
        eps: 1e-6,
    };
    let streams = be.upload(&draw.tensor(&[tokens, n, hidden]))?;
    let recalled = be.upload(&draw.tensor(&[tokens, (n + 1) * hidden]))?;
    let media: Vec<bool> = (0..tokens).map(|_| draw.flag()).collect();
    for media in [&media[..], &[]] {
        let inputs = Inputs::new(be, &vec![0; tokens], media)?;
        let media = inputs.media.as_ref();
        let rounding = draw.rounding();
        let got = be.engram(&streams, &recalled, &gate, media, rounding)?;
        let want = reference::engram(be, &streams, &recalled, &gate, media, rounding)?;
        let (got, want) = (be.download(&got)?, be.download(&want)?);
        let what = draw.what("engram");
        relative(&what, got.data(), want.data(), tolerance(rounding));
    }
    Ok(())
}
