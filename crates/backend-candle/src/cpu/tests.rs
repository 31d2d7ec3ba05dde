//! Every kernel against its plain twin, under every instruction set of this machine and several
//! numbers of threads.

#![allow(
    clippy::single_range_in_vec_init,
    reason = "one run of rows is what is meant"
)]

use std::ops::Range;

use deepseek_core::backend::Turn;
use deepseek_core::kernels::{Chosen, Fold, HyperShape, Routing, Seen, Softmax, SwiGlu};
use deepseek_core::quant::{self, decode_row, round_row};
use deepseek_core::rope::Rope;
use deepseek_core::weights::WeightView;
use deepseek_core::{Error, Format, Rounding, RowFormat, ScaleFormat, Unary};

use super::par::Pool;
use super::rows::RowPool;
use super::table::Table;
use super::{math, scalar};

/// Numbers that differ, the same for the same seed (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.word() % end as u64) as usize
    }

    /// Within ±1.
    fn float(&mut self) -> f32 {
        (self.word() >> 40) as f32 / 8_388_608.0 - 1.0
    }

    fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.float()).collect()
    }

    /// Of every magnitude and either sign, sometimes zero, infinite or no number.
    fn wild(&mut self, count: usize) -> Vec<f32> {
        (0..count)
            .map(|_| f32::from_bits(self.word() as u32))
            .collect()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.word() as u8).collect()
    }

    fn weight(&mut self, format: Format, shape: [usize; 2]) -> WeightView {
        let mut view = WeightView {
            name: "w".to_owned(),
            format,
            shape,
            data: Vec::new().into(),
            scales: Vec::new().into(),
            tile_row: 0,
        };
        let count = shape[0] * view.row_bytes();
        let floats = self.floats(shape[0] * shape[1]);
        view.data = match format {
            Format::F32 => floats
                .iter()
                .flat_map(|x| x.to_le_bytes())
                .collect::<Vec<u8>>(),
            Format::Bf16 => floats
                .iter()
                .flat_map(|x| x.to_bits().to_be_bytes()[..2].to_vec())
                .rev()
                .collect(),
            // Without the codes of NaN.
            _ => self
                .bytes(count)
                .into_iter()
                .map(|byte| byte & 0xbf)
                .collect(),
        }
        .into();
        let lines = match format {
            Format::Fp8 { tile, .. } => shape[0].div_ceil(tile[0]),
            _ => shape[0],
        };
        let scales = lines * view.scale_row_bytes();
        view.scales = match format {
            Format::Fp8 {
                scale: ScaleFormat::F32,
                ..
            } => {
                let scales = self.floats(scales / 4);
                scales
                    .iter()
                    .flat_map(|x| x.to_le_bytes())
                    .collect::<Vec<u8>>()
            }
            _ => (0..scales).map(|_| 118 + self.below(6) as u8).collect(),
        }
        .into();
        view
    }
}

/// Every instruction set with one thread, and the best with more.
fn pools() -> Vec<Pool> {
    let mut pools: Vec<Pool> = Table::all()
        .into_iter()
        .map(|table| Pool::with(1, table))
        .collect();
    pools.extend([2, 3].map(|threads| Pool::with(threads, Table::best())));
    pools
}

/// The formats of weights: those released, and block sizes that fit nothing.
fn formats() -> Vec<Format> {
    let fp8 = |tile, scale| Format::Fp8 { tile, scale };
    vec![
        Format::F32,
        Format::Bf16,
        fp8([128, 128], ScaleFormat::E8m0),
        fp8([3, 5], ScaleFormat::E8m0),
        fp8([4, 32], ScaleFormat::F32),
        Format::Fp4 { block: 32 },
        Format::Fp4 { block: 16 },
        Format::Fp4 { block: 6 },
    ]
}

#[track_caller]
fn same_bits(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        let same = got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan());
        assert!(same, "{what}: element {index} is {got:e}, want {want:e}");
    }
}

/// Within `bound` of the row's largest.
#[track_caller]
fn close(got: &[f32], want: &[f32], width: usize, bound: f32, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (row, (got, want)) in got.chunks(width).zip(want.chunks(width)).enumerate() {
        let largest = want.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        for (index, (got, want)) in got.iter().zip(want).enumerate() {
            let far = (got - want).abs() / largest.max(f32::MIN_POSITIVE);
            assert!(
                far <= bound,
                "{what}: row {row}, element {index} is {got}, want {want}"
            );
        }
    }
}

