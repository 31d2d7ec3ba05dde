//! What the tests share: golden tensors, noise, files made in code, a small shape.

#![allow(dead_code, reason = "no test uses all of it")]

use std::path::PathBuf;

use deepseek_audio::{Audio, AudioConfig, AudioError, Level, Limits, Pool};
use deepseek_core::weights::{Shard, TensorSource, Tensors};

/// The shape of the golden tower.
pub(crate) const SMALL: AudioConfig = AudioConfig {
    layers: 2,
    hidden: 64,
    heads: 4,
    inner: 128,
    mels: 80,
    positions: 1500,
    chunk_seconds: 30,
    pad_to_chunk: true,
    keep_padding_tokens: false,
    level: Level::Chunk,
    pool: Pool::Stack4,
    projector_bias: false,
    out: 48,
};

/// A file among the golden audio.
pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/audio")
        .join(name)
}

pub(crate) fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).expect("a golden file")
}

pub(crate) fn shard(name: &str) -> Shard {
    Shard::open(path(name)).expect("golden tensors")
}

/// The numbers of a golden tensor.
pub(crate) fn golden(shard: &Shard, name: &str) -> Vec<f32> {
    let tensor = shard.find(name).expect("it can be read");
    let shape = tensor.expect("it is there").shape().to_vec();
    let tensors = Tensors::new(shard, [1, 1]);
    tensors.array(name, &shape).expect("floats")
}

/// The noise that the golden numbers were made from.
pub(crate) fn noise(count: usize, factor: f64) -> Vec<f32> {
    (0..count as u64)
        .map(|at| {
            let top = (at.wrapping_mul(2_654_435_761) & 0xFFFF_FFFF) >> 8;
            ((top as f64 / f64::from(1 << 23) - 1.0) * factor) as f32
        })
        .collect()
}

pub(crate) fn tone(hertz: f64, rate: u32, count: usize) -> Vec<f32> {
    let angle = std::f64::consts::TAU * hertz / f64::from(rate);
    (0..count)
        .map(|at| (0.5 * (angle * at as f64).sin()) as f32)
        .collect()
}

/// All samples of audio.
pub(crate) fn all(mut audio: Audio) -> Result<Vec<f32>, AudioError> {
    let mut samples = Vec::new();
    audio.read(usize::MAX, &mut samples)?;
    Ok(samples)
}

pub(crate) fn decode(bytes: Vec<u8>) -> Result<Vec<f32>, AudioError> {
    all(Audio::from_bytes(bytes, Limits::default())?)
}

/// A WAV file: `kind` is the code of the format (1 for integers, 3 for floats) and the bits of a
/// sample.
pub(crate) fn wav(rate: u32, channels: u16, kind: [u16; 2], data: &[u8]) -> Vec<u8> {
    let [code, bits] = kind;
    let frame = channels.wrapping_mul(bits / 8);
    let mut format = code.to_le_bytes().to_vec();
    format.extend(channels.to_le_bytes());
    format.extend(rate.to_le_bytes());
    format.extend(rate.wrapping_mul(u32::from(frame)).to_le_bytes());
    format.extend(frame.to_le_bytes());
    format.extend(bits.to_le_bytes());
    riff(&[(b"fmt ", &format), (b"data", data)])
}

pub(crate) fn riff(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut body = b"WAVE".to_vec();
    for (name, data) in chunks {
        body.extend(*name);
        body.extend((data.len() as u32).to_le_bytes());
        body.extend(*data);
    }
    [&b"RIFF"[..], &(body.len() as u32).to_le_bytes(), &body].concat()
}

pub(crate) fn floats(samples: &[f32]) -> Vec<u8> {
    samples.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// The largest difference is within `tolerance`.
#[track_caller]
pub(crate) fn near(got: &[f32], want: &[f32], tolerance: f32, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    let apart = |at: usize| (got[at] - want[at]).abs();
    let worst = (0..got.len()).max_by(|a, b| apart(*a).total_cmp(&apart(*b)));
    let worst = worst.expect("there are numbers");
    let (got, want) = (got[worst], want[worst]);
    assert!(
        apart(worst) <= tolerance,
        "{what}: {got} at {worst}, want {want}"
    );
}

/// The difference in decibels, its root mean square over that of what is wanted.
pub(crate) fn decibels(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let square = |x: f64| x * x;
    let error: f64 = got
        .iter()
        .zip(want)
        .map(|(a, b)| square(f64::from(*a) - f64::from(*b)))
        .sum();
    let power: f64 = want.iter().map(|x| square(f64::from(*x))).sum();
    10.0 * (error / power).log10()
}

/// The most bytes that the process ever held, where the system says so.
pub(crate) fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}
