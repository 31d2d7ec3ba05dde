//! Any bytes as a sound file.

#![no_main]

use deepseek_audio::{Limits, Sound};

/// So many seconds that an input which expands costs no more than a moment.
const LIMITS: Limits = Limits {
    seconds: 60,
    rate: 192_000,
    channels: 32,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut samples = Vec::new();
    let read = Sound::from_bytes(bytes.to_vec(), LIMITS)
        .and_then(|mut sound| sound.read(usize::MAX, &mut samples));
    if let Err(error) = read {
        assert!(!error.to_string().is_empty());
    }
    assert!(samples.iter().all(|sample| sample.is_finite()));
});
