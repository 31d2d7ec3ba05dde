//! Random tensors of the right kind for their names: every path of the model stays active.

use std::collections::HashMap;

use deepseek_core::quant::{bf16, e8m0, fp4, fp8};
use deepseek_core::weights::Dtype;
use deepseek_model::Config;
use deepseek_model::inventory::{Component, TensorSpec};
use rand::Rng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;

/// Columns that share a scale in FP4 matrices.
const FP4_BLOCK: usize = 32;

/// Rows and columns that share a scale in the tables of n-grams, whose rows are read one by one.
const TABLE_TILE: [usize; 2] = [1, 32];

/// Draws tensors in the order in which they are asked for.
pub(crate) struct Draw {
    rng: ChaCha8Rng,
    tile: [usize; 2],
    experts: usize,
    /// Scales of the quantised matrices drawn before them, by name.
    scales: HashMap<String, Vec<u8>>,
}

impl Draw {
    pub(crate) fn new(config: &Config, rng: ChaCha8Rng) -> Self {
        Self {
            rng,
            tile: config.fp8_tile,
            experts: config.experts.count,
            scales: HashMap::new(),
        }
    }

    /// The bytes of one tensor. The scales of a quantised matrix come after it.
    pub(crate) fn tensor(&mut self, spec: &TensorSpec) -> Vec<u8> {
        if let Some(bytes) = self.scales.remove(&spec.name) {
            return bytes;
        }
        match spec.dtype {
            Dtype::I64 => token_table(&mut self.rng, self.experts, spec),
            Dtype::I8 => self.fp4(spec),
            Dtype::F8E4m3 => self.fp8(spec),
            Dtype::Bf16 => {
                let halves = self
                    .floats(spec)
                    .into_iter()
                    .map(|x| (bf16(x).to_bits() >> 16) as u16);
                halves.flat_map(u16::to_le_bytes).collect()
            }
            Dtype::F32 => self
                .floats(spec)
                .into_iter()
                .flat_map(f32::to_le_bytes)
                .collect(),
            other => unreachable!("{}: {other} comes with its codes", spec.name),
        }
    }

    fn floats(&mut self, spec: &TensorSpec) -> Vec<f32> {
        let count = spec.shape.iter().product();
        let (mean, deviation) = moments(spec);
        (0..count)
            .map(|_| mean + deviation * self.normal())
            .collect()
    }

    fn fp8(&mut self, spec: &TensorSpec) -> Vec<u8> {
        let [rows, columns] = matrix(spec);
        let tile = match spec.component {
            Component::EngramTables => TABLE_TILE,
            _ => self.tile,
        };
        let values = self.floats(spec);
        let mut codes = vec![0; rows * columns];
        let mut scales = Vec::new();
        for top in (0..rows).step_by(tile[0]) {
            for left in (0..columns).step_by(tile[1]) {
                let within: Vec<usize> = (top..rows.min(top + tile[0]))
                    .flat_map(|row| {
                        (left..columns.min(left + tile[1])).map(move |c| row * columns + c)
                    })
                    .collect();
                let amax = within
                    .iter()
                    .fold(1e-4_f32, |amax, at| amax.max(values[*at].abs()));
                let scale = e8m0::ceil_pow2(amax / fp8::MAX);
                scales.push(e8m0::encode(scale));
                for at in within {
                    codes[at] = fp8::encode(values[at] / scale);
                }
            }
        }
        self.scales.insert(scale_name(spec), scales);
        codes
    }

    fn fp4(&mut self, spec: &TensorSpec) -> Vec<u8> {
        let [rows, bytes] = matrix(spec);
        let columns = bytes * 2;
        let deviation = 1.3 / (columns as f32).sqrt();
        let mut scales = Vec::new();
        let mut codes = Vec::with_capacity(rows * bytes);
        for _ in 0..rows * columns / FP4_BLOCK {
            let block: Vec<f32> = (0..FP4_BLOCK).map(|_| deviation * self.normal()).collect();
            let amax = block.iter().fold(1e-4_f32, |amax, x| amax.max(x.abs()));
            let scale = e8m0::ceil_pow2(amax / fp4::MAX);
            scales.push(e8m0::encode(scale));
            codes.extend(
                block
                    .chunks(2)
                    .map(|pair| fp4::encode(pair[0] / scale) | fp4::encode(pair[1] / scale) << 4),
            );
        }
        self.scales.insert(scale_name(spec), scales);
        codes
    }

    /// A normal deviate, by Box and Muller.
    fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.rng.random::<f32>()).ln()).sqrt();
        radius * (self.rng.random::<f32>() * std::f32::consts::TAU).cos()
    }
}

/// Distinct experts for each token.
pub(crate) fn token_table(rng: &mut ChaCha8Rng, experts: usize, spec: &TensorSpec) -> Vec<u8> {
    let [tokens, top_k] = matrix(spec);
    (0..tokens)
        .flat_map(|_| sample(rng, experts, top_k).into_vec())
        .flat_map(|id| (id as u64).to_le_bytes())
        .collect()
}

/// Mean and deviation of the numbers of a tensor, by its name: what keeps every path active.
pub(crate) fn moments(spec: &TensorSpec) -> (f32, f32) {
    let inputs = spec.shape.last().copied().unwrap_or(1) as f32;
    let name = spec.name.as_str();
    match name.rsplit('.').next().unwrap_or(name) {
        leaf if name.contains("norm") && leaf != "bias" => (1.0, 0.25),
        "ape" => (0.0, 0.7),
        "attn_sink" => (0.0, 1.0),
        "bias" | "bias_vl" => (0.0, 0.5),
        "q_weight" | "k_weight" => (0.0, 1.0),
        leaf if leaf.ends_with("_base") => (0.0, 0.6),
        leaf if leaf.ends_with("_scale") => (1.1, 0.2),
        leaf if leaf.ends_with("_fn") => (0.0, 1.2 / inputs.sqrt()),
        leaf if leaf.starts_with("image_") || leaf.starts_with("audio_") => (0.0, 1.0),
        _ if name.ends_with("embed.weight") => (0.0, 1.0),
        _ => (0.0, 1.3 / inputs.sqrt()),
    }
}

pub(crate) fn matrix(spec: &TensorSpec) -> [usize; 2] {
    spec.shape
        .as_slice()
        .try_into()
        .expect("a quantised tensor is a matrix")
}

pub(crate) fn scale_name(spec: &TensorSpec) -> String {
    let stem = spec
        .name
        .strip_suffix(".weight")
        .expect("quantised tensors are called weight");
    format!("{stem}.scale")
}
