//! Any bytes as a task file.

#![no_main]
// The command line is a program, not a library, so its reader is built here once more.
#![allow(
    dead_code,
    reason = "the rest of the program uses what is not used here"
)]

#[path = "../../crates/deepseek-cli/src/eval/limits.rs"]
mod limits;
#[path = "../src/task.rs"]
mod target;
#[path = "../../crates/deepseek-cli/src/eval/task.rs"]
mod task;
#[path = "../../crates/deepseek-cli/src/eval/want.rs"]
mod want;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    target::read(bytes);
});
