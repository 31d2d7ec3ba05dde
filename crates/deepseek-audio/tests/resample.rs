//! The resampler against its closed form, a second library, and tones.

mod common;

use common::{bytes, decibels, decode, golden, noise, shard, tone};
use deepseek_audio::resample::Resampler;

fn resample(rate: u32, samples: &[f32], block: usize) -> Vec<f32> {
    let (mut resampler, mut out) = (Resampler::new(rate), Vec::new());
    for block in samples.chunks(block) {
        resampler.push(block, &mut out);
    }
    resampler.finish(&mut out);
    out
}

#[test]
fn noise_of_any_rate_is_the_closed_forms() {
    let golden_shard = shard("resample.safetensors");
    // 44,101 Hz has a row of taps for every sample of a second: those are interpolated.
    let rates = [
        (8000, -120.0),
        (11_025, -120.0),
        (22_050, -120.0),
        (32_000, -120.0),
        (44_100, -120.0),
        (44_101, -100.0),
        (48_000, -120.0),
        (96_000, -120.0),
        (192_000, -115.0),
    ];
    for (rate, bound) in rates {
        let want = golden(&golden_shard, &rate.to_string());
        let got = resample(rate, &noise(rate as usize / 8, 0.5), 1152);
        let apart = decibels(&got, &want);
        assert!(apart < bound, "{rate} Hz: {apart:.1} dB");
    }
}

#[test]
fn speech_is_the_closed_forms_and_another_librarys() {
    let got = decode(bytes("speech.wav")).expect("audio");
    let shard = shard("resample.safetensors");
    for name in ["speech", "speech.torchaudio"] {
        let apart = decibels(&got, &golden(&shard, name));
        assert!(apart < -100.0, "{name}: {apart:.1} dB");
    }
}

#[test]
fn a_tone_stays_what_it_is() {
    for rate in [44_100, 48_000, 22_050, 8000] {
        let got = resample(rate, &tone(1000.0, rate, rate as usize / 2), 4096);
        let want = tone(1000.0, 16_000, got.len());
        let inside = 160..got.len() - 160;
        let apart = decibels(&got[inside.clone()], &want[inside]);
        assert!(apart < -80.0, "{rate} Hz: {apart:.1} dB");
    }
}

#[test]
fn a_tone_beyond_half_the_rate_is_gone() {
    let source = tone(9000.0, 48_000, 24_000);
    let got = resample(48_000, &source, 4096);
    let loud = |x: &[f32]| (x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32).sqrt();
    let left = 20.0 * (loud(&got[160..got.len() - 160]) / loud(&source)).log10();
    assert!(left < -80.0, "{left:.1} dB");
}

#[test]
fn sixteen_kilohertz_pass_through_bit_for_bit() {
    let mut source = noise(5000, 1e30);
    source[7] = f32::MIN_POSITIVE / 2.0;
    let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
    let got = resample(16_000, &source, 777);
    assert_eq!(got.len(), source.len());
    assert!(got.iter().zip(&source).all(same));
}

#[test]
fn blocks_of_any_size_give_the_same_bits() {
    let source = noise(3000, 0.5);
    for rate in [8000, 44_100, 44_101, 192_000] {
        let want = resample(rate, &source, source.len());
        for block in [1, 2, 59, 1000, 2999] {
            assert_eq!(resample(rate, &source, block), want, "{rate} Hz by {block}");
        }
    }
}

#[test]
fn as_many_samples_come_out_as_time_has() {
    for rate in [1, 7, 8000, 15_999, 16_001, 44_100, 191_999, 192_000] {
        for count in [0, 1, 2, 441, 1000] {
            let got = resample(rate, &noise(count, 0.5), 100);
            let want = (count as u64 * 16_000).div_ceil(u64::from(rate));
            assert_eq!(got.len() as u64, want, "{count} at {rate} Hz");
        }
    }
}

#[test]
fn the_loudest_samples_stay_numbers() {
    let got = resample(44_100, &[f32::MAX; 2000], 100);
    assert!(got.iter().all(|x| x.is_finite()));
}
