//! Any bytes as the files of a package of custom operators.

#![no_main]
// The crate reads these files by itself alone, so its reader is built here once more.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "the crate uses and exports what is not used here"
)]

#[path = "../../crates/backend-ascend-sys/src/limits.rs"]
mod limits;
#[path = "../../crates/backend-ascend-sys/src/packages.rs"]
mod packages;
#[path = "../src/packages.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    target::read(bytes);
});
