//! From any rate to 16 kHz, a block at a time.
//!
//! A windowed sinc with the constants that audio libraries call "kaiser best": 64 zero crossings on
//! either side, a roll-off at 0.9476 of the lower rate's half, β of 14.77
//! (`docs/models/audio-video.md` §2.2). Fourier transforms would be some ten times as fast, but
//! this is the definition itself, takes a few thousandths of the audio's length, and gives the same
//! bits whatever the blocks.

use crate::config::RATE;
use crate::limits::PHASES_MAX;

/// Zero crossings on either side of a sample.
const CROSSINGS: f64 = 64.0;
/// Where the filter ends, as a fraction of half the lower rate.
const ROLL_OFF: f64 = 0.947_593_716_739_959_6;
/// The shape of the window.
const BETA: f64 = 14.769_656_459_379_492;
/// Rows of taps for ratios that have more of them than are kept. The straight line between two
/// rows is then at most 2e-6 off.
const ROWS_BETWEEN: usize = 512;

/// A resampler of one channel. At 16 kHz samples pass through untouched.
#[derive(Debug, Clone)]
pub struct Resampler {
    /// In lowest terms, `over` samples come out for `step` that go in.
    step: u64,
    over: u64,
    /// Samples that a tap row reaches to the left, and to the right of the next one.
    reach: usize,
    /// `[rows + 1, 2 * reach + 2]`: the filter for each fraction of an input sample.
    taps: Vec<f32>,
    rows: u64,
    /// Inputs that are still needed. Before the first stand `reach` zeros.
    held: Vec<f32>,
    /// Inputs, leading zeros included, that were dropped before `held`.
    dropped: u64,
    taken: u64,
    given: u64,
}

impl Resampler {
    /// From `rate` samples a second.
    ///
    /// # Panics
    /// If the rate is zero.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        assert!(rate > 0, "a rate of zero");
        let common = gcd(rate, RATE);
        let (step, over) = (rate / common, RATE / common);
        // Zero crossings that an input sample is wide.
        let width = f64::from(step.min(over)) * ROLL_OFF / f64::from(step);
        let (reach, rows) = if step == over {
            (0, 0)
        } else {
            let reach = (CROSSINGS / width).ceil() as usize;
            let whole = over as usize;
            let rows = if whole <= PHASES_MAX {
                whole
            } else {
                ROWS_BETWEEN
            };
            (reach, rows)
        };
        let mut taps = Vec::new();
        if rows > 0 {
            for row in 0..=rows {
                let fraction = row as f64 / rows as f64;
                let places = (0..2 * reach + 2).map(|at| at as f64 - reach as f64 - fraction);
                taps.extend(places.map(|at| (kernel(at * width) * width) as f32));
            }
        }
        Self {
            step: u64::from(step),
            over: u64::from(over),
            reach,
            taps,
            rows: rows as u64,
            held: vec![0.0; reach],
            dropped: 0,
            taken: 0,
            given: 0,
        }
    }

    /// Takes a block, and appends what can be said so far.
    pub fn push(&mut self, block: &[f32], out: &mut Vec<f32>) {
        self.taken += block.len() as u64;
        if self.taps.is_empty() {
            self.given += block.len() as u64;
            out.extend_from_slice(block);
            return;
        }
        self.held.extend_from_slice(block);
        // An output needs the inputs up to `reach + 1` behind its place.
        let known = self.taken.saturating_sub(self.reach as u64 + 1);
        self.give((known * self.over).div_ceil(self.step), out);
    }

    /// Appends the rest: `ceil(inputs * 16000 / rate)` samples have then been given altogether.
    pub fn finish(mut self, out: &mut Vec<f32>) {
        if self.taps.is_empty() {
            return;
        }
        self.held.resize(self.held.len() + self.reach + 1, 0.0);
        self.give((self.taken * self.over).div_ceil(self.step), out);
    }

    /// Gives samples until there have been `total`.
    fn give(&mut self, total: u64, out: &mut Vec<f32>) {
        let width = 2 * self.reach + 2;
        while self.given < total {
            let place = self.given * self.step;
            let (whole, part) = (place / self.over, place % self.over);
            let first = (whole - self.dropped) as usize;
            let inputs = &self.held[first..][..width];
            let row = (part * self.rows / self.over) as usize;
            let between = part * self.rows % self.over;
            let taps = |row: usize| &self.taps[row * width..][..width];
            let mut sample = dot(inputs, taps(row));
            if between > 0 {
                let share = between as f32 / self.over as f32;
                sample += share * (dot(inputs, taps(row + 1)) - sample);
            }
            // Samples near the largest float overflow.
            out.push(if sample.is_finite() { sample } else { 0.0 });
            self.given += 1;
        }
        let next = self.given * self.step / self.over;
        let done = usize::try_from(next - self.dropped).map_or(self.held.len(), |done| done);
        let done = done.min(self.held.len());
        self.held.drain(..done);
        self.dropped += done as u64;
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The sum of products, in sixteen lanes that are joined at the end: one order for any block.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut lanes = [0.0_f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}

/// The filter at `t` zero crossings.
fn kernel(t: f64) -> f64 {
    if t.abs() >= CROSSINGS {
        return 0.0;
    }
    let x = std::f64::consts::PI * t;
    let sinc = if x == 0.0 { 1.0 } else { x.sin() / x };
    let window = bessel(BETA * (1.0 - (t / CROSSINGS).powi(2)).sqrt()) / bessel(BETA);
    sinc * window
}

/// The modified Bessel function of order zero, by its series.
fn bessel(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut term, mut sum, mut at) = (1.0, 1.0, 1.0);
    while term > sum * 1e-17 {
        term *= quarter / (at * at);
        sum += term;
        at += 1.0;
    }
    sum
}