#[test]
fn every_code_widens_to_the_bits_of_the_core() {
    let all_bytes: Vec<u8> = (0..=255).collect();
    let brains: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    let e8m0 = |tile| Format::Fp8 {
        tile,
        scale: ScaleFormat::E8m0,
    };
    let floats: Vec<u8> = [0.0, -1.5, 1e-45, 2e-38, 3.4e38, f32::INFINITY, f32::NAN]
        .iter()
        .flat_map(|x: &f32| x.to_le_bytes())
        .collect();
    let f32_scales = Format::Fp8 {
        tile: [1, 256],
        scale: ScaleFormat::F32,
    };
    let views = [
        (Format::Bf16, 65_536, 1, brains, Vec::new()),
        // Every code under every scale.
        (
            e8m0([1, 256]),
            256,
            256,
            all_bytes.repeat(256),
            all_bytes.clone(),
        ),
        (f32_scales, 256, 7, all_bytes.repeat(7), floats),
        (
            Format::Fp4 { block: 512 },
            512,
            256,
            all_bytes.repeat(256),
            all_bytes.clone(),
        ),
    ];
    for (format, columns, rows, data, scales) in views {
        let view = WeightView {
            name: "w".to_owned(),
            format,
            shape: [rows, columns],
            data: data.into(),
            scales: scales.into(),
            tile_row: 0,
        };
        let mut want = vec![0.0; columns];
        let mut got = vec![0.0; columns];
        for table in Table::all() {
            for row in 0..rows {
                decode_row(&view, row, &mut want);
                table.decode(format, view.row(row), view.row_scales(row), &mut got);
                same_bits(&got, &want, &format!("{format}, row {row}, {table:?}"));
            }
        }
    }
}

#[test]
fn a_product_is_the_same_bits_whatever_the_batch_threads_and_instructions() {
    let seed = 1;
    let mut numbers = Numbers(seed);
    for format in formats() {
        let widths = match format {
            Format::Fp4 { block } => [block, 3 * block, 64 * block],
            _ => [1, 95, 1024],
        };
        for (rows, width) in [(1, widths[0]), (7, widths[1]), (70, widths[2])] {
            let weight = numbers.weight(format, [rows, width]);
            let x = numbers.floats(35 * width);
            let mut want = vec![0.0; 35 * rows];
            scalar::linear(&x, &weight, &mut want);
            for pool in pools() {
                for tokens in [0, 1, 2, 3, 4, 5, 15, 16, 17, 35] {
                    let mut got = vec![f32::NAN; tokens * rows];
                    super::linear(&pool, &x[..tokens * width], &weight, &mut got);
                    let what = format!("seed {seed}, {format} {rows}x{width}, {tokens}, {pool:?}");
                    same_bits(&got, &want[..tokens * rows], &what);
                }
            }
        }
    }
}

#[test]
fn rows_cut_from_the_middle_of_a_tile_keep_its_scale() {
    let mut numbers = Numbers(2);
    let format = Format::Fp8 {
        tile: [4, 32],
        scale: ScaleFormat::E8m0,
    };
    let weight = numbers.weight(format, [23, 64]);
    let x = numbers.floats(64);
    let mut all = vec![0.0; 23];
    scalar::linear(&x, &weight, &mut all);
    for pool in pools() {
        let mut got = vec![0.0; 15];
        super::linear(&pool, &x, &weight.narrow(6..21), &mut got);
        same_bits(&got, &all[6..21], "rows 6 to 21");
        let mut rows = vec![0.0; 2 * 64];
        super::lookup(&pool, &weight.narrow(6..21), &[14, 0], &mut rows);
        let mut want = vec![0.0; 64];
        decode_row(&weight, 20, &mut want);
        same_bits(&rows[..64], &want, "row 20");
    }
}

