//! The host's kernels beside their plain twins and the roofs of the machine, all in one run.
//!
//! `cargo bench -p backend-candle -- [threads]` prints one line a case: the time, the ratio to the scalar twin,
//! and the shares of the roof of arithmetic (fused multiply-adds from registers) and of the roof of
//! memory (one pass over bytes that no cache holds). Only the ratios travel between machines.
#![allow(clippy::print_stdout, clippy::duplicate_mod, unsafe_code, missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use deepseek_core::kernels::{Chosen, Seen, Softmax};
use deepseek_core::weights::{Bytes, WeightView};
use deepseek_core::{Format, RowFormat, ScaleFormat};

#[path = "../src/cpu/mod.rs"]
#[allow(dead_code, unused_imports, unreachable_pub)]
mod cpu;
#[path = "../src/cpu/scalar.rs"]
#[allow(dead_code)]
mod scalar;

use cpu::{Pool, RowPool};

/// Time spent on each case.
const BUDGET: Duration = Duration::from_millis(400);

fn main() {
    let asked = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    let threads =
        asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let pool = Pool::new(threads);
    let roofs = Roofs {
        flops: flops_roof(threads),
        bytes: bytes_roof(threads),
    };
    println!(
        "{threads} threads, roofs {:.0} Gflop/s and {:.1} GB/s",
        roofs.flops / 1e9,
        roofs.bytes / 1e9
    );
    println!(
        "{:<34} {:>10} {:>8} {:>7} {:>7}",
        "case", "time", "twin", "flops", "bytes"
    );
    linear(&pool, &roofs);
    index(&pool, &roofs);
    attend(&pool, &roofs);
}

/// What the machine can do at most, per second.
struct Roofs {
    flops: f64,
    bytes: f64,
}

impl Roofs {
    /// Prints one case; `twin` is the time of the scalar twin where it was taken.
    fn line(&self, case: &str, time: f64, twin: Option<f64>, flops: f64, bytes: f64) {
        println!(
            "{case:<34} {:>8.3}ms {:>8} {:>6.0}% {:>6.0}%",
            time * 1e3,
            twin.map_or_else(|| "-".to_owned(), |twin| format!("{:.1}x", twin / time)),
            flops / time / self.flops * 100.0,
            bytes / time / self.bytes * 100.0,
        );
    }
}

/// The shortest of as many runs as the budget allows, in seconds.
fn time(mut run: impl FnMut()) -> f64 {
    run();
    let start = Instant::now();
    let mut best = f64::INFINITY;
    while start.elapsed() < BUDGET {
        let before = Instant::now();
        run();
        best = best.min(before.elapsed().as_secs_f64());
    }
    best
}

fn on_all(threads: usize, work: impl Fn() + Sync) -> f64 {
    time(|| {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(&work);
            }
        });
    })
}

/// Fused multiply-adds a second, counted twice, on registers alone.
fn flops_roof(threads: usize) -> f64 {
    const ROUNDS: usize = 2_000_000;
    let time = on_all(threads, || {
        black_box(multiply_add(black_box(ROUNDS)));
    });
    (threads * ROUNDS * 2 * CHAINS * 16) as f64 / time
}

/// Independent sums: enough to hide the latency of two units.
const CHAINS: usize = 12;

fn multiply_add(rounds: usize) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the machine has what the function needs, as just asked.
        return unsafe { multiply_add_512(rounds) };
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the machine has what the function needs, as just asked.
        return unsafe { multiply_add_256(rounds) };
    }
    multiply_add_any(rounds)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn multiply_add_512(rounds: usize) -> f32 {
    use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_reduce_add_ps, _mm512_set1_ps};
    let (a, b) = (
        _mm512_set1_ps(black_box(0.999)),
        _mm512_set1_ps(black_box(0.001)),
    );
    let mut sums = [a; CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, a, b);
        }
    }
    sums.into_iter().map(|sum| _mm512_reduce_add_ps(sum)).sum()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn multiply_add_256(rounds: usize) -> f32 {
    use std::arch::x86_64::{_mm256_cvtss_f32, _mm256_fmadd_ps, _mm256_set1_ps};
    let (a, b) = (
        _mm256_set1_ps(black_box(0.999)),
        _mm256_set1_ps(black_box(0.001)),
    );
    let mut sums = [a; CHAINS];
    for _ in 0..2 * rounds {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, a, b);
        }
    }
    sums.into_iter().map(|sum| _mm256_cvtss_f32(sum)).sum()
}

#[inline(always)]
fn multiply_add_any(rounds: usize) -> f32 {
    let (a, b) = (black_box(0.999f32), black_box(0.001f32));
    let mut sums = [[a; 16]; CHAINS];
    for _ in 0..rounds {
        for sum in sums.as_flattened_mut() {
            *sum = sum.mul_add(a, b);
        }
    }
    sums.as_flattened().iter().sum()
}

/// Bytes read a second, each once.
fn bytes_roof(threads: usize) -> f64 {
    let words = vec![1u64; 32 << 20];
    let part = words.len() / threads;
    let time = time(|| {
        std::thread::scope(|scope| {
            for words in words.chunks(part) {
                scope.spawn(move || {
                    black_box(
                        words
                            .iter()
                            .fold(0, |sum: u64, word| sum.wrapping_add(*word)),
                    )
                });
            }
        });
    });
    size_of_val(&*words) as f64 / time
}

/// Bytes and numbers that differ, the same in every run.
fn bytes(count: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    (0..count).map(|_| next()).collect()
}

fn numbers(count: usize) -> Vec<f32> {
    bytes(2 * count)
        .as_chunks()
        .0
        .iter()
        .map(|pair| f32::from(i16::from_le_bytes(*pair)) / 32_768.0)
        .collect()
}

