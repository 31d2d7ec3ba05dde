//! The corpus of the fuzz target `checkpoint`, read once by the same function.

#[path = "../../../fuzz/src/checkpoint.rs"]
mod checkpoint;
#[path = "../../../fuzz/src/replay.rs"]
mod replay;

#[test]
fn every_file_of_the_corpus_is_read_or_refused_as_its_name_says() {
    replay::corpus("checkpoint", checkpoint::read);
}
