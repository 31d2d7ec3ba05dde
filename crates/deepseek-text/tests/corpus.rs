//! The corpus of the fuzz target `tokenizer`, read once by the same function.

#[path = "../../../fuzz/src/replay.rs"]
mod replay;
#[path = "../../../fuzz/src/tokenizer.rs"]
mod tokenizer;

#[test]
fn every_file_of_the_corpus_is_read_or_refused_as_its_name_says() {
    replay::corpus("tokenizer", tokenizer::read);
}
