//! Reads bytes as audio, to its end.

use deepseek_audio::{Audio, Limits};

/// So many seconds that an input which expands costs no more than a moment.
const LIMITS: Limits = Limits {
    seconds: 60,
    rate: 192_000,
    channels: 32,
};

/// Whether the bytes were good audio.
pub(crate) fn read(bytes: &[u8]) -> bool {
    let mut samples = Vec::new();
    let read = Audio::from_bytes(bytes.to_vec(), LIMITS)
        .and_then(|mut audio| audio.read(usize::MAX, &mut samples));
    assert!(samples.iter().all(|sample| sample.is_finite()));
    match read {
        Ok(_) => true,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}
