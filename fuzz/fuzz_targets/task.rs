//! Any bytes as a task file.

#![no_main]
// The command line is a program, not a library, so its reader is built here once more.
#![allow(dead_code, reason = "the rest of the program uses what is not used here")]

use std::path::Path;

use deepseek_text::Answer;

#[path = "../../crates/deepseek-cli/src/eval/limits.rs"]
mod limits;
#[path = "../../crates/deepseek-cli/src/eval/task.rs"]
mod task;
#[path = "../../crates/deepseek-cli/src/eval/want.rs"]
mod want;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match task::read(Path::new("fuzz.jsonl"), bytes) {
        Ok(items) => {
            for item in items {
                assert!(item.max_tokens > 0 && !item.conversation.messages.is_empty());
                assert!(!item.want.is_met_by(&Answer::default()), "{item:?} wants nothing");
                assert!(!want::show(&Answer::default()).contains(&item.want.show()));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
