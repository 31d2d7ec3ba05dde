//! The tower and the aligner against a plain twin in 64 bits.

use std::collections::BTreeMap;

use backend_candle::Candle;
use backend_host::Host;
use deepseek_core::quant::bf16;
use deepseek_core::reference::QUERY_ROWS;
use deepseek_core::weights::{Dtype, RawTensor, TensorSource, Tensors};
use deepseek_core::{Backend, HostTensor, Kernels, Loader, Numerics, Result, Shares};
use deepseek_vision::video::{Label, Shot};
use deepseek_vision::{Canvas, Delimiters, Grid, Image, Place, Tower, VisionConfig, embed};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Small, and no two numbers alike that could be taken for each other.
const TINY: VisionConfig = VisionConfig {
    layers: 2,
    hidden: 32,
    heads: 2,
    inner: 40,
    patch: 4,
    rope_theta: 10_000.0,
    downsample: 3,
    max_tokens: 64,
    min_pixels: 16 * 16,
    max_wh_ratio: None,
    out: 24,
};

/// Sizes of images: tiny, tall, wide, at the limits, and such that cells are partial.
const SIZES: [[usize; 2]; 9] = [
    [1, 1],
    [16, 16],
    [17, 20],
    [30, 13],
    [3, 90],
    [90, 3],
    [500, 1],
    [1, 500],
    [300, 310],
];

/// Weights by name.
#[derive(Debug)]
struct Weights(BTreeMap<String, RawTensor>);

impl TensorSource for Weights {
    fn find(&self, name: &str) -> Result<Option<RawTensor>> {
        Ok(self.0.get(name).cloned())
    }
}

