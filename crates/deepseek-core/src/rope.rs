//! Rotary embedding: frequencies once, angles for the positions of a step.

use crate::host::HostTensor;

/// YaRN's interpolation of frequencies (`docs/models/deepseek-v4.md` §3.3). No magnitude factor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Yarn {
    /// How many times longer than the original length contexts may become.
    pub factor: f32,
    /// Length, in tokens, that the frequencies were trained for.
    pub original: f32,
    /// Turns over the original length above which a frequency stays as it is.
    pub beta_fast: f32,
    /// Turns over the original length below which a frequency is divided by the factor.
    pub beta_slow: f32,
}

/// The frequencies of one set of layers.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    frequencies: Vec<f32>,
}

impl Rope {
    /// Frequencies for `width` rotary channels over the base `theta`.
    #[must_use]
    pub fn new(width: usize, theta: f32, yarn: Option<Yarn>) -> Self {
        let mut frequencies: Vec<f32> = (0..width)
            .step_by(2)
            .map(|channel| 1.0 / theta.powf(channel as f32 / width as f32))
            .collect();
        if let Some(yarn) = yarn {
            let (low, high) = yarn.ramp(width, theta);
            for (index, frequency) in frequencies.iter_mut().enumerate() {
                let ramp = ((index as f32 - low) / (high - low)).clamp(0.0, 1.0);
                *frequency = *frequency / yarn.factor * ramp + *frequency * (1.0 - ramp);
            }
        }
        Self { frequencies }
    }

    /// Radians per position of each pair of channels, fastest first.
    #[must_use]
    pub fn frequencies(&self) -> &[f32] {
        &self.frequencies
    }

    /// Cosines and sines at `positions`.
    ///
    /// The product of position and frequency is rounded to 32 bits, as in the released code: near a
    /// million tokens that rounding is visible, so a more precise angle would be a different model.
    /// Sine and cosine of that product are then taken in 64 bits, which rounds them correctly.
    #[must_use]
    pub fn angles(&self, positions: &[u32]) -> Angles {
        let count = positions.len() * self.frequencies.len();
        let mut angles = Angles {
            pairs: self.frequencies.len(),
            cos: Vec::with_capacity(count),
            sin: Vec::with_capacity(count),
        };
        for position in positions {
            for [cos, sin] in self.turns(*position) {
                angles.cos.push(cos);
                angles.sin.push(sin);
            }
        }
        angles
    }

    /// Adds what [`Angles::table`] has for `positions` to `table`: `[positions, 2, pairs]`.
    pub fn tabulate(&self, positions: &[u32], table: &mut Vec<f32>) {
        let pairs = self.frequencies.len();
        for position in positions {
            let first = table.len();
            table.resize(first + 2 * pairs, 0.0);
            let (cos, sin) = table[first..].split_at_mut(pairs);
            for ((cos, sin), turn) in cos.iter_mut().zip(sin).zip(self.turns(*position)) {
                [*cos, *sin] = turn;
            }
        }
    }

    /// Cosine and sine of each pair of channels at a position.
    fn turns(&self, position: u32) -> impl Iterator<Item = [f32; 2]> {
        self.frequencies.iter().map(move |frequency| {
            let (sin, cos) = f64::from(position as f32 * frequency).sin_cos();
            [cos as f32, sin as f32]
        })
    }
}

impl Yarn {
    /// The pairs of channels between which interpolation sets in.
    fn ramp(&self, width: usize, theta: f32) -> (f32, f32) {
        let width = width as f64;
        let pair = |turns: f32| {
            let positions = f64::from(self.original) / (f64::from(turns) * std::f64::consts::TAU);
            width * positions.ln() / (2.0 * f64::from(theta).ln())
        };
        let low = pair(self.beta_fast).floor().max(0.0);
        let high = pair(self.beta_slow).ceil().min(width - 1.0);
        (
            low as f32,
            if low == high { high + 0.001 } else { high } as f32,
        )
    }
}

/// Cosines and sines of a few positions: `[positions, pairs]` each.
#[derive(Debug, Clone, PartialEq)]
pub struct Angles {
    pairs: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Angles {
    /// Pairs of channels that turn.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.pairs
    }

    /// The cosines, row-major.
    #[must_use]
    pub fn cos(&self) -> &[f32] {
        &self.cos
    }

    /// The sines, row-major.
    #[must_use]
    pub fn sin(&self) -> &[f32] {
        &self.sin
    }

    /// `[positions, 2, pairs]`: the cosines of a position, then its sines, as
    /// [`Backend::rope`](crate::Backend::rope) wants them on the device.
    #[must_use]
    pub fn table(&self) -> HostTensor {
        let pairs = self.pairs;
        let rows = self.cos.chunks(pairs).zip(self.sin.chunks(pairs));
        let values = rows.flat_map(|(cos, sin)| cos.iter().chain(sin).copied());
        HostTensor::new(&[self.cos.len() / pairs.max(1), 2, pairs], values.collect())
    }
}