#[test]
fn products_of_activations_are_their_twins_bits() {
    let seed = 3;
    let mut numbers = Numbers(seed);
    let sizes = [1, 3, 4, 5, 16, 17, 33, 64, 100, 700];
    for _ in 0..60 {
        let [m, n, k] = [(); 3].map(|()| sizes[numbers.below(sizes.len())]);
        let (a, b) = (numbers.floats(m * k), numbers.floats(n * k));
        let (mut turned, mut plain) = (vec![0.0; m * n], vec![0.0; m * n]);
        scalar::matmul_t(&a, &b, k, &mut turned);
        scalar::matmul(&a, &b, k, &mut plain);
        for pool in pools() {
            let what = format!("seed {seed}, {m}x{n}x{k}, {pool:?}");
            let mut got = vec![f32::NAN; m * n];
            super::matmul_t(&pool, &a, &b, k, &mut got);
            same_bits(&got, &turned, &what);
            got.fill(f32::NAN);
            super::matmul(&pool, &a, &b, k, &mut got);
            same_bits(&got, &plain, &what);
        }
    }
}

#[test]
fn rounding_is_the_bits_of_the_core() {
    let seed = 4;
    let mut numbers = Numbers(seed);
    let roundings = [
        (Rounding::Bf16, 100),
        (
            Rounding::Fp8 {
                block: 128,
                tail: 0,
            },
            256,
        ),
        (
            Rounding::Fp8 {
                block: 64,
                tail: 64,
            },
            192,
        ),
        (Rounding::Fp8 { block: 7, tail: 3 }, 40),
        (Rounding::Fp4 { block: 32 }, 128),
        (Rounding::Fp4 { block: 5 }, 33),
        (
            Rounding::HadamardFp4 {
                block: 32,
                bf16: true,
            },
            128,
        ),
        (
            Rounding::HadamardFp4 {
                block: 2,
                bf16: false,
            },
            8,
        ),
    ];
    for (to, width) in roundings {
        for round in 0..300 {
            // One magnitude after the other, ties and halves among them, and now and then all bits.
            let scale = 2f32.powi(round - 150);
            let near = |x: f32| (x * 64.0).round() / 64.0 * scale;
            let rows: Vec<f32> = match round % 3 {
                0 => numbers.wild(3 * width),
                1 => numbers.floats(3 * width).into_iter().map(near).collect(),
                _ => numbers
                    .floats(3 * width)
                    .into_iter()
                    .map(|x| x * scale)
                    .collect(),
            };
            let mut want = rows.clone();
            want.chunks_exact_mut(width)
                .for_each(|row| round_row(row, to));
            for table in Table::all() {
                let mut got = rows.clone();
                super::round_rows(&Pool::with(1, table), &mut got, width, to);
                same_bits(
                    &got,
                    &want,
                    &format!("seed {seed}, {to:?}, round {round}, {table:?}"),
                );
            }
        }
    }
}

#[test]
fn rounded_rows_survive_a_pool_exactly_at_every_magnitude() {
    let mut numbers = Numbers(5);
    let fp8 = |tail_bytes| RowFormat::Fp8 {
        block: 64,
        tail: 64,
        tail_bytes,
    };
    let cases = [
        (RowFormat::F32, None, 96),
        (RowFormat::Bf16, Some(Rounding::Bf16), 96),
        (
            fp8(4),
            Some(Rounding::Fp8 {
                block: 64,
                tail: 64,
            }),
            192,
        ),
        (
            fp8(2),
            Some(Rounding::Fp8 {
                block: 64,
                tail: 64,
            }),
            192,
        ),
        (
            RowFormat::Fp4 { block: 32 },
            Some(Rounding::Fp4 { block: 32 }),
            128,
        ),
    ];
    for (format, rounding, width) in cases {
        let mut pool = RowPool::new(format, width, 8).expect("a few rows");
        for power in -149..=127 {
            let mut row = numbers.floats(width);
            row.iter_mut().for_each(|x| *x *= 2f32.powi(power));
            if format == fp8(2) {
                round_row(&mut row, Rounding::Bf16);
            }
            if let Some(rounding) = rounding {
                round_row(&mut row, rounding);
            }
            pool.write(&[5], &row);
            let mut got = vec![0.0; width];
            pool.read(&[5], &mut got);
            same_bits(&got, &row, &format!("{format:?}, 2^{power}"));
        }
    }
}

#[test]
fn a_pool_stores_each_row_in_its_place_and_the_rest_stays_zero() {
    let mut numbers = Numbers(6);
    let mut pool = RowPool::new(RowFormat::F32, 5, 7).expect("a few rows");
    let rows = numbers.floats(10);
    pool.write(&[6, 2], &rows);
    let mut got = vec![f32::NAN; 20];
    pool.read(&[2, 6, 0, 2], &mut got);
    same_bits(&got[..5], &rows[5..], "row 2");
    same_bits(&got[5..10], &rows[..5], "row 6");
    same_bits(&got[10..15], &[0.0; 5], "row 0");
    same_bits(&got[15..], &rows[5..], "row 2 again");
}

