//! Reads bytes as a saved KV cache, and writes again what was read.

use deepseek_engine::SavedPlace;
use deepseek_model::saved::Binding;
use sha2::{Digest, Sha256};

/// Bytes of a checksum.
const CHECKSUM_BYTES: usize = 32;

/// Whether the bytes were a good one.
pub(crate) fn read(bytes: &[u8]) -> bool {
    // Nobody finds a checksum by chance: what stands before one is read with the right one, too.
    if let Some(end) = bytes.len().checked_sub(CHECKSUM_BYTES) {
        let mut mended = bytes[..end].to_vec();
        let checksum = Sha256::digest(&mended);
        mended.extend(checksum);
        read_as_is(&mended);
    }
    read_as_is(bytes)
}

fn read_as_is(bytes: &[u8]) -> bool {
    let binding = Binding::default().with("weights", "fuzz");
    let (mut input, count) = (bytes, bytes.len() as u64);
    match SavedPlace::read(&mut input, count, &binding) {
        Ok(saved) => {
            assert!(saved.tokens() > 0 && saved.bytes() < bytes.len());
            let mut again = Vec::new();
            saved.write(&mut again, &binding).expect("memory takes all");
            assert!(again == bytes, "it is written otherwise");
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}
