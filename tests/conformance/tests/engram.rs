//! The n-gram memory's layer against a plain twin in 64-bit floats.

use anyhow::Result;
use backend_candle::Candle;
use backend_host::Host;
use conformance::compare::{relative, same_bits};
use deepseek_core::operands::Inputs;
use deepseek_core::quant::bf16;
use deepseek_core::weights::{Shard, Tensors};
use deepseek_core::{HostTensor, Kernels, Loader, Numerics, Shares, Unary};
use deepseek_engram::{Engram, LayerConfig};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, TensorView};

const EPS: f32 = 1e-20;

/// Random weights and inputs of one layer.
struct Case {
    shape: LayerConfig,
    tokens: usize,
    wkv: Vec<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    streams: Vec<f32>,
    e: Vec<f32>,
    media: Vec<bool>,
}

impl Case {
    fn draw(seed: u64) -> Self {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let shape = LayerConfig {
            hidden: [8, 33, 64][rng.random_range(0..3)],
            streams: [1, 2, 4][rng.random_range(0..3)],
            columns: 6,
            head_dim: 8,
            eps: EPS,
        };
        let tokens = rng.random_range(1..7);
        let mut numbers = |count: usize, mean: f32, spread: f32| -> Vec<f32> {
            let number = |_| mean + spread * rng.random_range(-1.7_f32..1.7);
            (0..count).map(number).collect()
        };
        let (width, inner) = (shape.streams * shape.hidden, shape.columns * shape.head_dim);
        let wkv = numbers(
            (width + shape.hidden) * inner,
            0.0,
            (inner as f32).powf(-0.5),
        );
        let (q, k) = (numbers(width, 1.0, 0.3), numbers(width, 1.0, 0.3));
        let mut streams = numbers(tokens * width, 0.0, 3.0);
        let e = numbers(tokens * inner, 0.0, 1.0);
        // Streams so small that their mean square is near the epsilon, and one of nothing.
        streams[..shape.hidden].iter_mut().for_each(|x| *x *= 1e-10);
        streams[(tokens - 1) * width..][..shape.hidden].fill(0.0);
        let media = match seed % 3 {
            0 => Vec::new(),
            _ => (0..tokens).map(|_| rng.random()).collect(),
        };
        Self {
            shape,
            tokens,
            wkv,
            q,
            k,
            streams,
            e,
            media,
        }
    }

    fn file(&self) -> Result<Shard> {
        let LayerConfig {
            hidden,
            streams,
            columns,
            head_dim,
            ..
        } = self.shape;
        let bytes = |values: &[f32]| {
            values
                .iter()
                .flat_map(|x| x.to_le_bytes())
                .collect::<Vec<u8>>()
        };
        let tensors = [
            (
                "wkv.weight",
                [(streams + 1) * hidden, columns * head_dim],
                bytes(&self.wkv),
            ),
            ("q_weight", [streams, hidden], bytes(&self.q)),
            ("k_weight", [streams, hidden], bytes(&self.k)),
        ];
        let views = tensors
            .iter()
            .map(|(name, shape, bytes)| {
                Ok((*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes)?))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Shard::from_bytes(
            "engram.safetensors",
            safetensors::serialize(views, None)?,
        )?)
    }

    fn run<B: Kernels>(&self, be: &B, numerics: Numerics) -> Result<Vec<f32>> {
        let LayerConfig {
            hidden,
            streams,
            columns,
            head_dim,
            ..
        } = self.shape;
        let file = self.file()?;
        let tensors = Tensors::new(&file, [32, 32]);
        let layer = Engram::load(
            &Loader {
                be,
                tensors,
                numerics,
                input_block: 32,
                shares: Shares::WHOLE,
            },
            self.shape,
        )?;
        let x = be.upload(&HostTensor::new(
            &[self.tokens, streams, hidden],
            self.streams.clone(),
        ))?;
        let e = be.upload(&HostTensor::new(
            &[self.tokens, columns * head_dim],
            self.e.clone(),
        ))?;
        let inputs = Inputs::new(be, &vec![0; self.tokens], &self.media)?;
        let y = layer.forward(be, &x, &e, inputs.media.as_ref())?;
        let y = be.download(&y)?;
        assert_eq!(y.shape(), [self.tokens, streams, hidden]);
        Ok(y.into_data())
    }