#[test]
fn a_pool_beyond_all_memory_is_refused() {
    for count in [usize::MAX, usize::MAX / 4096] {
        let refused = RowPool::new(RowFormat::F32, 512, count).expect_err("no such memory");
        assert!(matches!(refused, Error::OutOfMemory { .. }), "{refused}");
    }
    assert!(
        RowPool::new(RowFormat::Bf16, 512, 0).is_ok(),
        "an empty pool is one"
    );
}

#[test]
fn top_k_takes_the_largest_and_of_equals_the_first() {
    let mut best = Vec::new();
    super::top_k(
        &[1.0, 3.0, -0.0, 3.0, 0.0, f32::NEG_INFINITY, 3.0],
        5,
        &mut best,
    );
    super::top_k(&[2.0, 2.0, 2.0], 2, &mut best);
    super::top_k(&[f32::NAN, -1.0, f32::INFINITY], 2, &mut best);
    super::top_k(&[1.0], 1, &mut best);
    assert_eq!(best, [0, 1, 2, 3, 6, 0, 1, 1, 2, 0]);

    let seed = 7;
    let mut numbers = Numbers(seed);
    for _ in 0..50 {
        let count = 1 + numbers.below(3000);
        let k = 1 + numbers.below(count);
        // Few values, so that ties abound; zero of one sign, as the twin tells the signs apart.
        let row: Vec<f32> = (0..count)
            .map(|_| (numbers.float() * 20.0).round() + 0.0)
            .collect();
        let mut best = Vec::new();
        super::top_k(&row, k, &mut best);
        assert_eq!(best, scalar::top_k(&row, k), "seed {seed}, {k} of {count}");
    }
}

/// A pool of rounded rows, and what it holds.
fn filled(
    numbers: &mut Numbers,
    format: RowFormat,
    width: usize,
    count: usize,
) -> (RowPool, Vec<f32>) {
    let mut pool = RowPool::new(format, width, count).expect("a few rows");
    let at: Vec<u32> = (0..count as u32).collect();
    pool.write(&at, &numbers.floats(count * width));
    let mut values = vec![0.0; count * width];
    pool.read(&at, &mut values);
    (pool, values)
}

#[test]
fn the_indexer_chooses_as_its_twin_whatever_the_batch_and_threads() {
    let seed = 8;
    let mut numbers = Numbers(seed);
    for (format, width, heads, count) in [
        (RowFormat::Fp4 { block: 32 }, 128, 64, 300),
        (RowFormat::Bf16, 64, 5, 64),
        (RowFormat::F32, 10, 1, 9000),
        (RowFormat::F32, 33, 3, 65),
    ] {
        let (keys, values) = filled(&mut numbers, format, width, count);
        let tokens = 6;
        let q = numbers.floats(tokens * heads * width);
        let weights = numbers.floats(tokens * heads);
        let end = count as u32;
        let seen = Seen {
            rows: vec![0..end, 0..end - 1, 3..end, 0..0, 5..5 + 12, 63..end],
        };
        for (bf16, k) in [(false, 12), (true, 12), (false, 1)] {
            let mut want = Chosen::with_capacity(tokens);
            for (token, rows) in seen.rows.iter().enumerate() {
                let part = &values[rows.start as usize * width..rows.end as usize * width];
                let q = &q[token * heads * width..][..heads * width];
                let scores = scalar::scores(q, &weights[token * heads..][..heads], part, bf16);
                let best = scalar::top_k(&scores, k);
                want.push_rows(best.into_iter().map(|row| rows.start + row));
            }
            for pool in pools() {
                let what = format!("seed {seed}, {format:?} {heads}x{width}, {k}, {pool:?}");
                let got = super::index_topk(&pool, &q, &weights, &keys, &seen, k, bf16);
                for token in 0..tokens {
                    let rows: Vec<u32> = got.rows(token).collect();
                    assert_eq!(
                        rows,
                        want.rows(token).collect::<Vec<_>>(),
                        "{what}, {token}"
                    );
                    let alone = super::index_topk(
                        &pool,
                        &q[token * heads * width..][..heads * width],
                        &weights[token * heads..][..heads],
                        &keys,
                        &Seen {
                            rows: vec![seen.rows[token].clone()],
                        },
                        k,
                        bf16,
                    );
                    assert_eq!(
                        rows,
                        alone.rows(0).collect::<Vec<_>>(),
                        "{what}, {token} alone"
                    );
                }
            }
        }
    }
}