impl Weights {
    /// Random ones that BF16 holds.
    fn draw(seed: u64) -> Self {
        let VisionConfig {
            hidden, inner, out, ..
        } = TINY;
        let mut shapes = vec![
            (
                "vision.patch_embed.proj.weight".to_owned(),
                vec![hidden, 48],
            ),
            ("vision.patch_embed.proj.bias".to_owned(), vec![hidden]),
            ("vision.norm.weight".to_owned(), vec![hidden]),
            ("aligner.w1.weight".to_owned(), vec![out, hidden * 9]),
            ("aligner.w1.bias".to_owned(), vec![out]),
            ("aligner.w2.weight".to_owned(), vec![out, out]),
            ("aligner.w2.bias".to_owned(), vec![out]),
            ("image_start".to_owned(), vec![out]),
            ("image_end".to_owned(), vec![out]),
            ("image_newline".to_owned(), vec![out]),
        ];
        for block in 0..TINY.layers {
            let mut add = |name: &str, shape: &[usize]| {
                shapes.push((format!("vision.blocks.{block}.{name}"), shape.to_vec()));
            };
            add("norm1.weight", &[hidden]);
            add("norm2.weight", &[hidden]);
            add("attn.wqkv.weight", &[3 * hidden, hidden]);
            add("attn.wqkv.bias", &[3 * hidden]);
            add("attn.wo.weight", &[hidden, hidden]);
            add("attn.wo.bias", &[hidden]);
            add("mlp.w1.weight", &[2 * inner, hidden]);
            add("mlp.w2.weight", &[hidden, inner]);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let tensors = shapes.into_iter().map(|(name, shape)| {
            let (mean, spread) = match shape[..] {
                _ if name.contains("norm") => (1.0, 0.5),
                [_, inputs] => (0.0, 2.5 / (inputs as f32).sqrt()),
                _ => (0.0, 0.5),
            };
            let bytes: Vec<u8> = (0..shape.iter().product())
                .map(|_| bf16(mean + spread * rng.random_range(-1.0_f32..1.0)))
                .flat_map(f32::to_le_bytes)
                .collect();
            let tensor = RawTensor::new(name.clone(), Dtype::F32, shape, bytes.into());
            (name, tensor.expect("as many bytes as the shape has"))
        });
        Self(tensors.collect())
    }

    fn values(&self, name: &str) -> Vec<f64> {
        let bytes = self.0[name].bytes();
        let floats = bytes.as_chunks::<4>().0.iter();
        floats
            .map(|float| f64::from(f32::from_le_bytes(*float)))
            .collect()
    }

    fn loader<'a, B: Backend>(&'a self, be: &'a B, numerics: Numerics) -> Loader<'a, B> {
        Loader {
            be,
            tensors: Tensors::new(self, [32, 32]),
            numerics,
            input_block: 32,
            shares: Shares::WHOLE,
        }
    }
}

type Rows = Vec<Vec<f64>>;

/// `x · wᵀ + b`, the bias being absent where there is none.
fn affine(weights: &Weights, name: &str, x: &Rows) -> Rows {
    let weight = weights.values(&format!("{name}.weight"));
    let bias = format!("{name}.bias");
    let bias = weights.0.contains_key(&bias).then(|| weights.values(&bias));
    let width = x[0].len();
    let dot = |x: &[f64], row: &[f64]| x.iter().zip(row).map(|(a, b)| a * b).sum::<f64>();
    let product = |x: &Vec<f64>| {
        let outputs = weight.chunks(width).enumerate();
        outputs
            .map(|(at, row)| dot(x, row) + bias.as_ref().map_or(0.0, |bias| bias[at]))
            .collect()
    };
    x.iter().map(product).collect()
}

fn norm(weights: &Weights, name: &str, x: &Rows) -> Rows {
    let weight = weights.values(&format!("{name}.weight"));
    let row = |x: &Vec<f64>| {
        let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        let scale = 1.0 / (mean + 1e-6).sqrt();
        x.iter().zip(&weight).map(|(x, w)| x * scale * w).collect()
    };
    x.iter().map(row).collect()
}

/// One head of one patch, rotated: the first half of the pairs by the row, the second by the column.
fn turn(head: &[f64], [row, column]: [usize; 2]) -> Vec<f64> {
    let half = head.len() / 2;
    let mut out = head.to_vec();
    for pair in 0..half {
        let (place, at) = if pair < half / 2 {
            (row, pair)
        } else {
            (column, pair - half / 2)
        };
        let frequency = f64::from(TINY.rope_theta).powf(-2.0 * at as f64 / half as f64);
        let (sin, cos) = (place as f64 * frequency).sin_cos();
        out[pair] = head[pair] * cos - head[pair + half] * sin;
        out[pair + half] = head[pair + half] * cos + head[pair] * sin;
    }
    out
}

fn attention(weights: &Weights, at: &str, x: &Rows, columns: usize) -> Rows {
    let (hidden, width) = (TINY.hidden, TINY.hidden / TINY.heads);
    let qkv = affine(weights, &format!("{at}.attn.wqkv"), x);
    let mut out = vec![vec![0.0; hidden]; x.len()];
    for head in 0..TINY.heads {
        let part =
            |row: &[f64], which: usize| row[which * hidden + head * width..][..width].to_vec();
        let places = (0..x.len()).map(|patch| [patch / columns, patch % columns]);
        let rotated = |which| -> Rows {
            let rows = qkv.iter().zip(places.clone());
            rows.map(|(row, place)| turn(&part(row, which), place))
                .collect()
        };
        let (q, k) = (rotated(0), rotated(1));
        for (q, out) in q.iter().zip(&mut out) {
            let score = |k: &Vec<f64>| {
                let dot: f64 = q.iter().zip(k).map(|(a, b)| a * b).sum();
                dot / (width as f64).sqrt()
            };
            let scores: Vec<f64> = k.iter().map(score).collect();
            let peak = scores.iter().copied().fold(f64::MIN, f64::max);
            let shares: Vec<f64> = scores.iter().map(|score| (score - peak).exp()).collect();
            let total: f64 = shares.iter().sum();
            for (share, row) in shares.iter().zip(&qkv) {
                for (out, v) in out[head * width..][..width].iter_mut().zip(part(row, 2)) {
                    *out += share / total * v;
                }
            }
        }
    }
    affine(weights, &format!("{at}.attn.wo"), &out)
}

fn add(a: &Rows, b: &Rows) -> Rows {
    let row = |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(|(a, b)| a + b).collect();
    a.iter().zip(b).map(row).collect()
}

/// The features of all cells.
fn twin(weights: &Weights, patches: &HostTensor, grid: &Grid) -> Rows {
    let [columns, rows] = grid.patches;
    let wide = |x: &f32| f64::from(*x);
    let patches = patches
        .data()
        .chunks(48)
        .map(|row| row.iter().map(wide).collect());
    let mut x = affine(weights, "vision.patch_embed.proj", &patches.collect());
    for block in 0..TINY.layers {
        let at = format!("vision.blocks.{block}");
        let h = norm(weights, &format!("{at}.norm1"), &x);
        x = add(&x, &attention(weights, &at, &h, columns));
        let h = norm(weights, &format!("{at}.norm2"), &x);
        let both = affine(weights, &format!("{at}.mlp.w1"), &h);
        let gated = |row: &Vec<f64>| {
            let (gate, up) = row.split_at(TINY.inner);
            let silu = |x: f64| x / (1.0 + (-x).exp());
            gate.iter()
                .zip(up)
                .map(|(gate, up)| silu(*gate) * up)
                .collect()
        };
        let inner: Rows = both.iter().map(gated).collect();
        x = add(&x, &affine(weights, &format!("{at}.mlp.w2"), &inner));
    }
    let x = norm(weights, "vision.norm", &x);
    let mut cells = Rows::new();
    for row in (0..rows).step_by(3) {
        for column in (0..columns).step_by(3) {
            let feature = |at: usize| {
                let (channel, row, column) = (at / 9, row + at % 9 / 3, column + at % 3);
                let inside = row < rows && column < columns;
                if inside {
                    x[row * columns + column][channel]
                } else {
                    0.0
                }
            };
            cells.push((0..TINY.hidden * 9).map(feature).collect());
        }
    }
    let mut h = affine(weights, "aligner.w1", &cells);
    h.iter_mut().flatten().for_each(|x| *x = gelu(*x));
    affine(weights, "aligner.w2", &h)
}

/// `x Φ(x)`, the distribution by its series `1/2 + φ(x) (x + x³/3 + x⁵/15 + …)`.
fn gelu(x: f64) -> f64 {
    let (mut term, mut sum) = (x, 0.0);
    for odd in (3..200).step_by(2) {
        sum += term;
        term *= x * x / f64::from(odd);
    }
    let density = (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt();
    x * (0.5 + density * sum)
}

fn canvas([width, height]: [usize; 2]) -> Canvas {
    let mut rng = ChaCha8Rng::seed_from_u64((width * 1000 + height) as u64);
    let rgb = (0..width * height * 3).map(|_| rng.random()).collect();
    Canvas::new(&Image::from_rgb(width, height, rgb), &TINY)
}

/// The largest difference, with its index and both values.
#[track_caller]
fn near(got: &[f32], want: &Rows, tolerance: f64, what: &str) {
    let want: Vec<f64> = want.iter().flatten().copied().collect();
    assert_eq!(got.len(), want.len(), "{what}");
    let apart = |at: usize| (f64::from(got[at]) - want[at]).abs();
    let worst = (0..got.len()).max_by(|a, b| apart(*a).total_cmp(&apart(*b)));
    let worst = worst.expect("there are features");
    let (got, want) = (got[worst], want[worst]);
    assert!(
        apart(worst) <= tolerance,
        "{what}: {got} at {worst}, want {want}"
    );
}

fn features_are_the_twins<B: Kernels>(be: &B) {
    let weights = Weights::draw(1);
    let loader = weights.loader(be, Numerics::EXACT);
    let tower = Tower::load(&loader, TINY).expect("all weights are there");
    for size in SIZES {
        let canvas = canvas(size);
        let patches = canvas.patches(TINY.patch);
        let got = tower.encode(be, &patches, canvas.grid()).expect("features");
        let got = be.download(&got).expect("numbers");
        let [columns, rows] = canvas.grid().cells;
        assert_eq!(got.shape(), [columns * rows, TINY.out], "{size:?}");
        let want = twin(&weights, &patches, canvas.grid());
        near(got.data(), &want, 2e-5, &format!("{} {size:?}", be.name()));
    }
}

#[test]
fn features_on_the_host_are_the_twins() {
    features_are_the_twins(&Host::new(2));
}

#[test]
fn features_by_primitives_alone_are_the_twins() {
    features_are_the_twins(&Candle::plain());
}

#[test]
fn the_sizes_reach_more_patches_than_attend_together() {
    let counts = SIZES.map(|size| canvas(size).grid().patches.iter().product::<usize>());
    assert!(counts.iter().any(|count| *count > QUERY_ROWS), "{counts:?}");
    assert!(counts.iter().any(|count| *count < QUERY_ROWS), "{counts:?}");
}

#[test]
fn bf16_stays_bf16_and_near() {
    let (be, weights) = (Host::new(2), Weights::draw(2));
    let loader = weights.loader(&be, Numerics::RELEASED);
    let tower = Tower::load(&loader, TINY).expect("all weights are there");
    let canvas = canvas([40, 33]);
    let patches = canvas.patches(TINY.patch);
    let got = tower
        .encode(&be, &patches, canvas.grid())
        .expect("features");
    let got = be.download(&got).expect("numbers");
    assert!(got.data().iter().all(|x| x.to_bits() == bf16(*x).to_bits()));
    let want = twin(&weights, &patches, canvas.grid());
    near(got.data(), &want, 0.15, "BF16");
}

#[test]
fn rows_stand_in_the_order_of_the_layout() {
    let (be, weights) = (Host::new(1), Weights::draw(3));
    let loader = weights.loader(&be, Numerics::EXACT);
    let tower = Tower::load(&loader, TINY).expect("all weights are there");
    let delimiters = Delimiters::load(&loader, TINY.out).expect("all are there");
    let canvas = canvas([50, 31]);
    let rows = embed(&be, &tower, &delimiters, &canvas).expect("rows");
    let rows = be.download(&rows).expect("numbers");
    let features = tower.encode(&be, &canvas.patches(TINY.patch), canvas.grid());
    let features = be.download(&features.expect("features")).expect("numbers");
    assert_eq!(rows.shape(), [canvas.grid().tokens(), TINY.out]);
    let delimiter = |name| weights.values(name).iter().map(|x| *x as f32).collect();
    let mut next = 0..features.shape()[0];
    for (index, place) in canvas.grid().layout().enumerate() {
        let want: Vec<f32> = match place {
            Place::Start => delimiter("image_start"),
            Place::Newline => delimiter("image_newline"),
            Place::End => delimiter("image_end"),
            Place::Feature => features.row(next.next().expect("one more")).to_vec(),
        };
        assert_eq!(rows.row(index), want, "row {index}, {place:?}");
    }
    assert!(next.is_empty());
}

#[test]
fn merged_frames_are_averaged_position_by_position() {
    let (be, weights) = (Host::new(1), Weights::draw(5));
    let loader = weights.loader(&be, Numerics::EXACT);
    let tower = Tower::load(&loader, TINY).expect("all weights are there");
    let delimiters = Delimiters::load(&loader, TINY.out).expect("all are there");
    let label = Label::at(0.0);
    let rows = |frames: &[&Canvas]| {
        let frames = frames.iter().copied().cloned().collect();
        let rows = Shot { label, frames }.embed(&be, &tower, &delimiters);
        be.download(&rows.expect("rows")).expect("numbers")
    };
    let (a, b) = (canvas([50, 31]), canvas([51, 32]));
    assert_eq!(a.grid(), b.grid());
    let (first, second) = (rows(&[&a]), rows(&[&b]));
    let alone = embed(&be, &tower, &delimiters, &a).expect("rows");
    assert_eq!(first, be.download(&alone).expect("numbers"));
    let halves = first.data().iter().zip(second.data());
    let halves = halves.map(|(a, b)| f64::from(a + b) / 2.0).collect();
    near(rows(&[&a, &b]).data(), &vec![halves], 1e-6, "two frames");
    let same = first.data().iter().copied().map(f64::from).collect();
    let twice = rows(&[&a, &a]);
    near(twice.data(), &vec![same], 1e-6, "a frame and itself");
}

#[test]
fn a_missing_weight_is_named() {
    let (be, mut weights) = (Host::new(1), Weights::draw(4));
    weights.0.remove("vision.blocks.1.attn.wo.bias");
    let error = Tower::load(&weights.loader(&be, Numerics::EXACT), TINY);
    let error = error.expect_err("a bias is missing").to_string();
    let want = "tensor vision.blocks.1.attn.wo.bias: missing from the checkpoint";
    assert_eq!(error, want);
}
