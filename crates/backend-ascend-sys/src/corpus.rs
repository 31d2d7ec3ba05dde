//! The corpus of the fuzz target `packages`, read once by the same function.

#[path = "../../../fuzz/src/replay.rs"]
mod replay;
#[path = "../../../fuzz/src/packages.rs"]
mod target;

use super::packages;

#[test]
fn every_file_of_the_corpus_is_read_or_refused_as_its_name_says() {
    replay::corpus("packages", target::read);
}