#[test]
fn of_equal_keys_the_indexer_takes_the_first() {
    let mut keys = RowPool::new(RowFormat::F32, 16, 5000).expect("a few rows");
    let at: Vec<u32> = (0..5000).collect();
    keys.write(&at, &vec![1.0; 5000 * 16]);
    let seen = Seen {
        rows: vec![7..5000],
    };
    for pool in pools() {
        let got = super::index_topk(&pool, &[1.0; 16], &[1.0], &keys, &seen, 300, false);
        assert_eq!(got.runs(0), [7..307]);
    }
}

#[test]
fn attention_is_its_twin_and_the_same_bits_alone_and_in_a_batch() {
    let seed = 9;
    let mut numbers = Numbers(seed);
    let fp8 = RowFormat::Fp8 {
        block: 64,
        tail: 64,
        tail_bytes: 2,
    };
    for (format, width, heads) in [
        (fp8, 512, 9),
        (RowFormat::F32, 20, 3),
        (RowFormat::Bf16, 64, 64),
        (RowFormat::F32, 16, 1),
    ] {
        let (window, near) = filled(&mut numbers, format, width, 150);
        let (entries, far) = filled(&mut numbers, format, width, 700);
        let mut chosen = [Chosen::default(), Chosen::default()];
        let runs: [(Range<u32>, Vec<u32>); 5] = [
            (0..128, (0..600).collect()),
            (17..145, vec![3, 4, 699]),
            (0..1, Vec::new()),
            (0..0, vec![698]),
            (140..150, (0..700).step_by(3).collect()),
        ];
        let mut rows = Vec::new();
        for (run, picks) in &runs {
            chosen[0].push([run.clone()]);
            chosen[1].push_rows(picks.iter().copied());
            let mut values = near[run.start as usize * width..run.end as usize * width].to_vec();
            for pick in picks {
                values.extend_from_slice(&far[*pick as usize * width..][..width]);
            }
            rows.push(values);
        }
        let each = heads * width;
        let q = numbers.floats(runs.len() * each);
        let sink: Vec<f32> = numbers.floats(heads).iter().map(|x| x * 3.0).collect();
        for bf16 in [false, true] {
            let softmax = Softmax { scale: 0.3, bf16 };
            let want: Vec<f32> = rows
                .iter()
                .zip(q.chunks(each))
                .flat_map(|(rows, q)| scalar::attend(q, rows, &sink, softmax))
                .collect();
            let mut first: Option<Vec<f32>> = None;
            for pool in pools() {
                let what = format!("seed {seed}, {heads}x{width}, bf16 {bf16}, {pool:?}");
                let from = [(&window, &chosen[0]), (&entries, &chosen[1])];
                let got = super::attend(&pool, &q, heads, &from, &sink, softmax);
                // A weight that lies between two brain floats may go either way.
                close(&got, &want, width, if bf16 { 4e-3 } else { 1e-5 }, &what);
                same_bits(first.get_or_insert_with(|| got.clone()), &got, &what);
                for query in 0..runs.len() {
                    let alone = chosen.each_ref().map(|chosen| {
                        let mut one = Chosen::default();
                        one.push(chosen.runs(query).iter().cloned());
                        one
                    });
                    let from = [(&window, &alone[0]), (&entries, &alone[1])];
                    let q = &q[query * each..][..each];
                    let out = super::attend(&pool, q, heads, &from, &sink, softmax);
                    same_bits(&out, &got[query * each..][..each], &what);
                }
            }
        }
    }
}

