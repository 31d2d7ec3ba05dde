//! The corpus of the fuzz target `task`, read once by the same function.

#[path = "../../../../fuzz/src/replay.rs"]
mod replay;
#[path = "../../../../fuzz/src/task.rs"]
mod target;

use super::{task, want};

#[test]
fn every_file_of_the_corpus_is_read_or_refused_as_its_name_says() {
    replay::corpus("task", target::read);
}
