//! How fast the host's products are, as ratios in one run: against the plain mode, which is candle's
//! own product of widened weights, and against the roof of memory. Experts stand against the body that
//! is provided for them. `cargo bench -p backend-host`.
#![allow(clippy::print_stdout, reason = "a table is what a bench is for")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use backend_candle::Candle;
use backend_host::{Host, KernelSet};
use deepseek_core::operands::{ExpertShare, ExpertViews, Linear, Residency, Routing, SwiGlu};
use deepseek_core::weights::{Bytes, WeightView};
use deepseek_core::{Backend, Format, HostTensor, Kernels, Result, ScaleFormat, Use, reference};

/// A matrix of V4-Flash: an expert's `w1`.
const SHAPE: [usize; 2] = [2048, 4096];
/// Matrices that take turns, so that none is in a cache when it is read.
const TURNS: usize = 24;
/// Experts for a token.
const TOP_K: usize = 6;
/// Channels that share a scale where inputs of products with FP8 and FP4 weights are rounded.
const INPUT_BLOCK: usize = 128;
/// How long each figure is measured.
const SPAN: Duration = Duration::from_millis(600);

fn main() -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let hosts = KernelSet::available()
        .filter(|set| *set != KernelSet::Plain)
        .map(|set| Ok((set, Host::start(threads, set)?)))
        .collect::<Result<Vec<_>>>()?;
    let plain = Candle::plain();
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
        Format::Int8,
        Format::Int4 { group: 128 },
    ];
    println!(
        "{threads} threads; shares are of what they read, and multiply as 32-bit floats\n{:>12} {:>5} {:>7} {:>8} {:>8} {:>9} {:>8} {:>9}",
        "", "", "tokens", "GB/s", "of read", "GFLOP/s", "of floats", "of plain"
    );
    for format in formats {
        let views: Vec<WeightView> = (0..TURNS).map(|turn| matrix(format, SHAPE, turn)).collect();
        for tokens in [1, 12, 128] {
            let theirs = rate(&plain, &views[..2], tokens)?;
            for (set, host) in &hosts {
                product((*set, host), &views, tokens, theirs)?;
            }
        }
    }
    println!(
        "\nexperts in {}, {TOP_K} for a token\n{:>12} {:>7} {:>10} {:>11}",
        name(formats[4]),
        "",
        "tokens",
        "tokens/s",
        "of provided"
    );
    for tokens in [1, 4, 48, 128] {
        for (set, host) in &hosts {
            let [ours, provided] = experts(host, formats[4], tokens)?;
            let ratio = ours / provided;
            println!("{:>12} {tokens:>7} {ours:>10.1} {ratio:>10.1}x", set.name());
        }
    }
    Ok(())
}

/// One line: a product of rows by matrices that take turns, where the plain mode makes `plain` a second.
fn product(
    (set, host): (KernelSet, &Host),
    views: &[WeightView],
    tokens: usize,
    plain: f64,
) -> Result<()> {
    let roofs = host.roofs()?;
    let ours = rate(host, views, tokens)?;
    let bytes = (views[0].data.len() + views[0].scales.len()) as f64;
    let flops = 2.0 * (SHAPE[0] * SHAPE[1] * tokens) as f64;
    println!(
        "{:>12} {:>5} {tokens:>7} {:>8.1} {:>7.0}% {:>9.1} {:>8.0}% {:>8.1}x",
        set.name(),
        name(views[0].format),
        ours * bytes / 1e9,
        100.0 * ours * bytes / roofs.read,
        ours * flops / 1e9,
        100.0 * ours * flops / roofs.multiply,
        ours / plain,
    );
    Ok(())
}

/// Tokens a second through the experts of a layer: by the kernel, and by the provided body.
fn experts(host: &Host, format: Format, tokens: usize) -> Result<[f64; 2]> {
    let [inner, hidden] = SHAPE;
    let views: Vec<ExpertViews> = (0..TURNS)
        .map(|turn| ExpertViews {
            gate: matrix(format, SHAPE, turn),
            up: matrix(format, SHAPE, turn + 1),
            down: matrix(format, [hidden, inner], turn + 2),
        })
        .collect();
    let bank = host.load_experts(ExpertShare::all(&views), Residency::default())?;
    let x = host.upload(&numbers(&[tokens, hidden]))?;
    let form = SwiGlu {
        limit: 10.0,
        input: format.input_rounding(INPUT_BLOCK),
        bf16: true,
    };
    // Each step chooses others, so that none is in a cache when it is read.
    let routings = (0..TURNS / TOP_K)
        .map(|step| {
            let first = |token| (token + step) * TOP_K % TURNS;
            let chosen = |token| first(token) as u32..(first(token) + TOP_K) as u32;
            Ok(Routing {
                experts: host.ids(&(0..tokens).flat_map(chosen).collect::<Vec<_>>())?,
                weights: host.upload(&numbers(&[tokens, TOP_K]))?,
                scores: host.upload(&numbers(&[tokens, TURNS]))?,
                top_k: TOP_K,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let routing = |step: usize| &routings[step % routings.len()];
    let ours = often(|step| host.experts(&x, routing(step), &bank, form))?;
    let provided = often(|step| reference::experts(host, &x, routing(step), &bank, form))?;
    Ok([ours, provided].map(|rate| rate * tokens as f64))
}

/// Products a second, with the roundings of the level `released`.
fn rate<B: Kernels>(be: &B, views: &[WeightView], tokens: usize) -> Result<f64> {
    let product = |view: &WeightView| {
        Ok(Linear {
            weight: be.load(view, Use::Product)?,
            input: view.format.input_rounding(INPUT_BLOCK),
            output: None,
        })
    };
    let products = views.iter().map(product).collect::<Result<Vec<_>>>()?;
    let x = be.upload(&numbers(&[tokens, SHAPE[1]]))?;
    often(|step| be.project_one(&x, &products[step % products.len()]))
}

fn numbers(shape: &[usize]) -> HostTensor {
    let count = shape.iter().product();
    let number = |at: usize| (at as f32 * 0.37).sin();
    HostTensor::new(shape, (0..count).map(number).collect())
}

/// How often a second `work` is done, which is told how often it was done before.
fn often<T>(work: impl Fn(usize) -> Result<T>) -> Result<f64> {
    work(0)?;
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < SPAN {
        black_box(work(count)?);
        count += 1;
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

/// A matrix of codes that are numbers, with scales near one.
fn matrix(format: Format, shape: [usize; 2], seed: usize) -> WeightView {
    let [rows, columns] = shape;
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
        Format::Int8 => (
            codes(rows * columns).collect(),
            1_f32.to_le_bytes().repeat(rows),
        ),
        Format::Int4 { group } => (
            codes(rows * columns / 2).collect(),
            1_f32.to_le_bytes().repeat(rows * columns / group),
        ),
    };
    let (data, scales) = (Bytes::from(data), Bytes::from(scales));
    WeightView {
        name: name(format).to_owned(),
        format,
        shape,
        data,
        scales,
        tile_row: 0,
        stride: None,
    }
}

fn name(format: Format) -> &'static str {
    match format {
        Format::F32 => "F32",
        Format::Bf16 => "BF16",
        Format::F16 => "F16",
        Format::Fp8 { .. } => "FP8",
        Format::Fp4 { .. } => "FP4",
        Format::Int8 => "INT8",
        Format::Int4 { .. } => "INT4",
    }
}