#[test]
fn pooling_is_its_twin_for_both_folds() {
    let seed = 10;
    let mut numbers = Numbers(seed);
    for width in [2, 34, 64] {
        let (kv, scores) = (numbers.floats(20 * width), numbers.floats(20 * width));
        let scores: Vec<f32> = scores.iter().map(|x| x * 30.0).collect();
        for (fold, groups) in [
            (Fold::Plain, vec![0..1, 1..9, 3..20]),
            // The first group has none before it.
            (Fold::Overlap { ratio: 4 }, vec![0..4, 0..8, 12..20]),
        ] {
            let want: Vec<f32> = groups
                .iter()
                .flat_map(|group| scalar::compress(&kv, &scores, group.clone(), fold, width))
                .collect();
            let mut first: Option<Vec<f32>> = None;
            for pool in pools() {
                let what = format!("seed {seed}, {fold:?}, width {width}, {pool:?}");
                let got = super::compress(&pool, (&kv, &scores), width, &groups, fold);
                close(&got, &want, want.len() / groups.len(), 1e-5, &what);
                same_bits(first.get_or_insert_with(|| got.clone()), &got, &what);
            }
        }
    }
}

#[test]
fn streams_are_mixed_as_in_64_bits() {
    let seed = 11;
    let mut numbers = Numbers(seed);
    let (n, hidden, tokens) = (4, 48, 5);
    let outputs = (2 + n) * n;
    let projection = numbers.weight(Format::F32, [outputs, n * hidden]);
    let (scale, base) = (numbers.floats(outputs), numbers.floats(outputs));
    let shape = HyperShape {
        streams: n,
        sinkhorn: 20,
        eps: 1e-6,
        norm_eps: 1e-6,
    };
    let known = (&projection, &*scale, &*base);
    let streams = numbers.floats(tokens * n * hidden);
    let carried = numbers.floats(tokens * n);
    let y_in = numbers.floats(tokens * hidden);

    let mut shares = Vec::new();
    for flat in streams.chunks(n * hidden) {
        let square: f64 = flat.iter().map(|x| f64::from(*x).powi(2)).sum();
        let rms = (square / flat.len() as f64 + 1e-6).sqrt();
        let mut row = vec![0.0; flat.len()];
        let z: Vec<f64> = (0..outputs)
            .map(|output| {
                decode_row(&projection, output, &mut row);
                let dot: f64 = row
                    .iter()
                    .zip(flat)
                    .map(|(w, x)| f64::from(*w) * f64::from(*x))
                    .sum();
                dot / rms * f64::from(scale[output]) + f64::from(base[output])
            })
            .collect();
        shares.push(scalar::gates(&z, shape));
    }
    let part = |range: Range<usize>| -> Vec<f32> {
        shares
            .iter()
            .flat_map(|token| &token[range.clone()])
            .map(|x| *x as f32)
            .collect()
    };
    let (pre, post, comb) = (part(0..n), part(n..2 * n), part(2 * n..outputs));
    let collapse = |shares: &[f32]| -> Vec<f32> {
        let at = |i: usize| {
            let (token, channel) = (i / hidden, i % hidden);
            (0..n)
                .map(|j| shares[token * n + j] * streams[(token * n + j) * hidden + channel])
                .sum()
        };
        (0..tokens * hidden).map(at).collect()
    };
    let written: Vec<f32> = (0..tokens * n * hidden)
        .map(|i| {
            let (token, k, channel) = (i / (n * hidden), i / hidden % n, i % hidden);
            let mixed: f32 = (0..n)
                .map(|j| {
                    comb[(token * n + j) * n + k] * streams[(token * n + j) * hidden + channel]
                })
                .sum();
            post[token * n + k] * y_in[token * hidden + channel] + mixed
        })
        .collect();

    let mut first = None;
    for pool in pools() {
        let got = super::hc_pre(&pool, &streams, tokens, known, shape, None);
        close(&got.pre, &pre, n, 1e-5, "pre");
        close(&got.post, &post, n, 1e-5, "post");
        close(&got.comb, &comb, n * n, 1e-5, "comb");
        close(&got.y, &collapse(&pre), hidden, 1e-5, "y");
        let second = super::hc_pre(
            &pool,
            &streams[n * hidden..2 * n * hidden],
            1,
            known,
            shape,
            None,
        );
        same_bits(&second.comb, &got.comb[n * n..2 * n * n], "a token alone");
        let other = super::hc_pre(&pool, &streams, tokens, known, shape, Some(&carried));
        close(
            &other.y,
            &collapse(&carried),
            hidden,
            1e-5,
            "y of carried shares",
        );
        let out = super::hc_post(&pool, (&y_in, &streams), (&got.post, &got.comb), n);
        close(&out, &written, hidden, 1e-5, "streams");
        let (first, out_first) = first.get_or_insert_with(|| (got.clone(), out.clone()));
        assert_eq!(*first, got, "seed {seed}, {pool:?}");
        same_bits(&out, out_first, "streams under every instruction set");
    }
}

