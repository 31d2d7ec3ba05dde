//! What the tests of this crate share: files made by hand.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::error::Error;
use std::fs;
use std::path::Path;

/// A file with this header and so many bytes of data.
pub(crate) fn file(header: impl AsRef<[u8]>, data: usize) -> Vec<u8> {
    let header = header.as_ref();
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header, &vec![0; data]].concat()
}

/// A file of tensors `(name, dtype, shape, bytes)`, one after the other.
pub(crate) fn shard(tensors: &[(&str, &str, &[usize], &[u8])]) -> Vec<u8> {
    let mut at = 0;
    let entries: Vec<String> = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            let start = at;
            at += bytes.len();
            format!(
                r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{at}]}}"#
            )
        })
        .collect();
    let mut shard = file(format!("{{{}}}", entries.join(",")), 0);
    for (.., bytes) in tensors {
        shard.extend_from_slice(bytes);
    }
    shard
}

/// Fills a new folder.
pub(crate) fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder for the test");
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).expect("a file in it");
    }
    dir
}

/// An error and what lies behind it, in one line.
pub(crate) fn text(error: &dyn Error) -> String {
    let cause = error.source().map(|cause| format!(": {}", text(cause)));
    format!("{error}{}", cause.unwrap_or_default())
}

/// The fixture of single operations.
pub(crate) fn operations() -> &'static Path {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/v4/ops-s0/ops.safetensors"
    ))
}