    /// `docs/models/deepseek-v41.md` §3.7, number by number.
    fn twin(&self) -> Vec<f32> {
        let LayerConfig {
            hidden, streams, ..
        } = self.shape;
        let inner = self.e.len() / self.tokens;
        let mut out = Vec::new();
        for token in 0..self.tokens {
            let e = &self.e[token * inner..][..inner];
            let recalled: Vec<f64> = self.wkv.chunks(inner).map(|row| dot(row, e)).collect();
            let value = &recalled[streams * hidden..];
            for stream in 0..streams {
                let at = stream * hidden;
                let x = &self.streams[token * streams * hidden + at..][..hidden];
                let key = &recalled[at..][..hidden];
                let mean_x = dot(x, x) / hidden as f64 + f64::from(EPS);
                let mean_key =
                    key.iter().map(|k| k * k).sum::<f64>() / hidden as f64 + f64::from(EPS);
                let mut a = 0.0;
                for channel in 0..hidden {
                    let weight = f64::from(self.q[at + channel]) * f64::from(self.k[at + channel]);
                    a += f64::from(x[channel]) * weight * key[channel];
                }
                a /= (mean_x * mean_key * hidden as f64).sqrt();
                let root = a.abs().max(1e-6).sqrt().copysign(a);
                let open = !self.media.get(token).is_some_and(|media| *media);
                let g = if open {
                    1.0 / (1.0 + (-root).exp())
                } else {
                    0.0
                };
                out.extend(
                    x.iter()
                        .zip(value)
                        .map(|(x, v)| (f64::from(*x) + g * v) as f32),
                );
            }
        }
        out
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

#[test]
fn the_layer_adds_what_its_plain_twin_adds() -> Result<()> {
    the_layer_adds_what_its_plain_twin_adds_on(&Host::new(2))?;
    the_layer_adds_what_its_plain_twin_adds_on(&Candle::plain())
}

fn the_layer_adds_what_its_plain_twin_adds_on<B: Kernels>(be: &B) -> Result<()> {
    for seed in 0..40 {
        let case = Case::draw(seed);
        let what = format!("{}, seed {seed}", be.name());
        relative(&what, &case.run(be, Numerics::EXACT)?, &case.twin(), 3e-6);
    }
    Ok(())
}

#[test]
fn rows_of_images_stay_as_they_are_and_others_do_not() -> Result<()> {
    let be = Host::new(2);
    let mut case = Case::draw(4);
    case.media = (0..case.tokens).map(|token| token % 2 == 0).collect();
    let got = case.run(&be, Numerics::EXACT)?;
    let width = case.streams.len() / case.tokens;
    for (token, (got, was)) in got
        .chunks(width)
        .zip(case.streams.chunks(width))
        .enumerate()
    {
        assert_eq!(got == was, case.media[token], "token {token}");
    }
    case.media.fill(false);
    let all_text = case.run(&be, Numerics::EXACT)?;
    case.media.clear();
    same_bits("text alone", &case.run(&be, Numerics::EXACT)?, &all_text);
    Ok(())
}

#[test]
fn released_streams_are_bf16_after_a_gate_that_is_not() -> Result<()> {
    let be = Host::new(2);
    let numerics = Numerics {
        bf16: true,
        ..Numerics::EXACT
    };
    for seed in 0..10 {
        let mut case = Case::draw(seed);
        case.streams.iter_mut().for_each(|x| *x = bf16(*x));
        let got = case.run(&be, numerics)?;
        let rounded: Vec<f32> = got.iter().map(|x| bf16(*x)).collect();
        same_bits(&format!("seed {seed}"), &got, &rounded);
        // Two roundings: of what is recalled, and of the sum.
        relative(
            &format!("seed {seed}"),
            &got,
            &case.twin(),
            2.0_f32.powi(-7),
        );
    }
    Ok(())
}

#[test]
fn a_signed_root_keeps_the_sign_and_takes_zero_for_positive() -> Result<()> {
    a_signed_root_keeps_the_sign_and_takes_zero_for_positive_on(&Host::new(1))?;
    a_signed_root_keeps_the_sign_and_takes_zero_for_positive_on(&Candle::plain())
}

fn a_signed_root_keeps_the_sign_and_takes_zero_for_positive_on<B: Kernels>(be: &B) -> Result<()> {
    let x = vec![-4.0, -1e-9, 0.0, 1e-9, 9.0, 0.25, f32::NAN];
    let x = be.upload(&HostTensor::new(&[7], x))?;
    let got = be.download(&be.map(&x, Unary::SignedSqrt { min: 0.0625 })?)?;
    assert_eq!(got.data()[..6], [-2.0, -0.25, 0.25, 0.25, 3.0, 0.5]);
    assert!(got.data()[6].is_nan());
    Ok(())
}
