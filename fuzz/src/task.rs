//! Reads bytes as a task file, and holds what is wanted there against an answer of nothing.

use std::path::Path;

use deepseek_text::Answer;

use super::{task, want};

/// Whether the bytes were a good task file.
pub(crate) fn read(bytes: &[u8]) -> bool {
    match task::read(Path::new("fuzz.jsonl"), bytes) {
        Ok(items) => {
            for item in items {
                assert!(item.max_tokens > 0 && !item.conversation.messages.is_empty());
                assert!(
                    !item.want.is_met_by(&Answer::default()),
                    "{item:?} wants nothing"
                );
                assert!(!want::show(&Answer::default()).contains(&item.want.show()));
            }
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}
