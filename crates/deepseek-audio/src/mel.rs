//! From samples to the logarithms of their energies, band by band (`docs/models/audio-video.md`
//! §2.3).

use std::f64::consts::TAU;
use std::fmt;
use std::sync::Arc;

use deepseek_core::HostTensor;
use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use crate::config::{HOP, RATE};

/// Samples of a frame.
pub const FRAME: usize = 400;
/// Samples before a clip and after it that its frames reach to.
pub const MARGIN: usize = FRAME / 2;
/// The least energy: that of silence.
const FLOOR: f64 = 1e-10;
/// Powers of ten that features reach down from their level.
const RANGE: f32 = 8.0;

/// The features of the Whisper family: as the reference extractor has them, to 2e-5.
///
/// Transforms are of 64 bits. With 32 the quiet bands beside a pure tone, eight powers of ten below
/// it, would drown in rounding.
#[derive(Clone)]
pub struct LogMel {
    window: Vec<f64>,
    bands: Vec<Band>,
    transform: Arc<dyn RealToComplex<f64>>,
}

/// A triangle over the bins of a spectrum.
#[derive(Debug, Clone)]
struct Band {
    first: usize,
    weights: Vec<f32>,
}

impl LogMel {
    /// Features of `mels` bands.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn new(mels: usize) -> Self {
        assert!(mels > 0, "features of no bands");
        let hann = |at: usize| 0.5 - 0.5 * (TAU * at as f64 / FRAME as f64).cos();
        Self {
            window: (0..FRAME).map(hann).collect(),
            bands: bands(mels),
            transform: RealFftPlanner::new().plan_fft_forward(FRAME),
        }
    }

    /// The features of samples that stand alone: `[samples / 160, mels]`, reaching down from `level`
    /// or, without one, from the largest.
    ///
    /// # Panics
    /// If there are too few samples to be mirrored.
    #[must_use]
    pub fn features(&self, samples: &[f32], level: Option<f32>) -> HostTensor {
        let energies = self.energies(&mirrored(samples));
        compress(energies, level)
    }

    /// The logarithms alone, `[frames, mels]`, of samples with their margins on both sides.
    pub(crate) fn energies(&self, samples: &[f32]) -> HostTensor {
        let frames = (samples.len() - 2 * MARGIN) / HOP;
        let mut frame = self.transform.make_input_vec();
        let mut bins = self.transform.make_output_vec();
        let mut scratch = self.transform.make_scratch_vec();
        let mut energies = Vec::with_capacity(frames * self.bands.len());
        for at in 0..frames {
            let samples = &samples[at * HOP..][..FRAME];
            for ((x, sample), factor) in frame.iter_mut().zip(samples).zip(&self.window) {
                *x = f64::from(*sample) * factor;
            }
            self.transform
                .process_with_scratch(&mut frame, &mut bins, &mut scratch)
                .expect("the planner made the buffers");
            let power: Vec<f64> = bins.iter().map(Complex::norm_sqr).collect();
            energies.extend(self.bands.iter().map(|band| band.energy(&power)));
        }
        HostTensor::new(&[frames, self.bands.len()], energies)
    }
}

impl fmt::Debug for LogMel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogMel({})", self.bands.len())
    }
}

impl Band {
    fn energy(&self, power: &[f64]) -> f32 {
        let bins = self.weights.iter().zip(&power[self.first..]);
        let sum: f64 = bins.map(|(weight, bin)| f64::from(*weight) * bin).sum();
        sum.max(FLOOR).log10() as f32
    }
}

/// The largest of some energies.
pub(crate) fn peak(energies: &HostTensor) -> f32 {
    let values = energies.data().iter().copied();
    values.fold(f32::NEG_INFINITY, f32::max)
}

/// Energies as features.
pub(crate) fn compress(energies: HostTensor, level: Option<f32>) -> HostTensor {
    let floor = level.unwrap_or_else(|| peak(&energies)) - RANGE;
    let shape = energies.shape().to_vec();
    let mut values = energies.into_data();
    values
        .iter_mut()
        .for_each(|x| *x = (x.max(floor) + 4.0) / 4.0);
    HostTensor::new(&shape, values)
}

/// Samples with their margins: the mirror image of what stands beside the first and the last.
pub(crate) fn mirrored(samples: &[f32]) -> Vec<f32> {
    let count = samples.len();
    assert!(count > MARGIN, "{count} samples, want more than {MARGIN}");
    let before = samples[1..=MARGIN].iter().rev();
    let after = samples[count - 1 - MARGIN..count - 1].iter().rev();
    before.chain(samples).chain(after).copied().collect()
}

/// Triangles equally spaced on the mel scale of Slaney's toolbox, each of the same area.
fn bands(mels: usize) -> Vec<Band> {
    let bin_width = f64::from(RATE) / FRAME as f64;
    let top = to_mel(f64::from(RATE) / 2.0);
    let corner = |at: usize| to_hertz(top * at as f64 / (mels + 1) as f64);
    (0..mels)
        .map(|band| {
            let [low, middle, high] = [corner(band), corner(band + 1), corner(band + 2)];
            let weight = |bin: usize| {
                let at = bin as f64 * bin_width;
                let rise = (at - low) / (middle - low);
                let fall = (high - at) / (high - middle);
                (rise.min(fall).max(0.0) * 2.0 / (high - low)) as f32
            };
            let first = (0..=FRAME / 2).find(|bin| weight(*bin) > 0.0).unwrap_or(0);
            let weights = (first..=FRAME / 2)
                .map(weight)
                .take_while(|weight| *weight > 0.0);
            Band {
                first,
                weights: weights.collect(),
            }
        })
        .collect()
}

/// Where the scale turns from straight to logarithmic, in hertz and in mels.
const KNEE: [f64; 2] = [1000.0, 15.0];
/// Mels for each factor of e beyond the knee.
fn steps() -> f64 {
    27.0 / 6.4_f64.ln()
}

fn to_mel(hertz: f64) -> f64 {
    if hertz < KNEE[0] {
        hertz * KNEE[1] / KNEE[0]
    } else {
        KNEE[1] + (hertz / KNEE[0]).ln() * steps()
    }
}

fn to_hertz(mel: f64) -> f64 {
    if mel < KNEE[1] {
        mel * KNEE[0] / KNEE[1]
    } else {
        KNEE[0] * ((mel - KNEE[1]) / steps()).exp()
    }
}
