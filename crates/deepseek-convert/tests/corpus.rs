//! The corpus of the fuzz target `journal`, read once by the same function.

#[path = "../../../fuzz/src/journal.rs"]
mod journal;
#[path = "../../../fuzz/src/replay.rs"]
mod replay;

#[test]
fn every_file_of_the_corpus_is_read_or_refused_as_its_name_says() {
    replay::corpus("journal", journal::read);
}