/// Enough matrices that one pass over them leaves nothing in a cache of a core.
fn weights(format: Format, shape: [usize; 2], copies: usize) -> Vec<WeightView> {
    let make = || {
        let mut view = WeightView {
            name: "w".to_owned(),
            format,
            shape,
            data: Vec::new().into(),
            scales: Vec::new().into(),
            tile_row: 0,
        };
        let count = shape[0] * view.row_bytes();
        let data: Vec<u8> = match format {
            Format::F32 => numbers(count / 4)
                .iter()
                .flat_map(|x| x.to_le_bytes())
                .collect(),
            Format::Bf16 => {
                let high = |x: &f32| [x.to_le_bytes()[2], x.to_le_bytes()[3]];
                numbers(count / 2).iter().flat_map(high).collect()
            }
            // Without the codes of NaN.
            _ => bytes(count).into_iter().map(|byte| byte & 0xbf).collect(),
        };
        view.data = Bytes::from(data);
        view.scales = Bytes::from(vec![120; shape[0] * view.scale_row_bytes()]);
        view
    };
    (0..copies).map(|_| make()).collect()
}

fn linear(pool: &Pool, roofs: &Roofs) {
    const SHAPE: [usize; 2] = [2048, 4096];
    let formats = [
        Format::F32,
        Format::Bf16,
        Format::Fp8 {
            tile: [128, 128],
            scale: ScaleFormat::E8m0,
        },
        Format::Fp4 { block: 32 },
    ];
    for format in formats {
        // The last cache is shared and may be large, so that a single matrix would stay in it.
        let views = weights(format, SHAPE, 8);
        let size = views[0].data.len() as f64;
        let x = numbers(512 * SHAPE[1]);
        let mut out = vec![0.0; 512 * SHAPE[0]];
        let twin = time(|| scalar::linear(&x[..SHAPE[1]], &views[0], &mut out[..SHAPE[0]]));
        for tokens in [1, 8, 128, 512] {
            let (x, out) = (&x[..tokens * SHAPE[1]], &mut out[..tokens * SHAPE[0]]);
            let mut turn = 0;
            let time = time(|| {
                turn += 1;
                cpu::linear(pool, x, &views[turn % views.len()], out);
            });
            let flops = 2.0 * (SHAPE[0] * SHAPE[1] * tokens) as f64;
            let twin = (tokens == 1).then_some(twin);
            roofs.line(
                &format!("linear {format}, {tokens} tokens"),
                time,
                twin,
                flops,
                size,
            );
        }
    }
}

fn index(pool: &Pool, roofs: &Roofs) {
    const KEYS: usize = 65_536;
    for (width, heads, format) in [
        (128, 64, RowFormat::Fp4 { block: 32 }),
        (128, 64, RowFormat::F32),
        (64, 16, RowFormat::Bf16),
        (128, 1, RowFormat::Fp4 { block: 32 }),
    ] {
        let mut keys = RowPool::new(format, width, KEYS).expect("memory");
        let at: Vec<u32> = (0..KEYS as u32).collect();
        let values = numbers(KEYS * width);
        keys.write(&at, &values);
        for (tokens, bf16) in [(1, false), (1, true), (16, false)] {
            let q = numbers(tokens * heads * width);
            let weights = numbers(tokens * heads);
            let seen = Seen {
                rows: vec![0..KEYS as u32; tokens],
            };
            let time_taken = time(|| {
                black_box(cpu::index_topk(pool, &q, &weights, &keys, &seen, 512, bf16));
            });
            let few = &values[..1024 * width];
            let twin = (tokens == 1).then(|| {
                let part = time(|| {
                    black_box(scalar::scores(&q, &weights, few, bf16));
                });
                part * (KEYS / 1024) as f64
            });
            let flops = 2.0 * (KEYS * heads * width * tokens) as f64;
            let size = (format.row_bytes(width) * KEYS) as f64;
            let bf16 = if bf16 { ", bf16" } else { "" };
            let case = format!("index {tokens}x{heads}x{width} {format:?}{bf16}");
            roofs.line(
                case.get(..34).unwrap_or(&case),
                time_taken,
                twin,
                flops,
                size,
            );
        }
    }
}

fn attend(pool: &Pool, roofs: &Roofs) {
    const ROWS: usize = 8192;
    let (width, heads) = (512, 64);
    let format = RowFormat::Fp8 {
        block: 64,
        tail: 64,
        tail_bytes: 2,
    };
    let mut rows = RowPool::new(format, width, ROWS).expect("memory");
    let at: Vec<u32> = (0..ROWS as u32).collect();
    let values = numbers(ROWS * width);
    rows.write(&at, &values);
    for (tokens, count) in [(1, 640), (4, 640), (32, 640)] {
        let mut chosen = Chosen::with_capacity(tokens);
        for token in 0..tokens {
            chosen.push_rows((0..count).map(|i| (i * 11 + token) as u32));
        }
        let q = numbers(tokens * heads * width);
        let sink = numbers(heads);
        let softmax = Softmax {
            scale: 0.05,
            bf16: true,
        };
        let time_taken = time(|| {
            black_box(cpu::attend(
                pool,
                &q,
                heads,
                &[(&rows, &chosen)],
                &sink,
                softmax,
            ));
        });
        let twin = (tokens == 1).then(|| {
            time(|| {
                black_box(scalar::attend(
                    &q[..width],
                    &values[..count * width],
                    &sink[..1],
                    softmax,
                ));
            }) * heads as f64
        });
        let flops = 4.0 * (tokens * heads * count * width) as f64;
        let size = (tokens * count * format.row_bytes(width)) as f64;
        roofs.line(
            &format!("attend {tokens} x {heads} heads, {count} rows"),
            time_taken,
            twin,
            flops,
            size,
        );
    }
}