#[test]
fn experts_are_the_sum_of_their_products() {
    let seed = 12;
    let mut numbers = Numbers(seed);
    let (hidden, inner, tokens, each) = (64, 32, 40, 3);
    let format = Format::Fp4 { block: 32 };
    let bank: Vec<[WeightView; 3]> = (0..7)
        .map(|_| {
            let mut weight = |shape| numbers.weight(format, shape);
            [
                weight([inner, hidden]),
                weight([inner, hidden]),
                weight([hidden, inner]),
            ]
        })
        .collect();
    let x = numbers.floats(tokens * hidden);
    let experts: Vec<u32> = (0..tokens as u32)
        .flat_map(|t| [t % 3, 3 + t % 2, 5 + t % 2])
        .collect();
    let weights: Vec<f32> = experts.iter().map(|_| numbers.float().abs()).collect();
    let routing = Routing {
        experts: experts.into(),
        weights: weights.into(),
        each,
    };
    let input = Some(Rounding::Fp8 { block: 32, tail: 0 });
    for form in [
        SwiGlu {
            limit: f32::INFINITY,
            input: None,
            bf16: false,
        },
        SwiGlu {
            limit: 0.5,
            input,
            bf16: true,
        },
    ] {
        let brain = |x: f32| if form.bf16 { quant::bf16(x) } else { x };
        let rounded = |x: &[f32]| {
            let mut x = x.to_vec();
            if let Some(input) = form.input {
                round_row(&mut x, input);
            }
            x
        };
        let product = |x: &[f32], weight: &WeightView| -> Vec<f32> {
            let mut out = vec![0.0; weight.shape[0]];
            scalar::linear(x, weight, &mut out);
            out.into_iter().map(brain).collect()
        };
        let mut want = vec![0.0; x.len()];
        for (visit, id) in routing.experts.iter().enumerate() {
            let token = visit / each;
            let [gate, up, down] = &bank[*id as usize];
            let x = rounded(&x[token * hidden..][..hidden]);
            let (gate, up) = (product(&x, gate), product(&x, up));
            let inner: Vec<f32> = gate
                .iter()
                .zip(&up)
                .map(|(gate, up)| {
                    let gate = gate.min(form.limit);
                    let up = up.clamp(-form.limit, form.limit);
                    brain(math::silu(gate) * up * routing.weights[visit])
                })
                .collect();
            let result = product(&rounded(&inner), down);
            let sum = &mut want[token * hidden..][..hidden];
            sum.iter_mut().zip(result).for_each(|(sum, x)| *sum += x);
        }
        for pool in pools() {
            let got = super::experts(&pool, &x, &routing, form, |id| {
                Ok(bank[id as usize].each_ref())
            });
            same_bits(
                &got.expect("all are at hand"),
                &want,
                &format!("seed {seed}, {pool:?}"),
            );
            let one = Routing {
                experts: routing.experts[15..18].into(),
                weights: routing.weights[15..18].into(),
                each,
            };
            let alone = super::experts(&pool, &x[5 * hidden..6 * hidden], &one, form, |id| {
                Ok(bank[id as usize].each_ref())
            });
            let want = &want[5 * hidden..6 * hidden];
            same_bits(&alone.expect("all are at hand"), want, "a token alone");
        }
    }
}

#[test]
fn a_missing_expert_is_an_error() {
    let routing = Routing {
        experts: [4].into(),
        weights: [1.0].into(),
        each: 1,
    };
    let form = SwiGlu {
        limit: 1.0,
        input: None,
        bf16: false,
    };
    let missing = || Error::Missing {
        name: "experts.4".to_owned(),
    };
    let got = super::experts(&Pool::new(1), &[0.0; 8], &routing, form, |_| Err(missing()));
    assert!(matches!(got, Err(Error::Missing { .. })));
}

