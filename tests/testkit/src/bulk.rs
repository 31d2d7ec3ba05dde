//! Random tensors in bulk: every code as likely as any other, scales that give them the size of weights.

use std::collections::HashMap;

use deepseek_core::quant::{bf16, e8m0};
use deepseek_core::weights::Dtype;
use deepseek_model::Config;
use deepseek_model::inventory::TensorSpec;
use rand::{Rng, RngCore};
use rand_chacha::ChaCha8Rng;

use crate::draw::{matrix, moments, scale_name, token_table};

/// The root mean square of all E4M3 codes that are numbers, and of all E2M1 codes.
const FP8_RMS: f32 = 112.0;
const FP4_RMS: f32 = 2.93;

/// The root mean square of weights, times the root of their inputs.
const SIZE: f32 = 1.3;

/// Draws tensors in the order in which they are asked for.
pub(crate) struct Bulk {
    rng: ChaCha8Rng,
    experts: usize,
    /// The least of the scales of matrices that were drawn, by the names of the scales.
    scales: HashMap<String, u8>,
}

impl Bulk {
    pub(crate) fn new(config: &Config, rng: ChaCha8Rng) -> Self {
        Self {
            rng,
            experts: config.experts.count,
            scales: HashMap::new(),
        }
    }

    /// The bytes of one tensor. The scales of a quantised matrix come after it.
    pub(crate) fn tensor(&mut self, spec: &TensorSpec) -> Vec<u8> {
        let count = spec.shape.iter().product();
        match spec.dtype {
            Dtype::I64 => token_table(&mut self.rng, self.experts, spec),
            Dtype::I8 => {
                self.remember(spec, 2, FP4_RMS);
                self.bytes(count)
            }
            Dtype::F8E4m3 => {
                self.remember(spec, 1, FP8_RMS);
                let mut codes = self.bytes(count);
                for code in &mut codes {
                    // The code that is no number becomes its neighbour.
                    *code ^= u8::from(*code & 0x7f == 0x7f);
                }
                codes
            }
            Dtype::F8E8m0 => {
                let least = self.scales.remove(&spec.name).expect("codes come first");
                let mut scales = self.bytes(count);
                scales
                    .iter_mut()
                    .for_each(|scale| *scale = least + (*scale & 1));
                scales
            }
            Dtype::Bf16 => {
                let halves = self.floats(spec, count);
                let halves = halves.map(|x| (bf16(x).to_bits() >> 16) as u16);
                halves.flat_map(u16::to_le_bytes).collect()
            }
            Dtype::F32 => self
                .floats(spec, count)
                .flat_map(f32::to_le_bytes)
                .collect(),
            other => unreachable!("no tensor of a release is {other}"),
        }
    }

    /// Keeps the scale with which the codes of a matrix, so many a byte, are as large as weights.
    fn remember(&mut self, spec: &TensorSpec, codes: usize, rms: f32) {
        let [_, bytes] = matrix(spec);
        let scale = SIZE / ((bytes * codes) as f32).sqrt() / rms;
        // Half of the scales are twice as large.
        let least = e8m0::encode(e8m0::ceil_pow2(scale / 2.0));
        self.scales.insert(scale_name(spec), least);
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }

    /// Numbers spread evenly around a mean.
    fn floats(&mut self, spec: &TensorSpec, count: usize) -> impl Iterator<Item = f32> + '_ {
        let (mean, deviation) = moments(spec);
        let step = deviation * 3_f32.sqrt() / -f32::from(i16::MIN);
        (0..count).map(move |_| mean + step * f32::from(self.rng.random::<i16>()))
    }
}
