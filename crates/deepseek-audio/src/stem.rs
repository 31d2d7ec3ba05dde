//! Two convolutions along time, and the positions: features to frames of the tower.

use deepseek_core::weights::WeightView;
use deepseek_core::{Backend, DeviceTensor, Format, HostTensor, Loader, Numerics, Result, Use};

use crate::block::{Affine, spans};
use crate::config::AudioConfig;

/// Neighbouring frames that a convolution sees.
const TAPS: usize = 3;

/// A convolution over three frames, with one frame of zeros on either side.
#[derive(Debug)]
struct Convolution<B: Backend> {
    product: Affine<B>,
    stride: usize,
}

impl<B: Backend> Convolution<B> {
    /// Reads `weight: [out, in, 3]` and `bias`.
    fn load(at: &Loader<'_, B>, [out, width]: [usize; 2], stride: usize) -> Result<Self> {
        let stored = at.tensors.array("weight", &[out, width, TAPS])?;
        // By tap, then by channel, so that the frames stand side by side as they are.
        let mut transposed = Vec::with_capacity(stored.len() * size_of::<f32>());
        for row in stored.chunks_exact(width * TAPS) {
            for tap in 0..TAPS {
                let channels = row.iter().skip(tap).step_by(TAPS);
                transposed.extend(channels.flat_map(|x| x.to_le_bytes()));
            }
        }
        let view = WeightView {
            name: at.tensors.name("weight"),
            format: Format::F32,
            shape: [out, width * TAPS],
            data: transposed.into(),
            scales: Vec::new().into(),
            tile_row: 0,
            stride: None,
        };
        let weight = at.be.load(&view, Use::Product)?;
        let bias = at.vector("bias", out)?;
        Ok(Self {
            product: Affine::of(at, weight, Some(bias)),
            stride,
        })
    }

    /// `x: [frames, in]` to `[ceil(frames / stride), out]`, then GELU: chunks of `lengths` frames one
    /// behind the other, none of which sees another. `lengths` becomes those of the result.
    fn forward(&self, be: &B, x: &B::Tensor, lengths: &mut [usize]) -> Result<B::Tensor> {
        let silence = be.upload(&HostTensor::new(&[1, x.width()], vec![0.0; x.width()]))?;
        let padded = be.concat(&[x, &silence], 0)?;
        let nothing = x.rows();
        let parts = (0..TAPS)
            .map(|tap| {
                let at: Vec<u32> = spans(lengths)
                    .flat_map(|(first, length)| {
                        (0..length).step_by(self.stride).map(move |frame| {
                            // Tap 0 stands one frame before.
                            let inside = (1..=length).contains(&(frame + tap));
                            let row = first + frame + tap;
                            (if inside { row - 1 } else { nothing }) as u32
                        })
                    })
                    .collect();
                be.gather(&padded, &be.ids(&at)?)
            })
            .collect::<Result<Vec<_>>>()?;
        for length in lengths {
            *length = length.div_ceil(self.stride);
        }
        let frames = be.concat(&parts.iter().collect::<Vec<_>>(), 1)?;
        self.product.forward_gelu(be, &frames)
    }
}

/// What stands before the blocks (`docs/models/audio-video.md` §3, items 1 to 3).
#[derive(Debug)]
pub(crate) struct Stem<B: Backend> {
    bands: Convolution<B>,
    halving: Convolution<B>,
    /// `[positions, hidden]`.
    positions: B::Tensor,
    numerics: Numerics,
}

impl<B: Backend> Stem<B> {
    /// Reads `conv1`, `conv2` and, where it is there, `embed_positions`.
    pub(crate) fn load(at: &Loader<'_, B>, config: &AudioConfig) -> Result<Self> {
        let AudioConfig {
            hidden,
            mels,
            positions,
            ..
        } = *config;
        let table = if at.tensors.has("embed_positions.weight") {
            at.tensors
                .array("embed_positions.weight", &[positions, hidden])?
        } else {
            sinusoids(positions, hidden)
        };
        Ok(Self {
            bands: Convolution::load(&at.at("conv1"), [hidden, mels], 1)?,
            halving: Convolution::load(&at.at("conv2"), [hidden, hidden], 2)?,
            positions: at
                .be
                .upload(&HostTensor::new(&[positions, hidden], table))?,
            numerics: at.numerics,
        })
    }

    /// `features: [frames, mels]` to `[ceil(frames / 2), hidden]`, chunk by chunk; `lengths` becomes
    /// those of the result. Positions begin anew with each chunk.
    pub(crate) fn forward(
        &self,
        be: &B,
        features: &B::Tensor,
        lengths: &mut [usize],
    ) -> Result<B::Tensor> {
        let x = self.bands.forward(be, features, lengths)?;
        let x = self.halving.forward(be, &x, lengths)?;
        let at: Vec<u32> = lengths
            .iter()
            .flat_map(|length| 0..*length as u32)
            .collect();
        let x = be.add(&x, &be.gather(&self.positions, &be.ids(&at)?)?)?;
        self.numerics.activation(be, x)
    }
}

/// Sines of every position, then cosines, at frequencies from 1 down to 1 / 10,000.
fn sinusoids(positions: usize, hidden: usize) -> Vec<f32> {
    let half = hidden / 2;
    let step = 10_000.0_f64.ln() / (half as f64 - 1.0);
    let angles = |at: usize| (0..half).map(move |i| at as f64 * (-(i as f64) * step).exp());
    let row = |at| {
        let sines = angles(at).map(|angle| angle.sin() as f32);
        sines.chain(angles(at).map(|angle| angle.cos() as f32))
    };
    (0..positions).flat_map(row).collect()
}