#[test]
fn exponentials_are_within_two_units_in_the_last_place() {
    let mut x = -106.0f32;
    while x < 91.0 {
        let (got, want) = (f64::from(math::exp(x)), f64::from(x).exp());
        let bound = (want * 2f64.powi(-22)).max(f64::from(f32::from_bits(2)));
        let good = if want > f64::from(f32::MAX) {
            got.is_infinite()
        } else {
            (got - want).abs() <= bound
        };
        assert!(good, "e^{x} is {got:e}, want {want:e}");
        x += 0.001_37;
    }
    assert_eq!([math::exp(0.0), math::exp(f32::NEG_INFINITY)], [1.0, 0.0]);
    assert!(math::exp(f32::NAN).is_nan() && math::exp(f32::INFINITY).is_infinite());
}

#[test]
fn functions_of_one_number_are_those_of_64_bits() {
    let mut numbers = Numbers(13);
    let x: Vec<f32> = numbers.floats(1000).iter().map(|x| x * 25.0).collect();
    type Plain = fn(f64) -> f64;
    let cases: [(Unary, Plain); 9] = [
        (Unary::Affine { mul: 2.0, add: 1.0 }, |x| x * 2.0 + 1.0),
        (
            Unary::Clamp {
                min: -3.0,
                max: f32::INFINITY,
            },
            |x| x.max(-3.0),
        ),
        (Unary::Exp, f64::exp),
        (Unary::Recip, f64::recip),
        (Unary::Relu, |x| x.max(0.0)),
        (Unary::Rsqrt, |x| x.sqrt().recip()),
        (Unary::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
        (Unary::Silu, |x| x / (1.0 + (-x).exp())),
        (Unary::SqrtSoftplus, |x| {
            if x > 20.0 {
                x.sqrt()
            } else {
                x.exp().ln_1p().sqrt()
            }
        }),
    ];
    for (f, plain) in cases {
        for pool in pools() {
            let mut got = x.clone();
            super::map(&pool, &mut got, f);
            for (x, got) in x.iter().zip(got) {
                let want = plain(f64::from(*x)) as f32;
                let near =
                    (got - want).abs() <= want.abs() * 1e-6 || (got.is_nan() && want.is_nan());
                assert!(near, "{f:?} of {x} is {got}, want {want}, {pool:?}");
            }
        }
    }
}

#[test]
fn norms_and_rotations_are_those_of_64_bits_and_undo() {
    let mut numbers = Numbers(14);
    for width in [1, 15, 16, 100, 512] {
        let (x, weight) = (numbers.floats(5 * width), numbers.floats(width));
        let plain = |row: &[f32]| -> Vec<f32> {
            let square: f64 = row.iter().map(|x| f64::from(*x).powi(2)).sum();
            let rms = (square / width as f64 + 1e-6).sqrt();
            row.iter().map(|x| (f64::from(*x) / rms) as f32).collect()
        };
        let want: Vec<f32> = x.chunks(width).flat_map(plain).collect();
        let mut first: Option<Vec<f32>> = None;
        for pool in pools() {
            let mut got = x.clone();
            super::rms_norm(&pool, &mut got, width, None, 1e-6);
            close(&got, &want, width, 1e-6, "without a weight");
            same_bits(first.get_or_insert_with(|| got.clone()), &got, "a norm");
            let mut got = x.clone();
            super::rms_norm(&pool, &mut got, width, Some(&weight), 1e-6);
            let scale = |(i, x): (usize, &f32)| x * weight[i % width];
            let want: Vec<f32> = want.iter().enumerate().map(scale).collect();
            close(&got, &want, width, 1e-6, "with a weight");
        }
    }
    let angles = Rope::new(8, 10_000.0, None).angles(&[0, 7, 500]);
    let x = numbers.floats(3 * 2 * 20);
    for pool in pools() {
        let mut turned = x.clone();
        super::rope(&pool, &mut turned, 3, 20, &angles, Turn::Forward);
        same_bits(&turned[..40], &x[..40], "no turn at position 0");
        for row in 0..6 {
            same_bits(
                &turned[row * 20..][..12],
                &x[row * 20..][..12],
                "channels that stay",
            );
        }
        let (a, b) = (x[2 * 20 + 12], x[2 * 20 + 13]);
        let (cos, sin) = (angles.cos()[4], angles.sin()[4]);
        close(
            &turned[52..54],
            &[a * cos - b * sin, a * sin + b * cos],
            2,
            1e-6,
            "a pair",
        );
        super::rope(&pool, &mut turned, 3, 20, &angles, Turn::Back);
        close(&turned, &x, 20, 1e-6, "there and back");
    }
}
