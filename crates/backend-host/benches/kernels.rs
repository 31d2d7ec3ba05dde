//! How fast the host's products are, as ratios in one run: against the plain mode, which is candle's
//! own product of widened weights, and against the roof of memory. `cargo bench -p backend-host`.
#![allow(clippy::print_stdout, reason = "a table is what a bench is for")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use backend_candle::Candle;
use backend_host::Host;
use deepseek_core::weights::{Bytes, WeightView};
use deepseek_core::{Backend, Format, HostTensor, Result, ScaleFormat, Use};

/// A matrix of V4-Flash: an expert's `w1`.
const SHAPE: [usize; 2] = [2048, 4096];
/// Matrices that take turns, so that none is in a cache when it is read.
const TURNS: usize = 24;
/// How long each figure is measured.
const SPAN: Duration = Duration::from_millis(600);

fn main() -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (host, plain) = (Host::new(threads), Candle::plain());
    let memory = memory_bandwidth(threads);
    println!("{threads} threads, memory {memory:.1} GB/s by reading");
    println!(
        "{:>6} {:>7} {:>10} {:>10} {:>9} {:>9}",
        "", "tokens", "GB/s", "of memory", "GFLOP/s", "of plain"
    );
    let formats = [
        Format::F32,
        Format::Bf16,
        Format::F16,
        Format::Fp8 {
            tile: [128, 128],
            scale: ScaleFormat::E8m0,
        },
        Format::Fp4 {
            block: 32,
            scale: ScaleFormat::E8m0,
        },
    ];
    for format in formats {
        let views: Vec<WeightView> = (0..TURNS).map(|turn| matrix(format, turn)).collect();
        let bytes = views[0].data.len() + views[0].scales.len();
        for tokens in [1, 8, 128] {
            let ours = rate(&host, &views, tokens)?;
            let theirs = rate(&plain, &views[..2], tokens)?;
            let flops = 2.0 * (SHAPE[0] * SHAPE[1] * tokens) as f64;
            let bandwidth = ours * bytes as f64 / 1e9;
            println!(
                "{:>6} {tokens:>7} {bandwidth:>10.1} {:>9.0}% {:>9.1} {:>8.1}x",
                name(format),
                100.0 * bandwidth / memory,
                ours * flops / 1e9,
                ours / theirs,
            );
        }
    }
    Ok(())
}

/// Products a second.
fn rate<B: Backend>(be: &B, views: &[WeightView], tokens: usize) -> Result<f64> {
    let weights = views
        .iter()
        .map(|view| be.load(view, Use::Product))
        .collect::<Result<Vec<_>>>()?;
    let x = (0..tokens * SHAPE[1])
        .map(|at| (at as f32 * 0.37).sin())
        .collect();
    let x = be.upload(&HostTensor::new(&[tokens, SHAPE[1]], x))?;
    be.linear(&x, &weights[0])?;
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < SPAN {
        black_box(be.linear(&x, &weights[count % weights.len()])?);
        count += 1;
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

/// Bytes a second, in GB, that all threads together read from memory.
fn memory_bandwidth(threads: usize) -> f64 {
    let words = vec![1_u64; 48 << 20];
    let part = words.len() / threads;
    let start = Instant::now();
    let mut passes = 0;
    while start.elapsed() < SPAN {
        std::thread::scope(|scope| {
            for part in words.chunks(part) {
                scope.spawn(move || {
                    black_box(part.iter().fold(0, |sum: u64, x| sum.wrapping_add(*x)))
                });
            }
        });
        passes += 1;
    }
    (passes * words.len() * 8) as f64 / start.elapsed().as_secs_f64() / 1e9
}

/// A matrix of codes that are numbers, with scales near one.
fn matrix(format: Format, seed: usize) -> WeightView {
    let [rows, columns] = SHAPE;
    let codes = |count: usize| (0..count).map(|at| (at * 131 + at / 7 + seed) as u8);
    let (data, scales): (Vec<u8>, Vec<u8>) = match format {
        Format::F32 => (
            (0..rows * columns)
                .flat_map(|at| ((at % 251) as f32).to_le_bytes())
                .collect(),
            vec![],
        ),
        Format::F16 => {
            let halves = codes(rows * columns).flat_map(|code| [code, 0x3c]);
            (halves.collect(), vec![])
        }
        Format::Bf16 => {
            let values =
                (0..rows * columns).flat_map(|at| ((at % 251) as f32).to_le_bytes()[2..].to_vec());
            (values.collect(), vec![])
        }
        Format::Fp8 { tile: [r, c], .. } => {
            let data = codes(rows * columns).map(|code| code & 0xf7).collect();
            (data, vec![127; rows.div_ceil(r) * columns.div_ceil(c)])
        }
        Format::Fp4 { block, .. } => (
            codes(rows * columns / 2).collect(),
            vec![127; rows * columns / block],
        ),
    };
    let (data, scales) = (Bytes::from(data), Bytes::from(scales));
    WeightView {
        name: name(format).to_owned(),
        format,
        shape: SHAPE,
        data,
        scales,
        tile_row: 0,
    }
}

fn name(format: Format) -> &'static str {
    match format {
        Format::F32 => "F32",
        Format::Bf16 => "BF16",
        Format::F16 => "F16",
        Format::Fp8 { .. } => "FP8",
        Format::Fp4 { .. } => "FP4",
    }
}
